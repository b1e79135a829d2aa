"""From a question to ranges of keys: is it honoured, from which moment on, how many rows, cut where.

A driver runs ``outline``, then ``find_chain`` for each of its ``bounds``, side by side if it can, and joins the chains.
"""

from __future__ import annotations

import time
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeAlias

from snow_assets.errors import ConfigError, ForbiddenError, QueryError, RequestFailed
from snow_assets.servicenow.account import count
from snow_assets.servicenow.boundaries import Chain, KeyRange, join_chains, prefix_bounds
from snow_assets.servicenow.dictionary import description
from snow_assets.servicenow.exchange import Procedure, Tally
from snow_assets.servicenow.honoured import PROBES, must_be_honoured, must_exist, visible_fields
from snow_assets.servicenow.reading import Reading
from snow_assets.servicenow.records import Question
from snow_assets.servicenow.since import honoured_since, since_query

LEAST_PAGES: Final = 2  # of a range, whose beginning costs a request of its own
MOST_PAGES: Final = 200
RANGES_PER_WORKER: Final = 4
EVERYTHING: Final = KeyRange(0, None, None, None)

Seen: TypeAlias = MutableMapping[tuple[str, tuple[str, ...]], tuple[float, tuple[str, ...]]]
"""When a probe of a table was made and the fields that it saw, by the table and what was asked for. A client's."""

SEEN_FOR: Final = 600.0  # seconds that a probe is believed: rights change


@dataclass(frozen=True, slots=True)
class Outline:
    """What is read: ``reading`` with the term of ``since`` in it, in ranges of about ``rows`` rows.

    ``bounds`` are the chains whose boundaries are still to be found; empty where one range does.
    """

    reading: Reading
    since: datetime | None
    rows: int = 0
    bounds: tuple[tuple[str | None, str | None], ...] = ()
    total: int | None = None

    def ranges(self, chains: Sequence[Chain]) -> Sequence[KeyRange]:
        """Ranges that cover every sys_id, from the chains of ``bounds`` in order."""
        return join_chains(chains, self.rows) if self.bounds else (replace(EVERYTHING, rows=self.total),)


def outline(question: Question, workers: int, seen: Seen, tally: Tally) -> Procedure[Outline]:
    """Check the question, and cut it for so many workers: several ranges for each, none of more than 200 pages.

    Raises ``QueryError`` and ``ConfigError`` for fields that the instance would drop without a word.
    """
    reading, proven = yield from _checked(question, seen, tally)
    since = question.since
    if since is not None:
        since = yield from honoured_since(reading.table, question.cursor, since, reading.policy, tally)
        reading = replace(reading, query=since_query(reading.query, question.cursor, since))
    few = question.limit is not None and (workers == 1 or question.limit <= reading.page_size * workers)
    if few and proven:
        return Outline(reading, since)  # they are read from the start
    total = yield from _counted(reading, tally)
    if total != 0 and not proven:
        raise QueryError(
            f"no row of table {reading.table} is visible, so that the query cannot be proven to be honoured",
            key="query",
            value=str(reading.query),
            hint="grant the account read access to the table's rows, or to sys_dictionary",
        )
    if total is None:
        return Outline(reading, since)  # nobody counts: one range, in order
    share = MOST_PAGES if workers == 1 else total // (reading.page_size * workers * RANGES_PER_WORKER)
    rows = reading.page_size * min(max(LEAST_PAGES, share), MOST_PAGES)
    bounds = tuple(prefix_bounds(-(-total // rows))) if total > rows and not few else ()
    return Outline(reading, since, rows, bounds, total)


def _counted(reading: Reading, tally: Tally) -> Procedure[int | None]:
    """Rows that match; ``None`` where the instance does not count.

    Raises ``ForbiddenError`` where it refuses to count and shows nothing: that is no empty table.
    """
    table, policy = reading.table, reading.policy
    asked, total = Tally(), None
    try:
        total = yield from count(table, reading.query, policy, asked)
    except (ForbiddenError, RequestFailed):
        pass
    finally:
        tally.add(asked)
    refused = any(name.startswith("forbidden") for name in asked.faults)
    if refused and not total and (yield from visible_fields(table, ("sys_id",), policy, tally, sys_id=False)) is None:
        hint = "grant the account read access to the table"
        raise ForbiddenError("its rows may not be counted, and none is shown", key="table", value=table, hint=hint)
    return total


def _checked(question: Question, seen: Seen, tally: Tally) -> Procedure[tuple[Reading, bool]]:
    """The reading with the fields that were seen, and whether its query's fields are known to exist."""
    reading = question.reading
    query, table = reading.query, reading.table
    cursor = (question.cursor,) if question.since else ()
    wanted = tuple(name for name in dict.fromkeys((*reading.fields, *query.fields, *cursor)) if name != "sys_id")
    if not wanted:
        return reading, True
    looked, known = seen.get((table, wanted), (0.0, None))
    if known is None or time.monotonic() - looked > SEEN_FOR:
        looked = time.monotonic()
        known = yield from _look(reading, wanted, tally)
    if known is None:
        return reading, not query.fields
    must_be_honoured(query, known, table)
    must_exist(cursor, known, table, key="cursor")
    may_lack = question.absent_fields
    if may_lack != "skip":
        must_exist((name for name in reading.fields if may_lack == "raise" or name not in may_lack), known, table)
    seen[table, wanted] = looked, known  # not what was refused: a right may be granted at any time
    fields = tuple(name for name in reading.fields if name in known)
    return replace(reading, fields=fields, probed=fields), True


def _look(reading: Reading, wanted: tuple[str, ...], tally: Tally) -> Procedure[tuple[str, ...] | None]:
    """Those of the wanted fields that rows show, or the dictionary knows; ``None`` where neither can be seen."""
    table, policy = reading.table, reading.policy
    visible = yield from visible_fields(table, ("sys_id", *wanted), policy, tally)
    if visible is None:
        found = yield from description(table, policy, tally)
        walked = tuple(name for name in wanted if "." in name)
        return None if found is None else ("sys_id", *(column.name for column in found.columns), *walked)
    if "sys_id" not in visible:
        raise ConfigError(
            "its rows have no sys_id of their own, as in a database view",
            key="table",
            value=table,
            hint="read it by a pull with `key`",
        )
    missing = tuple(name for name in wanted if name not in visible)
    if missing:  # from the first rows: others may show them
        more = yield from visible_fields(table, missing, policy, tally, limits=PROBES[-1:], sys_id=False)
        visible = (*visible, *(name for name in more or () if name in missing))
    return visible

"""From a question to ranges of keys: is it honoured, from which moment on, how many rows, cut where.

A driver runs ``outline``, then ``find_chain`` for each of its ``bounds``, side by side if it can, and joins the chains.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeAlias

from snow_assets.errors import FixFirst, QueryError, SnowError
from snow_assets.servicenow.account import count
from snow_assets.servicenow.boundaries import Chain, KeyRange, join_chains, prefix_bounds
from snow_assets.servicenow.dictionary import description
from snow_assets.servicenow.exchange import Procedure, Tally
from snow_assets.servicenow.honoured import must_be_honoured, must_exist, visible_fields
from snow_assets.servicenow.reading import Reading
from snow_assets.servicenow.records import Question
from snow_assets.servicenow.since import honoured_since, since_query

MOST_PAGES: Final = 200  # of a range
RANGES_PER_WORKER: Final = 4
EVERYTHING: Final = KeyRange(0, None, None, None)

Seen: TypeAlias = MutableMapping[tuple[str, tuple[str, ...]], tuple[str, ...]]
"""Fields that a probe of a table saw, by the table and the fields that were asked for. Kept by a client."""


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
    try:
        total = yield from count(reading.table, reading.query, reading.policy, tally)
    except FixFirst:
        raise
    except SnowError:
        return Outline(reading, since)  # nobody counts: one range, in order
    if total and not proven:
        raise QueryError(
            f"no row of table {reading.table} is visible, so that the query cannot be proven to be honoured",
            key="query",
            value=str(reading.query),
            hint="grant the account read access to the table's rows, or to sys_dictionary",
        )
    share = MOST_PAGES if workers == 1 else total // (reading.page_size * workers * RANGES_PER_WORKER)
    rows = reading.page_size * min(max(1, share), MOST_PAGES)
    bounds = tuple(prefix_bounds(-(-total // rows))) if total > rows and not few else ()
    return Outline(reading, since, rows, bounds, total)


def _checked(question: Question, seen: Seen, tally: Tally) -> Procedure[tuple[Reading, bool]]:
    """The reading with the fields that were seen, and whether its query's fields are known to exist."""
    reading = question.reading
    query, table = reading.query, reading.table
    cursor = (question.cursor,) if question.since else ()
    wanted = tuple(name for name in dict.fromkeys((*reading.fields, *query.fields, *cursor)) if name != "sys_id")
    if not wanted:
        return reading, True
    known = seen.get((table, wanted))
    if known is None:
        known = yield from _look(reading, wanted, tally)
        if known is not None:
            seen[table, wanted] = known
    if known is None:
        return reading, not query.fields
    must_be_honoured(query, known, table)
    must_exist(cursor, known, table, key="cursor")
    if question.absent_fields == "raise":
        must_exist(reading.fields, known, table)
    fields = tuple(name for name in reading.fields if name in known)
    return replace(reading, fields=fields, probed=fields), True


def _look(reading: Reading, wanted: tuple[str, ...], tally: Tally) -> Procedure[tuple[str, ...] | None]:
    """Those of the wanted fields that rows show, or the dictionary knows; ``None`` where neither can be seen."""
    table, policy = reading.table, reading.policy
    visible = yield from visible_fields(table, ("sys_id", *wanted), policy, tally)
    walked = tuple(name for name in wanted if "." in name and name not in (visible or ()))
    if visible is None:
        found = yield from description(table, policy, tally)
        if found is None:
            return None
        return ("sys_id", *(column.name for column in found.columns), *walked)
    if walked:  # no row of the first ones has the reference
        more = yield from visible_fields(table, walked, policy, tally, sys_id=False)
        visible = (*visible, *(name for name in more or () if name in walked))
    return ("sys_id", *visible)

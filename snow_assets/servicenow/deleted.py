"""What the instance's delete log says, and the tree of classes under which it files what was deleted.

``sys_audit_delete`` names a record under its real class, is pruned from its oldest end, and lacks what is deleted past
it (no audit, archiving, truncation). So what it does not say is never taken as "not deleted".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote

from snow_assets.servicenow.account import UNREADABLE, rows, text
from snow_assets.servicenow.exchange import Procedure, Tally
from snow_assets.servicenow.retry import RetryPolicy

LOG: Final = "sys_audit_delete"
LOG_FIELDS: Final = ("sys_id", "documentkey", "sys_created_on", "tablename")
OLDEST: Final = 50  # entries looked at for the oldest: some may be hidden
_DEEPEST: Final = 40  # levels of classes; deeper than any tree, so that a loop in the data ends
_PER_REQUEST: Final = 40  # classes in a question for their children
_LONGEST_LIST: Final = 3_000  # characters of class names in one query, encoded


def descendants(table: str, policy: RetryPolicy, tally: Tally) -> Procedure[tuple[str, ...] | None]:
    """Every class that extends ``table``, by level; ``None`` where ``sys_db_object`` may not be read."""
    try:
        found = yield from rows("sys_db_object", f"name={table}", ("name",), "columns", policy, tally, limit=2)
        if [text(record, "name") for record in found] != [table]:
            return None
        known = {table: None}
        level = [table]
        for _ in range(_DEEPEST):
            level = [name for name in (yield from _children(level, policy, tally)) if name not in known]
            if not level:
                break
            known |= dict.fromkeys(level)
    except UNREADABLE:
        return None
    return tuple(known)[1:]


def _children(parents: Sequence[str], policy: RetryPolicy, tally: Tally) -> Procedure[list[str]]:
    found: list[str] = []
    for start in range(0, len(parents), _PER_REQUEST):
        some = parents[start : start + _PER_REQUEST]
        query = f"super_class.nameIN{','.join(some)}^ORDERBYsys_id"
        records = yield from rows("sys_db_object", query, ("name", "super_class.name"), "columns", policy, tally)
        # An instance that drops the term would answer with every class.
        found += [text(record, "name") for record in records if text(record, "super_class.name") in some]
    return sorted(set(found) - {""})


def oldest_entry(policy: RetryPolicy, tally: Tally) -> Procedure[str]:
    """When the log begins, as stored (``2026-03-05 11:02:03``, UTC); ``""`` where it is empty or may not be read."""
    try:
        found = yield from rows(
            LOG, "ORDERBYsys_created_on", ("sys_created_on",), "probe", policy, tally, limit=OLDEST, fresh=True
        )
    except UNREADABLE:
        return ""
    return min((moment for record in found if (moment := text(record, "sys_created_on"))), default="")


def log_queries(since: str, tables: Sequence[str]) -> Iterator[str]:
    """Queries of the log that together ask for what was deleted of ``tables`` from ``since`` (as stored) on."""
    for names in _lists(tables):
        yield f"sys_created_on>={since}^tablenameIN{names}"


def _lists(names: Sequence[str]) -> Iterator[str]:
    """The names as lists that an address can hold."""
    gathered: list[str] = []
    for name in names:
        if gathered and len(quote(",".join([*gathered, name]))) > _LONGEST_LIST:
            yield ",".join(gathered)
            gathered = []
        gathered.append(name)
    if gathered:
        yield ",".join(gathered)

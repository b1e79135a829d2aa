"""Is the query honoured? The platform drops terms that it does not understand, and then all rows come back.

One row is asked for with every field that matters as ``sysparm_fields``, without any query: unknown names are left out
of the answer without a word, so a missing key tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from snow_assets.errors import ConfigError, QueryError
from snow_assets.servicenow.account import rows, text
from snow_assets.servicenow.exchange import Procedure, Tally
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.retry import RetryPolicy

MADE_UP = "__ENC__"  # how ids begin that stand for the joined rows of a view: no query can compare them
SYS_ID_LOOKS = 3  # answers without a usable sys_id before it is believed that the table has none
PROBES = (10, 1000)  # rows looked at: more where ACLs hide the first ones


def visible_fields(
    table: str,
    fields: Sequence[str],
    policy: RetryPolicy,
    tally: Tally,
    *,
    limits: Sequence[int] = PROBES,
    sys_id: bool = True,
) -> Procedure[tuple[str, ...] | None]:
    """The keys that the first visible rows of a table have, in the API's order; ``None`` where no row is visible.

    ``fields`` empty asks for all. ``sys_id`` is among the keys only where it names the rows: database views have none,
    or one that is empty or made up. With ``sys_id``, that has to be seen several times. That a field is missing is
    believed once a second answer, in a fresh session, says so, too.
    """
    for limit in limits:

        def look(limit: int = limit, *, fresh: bool = False) -> Procedure[list[dict[str, Any]]]:
            every = not fields
            return rows(
                table, "", fields, "probe", policy, tally, limit=limit, every=every, identified=False, fresh=fresh
            )

        looks, names = 0, dict[str, None]()
        while True:
            found = yield from look()
            looks += 1
            names = _joined(names, found)
            named = _names_rows([text(record, "sys_id") for record in found])
            if named or not found or looks == (SYS_ID_LOOKS if sys_id else 1):
                break
        if found:
            if looks == 1 and (not fields or set(fields) - names.keys()):  # one answer may lack what the table has
                names = _joined(names, (yield from look(fresh=True)))
            if not named:
                names.pop("sys_id", None)
            return tuple(names)
    return None


def _joined(names: dict[str, None], records: Iterable[dict[str, Any]]) -> dict[str, None]:
    """The names and the keys of these records, in the order of the answer that had more of them."""
    keys = dict.fromkeys(name for record in records for name in record)
    return names | keys if len(names) >= len(keys) else keys | names


def _names_rows(sys_ids: Sequence[str]) -> bool:
    """Whether these are sys_ids of rows. A few may be missing: that is a fault of the answer, not of the table."""
    given = [sys_id for sys_id in sys_ids if sys_id and not sys_id.startswith(MADE_UP)]
    return len(given) * 2 > len(sys_ids) and len(set(given)) == len(given)


def must_be_honoured(query: EncodedQuery, visible: Iterable[str], table: str) -> None:
    """Raise ``QueryError`` where the query names a field that no visible row has."""
    known = set(visible)
    missing = [name for name in query.fields if name not in known]
    if missing:
        raise QueryError(
            f"table {table} has no such field, or this account may not read it; the instance would drop the term",
            key="query",
            value=missing[0],
            hint="check the field's name",
        )


def must_exist(fields: Iterable[str], visible: Iterable[str], table: str, *, key: str = "fields") -> None:
    """Raise ``ConfigError`` where a declared field is in no visible row; ``key`` is where it was declared."""
    known = set(visible)
    missing = [name for name in fields if name not in known]
    if missing:
        raise ConfigError(
            f"table {table} has no such field, or this account may not read it",
            key=key,
            value=", ".join(missing),
            hint="check the field's name",
        )

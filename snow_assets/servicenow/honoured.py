"""Is the query honoured? The platform drops terms that it does not understand, and then all rows come back.

One row is asked for with every field that matters as ``sysparm_fields``, without any query: unknown names are left out
of the answer without a word, so a missing key tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from snow_assets.errors import ConfigError, QueryError
from snow_assets.servicenow.account import rows
from snow_assets.servicenow.exchange import Procedure, Tally
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.retry import RetryPolicy

PROBES = (10, 1000)  # rows looked at: more where ACLs hide the first ones


def visible_fields(
    table: str, fields: Sequence[str], policy: RetryPolicy, tally: Tally, *, limits: Sequence[int] = PROBES
) -> Procedure[tuple[str, ...] | None]:
    """The keys that the first visible rows of a table have, in the API's order; ``None`` where no row is visible.

    ``fields`` empty asks for all.
    """
    for limit in limits:
        found = yield from rows(table, "", fields, "probe", policy, tally, limit=limit, every=not fields)
        if found:
            return tuple(dict.fromkeys(name for record in found for name in record))
    return None


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


def must_exist(fields: Iterable[str], visible: Iterable[str], table: str) -> None:
    """Raise ``ConfigError`` where a declared field is in no visible row."""
    known = set(visible)
    missing = [name for name in fields if name not in known]
    if missing:
        raise ConfigError(
            f"table {table} has no such field, or this account may not read it",
            key="fields",
            value=missing[0],
            hint="check the field's name",
        )

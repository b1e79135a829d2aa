"""From a moment on, in the instance's own terms: which literal stands for it in a query."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from snow_assets.errors import ConfigError, QueryError
from snow_assets.servicenow.account import rows, text
from snow_assets.servicenow.exchange import Procedure, Tally
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.retry import RetryPolicy

STORED: Final = "%Y-%m-%d %H:%M:%S"  # how the instance stores a moment, and takes one in a query: UTC
ZONES: Final = timedelta(hours=27)  # no two time zones lie further apart
PROBED: Final = 50  # newest rows before the moment that are asked for: some of them may be hidden


def must_be_aware(since: object) -> None:
    """Raise ``ConfigError`` for a moment without a time zone, which could mean any of 27 hours; or for none at all."""
    if not isinstance(since, datetime):
        raise ConfigError("is no datetime", key="since", value=since, hint="datetime.now(timezone.utc), for instance")
    if not 1900 <= since.year < 9000:
        raise ConfigError("out of range", key="since", value=since, hint="leave it out to read every row")
    if since.tzinfo is None or since.utcoffset() is None:
        hint = "give it one: since.replace(tzinfo=timezone.utc), or datetime.now(timezone.utc)"
        raise ConfigError("has no time zone", key="since", value=since, hint=hint)


def since_term(cursor: str, since: datetime) -> str:
    """The term that holds for rows whose cursor lies at ``since`` or after it."""
    return f"{cursor}>={since.strftime(STORED)}"


def since_query(query: EncodedQuery, cursor: str, since: datetime) -> EncodedQuery:
    """``query`` with the term of ``since`` in each of its ``^NQ`` groups."""
    return EncodedQuery.parse(query.where(since_term(cursor, since)))


def honoured_since(table: str, cursor: str, since: datetime, policy: RetryPolicy, tally: Tally) -> Procedure[datetime]:
    """``since``, or an earlier moment where the instance reads the literal in another zone than UTC.

    The newest row before the literal tells: its stored value, which is UTC, must lie before it as well.

    Raises ``QueryError`` where the instance does not honour a moment in a query.
    """
    since = since.astimezone(UTC).replace(microsecond=0)
    for moment in (since, since - ZONES):
        literal = moment.strftime(STORED)
        query = f"{cursor}<{literal}^ORDERBYDESC{cursor}"
        found = yield from rows(table, query, (cursor,), "probe", policy, tally, limit=PROBED)
        newest = max((text(row, cursor) for row in found), default="")
        if newest < since.strftime(STORED):
            return moment
    raise QueryError(
        f"the newest {cursor} of {table} before {since.strftime(STORED)} is {newest}: a delta would miss rows",
        key="cursor",
        value=cursor,
        hint="choose a date-time field of the table, or read all of it",
    )

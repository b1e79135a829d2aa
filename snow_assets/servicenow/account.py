"""What the instance says of itself and of the account: its clock, who we are, how much matches.

Every function is a procedure. None of these answers is needed to read rows, so what the account may not see is
unknown (empty), not an error; only credentials, hosts and outages stop. Who we are is part of a plan's fingerprint,
which must not depend on luck: there a request that fails stops, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from snow_assets.errors import ForbiddenError, QueryError, RequestFailed, UnknownTableError
from snow_assets.servicenow.exchange import Answer, DisplayValue, Procedure, Purpose, Request, Tally
from snow_assets.servicenow.pages import DictDecoder, check_count, check_page, server_clock, total_count
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.retry import RetryPolicy, fetch

REFUSED: Final = (ForbiddenError, UnknownTableError, QueryError)
"""What a question raises that the account may not ask, today or tomorrow."""

UNREADABLE: Final = (*REFUSED, RequestFailed)
"""What a question raises that the account may not ask, or that the instance cannot answer just now."""

_DEFAULTS: Final = {"glide.sys.default.tz": "time_zone", "glide.sys.date_format": "date_format"}


@dataclass(frozen=True, slots=True)
class Account:
    """Who the instance takes us for. A part that is not known is ``""``."""

    user_name: str = ""
    sys_id: str = ""
    time_zone: str = ""
    date_format: str = ""


def rows(
    table: str,
    query: str,
    fields: Sequence[str],
    purpose: Purpose,
    policy: RetryPolicy,
    tally: Tally,
    *,
    limit: int = 10_000,
    display_value: DisplayValue = "false",
    every: bool = False,
    identified: bool = True,
    fresh: bool = False,
) -> Procedure[list[dict[str, Any]]]:
    """One list request for few rows: the records as plain dicts.

    ``sys_id`` is always asked for; with ``every``, so is every other field. ``identified=False`` takes records
    without one, too. ``fresh`` asks in a new session.
    """
    names = ["sys_id", *(field for field in fields if field != "sys_id")]
    params = {
        "sysparm_query": query,
        **({} if every else {"sysparm_fields": ",".join(names)}),
        "sysparm_display_value": display_value,
        "sysparm_exclude_reference_link": "true",
        "sysparm_limit": str(limit),
        "sysparm_no_count": "true",
        "sysparm_suppress_pagination_header": "true",
    }
    request = Request(f"/api/now/table/{table}", params, purpose, fresh=fresh)

    decoder = DictDecoder(identified=identified)

    def check(answer: Answer) -> list[dict[str, Any]]:
        return check_page(answer, request, decoder).records

    records = yield from fetch(request, check, policy, tally)
    tally.rows += len(records)
    return records


def clock(policy: RetryPolicy, tally: Tally) -> Procedure[datetime | None]:
    """The instance's clock as aware UTC; ``None`` where it sends no ``Date``. One cheap request."""
    params = {"sysparm_fields": "sys_id", "sysparm_limit": "1", "sysparm_no_count": "true"}
    params["sysparm_suppress_pagination_header"] = "true"
    request = Request("/api/now/table/sys_user", params, "clock")
    heard: list[datetime | None] = []

    def check(answer: Answer) -> None:
        heard.append(server_clock(answer))
        check_page(answer, request, _DICTS)

    try:
        yield from fetch(request, check, policy, tally)
    except UNREADABLE:
        if not heard:
            return None
    return heard[-1]


def count(table: str, query: EncodedQuery, policy: RetryPolicy, tally: Tally) -> Procedure[int]:
    """Rows that match, hidden ones included, by the Aggregate API; by ``X-Total-Count`` where that answers 403.

    Raises ``ForbiddenError`` where neither counts.
    """
    params = {"sysparm_count": "true"} | ({"sysparm_query": query.where()} if query.groups else {})
    request = Request(f"/api/now/stats/{table}", params, "count")
    tally.counts += 1
    try:
        return (yield from fetch(request, check_count, policy, tally))
    except ForbiddenError as refused:
        total = yield from _count_by_header(table, query, policy, tally)
        if total is None:
            raise refused
        return total


def _count_by_header(table: str, query: EncodedQuery, policy: RetryPolicy, tally: Tally) -> Procedure[int | None]:
    params = {"sysparm_query": query.where()} if query.groups else {}
    params |= {"sysparm_fields": "sys_id", "sysparm_limit": "1", "sysparm_suppress_pagination_header": "true"}
    request = Request(f"/api/now/table/{table}", params, "count")
    tally.counts += 1

    def check(answer: Answer) -> int | None:
        check_page(answer, request, DictDecoder(identified=False))
        return total_count(answer)

    return (yield from fetch(request, check, policy, tally))


def account(policy: RetryPolicy, tally: Tally, *, username: str = "") -> Procedure[Account]:
    """Who we are, asked of the instance. ``username`` is what we signed in with, where it is known.

    An instance that does not evaluate the question drops it and answers with other users: then, and where users may
    not be read, only ``username`` is known. Raises ``RequestFailed`` where a question fails that might have told more.
    """
    names = ("user_name", "time_zone", "date_format")
    found: list[dict[str, Any]] = []
    failed: RequestFailed | None = None
    evaluated = "user_name=javascript:gs.getUserName()"
    for query in (evaluated, f"user_name={username}" if username and "^" not in username else evaluated):
        found, failed = [], None
        try:
            found = yield from rows("sys_user", query, names, "account", policy, tally, limit=2)
        except RequestFailed as error:
            failed = error
        except REFUSED:
            pass
        if len(found) == 1 and (not username or text(found[0], "user_name").lower() == username.lower()):
            break
        found = []
    if failed is not None:
        raise failed
    if not found:
        return Account(user_name=username)
    known = {name: text(found[0], name) for name in (*names, "sys_id")}
    if not known["time_zone"] or not known["date_format"]:
        defaults = yield from _defaults(policy, tally)
        known |= {name: value for name, value in defaults.items() if not known[name]}
    return Account(**known)


def _defaults(policy: RetryPolicy, tally: Tally) -> Procedure[dict[str, str]]:
    """What the instance sets for users who chose no zone or format."""
    query = f"nameIN{','.join(_DEFAULTS)}"
    try:
        found = yield from rows("sys_properties", query, ("name", "value"), "account", policy, tally, limit=10)
    except REFUSED:
        return {}
    named = {text(record, "name"): text(record, "value") for record in found}
    return {part: named[name] for name, part in _DEFAULTS.items() if named.get(name)}


def text(record: Mapping[str, Any], field: str) -> str:
    """The stored value of ``field`` as text, however it was sent; ``""`` where it was not."""
    value = record.get(field)
    if isinstance(value, Mapping):
        value = value.get("value")
    return "" if value is None else str(value)


_DICTS: Final = DictDecoder()

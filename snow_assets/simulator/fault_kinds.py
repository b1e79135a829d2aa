"""Every kind of fault, as data: a name, what it does to an answer, and its parameters with their defaults.

The names follow the symptoms that are known of real instances: error statuses, successes that are none, broken
bodies, broken connections, wrong rows, wrong counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from snow_assets.simulator.wire import HTML, Asked, Delivery, Reply, failure

Parameters: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Context:
    """What a fault may need to know: the request, the clock, and how to answer another one."""

    asked: Asked
    now: float
    again: Callable[[Asked], Reply]


Change: TypeAlias = Callable[[Reply, Context, Parameters], Reply]


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One kind. ``apply`` may change the answer that it is given, or return another."""

    name: str
    summary: str
    apply: Change
    parameters: Mapping[str, Any] = field(default_factory=dict)


CANCELLED = "Transaction cancelled: maximum execution time exceeded"
CANCELLED_DETAIL = (
    f"{CANCELLED} Check logs for error trace or enable glide.rest.debug property to verify REST request processing"
)
HIBERNATING = (
    '<!DOCTYPE html><html><head><title>Hibernating Instance</title></head><body class="instance-hibernating-page">'
    "<h1>Your instance is hibernating</h1><p>Sign in to the developer site to wake it.</p></body></html>"
)
OFFLINE = "<!DOCTYPE html><html><body><h1>Your instance is currently offline</h1></body></html>"
LOGIN = (
    '<!DOCTYPE html><html><head><title>Log in | ServiceNow</title></head><body><form action="login.do" method="post">'
    '<input name="user_name"><input name="user_password" type="password"></form></body></html>'
)


def _instead(reply: Reply, new: Reply) -> Reply:
    """``new`` in the place of ``reply``: same kind of request, so that rules still match it."""
    new.kind, new.table = reply.kind, reply.table
    new.delivery = reply.delivery
    return new


def _html(status: int, text: str) -> Change:
    return lambda reply, context, given: _instead(reply, Reply(status, text.encode(), HTML))


def _front_end(status: int, title: str) -> Change:
    return _html(status, f"<html><head><title>{status} {title}</title></head><body><h1>{title}</h1></body></html>")


def _error(status: int, message: str, detail: str | None = None) -> Change:
    return lambda reply, context, given: _instead(reply, failure(status, message, detail))


def _body(text: bytes, status: int = 200) -> Change:
    return lambda reply, context, given: _instead(reply, Reply(status, text))


def _rate_limited(reply: Reply, context: Context, given: Parameters) -> Reply:
    limit, wait = given["limit"], given["retry_after"]
    new = failure(429, "Rate limit exceeded", f"Rate limit of {limit} requests per hour for Table API exceeded")
    reset = int(context.now + float(wait)) if given["reset"] is None else int(given["reset"])
    new.headers = {"X-RateLimit-Limit": str(limit), "X-RateLimit-Rule": "2f3f4f5f6f7f8f901a2b3c4d5e6f7081"}
    new.headers["X-RateLimit-Reset"] = str(reset)
    if given["send_retry_after"]:
        new.headers["Retry-After"] = str(wait)
    return _instead(reply, new)


def _unauthorized(reply: Reply, context: Context, given: Parameters) -> Reply:
    new = failure(401, "User Not Authenticated", "Required to provide Auth information")
    new.headers["WWW-Authenticate"] = 'BASIC realm="Service-now"'
    new.close = True
    return _instead(reply, new)


def _redirect(reply: Reply, context: Context, given: Parameters) -> Reply:
    new = Reply(302, b"", HTML)
    new.headers["Location"] = given["location"]
    return _instead(reply, new)


def _any_status(reply: Reply, context: Context, given: Parameters) -> Reply:
    new = Reply(int(given["status"]), str(given["body"]).encode(), given["content_type"])
    new.headers = {str(name): str(value) for name, value in given["headers"].items()}
    return _instead(reply, new)


def _partly(reply: Reply, joint: bytes) -> Reply:
    """The first half of the rows, then the error text of a cancelled transaction, all under status 200."""
    records = reply.records or []
    error = json.dumps({"message": CANCELLED, "detail": CANCELLED_DETAIL})
    rows = b",".join(records[: max(1, len(records) // 2)] if records else [])
    body = b'{"result":[' + rows + joint + b'],"error":' + error.encode() + b',"status":"failure"}'
    reply.records, reply.body = None, body
    return reply


def _cancelled_shape(joint: bytes) -> Change:
    return lambda reply, context, given: _partly(reply, joint)


def _truncated(claim: bool) -> Change:
    def change(reply: Reply, context: Context, given: Parameters) -> Reply:
        reply.finish()
        cut = int(len(reply.body) * float(given["at"]))
        if claim:
            reply.delivery.cut, reply.delivery.claim_whole = cut, True
        else:
            reply.body = reply.body[:cut]
        return reply

    return change


def _deliver(**settings: Any) -> Change:
    """Change how the answer is sent; a string names the parameter that gives the value."""

    def change(reply: Reply, context: Context, given: Parameters) -> Reply:
        for name, value in settings.items():
            setattr(reply.delivery, name, float(given[value]) if isinstance(value, str) else value)
        return reply

    return change


def _reset_inside(reply: Reply, context: Context, given: Parameters) -> Reply:
    reply.finish()
    reply.delivery.cut = int(len(reply.body) * float(given["at"]))
    reply.delivery.claim_whole = reply.delivery.reset = True
    return reply


def _delayed(reply: Reply, context: Context, given: Parameters) -> Reply:
    reply.delivery.delay += float(given["seconds"])
    return reply


def _bom(reply: Reply, context: Context, given: Parameters) -> Reply:
    reply.finish()
    reply.body = b"\xef\xbb\xbf" + reply.body
    return reply


def _content_type(reply: Reply, context: Context, given: Parameters) -> Reply:
    reply.content_type = given["content_type"]
    return reply


def _on_rows(change: Callable[[list[bytes], list[str], Parameters], None]) -> Change:
    """A fault of lists: changes the rows and their sys_ids in place; other answers stay as they are."""

    def apply(reply: Reply, context: Context, given: Parameters) -> Reply:
        if reply.records is not None:
            change(reply.records, reply.ids, given)
        return reply

    return apply


def _short(records: list[bytes], ids: list[str], given: Parameters) -> None:
    keep = max(0, len(records) - int(given["rows"]))
    del records[keep:], ids[keep:]


def _drop(records: list[bytes], ids: list[str], given: Parameters) -> None:
    wanted = given["lost"]
    gone = [at for at, one in enumerate(ids) if one == wanted] if wanted else _middle(records, int(given["rows"]))
    for at in reversed(gone):
        del records[at], ids[at]


def _middle(records: list[bytes], rows: int) -> list[int]:
    start = max(0, (len(records) - rows) // 2)
    return list(range(start, min(len(records), start + rows)))


def _empty(records: list[bytes], ids: list[str], given: Parameters) -> None:
    records.clear()
    ids.clear()


def _reversed(records: list[bytes], ids: list[str], given: Parameters) -> None:
    records.reverse()
    ids.reverse()


def _doubled(records: list[bytes], ids: list[str], given: Parameters) -> None:
    if records:
        records.insert(0, records[0])
        ids.insert(0, ids[0])


def _last_replaced(text: bytes) -> Callable[[list[bytes], list[str], Parameters], None]:
    def change(records: list[bytes], ids: list[str], given: Parameters) -> None:
        if records:
            records[-1] = text

    return change


def _without(records: list[bytes], ids: list[str], given: Parameters) -> None:
    """Leave the fields out of every row, or of the last only."""
    names = set(str(given["fields"]).split(","))
    for at in range(len(records)) if given["every_row"] else range(len(records))[-1:]:
        row = {name: value for name, value in json.loads(records[at]).items() if name not in names}
        records[at] = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()


def _foreign(reply: Reply, context: Context, given: Parameters) -> Reply:
    """Put a row of another range in: the table's first, whatever was asked."""
    if reply.records:
        params = {**context.asked.params, "sysparm_query": f"{given['query']}ORDERBYsys_id", "sysparm_limit": "1"}
        other = context.again(_like(context.asked, {**params, "sysparm_offset": "0"}))
        if other.records:
            reply.records[-1], reply.ids[-1] = other.records[0], other.ids[0]
    return reply


def _repeated(reply: Reply, context: Context, given: Parameters) -> Reply:
    """The table's first page again, whatever the cursor says: as when the range term was dropped."""
    if reply.records is not None:
        words = context.asked.params.get("sysparm_query", "").split("^")
        kept = "^".join(word for word in words if not word.startswith("sys_id"))
        again = context.again(
            _like(context.asked, {**context.asked.params, "sysparm_query": kept, "sysparm_offset": "0"})
        )
        again.headers = reply.headers
        return again
    return reply


def _like(asked: Asked, params: dict[str, str]) -> Asked:
    return Asked(asked.method, asked.target, asked.host, asked.path, params, asked.headers)


def _count_header(change: Callable[[int, Parameters], str | None]) -> Change:
    def apply(reply: Reply, context: Context, given: Parameters) -> Reply:
        if "X-Total-Count" in reply.headers:
            new = change(int(reply.headers["X-Total-Count"]), given)
            reply.headers.pop("X-Total-Count")
            if new is not None:
                reply.headers["X-Total-Count"] = new
        elif reply.kind == "count" and reply.status == 200:
            return _count_body(reply, change, given)
        return reply

    return apply


def _count_body(reply: Reply, change: Callable[[int, Parameters], str | None], given: Parameters) -> Reply:
    document = json.loads(reply.body)
    stats = document["result"].get("stats") if isinstance(document["result"], dict) else None
    if stats and "count" in stats:
        new = change(int(stats.pop("count")), given)
        if new is not None:
            stats["count"] = new
        reply.body = json.dumps(document).encode()
    return reply


def _lie(count: int, given: Parameters) -> str:
    return str(max(0, int(count * float(given["factor"])) + int(given["delta"])))


def _no_date(reply: Reply, context: Context, given: Parameters) -> Reply:
    reply.headers["Date"] = str(given["date"])
    return reply


_AT = {"at": 0.5}
_KINDS = (
    # Error statuses.
    FaultKind("error_500", "500 with the error envelope",
              _error(500, "Unexpected error", "java.lang.NullPointerException")),
    FaultKind("html_500", "500 with a page of the front end", _front_end(500, "Internal Server Error")),
    FaultKind("html_502", "502, as while a node restarts", _front_end(502, "Bad Gateway")),
    FaultKind("html_503", "503, as during an upgrade", _front_end(503, "Service Unavailable")),
    FaultKind("html_504", "504, as after 300 s", _front_end(504, "Gateway Timeout")),
    FaultKind("empty_503", "503 with nothing in it", _body(b"", 503)),
    FaultKind("rate_limited_429", "429 of a rate rule, with its headers", _rate_limited,
              {"retry_after": 1, "limit": 100, "reset": None, "send_retry_after": True}),
    FaultKind("overloaded_429", "429 of a full semaphore queue: no headers", _error(429, "Too many requests")),
    FaultKind("unauthorized_401", "401 in the middle of a session", _unauthorized),
    FaultKind("forbidden_403", "403, as when a session loses its roles on another node",
              _error(403, "User Not Authorized", "Failed API level ACL Validation")),
    FaultKind("query_forbidden_403", "403, as a query ACL answers",
              _error(403, "Insufficient rights to query records",
                     "Field(s) present in the query do not have permission to be read")),
    FaultKind("execution_time_500", "the transaction was cancelled, shape (a): 500",
              _error(500, CANCELLED, CANCELLED_DETAIL)),
    FaultKind("answer", "any status, body and headers", _any_status,
              {"status": 200, "body": "", "content_type": "application/json;charset=UTF-8", "headers": {}}),
    # Successes that are none.
    FaultKind("dropped_202", "202 with nothing in it: too many wait on the session", _body(b"", 202)),
    FaultKind("execution_time_in_200", "cancelled, shape (b): rows and an error in one 200",
              _cancelled_shape(b"")),
    FaultKind("execution_time_broken", "cancelled, shape (c): a stray token makes the JSON invalid",
              _cancelled_shape(b'""')),
    FaultKind("hibernating", "200 with the page of a sleeping developer instance", _html(200, HIBERNATING)),
    FaultKind("offline", "200 with the page of a waking developer instance", _html(200, OFFLINE)),
    FaultKind("login_page", "200 with a login page", _html(200, LOGIN)),
    FaultKind("redirect", "302 to a login page, or wherever `location` says", _redirect, {"location": "/login.do"}),
    FaultKind("null_body", "200 with null", _body(b"null")),
    FaultKind("list_body", "200 with a list instead of an object", _body(b"[]")),
    FaultKind("empty_body", "200 with zero bytes", _body(b"")),
    FaultKind("no_result", "200 with an object that lacks `result`", _body(b'{"status":"success"}')),
    FaultKind("result_null", "200 whose `result` is null", _body(b'{"result":null}')),
    # Broken bodies.
    FaultKind("truncated", "the JSON ends early; the length given is the sent one", _truncated(claim=False), _AT),
    FaultKind("truncated_length", "the body ends early; the length given is the whole one",
              _truncated(claim=True), _AT),
    FaultKind("broken_gzip", "the compressed body is damaged", _deliver(spoil_gzip=True)),
    FaultKind("byte_order_mark", "a byte order mark before the JSON", _bom),
    FaultKind("content_type", "another content type than the body's", _content_type, {"content_type": HTML}),
    # Broken connections.
    FaultKind("reset", "the connection is reset before the answer", _deliver(silent=True, reset=True)),
    FaultKind("hang_up", "the connection is closed before the answer", _deliver(silent=True)),
    FaultKind("reset_inside_body", "the connection is reset in the middle of the body", _reset_inside, _AT),
    FaultKind("hang", "nothing comes for `seconds`", _deliver(silence="seconds"), {"seconds": 3_600.0}),
    FaultKind("hang_inside", "headers, then nothing for `seconds`", _deliver(hang="seconds"), {"seconds": 3_600.0}),
    FaultKind("drip", "the answer trickles in", _deliver(drip="bytes_per_second"), {"bytes_per_second": 1_000.0}),
    FaultKind("latency", "the answer takes `seconds` longer", _delayed, {"seconds": 0.2}),
    # Wrong rows.
    FaultKind("short_page", "the last rows of the page are missing", _on_rows(_short), {"rows": 1}),
    FaultKind("lost_rows", "rows in the middle of the page are missing, or the one `lost` names",
              _on_rows(_drop), {"rows": 1, "lost": ""}),
    FaultKind("empty_page", "no rows although there are some", _on_rows(_empty)),
    FaultKind("repeated_page", "the first page of the table again", _repeated),
    FaultKind("foreign_row", "the last row is one from outside of the range", _foreign, {"query": ""}),
    FaultKind("reversed_rows", "the rows are out of order", _on_rows(_reversed)),
    FaultKind("doubled_row", "the first row comes twice", _on_rows(_doubled)),
    FaultKind("row_without_sys_id", "the last row has no sys_id",
              _on_rows(_without), {"fields": "sys_id", "every_row": False}),
    FaultKind("row_null", "the last row is null", _on_rows(_last_replaced(b"null"))),
    FaultKind("row_text", "the last row is a string", _on_rows(_last_replaced(b'"row"'))),
    FaultKind("missing_fields", "fields are missing from every row, or from the last only",
              _on_rows(_without), {"fields": "short_description", "every_row": True}),
    # Wrong counts, and the clock.
    FaultKind("count_refused", "counting is forbidden (use with request: count)",
              _error(403, "Insufficient rights to query records", "No permission to read table")),
    FaultKind("count_malformed", "the count is no number", _count_header(lambda count, given: "many")),
    FaultKind("count_lie", "the count is another: times `factor` plus `delta`",
              _count_header(_lie), {"factor": 1.0, "delta": 1}),
    FaultKind("count_absent", "there is no count", _count_header(lambda count, given: None)),
    FaultKind("wrong_date", "the Date header says something else; empty: there is none", _no_date, {"date": ""}),
)  # fmt: skip

KINDS: dict[str, FaultKind] = {kind.name: kind for kind in _KINDS}
"""Every kind of fault by name."""

__all__ = ["KINDS", "Context", "Delivery", "FaultKind"]

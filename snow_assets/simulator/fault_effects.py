"""What faults do to answers: other statuses, bodies that are none, deliveries that break. Rows: ``fault_rows``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from snow_assets.simulator.wire import HTML, Asked, Framing, Packing, Reply, failure

Parameters: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Context:
    """What a fault may need to know: the request, the clock, and how to answer another one."""

    asked: Asked
    now: float
    again: Callable[[Asked], Reply]


Change: TypeAlias = Callable[[Reply, Context, Parameters], Reply]

CANCELLED = "Transaction cancelled: maximum execution time exceeded"
CANCELLED_DETAIL = (
    f"{CANCELLED} Check logs for error trace or enable glide.rest.debug property to verify REST request processing"
)
PAGINATION = (
    "The requested query is too long to build the response pagination header URLs. Please do one of the following: "
    "shorten the sysparm_query, or query without pagination by setting the parameter "
    "'sysparm_suppress_pagination_header' to true, or set 'sysparm_limit' with a value larger then 110 to bypass the "
    "need for pagination."
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


def instead(reply: Reply, new: Reply) -> Reply:
    """``new`` in the place of ``reply``: same kind of request, so that rules still match it."""
    new.kind, new.table = reply.kind, reply.table
    new.delivery = reply.delivery
    return new


def with_page(status: int, text: str) -> Change:
    """An HTML page instead."""
    return lambda reply, context, given: instead(reply, Reply(status, text.encode(), HTML))


def front_end(status: int, title: str) -> Change:
    """A page of the front end instead."""
    return with_page(status, f"<html><head><title>{status} {title}</title></head><body><h1>{title}</h1></body></html>")


def with_error(status: int, message: str, detail: str | None = None) -> Change:
    """The platform's error envelope instead."""
    return lambda reply, context, given: instead(reply, failure(status, message, detail))


def with_body(text: bytes, status: int = 200) -> Change:
    """Another body, called JSON, instead."""
    return lambda reply, context, given: instead(reply, Reply(status, text))


def rate_limited(reply: Reply, context: Context, given: Parameters) -> Reply:
    """A rate rule's 429: ``retry_after`` may be any text, ``reset`` any number."""
    limit, wait = given["limit"], given["retry_after"]
    new = failure(429, "Rate limit exceeded", f"Rate limit of {limit} requests per hour for Table API exceeded")
    seconds = float(wait) if isinstance(wait, (int, float)) else 0.0
    reset = int(context.now + seconds) if given["reset"] is None else given["reset"]
    new.headers = {"X-RateLimit-Limit": str(limit), "X-RateLimit-Rule": "2f3f4f5f6f7f8f901a2b3c4d5e6f7081"}
    new.headers["X-RateLimit-Reset"] = str(reset)
    if given["send_retry_after"]:
        new.headers["Retry-After"] = str(wait)
    return instead(reply, new)


def unauthorized(reply: Reply, context: Context, given: Parameters) -> Reply:
    """401 with its challenge; the connection is closed."""
    new = failure(401, "User Not Authenticated", "Required to provide Auth information")
    new.headers["WWW-Authenticate"] = 'BASIC realm="Service-now"'
    new.close = True
    return instead(reply, new)


def redirect(reply: Reply, context: Context, given: Parameters) -> Reply:
    """302 to ``location``."""
    new = Reply(302, b"", HTML)
    new.headers["Location"] = given["location"]
    return instead(reply, new)


def any_status(reply: Reply, context: Context, given: Parameters) -> Reply:
    """Whatever the parameters say."""
    new = Reply(int(given["status"]), str(given["body"]).encode(), given["content_type"])
    new.headers = {str(name): str(value) for name, value in given["headers"].items()}
    return instead(reply, new)


def partly(reply: Reply, joint: bytes, *, rows: bool = True) -> Reply:
    """The first half of the rows, then the error text of a cancelled transaction, all under status 200."""
    records = reply.records if reply.records and rows else []
    error = json.dumps({"message": CANCELLED, "detail": CANCELLED_DETAIL})
    body = (
        b'{"result":['
        + b",".join(records[: max(1, len(records) // 2)])
        + joint
        + b'],"error":'
        + error.encode()
        + b',"status":"failure"}'
    )
    reply.records, reply.body = None, body
    return reply


def cancelled_shape(joint: bytes, *, rows: bool = True) -> Change:
    """See ``partly``; ``joint`` stands between the last row and the end of the list."""
    return lambda reply, context, given: partly(reply, joint, rows=rows)


def truncated(claim: bool) -> Change:
    """Cut the body; ``claim``: the headers still promise all of it."""

    def change(reply: Reply, context: Context, given: Parameters) -> Reply:
        reply.finish()
        cut = place_of(reply.body, given)
        if claim:
            reply.delivery.cut, reply.delivery.claim_whole = cut, True
        else:
            reply.body = reply.body[:cut]
        return reply

    return change


def place_of(body: bytes, given: Parameters) -> int:
    """Where the body is cut: at a share of it, behind the next ``behind`` from there on, or ``lacks`` bytes early."""
    if given["lacks"]:
        return len(body) - int(given["lacks"])
    start = int(len(body) * float(given["at"]))
    wanted = str(given["behind"]).encode("latin-1")
    found = body.find(wanted, start) if wanted else -1
    return start if found < 0 else found + len(wanted)


def deliver(**settings: Any) -> Change:
    """Change how the answer is sent; a string names the parameter that gives the value."""

    def change(reply: Reply, context: Context, given: Parameters) -> Reply:
        for name, value in settings.items():
            setattr(reply.delivery, name, float(given[value]) if isinstance(value, str) else value)
        return reply

    return change


def reset_inside(reply: Reply, context: Context, given: Parameters) -> Reply:
    """Reset the connection in the middle of the body."""
    reply.finish()
    reply.delivery.cut = int(len(reply.body) * float(given["at"]))
    reply.delivery.claim_whole = reply.delivery.reset = True
    return reply


def delayed(reply: Reply, context: Context, given: Parameters) -> Reply:
    """Take longer."""
    reply.delivery.delay += float(given["seconds"])
    return reply


def bom(reply: Reply, context: Context, given: Parameters) -> Reply:
    """A byte order mark before the body."""
    reply.finish()
    reply.body = b"\xef\xbb\xbf" + reply.body
    return reply


def other_content_type(reply: Reply, context: Context, given: Parameters) -> Reply:
    """Call the body something else."""
    reply.content_type = given["content_type"]
    return reply


def packed(how: Packing) -> Change:
    """Spoil the compression: see ``Delivery.packing``."""

    def change(reply: Reply, context: Context, given: Parameters) -> Reply:
        reply.delivery.packing = how
        return reply

    return change


def framed(how: Framing) -> Change:
    """Spoil the framing of the answer: see ``Delivery.framing``."""

    def change(reply: Reply, context: Context, given: Parameters) -> Reply:
        reply.delivery.framing = how
        return reply

    return change


def on_body(change: Callable[[bytes], bytes]) -> Change:
    """Change the bytes of the body."""

    def apply(reply: Reply, context: Context, given: Parameters) -> Reply:
        reply.finish()
        reply.body = change(reply.body)
        return reply

    return apply


def in_envelope(addition: bytes) -> Change:
    """Put ``addition`` into the outermost object, behind what it holds."""
    return on_body(lambda body: body.rstrip()[:-1] + addition + b"}" if body.rstrip().endswith(b"}") else body)


def zeroed(body: bytes) -> bytes:
    """Sixteen zero bytes in the middle, as of a buffer that was not filled."""
    middle = len(body) // 2
    return body[:middle] + bytes(min(16, len(body) - middle)) + body[middle + 16 :]


def numbered(body: bytes) -> bytes:
    """Whole numbers as JSON numbers instead of strings."""
    return re.sub(rb':"(0|[1-9][0-9]{0,14})"', rb":\1", body)


def in_latin_1(body: bytes) -> bytes:
    """The body in another encoding than the one that the header names; a character that needs it is put in."""
    text = body.decode().encode("latin-1", "replace")
    return text.replace(b'":"', b'":"\xe9', 1)


def header(name: str, parameter: str) -> Change:
    """Send the header ``name`` with the value of ``parameter``."""

    def apply(reply: Reply, context: Context, given: Parameters) -> Reply:
        reply.headers[name] = str(given[parameter])
        return reply

    return apply

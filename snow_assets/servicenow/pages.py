"""Is this answer what was asked for? Every check that one answer alone allows, with a name for each failure.

Nothing here waits or decides: a failed check raises ``PageFault``, and ``retry`` decides what follows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from snow_assets.errors import ConfigError
from snow_assets.servicenow.decoding import BOM, NOT_JSON, Cell, Decoded, Decoder, DictDecoder, PageFault, StructDecoder
from snow_assets.servicenow.exchange import Answer, Page, Request

__all__ = [
    "WRITTEN",
    "Cell",
    "Decoded",
    "Decoder",
    "DictDecoder",
    "PageFault",
    "StructDecoder",
    "can_stand",
    "check_answered",
    "check_count",
    "check_envelope",
    "check_list",
    "check_object",
    "check_page",
    "check_status",
    "id_term",
    "is_hex",
    "order_fault",
    "platform_message",
    "server_clock",
    "total_count",
]

HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
_BY_STATUS: Final = {202: "accepted_202", 401: "unauthorized", 404: "not_found"}
_GATEWAY: Final = frozenset({408, 499, 502, 503, 504})
_HEX: Final = re.compile(r"[0-9a-f]{32}")
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
_LOGIN: Final = re.compile(rb"user_password|sysparm_login|login\.do|type=[\"']?password|SAMLRequest", re.IGNORECASE)
_KINDS: Final = {dict: "object", list: "list"}
_Result = TypeVar("_Result", dict[str, Any], list[Any])
Statuses: TypeAlias = tuple[int, ...]
_READ: Final[Statuses] = (200,)
WRITTEN: Final[Statuses] = (200, 201)


def check_status(answer: Answer, success: Statuses = _READ) -> None:
    """Raise ``PageFault`` unless the answer is a 200 (or another ``success``) with a JSON body that is not empty."""
    check_answered(answer, success)
    content_type = content_type_of(answer)
    if content_type in HTML:
        raise html_fault(answer.body)
    if not answer.body.strip():
        raise PageFault("empty_body")
    if content_type and not content_type.endswith(("/json", "+json")):
        raise PageFault("wrong_content_type", content_type)


def check_answered(answer: Answer, success: Statuses = _READ) -> None:
    """Raise ``PageFault`` unless the answer is a 200 (or another ``success``), of whatever kind."""
    if answer.fault:
        raise PageFault(answer.fault, answer.detail)
    if answer.status not in success:
        raise _status_fault(answer)


def content_type_of(answer: Answer) -> str:
    """The content type without its parameters, in lower case; ``""`` where there is none."""
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_page(answer: Answer, request: Request, decoder: Decoder) -> Page:
    """The checked page of a list answer: rows are whole, each has a sys_id of its own, and no more than the limit.

    Raises ``PageFault``. Order and range need the cursor: see ``order_fault``.
    """
    check_status(answer)
    decoded = decoder.decode(answer.body)
    if len(set(decoded.ids)) != len(decoded.ids):
        raise PageFault("duplicate_sys_id", f"{len(decoded.ids) - len(set(decoded.ids))} rows")
    if request.limit and len(decoded.records) > request.limit:
        raise PageFault("too_many_rows", f"{len(decoded.records)} rows, the limit is {request.limit}")
    return Page(decoded.records, decoded.ids, len(answer.body))


def check_object(answer: Answer, success: Statuses = _READ) -> dict[str, Any]:
    """The ``result`` of an answer about one thing (a record, a statistic). Raises ``PageFault``."""
    return _result(check_envelope(answer, success), dict)


def check_list(answer: Answer, success: Statuses = _READ) -> list[Any]:
    """The ``result`` of an answer that is a list. Raises ``PageFault``."""
    return _result(check_envelope(answer, success), list)


def check_envelope(answer: Answer, success: Statuses = _READ) -> dict[str, Any]:
    """The JSON object of an answer, free of an ``error``. Raises ``PageFault``."""
    check_status(answer, success)
    return DictDecoder.parse(answer.body)


def check_count(answer: Answer) -> int:
    """The count in an answer of the Aggregate API (without groups). Raises ``PageFault``."""
    stats = check_object(answer).get("stats")
    count = stats.get("count") if isinstance(stats, dict) else None
    if not _DIGITS.fullmatch(str(count)):
        raise PageFault("malformed_count")
    return int(str(count))


def total_count(answer: Answer) -> int | None:
    """``X-Total-Count``: rows that match, hidden ones included; ``None`` when absent or not a number."""
    text = answer.headers.get("x-total-count", "").strip()
    return int(text) if _DIGITS.fullmatch(text) else None


def server_clock(answer: Answer) -> datetime | None:
    """The instance's clock (``Date`` header) as aware UTC; ``None`` when absent or malformed."""
    return parse_http_date(answer.headers.get("date", ""))


def parse_http_date(text: str) -> datetime | None:
    """An HTTP date as aware UTC; ``None`` when it is not one."""
    try:
        parsed = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def is_hex(sys_id: str) -> bool:
    """Whether ``sys_id`` is 32 lower-case hex digits, of which alone the order is known in every collation."""
    return _HEX.fullmatch(sys_id) is not None


def can_stand(text: str) -> bool:
    """Whether a value can stand in a term of an encoded query and mean itself."""
    odd = "^" in text or not text.isprintable() or text != text.strip()
    return not odd and not text.startswith(("javascript:", "="))


def id_term(operator: str, sys_id: str) -> str:
    """``sys_id<operator><sys_id>``. Raises ``ConfigError`` for one that cannot stand in a query."""
    if not can_stand(sys_id):
        raise ConfigError(
            "cannot stand in a query, so that no range can begin or end at it",
            key="sys_id",
            value=sys_id,
            hint="set key: [sys_id] in the pull; the table is then read in pages by offset",
        )
    return f"sys_id{operator}{sys_id}"


def order_fault(
    ids: Sequence[str], after: str | None = None, lo: str | None = None, hi: str | None = None
) -> PageFault | None:
    """What is wrong with the order or range of ``ids``, or ``None``.

    Args:
        ids: the sys_ids of one page, as they came.
        after: the last sys_id of the page before; all must be above it.
        lo: the lower bound, inclusive.
        hi: the upper bound, inclusive.

    Only 32-digit hex ids are compared, with one another and with hex bounds: other ids (``global``, legacy ones)
    sort by the instance's collation, which is not known here.
    """
    if after is not None and after in ids:
        return PageFault("repeated_page", f"the row {after} again")
    last = after if after is not None and is_hex(after) else None
    low = lo if lo is not None and is_hex(lo) else None
    high = hi if hi is not None and is_hex(hi) else None
    for sys_id in filter(_HEX.fullmatch, ids):
        if (low is not None and sys_id < low) or (high is not None and sys_id > high):
            return PageFault("out_of_range", sys_id)
        if last is not None and sys_id <= last:
            return PageFault("out_of_order", f"{sys_id} after {last}")
        last = sys_id
    return None


def _result(envelope: Mapping[str, Any], kind: type[_Result]) -> _Result:
    result = envelope.get("result")
    if not isinstance(result, kind):
        raise PageFault("no_result", f"`result` is no {_KINDS[kind]}")
    return result


def _status_fault(answer: Answer) -> PageFault:
    status, message = answer.status, platform_message(answer)
    if status == 403:
        return PageFault(_forbidden(message), message)
    if status == 429:
        named = answer.headers.get("retry-after") or answer.headers.get("x-ratelimit-reset")
        return PageFault("rate_limited" if named else "too_many_requests", message)
    if status == 400 and "invalid table" in message.lower():
        return PageFault("unknown_table", message)
    if status in _BY_STATUS:
        return PageFault(_BY_STATUS[status], message)
    if status in _GATEWAY:
        return PageFault("gateway_error", f"status {status}")
    if b"maximum execution time exceeded" in answer.body:
        return PageFault("execution_time", f"status {status}")
    return PageFault(_status_class(status), f"status {status} {message}".strip())


def _forbidden(message: str) -> str:
    if "API level ACL" in message:
        return "forbidden_api"
    if "query records" in message and "read table" not in message:
        return "forbidden_query"
    return "forbidden"


def _status_class(status: int) -> str:
    return {3: "redirect", 4: "bad_request", 5: "server_error"}.get(status // 100, "unexpected_status")


def html_fault(body: bytes) -> PageFault:
    """What a page that came instead of an answer is, by what it says."""
    if b"instance-hibernating-page" in body or b"instance is hibernating" in body:
        return PageFault("hibernating")
    if b"instance is currently offline" in body:
        return PageFault("offline")
    return PageFault("login_page" if _LOGIN.search(body) else "html")


def platform_message(answer: Answer) -> str:
    """The platform's own words for an error, clipped: ``message: detail``; ``""`` where there is no envelope."""
    try:
        envelope = msgspec.json.decode(answer.body.removeprefix(BOM))
    except NOT_JSON:
        return ""
    error = envelope.get("error") if isinstance(envelope, Mapping) else None
    if not isinstance(error, Mapping):
        return ""
    parts = [text for key in ("message", "detail") if isinstance(text := error.get(key), str) and text]
    return " ".join(": ".join(parts).split())[:200]

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import UNSET

from snow_assets.servicenow.exchange import Answer, Request
from snow_assets.servicenow.faults import FAULTS
from snow_assets.servicenow.pages import (
    Cell,
    Decoder,
    DictDecoder,
    PageFault,
    StructDecoder,
    check_count,
    check_page,
    order_fault,
    server_clock,
    total_count,
)

JSON = {"content-type": "application/json;charset=UTF-8"}
REQUEST = Request("/api/now/table/incident", {"sysparm_limit": "2"}, "page")
QUOTA = "Transaction cancelled: maximum execution time exceeded"
A, B, C = "a" * 32, "b" * 32, "c" * 32


def answer(body: Any = None, *, status: int = 200, **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, JSON | {key.replace("_", "-"): value for key, value in headers.items()}, raw)


def page(*sys_ids: str) -> Any:
    return {"result": [{"sys_id": sys_id} for sys_id in sys_ids]}


def html(text: str, status: int = 200) -> Answer:
    return answer(f"<!DOCTYPE html><html>{text}</html>".encode(), status=status, content_type="text/html;charset=UTF-8")


def failure(status: int, message: str, detail: str | None = None) -> Answer:
    return answer({"error": {"message": message, "detail": detail}, "status": "failure"}, status=status)


NOT_PAGES = [
    (Answer(0, {}, b"", fault="connection_reset"), "connection_reset"),
    (answer(b"", status=202), "accepted_202"),
    (answer(b"", status=302, location="https://elsewhere/login.do"), "redirect"),
    (failure(400, "Invalid table nosuch"), "unknown_table"),
    (failure(400, "Pagination not supported", "The requested query is too long"), "bad_request"),
    (html("Request-URI Too Large", 414), "bad_request"),
    (failure(401, "User Not Authenticated", "Required to provide Auth information"), "unauthorized"),
    (failure(403, "User Not Authorized", "Failed API level ACL Validation"), "forbidden_api"),
    (
        failure(403, "Insufficient rights to query records", "Field(s) present in the query do not ..."),
        "forbidden_query",
    ),
    (failure(403, "Insufficient rights to query records", "No permission to read table 'x'"), "forbidden"),
    (failure(404, "No Record found", "Record doesn't exist"), "not_found"),
    (answer(b"", status=429), "too_many_requests"),
    (answer(b"", status=429, retry_after="3"), "rate_limited"),
    (answer(b"", status=429, x_ratelimit_reset="1767225600"), "rate_limited"),
    (failure(500, "Unexpected error"), "server_error"),
    (html("Bad gateway", 502), "gateway_error"),
    (html("Service unavailable", 503), "gateway_error"),
    (answer(b"", status=504), "gateway_error"),
    (failure(500, QUOTA, f"{QUOTA} Check logs"), "execution_time"),
    (answer(page(A) | {"error": {"message": QUOTA, "detail": "..."}, "status": "failure"}), "execution_time"),
    (answer(b'{"result":[{"sys_id":"a"}""],"error":{"message":"' + QUOTA.encode() + b'"}}'), "execution_time"),
    (answer(page(A) | {"error": {"message": "Unexpected"}}), "error_in_200"),
    (html('<body class="instance-hibernating-page">Your instance is hibernating</body>'), "hibernating"),
    (html("Your instance is currently offline"), "offline"),
    (html('<form action="login.do"><input name="user_password"></form>'), "login_page"),
    (html("Something else"), "html"),
    (answer(page(A), content_type="text/xml"), "wrong_content_type"),
    (answer(b""), "empty_body"),
    (answer(b" \n"), "empty_body"),
    (answer(b"null"), "null_body"),
    (answer(b"[]"), "list_body"),
    (answer(b"7"), "not_an_object"),
    (answer(b"{}"), "no_result"),
    (answer({"result": {"sys_id": A}}), "no_result"),
    (answer({"result": None}), "no_result"),
    (answer(json.dumps(page(A, B)).encode()[:-9]), "truncated_json"),
    (answer(b'{"result":[}'), "malformed_json"),
    (answer(json.dumps(page(A)).encode() + b"x"), "malformed_json"),
    (answer({"result": [None]}), "malformed_record"),
    (answer({"result": ["x"]}), "malformed_record"),
    (answer({"result": [{"number": "INC1"}]}), "missing_sys_id"),
    (answer(page("")), "missing_sys_id"),
    (answer({"result": [{"sys_id": {"display_value": "", "value": ""}}]}), "missing_sys_id"),
    (answer(page(A, A)), "duplicate_sys_id"),
    (answer(page(A, B, C)), "too_many_rows"),
]


@pytest.mark.parametrize("decoder", [DictDecoder(), StructDecoder(("number", "sys_id"))], ids=["dicts", "structs"])
@pytest.mark.parametrize(("given", "name"), NOT_PAGES, ids=[f"{name}-{i}" for i, (_, name) in enumerate(NOT_PAGES)])
def test_what_is_no_page_has_a_name(given: Answer, name: str, decoder: Decoder) -> None:
    with pytest.raises(PageFault) as caught:
        check_page(given, REQUEST, decoder)
    assert caught.value.name == name
    assert name in FAULTS


@pytest.mark.parametrize("decoder", [DictDecoder(), StructDecoder(("number", "sys_id"))], ids=["dicts", "structs"])
def test_a_page_may_be_short_empty_or_begin_with_a_byte_order_mark(decoder: Decoder) -> None:
    assert check_page(answer(page(A, B)), REQUEST, decoder).ids == [A, B]
    assert check_page(answer(page()), REQUEST, decoder).ids == []
    assert check_page(answer(b"\xef\xbb\xbf" + json.dumps(page(A)).encode()), REQUEST, decoder).ids == [A]
    assert check_page(Answer(200, {}, json.dumps(page(A)).encode()), REQUEST, decoder).ids == [A]


def test_structs_hold_what_was_sent() -> None:
    decoder = StructDecoder(("number", "caller_id.name", "caller_id", "note", "sys_id"))
    record = {
        "sys_id": {"display_value": A, "value": A},
        "number": "INC1",
        "caller_id.name": {"display_value": "Zoë", "value": None},
        "caller_id": {"link": "https://x/y", "value": B},
        "unasked": "z",
    }
    decoded = decoder.decode(json.dumps({"result": [record]}).encode())
    row = decoded.records[0]
    assert decoded.ids == [A]
    assert (row.f0, row.f1, row.f3) == ("INC1", Cell("Zoë", None, None), UNSET)
    assert row.f2 == Cell(None, B, "https://x/y")
    assert decoder.lacking(decoded.records, "note")
    assert not decoder.lacking(decoded.records, "number")
    assert DictDecoder().lacking([record], "note")


def test_numbers_and_booleans_become_their_json_text() -> None:
    decoder = StructDecoder(("sys_id", "n", "b", "cell", "none"))
    record = {"sys_id": A, "n": 3, "b": True, "cell": {"display_value": 1.5, "value": [1]}, "none": None}
    row = decoder.decode(json.dumps({"result": [record]}).encode()).records[0]
    assert (row.f1, row.f2, row.f3, row.f4) == ("3", "true", Cell("1.5", "[1]", None), None)


def test_a_struct_decoder_needs_sys_id_and_distinct_fields() -> None:
    for fields in (("number",), ("sys_id", "sys_id")):
        with pytest.raises(ValueError, match="sys_id"):
            StructDecoder(fields)


@pytest.mark.parametrize(
    ("ids", "after", "lo", "hi", "name"),
    [
        ([A, B, C], None, None, None, None),
        ([B, C], A, A, C, None),
        ([], A, A, C, None),
        ([B, A], None, None, None, "out_of_order"),
        ([A, B], B, None, None, "repeated_page"),
        ([A], B, None, None, "out_of_order"),
        ([A], None, B, None, "out_of_range"),
        ([A, C], None, None, B, "out_of_range"),
        (["global", A, "X" * 32, B], None, None, None, None),
        ([B, "global", A], None, None, None, "out_of_order"),
        ([A], "global", "legacy", "zzz", None),
        (["global"], "global", None, None, "repeated_page"),
    ],
)
def test_order_and_range(ids: list[str], after: str | None, lo: str | None, hi: str | None, name: str | None) -> None:
    fault = order_fault(ids, after, lo, hi)
    assert (fault.name if fault else None) == name


def test_counts_and_clocks_that_are_none() -> None:
    assert total_count(answer(page(), x_total_count="28124")) == 28124
    assert total_count(answer(page(), x_total_count="28,124")) is None
    assert total_count(answer(page(), x_total_count="-1")) is None
    assert total_count(answer(page())) is None
    noon = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
    assert server_clock(answer(page(), date="Sat, 21 Nov 2026 12:00:00 GMT")) == noon
    assert server_clock(answer(page(), date="yesterday")) is None
    assert server_clock(answer(page())) is None


def test_a_count_is_digits_or_a_fault() -> None:
    assert check_count(answer({"result": {"stats": {"count": "1234"}}})) == 1234
    for stats in ({"count": "many"}, {"count": "-1"}, {}, None):
        with pytest.raises(PageFault) as caught:
            check_count(answer({"result": {"stats": stats}}))
        assert caught.value.name == "malformed_count"
    with pytest.raises(PageFault) as caught:
        check_count(answer({"result": []}))
    assert caught.value.name == "no_result"

"""Every kind of fault as a plain client sees it, and which requests a rule hits."""

from __future__ import annotations

import gzip
import http.client
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from snow_assets.simulator import SimulatorServer
from snow_assets.simulator.fault_kinds import KINDS

from .conftest import Ask, Got, ask

PAGE: dict[str, Any] = {
    "sysparm_query": "ORDERBYsys_id",
    "sysparm_limit": 3,
    "sysparm_offset": 3,
    "sysparm_fields": "sys_id,number",
}
CUT = b'{"result":[{"sys_id":'


def numbers(got: Got) -> str:
    return "".join(row["number"][-1] for row in got.rows)


def status(code: int, part: bytes = b"") -> Callable[[Got], bool]:
    return lambda got: got.status == code and part in got.body


def page(expected: str) -> Callable[[Got], bool]:
    return lambda got: got.status == 200 and numbers(got) == expected


def body(expected: bytes) -> Callable[[Got], bool]:
    return lambda got: (got.status, got.body) == (200, expected)


def html(code: int, part: bytes) -> Callable[[Got], bool]:
    return lambda got: (
        got.status == code and part in got.body and got.headers["Content-Type"] == "text/html;charset=UTF-8"
    )


SEEN: dict[str, Callable[[Got], bool]] = {
    "error_500": status(500, b'"status":"failure"'),
    "html_500": html(500, b"Internal Server Error"),
    "html_502": html(502, b"Bad Gateway"),
    "html_503": html(503, b"Service Unavailable"),
    "html_504": html(504, b"Gateway Timeout"),
    "empty_503": lambda got: (got.status, got.body) == (503, b""),
    "rate_limited_429": lambda got: got.status == 429 and got.headers["Retry-After"] == "1"
    and "X-RateLimit-Reset" in got.headers,
    "overloaded_429": lambda got: got.status == 429 and "Retry-After" not in got.headers,
    "unauthorized_401": status(401, b"User Not Authenticated"),
    "forbidden_403": status(403, b"Failed API level ACL Validation"),
    "query_forbidden_403": status(403, b"Field(s) present in the query"),
    "execution_time_500": status(500, b"Transaction cancelled"),
    "invalid_table_400": status(400, b"Invalid table"),
    "pagination_400": status(400, b"Pagination not supported"),
    "unreadable_table_403": status(403, b"No permission to read table"),
    "scope_403": status(403, b"unscoped api"),
    "not_found_404": status(404, b"No Record found"),
    "html_404": html(404, b"Not Found"),
    "method_405": status(405, b'"status":"failure"'),
    "not_acceptable_406": status(406, b'"status":"failure"'),
    "request_timeout_408": html(408, b"Request Timeout"),
    "too_large_413": html(413, b"Payload Too Large"),
    "uri_too_long_414": html(414, b"Request-URI Too Long"),
    "media_type_415": status(415, b'"status":"failure"'),
    "client_gone_499": lambda got: (got.status, got.body) == (499, b""),
    "html_429": html(429, b"Too Many Requests"),
    "answer": status(200),
    "created_201": lambda got: (got.status, got.body) == (201, b""),
    "no_content_204": lambda got: (got.status, got.body) == (204, b""),
    "execution_time_no_rows": lambda got: page("")(got) and "maximum execution time" in got.json["error"]["message"],
    "error_in_200": lambda got: page("456")(got) and got.json["error"]["message"] == "Unexpected error",
    "failure_in_200": lambda got: page("456")(got) and got.json["status"] == "failure",
    "error_alone_200": lambda got: got.status == 200 and "result" not in got.json and "error" in got.json,
    "dropped_202": lambda got: (got.status, got.body, got.headers["Content-Length"]) == (202, b"", "0"),
    "execution_time_in_200": lambda got: page("4")(got) and "error" in got.json,
    "execution_time_broken": status(200, b'}""],"error":{'),
    "hibernating": html(200, b"instance-hibernating-page"),
    "offline": html(200, b"currently offline"),
    "login_page": html(200, b"user_password"),
    "redirect": lambda got: (got.status, got.headers["Location"]) == (302, "/login.do"),
    "null_body": body(b"null"),
    "list_body": body(b"[]"),
    "empty_body": body(b""),
    "no_result": body(b'{"status":"success"}'),
    "result_null": body(b'{"result":null}'),
    "number_body": body(b"42"),
    "result_object": lambda got: got.json["result"]["number"][-1] == "4",
    "result_twice": lambda got: page("")(got) and got.body.startswith(CUT),
    "xml_body": lambda got: got.status == 200 and got.body.startswith(b"<?xml"),
    "plain_text": body(b"upstream connect error"),
    "gzip_trailing": lambda got: got.body[:2] == b"\x1f\x8b" and got.body.endswith(b"garbage"),
    "not_gzip": lambda got: got.headers["Content-Encoding"] == "gzip" and got.body.startswith(CUT),
    "trailing_bytes": lambda got: got.body.endswith(b"}\x00\x00\x00"),
    "two_documents": lambda got: got.body.endswith(b'}{"result":[]}'),
    "zero_bytes": lambda got: bytes(16) in got.body,
    "wrong_charset": lambda got: b"\xe9" in got.body and b"\xc3\xa9" not in got.body,
    "utf_16": lambda got: got.body.decode("utf-16").startswith(CUT.decode()),
    "deep_json": status(200, b"[" * 100_000),
    "not_a_number": status(200, b":NaN}"),
    "half_character": status(200, b'"\\ud83d"'),
    "numbers": page("456"),
    "doubled_names": lambda got: page("456")(got) and got.body.count(b'"sys_id"') == 6,
    "short_length": lambda got: got.body.startswith(CUT) and len(got.body) == int(got.headers["Content-Length"]),
    "answered_twice": page("456"),
    "head_cut": lambda got: (got.status, got.body) == (200, b""),
    "truncated": lambda got: got.body.startswith(CUT) and not got.body.endswith(b"}"),
    "byte_order_mark": lambda got: got.body.startswith(b"\xef\xbb\xbf{"),
    "content_type": lambda got: page("456")(got) and got.headers["Content-Type"].startswith("text/html"),
    "drip": page("456"),
    "latency": page("456"),
    "short_page": page("45"),
    "lost_rows": page("46"),
    "empty_page": page(""),
    "repeated_page": page("123"),
    "foreign_row": page("451"),
    "tenfold_page": lambda got: len(got.rows) > 3,
    "shifted_page": page("567"),
    "overlapping_page": page("356"),
    "reversed_rows": page("654"),
    "doubled_row": page("4456"),
    "row_without_sys_id": lambda got: page("456")(got) and "sys_id" not in got.rows[2] and "sys_id" in got.rows[1],
    "row_empty_sys_id": lambda got: got.rows[2]["sys_id"] == "",
    "row_null_sys_id": lambda got: got.rows[2]["sys_id"] is None,
    "row_number_sys_id": lambda got: got.rows[2]["sys_id"] == 7,
    "row_list_sys_id": lambda got: got.rows[2]["sys_id"] == ["7"],
    "row_list": lambda got: got.json["result"][2] == [],
    "row_null": lambda got: got.rows[2] is None,
    "row_text": lambda got: got.json["result"][2] == "row",
    "missing_fields": page("456"),
    "count_refused": status(403, b"No permission to read table"),
    "count_malformed": lambda got: page("456")(got) and got.headers["X-Total-Count"] == "many",
    "count_lie": lambda got: page("456")(got) and got.headers["X-Total-Count"] == "8",
    "count_absent": lambda got: page("456")(got) and "X-Total-Count" not in got.headers,
    "count_number": page("456"),
    "wrong_link": lambda got: page("456")(got) and "elsewhere.invalid" in got.headers["Link"],
    "wrong_date": lambda got: page("456")(got) and "Date" not in got.headers,
}  # fmt: skip

PARAMETERS: dict[str, dict[str, Any]] = {"drip": {"bytes_per_second": 2_000}, "latency": {"seconds": 0.01}}

BROKEN: dict[str, tuple[type[Exception], dict[str, Any]]] = {
    "truncated_length": (http.client.IncompleteRead, {}),
    "reset": (ConnectionResetError, {}),
    "hang_up": (http.client.RemoteDisconnected, {}),
    "reset_inside_body": (ConnectionResetError, {}),
    "hang": (TimeoutError, {}),
    "hang_inside": (TimeoutError, {}),
    "broken_gzip": (zlib.error, {}),
    "gzip_cut": (EOFError, {}),
    "no_last_chunk": (http.client.IncompleteRead, {}),
    "bad_chunk": (http.client.IncompleteRead, {}),
    "no_http": (http.client.BadStatusLine, {}),
    "long_header": (http.client.LineTooLong, {}),
}


def test_every_kind_is_seen() -> None:
    assert SEEN.keys() | BROKEN.keys() == KINDS.keys()
    assert all(kind.summary for kind in KINDS.values())


@pytest.mark.parametrize("kind", SEEN)
def test_one_page_is_spoiled_and_the_next_is_not(small: SimulatorServer, kind: str) -> None:
    small.faults.add({"kind": kind, "times": 1, **PARAMETERS.get(kind, {})})
    got = ask(small, "table/incident", **PAGE)
    assert SEEN[kind](got), (got.status, got.headers, got.body)
    assert page("456")(ask(small, "table/incident", **PAGE))
    assert [entry.fault for entry in small.requests] == [kind, ""]


@pytest.mark.parametrize("kind", BROKEN)
def test_the_connection_breaks(small: SimulatorServer, kind: str) -> None:
    error, parameters = BROKEN[kind]
    small.faults.add({"kind": kind, "times": 1, **parameters})
    with pytest.raises(error):
        gzip.decompress(ask(small, "table/incident", timeout=0.3, **PAGE).body)
    assert page("456")(ask(small, "table/incident", **PAGE))


def test_who_hangs_holds_nobody_up(small: SimulatorServer, get: Ask) -> None:
    small.sim.knobs.nodes = small.sim.knobs.node_slots = 1
    small.faults.add(kind="hang", times=2)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            get("table/incident", timeout=0.2)
    assert get("table/incident", timeout=10).status == 200


def test_parameters(small: SimulatorServer, get: Ask) -> None:
    small.faults.add(
        kind="answer", status=418, body="short", content_type="text/plain", headers={"X-Pot": "tea"}, times=1
    )
    got = get("table/incident")
    assert (got.status, got.body, got.headers["X-Pot"]) == (418, b"short", "tea")
    small.faults.clear()
    small.faults.add(kind="lost_rows", lost="05" * 16)
    assert numbers(get("table/incident", **PAGE)) == "46"
    small.faults.clear()
    small.faults.add(kind="count_lie", factor=0.5, delta=0, request="count")
    assert get("stats/incident", sysparm_count="true").json["result"]["stats"]["count"] == "3"
    small.faults.clear()
    small.faults.add(kind="missing_fields", fields="number", every_row=False)
    assert ["number" in row for row in get("table/incident", **PAGE).rows] == [True, True, False]


MATCHES: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({"table": "incident"}, {}, True),
    ({"table": "problem"}, {}, False),
    ({"request": "list"}, {}, True),
    ({"request": "count"}, {}, False),
    ({"path": "/api/now/table"}, {}, True),
    ({"path": "/api/now/stats"}, {}, False),
    ({"query": "ORDERBY"}, {}, True),
    ({"query": "state="}, {}, False),
    ({"sys_id": "05" * 16}, {}, True),
    ({"sys_id": "01" * 16}, {}, False),
    ({"low": "04", "high": "05"}, {}, True),
    ({"low": "07"}, {}, False),
    ({"covers": "05" * 16}, {"sysparm_query": f"sys_id>={'04' * 16}^sys_id<{'06' * 16}", "sysparm_offset": 0}, True),
    ({"covers": "07" * 16}, {"sysparm_query": f"sys_id>={'04' * 16}^sys_id<{'06' * 16}", "sysparm_offset": 0}, False),
    ({"offset": 3}, {}, True),
    ({"offset": 0}, {}, False),
    ({"narrow": True}, {"sysparm_fields": "sys_id"}, True),
    ({"narrow": True}, {}, False),
    ({"narrow": False}, {}, True),
    ({"fresh": True}, {}, True),
    ({"fresh": False}, {}, False),
    ({"first": True}, {}, True),
    ({"first": True}, {"sysparm_no_count": "true"}, False),
    ({"probability": 0.0}, {}, False),
    ({"after": 1}, {}, False),
]


@pytest.mark.parametrize(("match", "params", "hit"), MATCHES)
def test_what_a_rule_hits(small: SimulatorServer, match: dict[str, Any], params: dict[str, Any], hit: bool) -> None:
    small.faults.add({"kind": "error_500", **match})
    assert (ask(small, "table/incident", **{**PAGE, **params}).status == 500) is hit


def test_how_often_a_rule_hits(small: SimulatorServer, get: Ask) -> None:
    small.faults.add(kind="error_500", after=2, every=3, times=2)
    statuses = [get("table/incident", sysparm_limit=1).status for _ in range(12)]
    assert [at for at, code in enumerate(statuses) if code == 500] == [2, 5]
    rule = small.faults.rules()[0]
    assert (rule.matched, rule.hits) == (12, 2)


def test_chance_is_seeded(small: SimulatorServer, get: Ask) -> None:
    runs = []
    for _ in range(2):
        small.faults.clear()
        small.faults.add(kind="error_500", probability=0.5, seed=7)
        runs.append([get("table/incident", sysparm_limit=1).status for _ in range(20)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 500}


def test_faults_over_http(small: SimulatorServer) -> None:
    def control(method: str, body: str | None = None, **params: Any) -> Any:
        return ask(small, "/simulator/faults", method=method, login="", body=body, **params)

    control("POST", '{"kind": "html_503", "times": 1}')
    control("POST", "- kind: html_502\n- {kind: drip, table: problem}\n")
    active = control("GET").json["faults"]
    assert [rule["kind"] for rule in active] == ["html_503", "html_502", "drip"]
    control("DELETE", id=active[1]["id"])
    assert ask(small, "table/incident").status == 503
    assert control("GET").json["faults"][0]["hits"] == 1
    assert control("DELETE").json == {"faults": []}
    wrong = control("POST", '{"kind": "html_599"}')
    assert (wrong.status, wrong.error[0]) == (400, "Invalid fault")
    log = ask(small, "/simulator/requests", login="", last=1).json
    assert log["total"] == 1
    assert (log["requests"][0]["status"], log["requests"][0]["fault"]) == (503, "html_503")


def test_rules_of_a_file(small: SimulatorServer, tmp_path: Any) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text("faults:\n  - kind: html_503\n    table: incident\n")
    small.faults.load(file)
    assert ask(small, "table/incident").status == 503
    file.write_text(json.dumps([{"kind": "html_503", "tabel": "incident"}]))
    with pytest.raises(ValueError, match="unknown key 'tabel'"):
        small.faults.load(file)
    file.write_text("just text")
    with pytest.raises(ValueError, match="list of maps"):
        small.faults.load(file)


def test_a_fault_may_last_for_a_while(small: SimulatorServer, get: Ask) -> None:
    small.faults.add(kind="html_503", lasting=0.2)
    statuses = []
    while 200 not in statuses:
        statuses.append(get("table/incident", sysparm_limit=1).status)
    assert statuses[0] == 503
    assert get("table/incident", sysparm_limit=1).status == 200

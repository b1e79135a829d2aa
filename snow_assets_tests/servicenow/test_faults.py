"""Every fault of the simulator, once, at every stage of a reading: nothing is lost and the fault is counted by name."""

from __future__ import annotations

from typing import Any

import pytest

from snow_assets.errors import (
    CredentialsError,
    ForbiddenError,
    HostError,
    InstanceUnavailable,
    QueryError,
    RequestFailed,
    SnowError,
)
from snow_assets.servicenow import account
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.exchange import Page, Tally
from snow_assets.servicenow.fault_log import LOGGER, FaultLog
from snow_assets.servicenow.faults import FAULTS
from snow_assets.servicenow.pages import StructDecoder
from snow_assets.servicenow.proof import read_range
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.reading import Reading
from snow_assets.simulator import SimulatorServer
from snow_assets.simulator.fault_kinds import KINDS
from snow_assets_tests.servicenow.awaited import AwaitedClient
from snow_assets_tests.servicenow.conftest import ClientFactory

# kind of the simulator -> names in our table of which one is counted
TRANSIENT: dict[str, set[str]] = {
    "error_500": {"server_error"},
    "html_500": {"server_error"},
    "html_502": {"gateway_error"},
    "html_503": {"gateway_error"},
    "html_504": {"gateway_error"},
    "empty_503": {"gateway_error"},
    "rate_limited_429": {"rate_limited"},
    "overloaded_429": {"too_many_requests"},
    "unauthorized_401": {"unauthorized"},
    "forbidden_403": {"forbidden_api"},
    "execution_time_500": {"execution_time"},
    "execution_time_in_200": {"execution_time"},
    "execution_time_broken": {"execution_time"},
    "request_timeout_408": {"gateway_error"},
    "html_429": {"too_many_requests"},
    "client_gone_499": {"gateway_error"},
    "created_201": {"unexpected_status"},
    "no_content_204": {"unexpected_status"},
    "execution_time_no_rows": {"execution_time"},
    "error_in_200": {"error_in_200"},
    "failure_in_200": {"error_in_200"},
    "error_alone_200": {"error_in_200"},
    "number_body": {"not_an_object"},
    "xml_body": {"malformed_json"},
    "plain_text": {"malformed_json"},
    "gzip_cut": {"truncated_json", "malformed_json", "empty_body"},
    "not_gzip": {"broken_gzip"},
    "trailing_bytes": {"malformed_json"},
    "two_documents": {"malformed_json"},
    "zero_bytes": {"malformed_json"},
    "utf_16": {"malformed_json"},
    "short_length": {"truncated_json"},
    "no_last_chunk": {"truncated_body"},
    "bad_chunk": {"truncated_body"},
    "no_http": {"connection_reset"},
    "head_cut": {"empty_body"},
    "long_header": {"transport"},
    "dropped_202": {"accepted_202"},
    "hibernating": {"hibernating"},
    "offline": {"offline"},
    "login_page": {"login_page"},
    "redirect": {"redirect"},
    "null_body": {"null_body"},
    "list_body": {"list_body"},
    "empty_body": {"empty_body"},
    "no_result": {"no_result"},
    "result_null": {"no_result"},
    "truncated": {"truncated_json"},
    "truncated_length": {"truncated_body", "connection_reset"},
    "broken_gzip": {"broken_gzip"},
    "content_type": {"html"},
    "reset": {"connection_reset"},
    "hang_up": {"connection_reset"},
    "reset_inside_body": {"connection_reset", "truncated_body"},
    "hang": {"timeout"},
    "hang_inside": {"timeout", "too_slow"},
    "drip": {"too_slow"},
}
# These change the rows of a page; a count has none.
OF_ROWS: dict[str, set[str]] = {
    "foreign_row": {"out_of_range", "out_of_order", "duplicate_sys_id"},
    "reversed_rows": {"out_of_order"},
    "tenfold_page": {"too_many_rows"},
    "result_object": {"no_result"},
    "row_empty_sys_id": {"missing_sys_id"},
    "row_null_sys_id": {"missing_sys_id"},
    "row_number_sys_id": {"missing_sys_id"},
    "row_list_sys_id": {"missing_sys_id"},
    "row_list": {"malformed_record"},
    "wrong_charset": {"malformed_json"},
    "deep_json": {"malformed_json"},
    "not_a_number": {"malformed_json"},
    "half_character": {"truncated_json"},
    "doubled_row": {"duplicate_sys_id"},
    "row_without_sys_id": {"missing_sys_id"},
    "row_null": {"malformed_record"},
    "row_text": {"malformed_record"},
}
# Legal answers, or ones that only a proof can see through.
HARMLESS = {
    "byte_order_mark", "latency", "count_absent", "count_malformed", "wrong_date", "gzip_trailing", "numbers",
    "doubled_names", "answered_twice", "wrong_link", "count_number",
}  # fmt: skip
LEFT_TO_THE_PROOF = {
    "short_page", "lost_rows", "empty_page", "repeated_page", "missing_fields", "count_lie", "count_refused",
    "result_twice", "shifted_page", "overlapping_page",
}  # fmt: skip
FATAL = {
    "query_forbidden_403", "invalid_table_400", "pagination_400", "unreadable_table_403", "scope_403", "not_found_404",
    "html_404", "method_405", "not_acceptable_406", "too_large_413", "uri_too_long_414", "media_type_415",
}  # fmt: skip
PARAMETERS: dict[str, dict[str, Any]] = {
    "rate_limited_429": {"retry_after": 0},
    "drip": {"bytes_per_second": 200},
    "latency": {"seconds": 0.01},
}
QUICK = {"timeout": (2.0, 1.5)}  # for faults that time out
PATIENT = {"timeout": (30.0, 30.0)}  # for all others: a busy machine must not add a time-out of its own
HANGS = {"hang", "hang_inside", "drip"}  # cost a time-out each: once on a page in `make test`, elsewhere among the slow
FIELDS = ("sys_id", "number", "caller_id", "description")


def waiting(kind: str) -> dict[str, tuple[float, float]]:
    """How long a client waits where this fault is to be met."""
    return QUICK if kind in HANGS else PATIENT


def read(client: Client | AwaitedClient, tally: Tally) -> list[str]:
    """The sys_ids of all incidents, through the range reader."""
    reading = Reading("incident", EncodedQuery(), FIELDS, "all", 50, StructDecoder(FIELDS), client.policy)
    pages: list[Page] = []
    client.run(read_range(reading, None, None, tally), pages.append, tally)
    return [sys_id for page in pages for sys_id in page.ids]


def truth(instance: SimulatorServer) -> list[str]:
    return sorted(row["sys_id"] for row in instance.sim.rows("incident"))


def rule(kind: str, **more: Any) -> dict[str, Any]:
    known = {name: value for name, value in PARAMETERS.get(kind, {}).items() if name in KINDS[kind].parameters}
    return {"kind": kind, **known, **more}


def test_every_kind_of_fault_is_accounted_for() -> None:
    others = {"answer"}  # any answer at all
    assert set(TRANSIENT) | set(OF_ROWS) | HARMLESS | LEFT_TO_THE_PROOF | FATAL | others == set(KINDS)
    assert set().union(*TRANSIENT.values(), *OF_ROWS.values()) <= set(FAULTS)


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        pytest.param(kind, after, id=f"{kind}-{name}", marks=pytest.mark.slow if kind in HANGS and after else ())
        for kind in sorted(TRANSIENT | OF_ROWS)
        for after, name in ((0, "first-page"), (3, "later-page"))
    ],
)
def test_a_fault_of_one_page_loses_nothing(
    kind: str, after: int, instance: SimulatorServer, client_of: ClientFactory
) -> None:
    client = client_of(**waiting(kind))
    client.get_count("incident")  # so that the credentials are known to be good
    instance.faults.add(rule(kind, request="list", narrow=False, after=after, times=1))
    tally = Tally()
    ids = read(client, tally)
    assert ids == truth(instance)
    assert set(tally.faults) & (TRANSIENT | OF_ROWS)[kind], dict(tally.faults)
    assert sum(tally.faults.values()) == 1


@pytest.mark.parametrize("kind", sorted(HARMLESS))
def test_a_harmless_oddity_costs_nothing(kind: str, instance: SimulatorServer, client_of: ClientFactory) -> None:
    instance.faults.add(rule(kind, **({"request": "list"} if kind.startswith("count_") else {})))
    tally = Tally()
    assert read(client_of(**waiting(kind)), tally) == truth(instance)
    assert not tally.faults


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.slow if kind in HANGS - {"hang"} else ()) for kind in sorted(TRANSIENT)],
)
def test_a_fault_of_a_count_is_tried_again(kind: str, instance: SimulatorServer, client_of: ClientFactory) -> None:
    client = client_of(**waiting(kind))
    client.get_record("incident", truth(instance)[0])
    instance.faults.add(rule(kind, request="count", times=1))
    if kind == "drip":  # a count is so short that it is through in time
        assert client.get_count("incident") == 300
        return
    tally = Tally()
    assert client.run(account.count("incident", EncodedQuery(), client.policy, tally)) == 300
    assert set(tally.faults) & TRANSIENT[kind]


@pytest.mark.parametrize(
    ("kind", "error", "requests"),
    [
        ("error_500", RequestFailed, 3),
        ("null_body", RequestFailed, 3),
        ("truncated", RequestFailed, 3),
        ("html_503", InstanceUnavailable, 4),  # the last asks whether the instance is there at all
        ("hibernating", InstanceUnavailable, 4),
        ("reset", RequestFailed, 4),
        ("login_page", CredentialsError, 2),
        ("redirect", HostError, 2),
        ("unauthorized_401", CredentialsError, 2),
        ("forbidden_403", ForbiddenError, 2),
        ("query_forbidden_403", ForbiddenError, 1),
    ],
)
def test_a_fault_that_lasts_ends_by_name_and_in_bounded_time(
    kind: str, error: type[SnowError], requests: int, instance: SimulatorServer, client_of: ClientFactory
) -> None:
    client = client_of(max_retries=2)
    client.get_count("incident")
    instance.faults.add(rule(kind, request="record"))
    instance.requests.clear()
    with pytest.raises(error) as caught:
        client.get_record("incident", truth(instance)[0])
    assert "incident" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(instance.requests) == requests


def test_an_unknown_table_and_a_bad_request_name_themselves(client: Client) -> None:
    with pytest.raises(SnowError, match="nosuch"):
        client.get_count("nosuch")
    with pytest.raises(QueryError):
        client.get_count("incident", "state=1^^active=true")


def test_faults_are_logged_by_name_and_do_not_flood(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", LOGGER)
    log = FaultLog()
    for number in range(10_000):
        log.met("null_body", "null_body", f"page {number} of incident")
    log.met("empty_body", "empty_body", "page 1 of problem")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3 + 4 + 1
    assert lines[0] == "page 0 of incident: null_body"
    assert lines[-2] == "page 9999 of incident: null_body; null_body for the 10,000th time"
    assert lines[-1] == "page 1 of problem: empty_body"

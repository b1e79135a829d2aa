from __future__ import annotations

import json
from dataclasses import replace

import pytest

from snow_assets.errors import (
    CredentialsError,
    ForbiddenError,
    HostError,
    InstanceUnavailable,
    QueryError,
    RequestFailed,
    SnowError,
    UnknownTableError,
)
from snow_assets.servicenow.exchange import Answer, Procedure, Request, Send, Tally, Wait
from snow_assets.servicenow.faults import FAULTS
from snow_assets.servicenow.pages import PageFault, check_object, check_status
from snow_assets.servicenow.retry import RetryPolicy, TooHeavy, fetch, named_wait

PATH = "/api/now/table/incident"
QUERY = "active=true^sys_id>=aa^sys_id<=bb^NQx=1^sys_id>=aa^sys_id<=bb^ORDERBYsys_id"
REQUEST = Request(PATH, {"sysparm_query": QUERY, "sysparm_limit": "100"}, "page")
GOOD = Answer(200, {"content-type": "application/json"}, b'{"result":{"x":"1"}}', seconds=0.5)
POLICY = RetryPolicy(max_retries=3, retry_backoff=1.0, max_wait=100.0, draw=lambda: 1.0)


def status(code: int, text: str = "", **headers: str) -> Answer:
    body = json.dumps({"error": {"message": text, "detail": None}}).encode() if text else b""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return Answer(code, {"content-type": "application/json"} | named, body)


def fault(name: str) -> Answer:
    return Answer(0, {}, b"", fault=name)


class Outcome:
    """What ``fetch`` did with a list of answers."""

    def __init__(self, *answers: Answer, policy: RetryPolicy = POLICY, can_halve: bool = False) -> None:
        self.waits: list[Wait] = []
        self.sent = 0
        self.tally = Tally()
        self.result: object = None
        self.error: SnowError | TooHeavy | None = None
        todo = list(answers)
        procedure = fetch(REQUEST, check_object, policy, self.tally, can_halve=can_halve)
        reply: Answer | None = None
        try:
            while True:
                step = procedure.send(reply)
                reply = None
                if isinstance(step, Send):
                    self.sent += 1
                    reply = todo.pop(0) if len(todo) > 1 else todo[0]  # the last answer is given for good
                elif isinstance(step, Wait):
                    self.waits.append(step)
        except StopIteration as stop:
            self.result = stop.value
        except (SnowError, TooHeavy) as error:
            self.error = error


def drive(procedure: Procedure[None]) -> None:
    """Answer every request with what would be a good page."""
    reply: Answer | None = None
    while True:
        reply = GOOD if isinstance(procedure.send(reply), Send) else None


def test_backoff_doubles_and_the_result_of_the_check_is_returned() -> None:
    outcome = Outcome(fault("connection_reset"), status(500), status(503), GOOD)
    assert outcome.result == {"x": "1"}
    assert [wait.seconds for wait in outcome.waits] == [1.0, 2.0, 4.0]
    assert {wait.kind for wait in outcome.waits} == {"backoff"}
    assert not any(wait.shared for wait in outcome.waits)
    tally = outcome.tally
    assert (tally.requests, tally.retries) == (4, 3)
    assert tally.faults == {"connection_reset": 1, "server_error": 1, "gateway_error": 1}
    assert tally.purposes == {"page": 4}
    assert dict(tally.waited) == {"answer": 0.5, "backoff": 7.0}
    assert tally.bytes == len(GOOD.body)


def test_jitter_is_full() -> None:
    none = Outcome(status(500), GOOD, policy=replace(POLICY, draw=lambda: 0.0))
    assert [wait.seconds for wait in none.waits] == [0.0]


@pytest.mark.parametrize(
    "name", [name for name, row in FAULTS.items() if row.retry and not row.fatal and not row.pause and name != "dns"]
)
def test_every_fault_that_may_pass_is_tried_max_retries_times_and_no_more(name: str) -> None:
    def check(_: Answer) -> None:
        raise PageFault(name)

    tally = Tally()
    procedure = fetch(REQUEST, check, POLICY, tally)
    with pytest.raises(InstanceUnavailable if FAULTS[name].outage else RequestFailed) as caught:
        drive(procedure)
    assert tally.requests == 4
    assert tally.faults == {name: 4}
    assert "page of incident, sys_id>=aa sys_id<=bb, limit 100" in str(caught.value)
    if isinstance(caught.value, RequestFailed):
        assert caught.value.fault == name


@pytest.mark.parametrize(
    ("answer", "kind", "key"),
    [
        (status(403, "User Not Authorized"), ForbiddenError, "table"),
        (status(403, "Insufficient rights to query records"), ForbiddenError, "table"),
        (status(400, "Invalid table incident"), UnknownTableError, "table"),
        (status(400, "Invalid value given for sysparm_limit"), QueryError, "table"),
        (status(404), UnknownTableError, "table"),
        (fault("unknown_host"), HostError, ""),
        (fault("tls_certificate"), HostError, ""),
    ],
)
def test_what_no_retry_can_help_stops_at_once(answer: Answer, kind: type[SnowError], key: str) -> None:
    outcome = Outcome(answer)
    assert outcome.sent == 1
    assert type(outcome.error) is kind
    assert outcome.error.key == key
    assert outcome.error.hint


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (status(401, "User Not Authenticated"), CredentialsError),
        (status(302), HostError),
        (status(403, "Failed API level ACL Validation"), ForbiddenError),
        (Answer(200, {"content-type": "text/html"}, b"<input name=user_password>"), CredentialsError),
    ],
)
def test_what_a_new_session_may_cure_is_tried_once_more(answer: Answer, kind: type[SnowError]) -> None:
    assert Outcome(answer, GOOD).result == {"x": "1"}
    lasting = Outcome(answer)
    assert lasting.sent == 2
    assert type(lasting.error) is kind


def test_a_session_that_ends_during_an_outage_is_not_taken_for_a_wrong_password() -> None:
    outcome = Outcome(status(503), status(401), GOOD)
    assert outcome.result == {"x": "1"}


def test_a_name_server_that_never_answers_is_a_matter_of_the_host() -> None:
    outcome = Outcome(fault("dns"))
    assert outcome.sent == 4
    assert type(outcome.error) is HostError


def test_a_query_acl_is_named() -> None:
    error = Outcome(status(403, "Insufficient rights to query records")).error
    assert isinstance(error, ForbiddenError)
    assert "query_range" in error.hint


@pytest.mark.parametrize("name", [name for name, row in FAULTS.items() if row.halve])
def test_a_heavy_page_is_given_back_at_once(name: str) -> None:
    if name in ("truncated_json", "execution_time"):
        text = b'{"result":[' if name == "truncated_json" else b'{"result":[}, maximum execution time exceeded'
        answer = Answer(200, {"content-type": "application/json"}, text)
    else:
        answer = fault(name)
    outcome = Outcome(answer, can_halve=True)
    assert isinstance(outcome.error, TooHeavy)
    assert outcome.sent == 1
    assert outcome.waits == []
    assert outcome.tally.faults == {name: 1}
    assert Outcome(answer).sent == 4


def test_a_page_that_always_breaks_is_given_back_at_last() -> None:
    outcome = Outcome(status(500, "Unexpected error"), can_halve=True)
    assert isinstance(outcome.error, TooHeavy)
    assert outcome.sent == 4


def test_a_named_time_is_waited_for_by_all_and_uses_up_no_retry() -> None:
    outcome = Outcome(*[status(429, retry_after="7")] * 5, GOOD)
    assert outcome.result == {"x": "1"}
    assert [(wait.kind, wait.shared) for wait in outcome.waits] == [("rate_limit", True)] * 5
    assert all(7.0 <= wait.seconds <= 8.0 for wait in outcome.waits)
    assert "rate_limit" not in outcome.tally.waited, "the driver counts it, in every thread that waits"


def test_a_503_may_name_a_time_too() -> None:
    outcome = Outcome(status(503, retry_after="5"), GOOD)
    assert outcome.waits[0].shared
    assert outcome.waits[0].seconds >= 5.0


def test_a_full_queue_is_waited_out_by_the_thread_alone() -> None:
    outcome = Outcome(*[status(429)] * 5, GOOD)
    assert outcome.result == {"x": "1"}
    assert [(wait.kind, wait.shared) for wait in outcome.waits] == [("overload", False)] * 5


def test_a_wait_beyond_max_wait_ends_resumable() -> None:
    outcome = Outcome(status(429, retry_after="1743"))
    assert isinstance(outcome.error, InstanceUnavailable)
    assert outcome.error.key == "max_wait"
    assert outcome.sent == 1


def test_waiting_for_a_busy_instance_is_bounded_as_a_whole() -> None:
    outcome = Outcome(status(429))
    assert isinstance(outcome.error, InstanceUnavailable)
    assert sum(wait.seconds for wait in outcome.waits) <= POLICY.max_wait


@pytest.mark.parametrize("answer", [status(429), status(429, retry_after="0")], ids=["no-time", "zero"])
def test_a_busy_instance_is_never_asked_again_without_a_pause(answer: Answer) -> None:
    outcome = Outcome(*[answer] * 200, GOOD, policy=replace(POLICY, retry_backoff=0.0))
    assert isinstance(outcome.error, InstanceUnavailable)
    assert outcome.error.key == "max_wait"
    assert [wait.seconds for wait in outcome.waits[:5]] == [0.1, 0.2, 0.4, 0.8, 1.0]


def test_however_often_an_instance_is_busy_the_end_is_one_of_our_errors() -> None:
    patient = replace(POLICY, max_wait=86_400.0)
    outcome = Outcome(status(429), policy=patient)
    assert outcome.sent > 1_100
    assert isinstance(outcome.error, InstanceUnavailable)
    failing = Outcome(status(500), policy=replace(POLICY, max_retries=1_100))
    assert isinstance(failing.error, RequestFailed)


def test_times_are_read_by_the_instances_own_clock() -> None:
    date = "Sat, 21 Nov 2026 12:00:00 GMT"
    assert named_wait(status(429, retry_after="30")) == 30.0
    assert named_wait(status(429, retry_after="Sat, 21 Nov 2026 12:01:00 GMT", date=date)) == 60.0
    assert named_wait(status(429, retry_after="Sat, 21 Nov 2026 11:00:00 GMT", date=date)) == 0.0
    assert named_wait(status(429, x_ratelimit_reset="1795262490", date=date)) == 90.0
    assert named_wait(status(200, x_ratelimit_reset="1795262490", date=date)) is None
    assert named_wait(status(429, retry_after="soon")) is None
    assert named_wait(status(429)) is None


def test_no_retries_means_one_request() -> None:
    policy = replace(POLICY, max_retries=0)
    assert Outcome(status(500), policy=policy).sent == 1
    assert Outcome(status(401), policy=policy).sent == 1


def test_the_table_of_faults_is_consistent() -> None:
    for name, row in FAULTS.items():
        assert row.name == name
        assert row.recognised_by
        assert row.retry or row.fatal, f"{name} is neither retried nor fatal"
        assert not (row.halve and row.halve_at_last)
    with pytest.raises(PageFault):
        check_status(fault("timeout"))

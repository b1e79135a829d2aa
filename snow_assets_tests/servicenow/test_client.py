from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from snow_assets.config import Credentials
from snow_assets.errors import Cancelled, ConfigError, ForbiddenError, QueryError, RequestFailed, SnowError
from snow_assets.servicenow import account
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.exchange import DisplayValue, Tally
from snow_assets.simulator import HiddenRows, SimulatorServer
from snow_assets_tests.servicenow.conftest import ADMIN, ClientFactory
from snow_assets_tests.servicenow.scripted import Asked, Connection, scripted


def truth(instance: SimulatorServer, keep: Callable[[Mapping[str, str]], bool] = lambda _: True) -> list[str]:
    return sorted(row["sys_id"] for row in instance.sim.rows("incident") if keep(row))


def test_a_count_is_of_what_matches_whatever_its_order(client: Client, instance: SimulatorServer) -> None:
    active = len(truth(instance, lambda row: row["active"] in ("1", "true")))
    assert 0 < active < 300
    assert client.get_count("incident") == 300
    assert client.get_count("incident", "active=true^ORDERBYDESCnumber") == active
    assert not any("ORDERBY" in entry.query for entry in instance.requests)


def test_where_the_aggregate_api_is_refused_the_header_counts(client: Client, instance: SimulatorServer) -> None:
    instance.sim.knobs.denied_aggregates = {"incident"}
    active = len(truth(instance, lambda row: row["active"] in ("1", "true")))
    assert client.get_count("incident", "active=true") == active


def test_where_nothing_counts_the_refusal_is_told(client: Client, instance: SimulatorServer) -> None:
    instance.sim.knobs.denied_aggregates = {"incident"}
    instance.faults.add(kind="count_absent")
    with pytest.raises(ForbiddenError):
        client.get_count("incident")


def test_one_record(client: Client, instance: SimulatorServer) -> None:
    sys_id = truth(instance)[0]
    assert client.get_record("incident", sys_id, fields=["sys_id", "number"], display_value="all")["sys_id"] == {
        "display_value": sys_id,
        "value": sys_id,
    }
    assert client.get_record("incident", sys_id)["sys_id"] == sys_id
    with pytest.raises(RequestFailed) as caught:
        client.get_record("incident", "0" * 32)
    assert caught.value.fault == "not_found"


@pytest.mark.parametrize("display_value", ["true", "false", "all"])
@pytest.mark.parametrize("method", ["get_records", "concurrent_get_records"])
def test_all_records_that_match_come_once(
    method: str, display_value: DisplayValue, client: Client, instance: SimulatorServer
) -> None:
    query = "active=true^ORDERBYDESCnumber^NQactive=false^priority=1"
    found = list(
        getattr(client, method)("incident", query, fields=["number", "caller_id"], display_value=display_value)
    )
    ids = [row["sys_id"]["value"] if display_value == "all" else row["sys_id"] for row in found]
    expected = truth(
        instance,
        lambda row: row["active"] in ("1", "true") or (row["active"] in ("0", "false") and row["priority"] == "1"),
    )
    assert sorted(ids) == expected
    assert all(set(row) == {"sys_id", "number", "caller_id"} for row in found)
    if method == "get_records":
        assert ids == expected


def test_all_fields_come_when_none_are_named(client: Client) -> None:
    record = next(iter(client.get_records("incident")))
    assert {"number", "short_description", "sys_created_on", "caller_id"} <= set(record)


def test_hidden_rows_are_passed_over(client: Client, instance: SimulatorServer) -> None:
    hidden = set(truth(instance)[40:160])
    instance.sim.knobs.hidden_rows = [HiddenRows("incident", sys_ids=frozenset(hidden))]
    for records in (client.get_records("incident"), client.concurrent_get_records("incident")):
        assert {row["sys_id"] for row in records} == set(truth(instance)) - hidden


@pytest.mark.parametrize("method", ["get_records", "concurrent_get_records"])
def test_a_session_that_ends_after_the_count_is_not_taken_for_a_wrong_password(
    method: str, client: Client, instance: SimulatorServer
) -> None:
    instance.faults.add(kind="unauthorized_401", request="list", times=1)
    assert len(list(getattr(client, method)("incident", page_size=1000))) == 300


def test_threads_have_sessions_of_their_own(client_of: ClientFactory, instance: SimulatorServer) -> None:
    instance.sim.knobs.latency = 0.02
    client = client_of(page_size=10, max_workers=4)
    assert len(list(client.concurrent_get_records("incident"))) == 300
    pages = [entry for entry in instance.requests if entry.params.get("sysparm_limit") in {"10", "11"}]
    assert len({entry.session for entry in pages}) > 1


def test_an_error_in_a_thread_reaches_the_consumer(client: Client, instance: SimulatorServer) -> None:
    instance.faults.add(kind="query_forbidden_403", request="list", after=2)
    with pytest.raises(ForbiddenError):
        list(client.concurrent_get_records("incident", page_size=10))


def test_what_cannot_be_asked_is_refused_before_anything_is_sent(client: Client, instance: SimulatorServer) -> None:
    calls: list[tuple[Callable[[], object], type[SnowError]]] = [
        (lambda: client.get_records("incident", "state=1^^x=2"), QueryError),
        (lambda: client.get_records("incident/../sys_user"), ConfigError),
        (lambda: client.get_records("incident", page_size=0), ConfigError),
        (lambda: client.get_records("incident", page_size=10_001), ConfigError),
        (lambda: client.concurrent_get_records("incident", max_workers=0), ConfigError),
        (lambda: client.get_record("incident", ""), ConfigError),
        (lambda: client.get_record("incident", "1", fields="number"), ConfigError),
        (lambda: client.get_records("incident", fields="number"), ConfigError),
        (lambda: client.get_records("incident", fields=["number,state"], absent_fields="skip"), ConfigError),
        (lambda: client.get_records("incident", limit=-1), ConfigError),
        (lambda: client.get_records("incident", cursor="sys_updated_on^", since=datetime.now(UTC)), ConfigError),
        (lambda: client.get_count(""), ConfigError),
    ]
    for call, error in calls:
        with pytest.raises(error):
            call()
    assert len(instance.requests) == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"page_size": 0},
        {"page_size": 10_001},
        {"max_workers": 0},
        {"max_retries": -1},
        {"instance_url": "ftp://x"},
        {"timeout": 0},
        {"timeout": (1.0, -1.0)},
        {"ca_bundle": "no/such/file.pem"},
        {"proxy": "socks5://MARKED@proxy"},
    ],
)
def test_settings_that_cannot_work_are_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Client(**{"instance_url": "https://acme.service-now.com", "credentials": ADMIN, **settings})
    assert caught.value.key in {*settings, "url"}
    assert caught.value.hint
    assert "MARKED" not in str(caught.value)


def test_cancelling_ends_what_waits_in_every_thread() -> None:
    reached = threading.Event()

    def script(_: Asked, connection: Connection) -> None:
        reached.set()
        connection.answer(429, Retry_After="600")

    reason = ForbiddenError("no right", key="table", value="incident")
    with (
        scripted(script) as server,
        Client(server.url, ADMIN, max_wait=3600) as client,
        ThreadPoolExecutor(4) as pool,
    ):
        asked = [pool.submit(client.get_count, "incident") for _ in range(4)]
        assert reached.wait(10)
        client.cancel(reason)
        for future in asked:
            with pytest.raises(Cancelled, match="no right"):
                future.result(10)
        with pytest.raises(Cancelled):
            client.get_count("incident")


def test_one_429_with_a_time_pauses_all_threads() -> None:
    answered: list[float] = []

    def script(_: Asked, connection: Connection) -> None:
        answered.append(time.monotonic())
        if len(answered) == 1:
            connection.answer(429, Retry_After="1")
        else:
            connection.answer(200, b'{"result":{"stats":{"count":"7"}}}')

    with scripted(script) as server, Client(server.url, ADMIN, retry_backoff=0.01) as client:
        with ThreadPoolExecutor(4) as pool:
            first = pool.submit(client.get_count, "incident")
            while not client.governor.snapshot()["pauses"]:
                time.sleep(0.01)
            assert [future.result(30) for future in [pool.submit(client.get_count, "incident") for _ in range(3)]]
            assert first.result(30) == 7
        assert min(answered[1:]) - answered[0] >= 0.9
        assert client.governor.snapshot()["pauses"] == 1


def test_a_run_tells_what_it_cost_and_why_it_waited(client: Client, instance: SimulatorServer) -> None:
    instance.faults.add(kind="html_503", times=2)
    tally = Tally()
    client.run(account.clock(client.policy, tally), tally=tally)
    assert (tally.requests, tally.retries) == (3, 2)
    assert tally.faults == {"gateway_error": 2}
    assert tally.purposes == {"clock": 3}
    assert tally.bytes > 0
    assert {"answer", "backoff"} <= set(tally.waited)


def test_a_client_shows_no_secret() -> None:
    client = Client("https://acme.service-now.com", Credentials.model_validate({"token": "MARKED"}))
    assert repr(client) == "<Client of https://acme.service-now.com, bearer>"
    assert "MARKED" not in repr(vars(client))


def test_a_closed_client_sends_nothing(client: Client, instance: SimulatorServer) -> None:
    client.close()
    with pytest.raises(SnowError):
        client.get_count("incident")
    assert len(instance.requests) == 0

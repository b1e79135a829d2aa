"""Every fault of the simulator, met by threads and by asyncio: the same name, the same cost, the same rows."""

from __future__ import annotations

from typing import Any

import pytest

from snow_assets.config import Credentials
from snow_assets.errors import SnowError
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.exchange import Tally
from snow_assets.simulator import SimulatorServer
from snow_assets_tests.servicenow.awaited import AwaitedClient
from snow_assets_tests.servicenow.conftest import ADMIN
from snow_assets_tests.servicenow.test_faults import HANGS, HARMLESS, OF_ROWS, TRANSIENT, read, rule, truth, waiting

# The body goes on after the length that was told. aiohttp drops the whole answer where that comes in one piece.
TOLD_OTHERWISE = {"short_length": {"truncated_json", "connection_reset"}}
# These end as luck has it: what was sent before a reset may be dropped with it.
EITHER_WAY = {"reset_inside_body": TRANSIENT["reset_inside_body"], "truncated_length": TRANSIENT["truncated_length"]}


def met(kind: str, make: type[Client | AwaitedClient], instance: SimulatorServer) -> tuple[list[str], Tally]:
    """What is read where the fault strikes once, on a later page, and what it cost."""
    instance.faults.clear()
    settings: dict[str, Any] = waiting(kind)
    with make(instance.url, ADMIN, retry_backoff=0.01, page_size=100, **settings) as client:
        client.get_count("incident")  # so that the credentials are known to be good
        instance.faults.add(rule(kind, request="list", narrow=False, after=1, times=1))
        tally = Tally()
        return read(client, tally), tally


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.slow if kind in HANGS else ()) for kind in sorted(TRANSIENT | OF_ROWS)],
)
def test_a_fault_has_the_same_name_and_cost_for_threads_and_for_asyncio(kind: str, instance: SimulatorServer) -> None:
    rows, tally = met(kind, Client, instance)
    found, awaited = met(kind, AwaitedClient, instance)
    assert found == rows == truth(instance)
    if names := (TOLD_OTHERWISE | EITHER_WAY).get(kind):
        assert set(tally.faults) | set(awaited.faults) <= names
        assert sum(awaited.faults.values()) == 1
        return
    assert awaited.faults == tally.faults
    assert (awaited.requests, awaited.retries, awaited.purposes) == (tally.requests, tally.retries, tally.purposes)


@pytest.mark.parametrize("kind", sorted(HARMLESS))
def test_a_harmless_oddity_costs_asyncio_nothing(kind: str, instance: SimulatorServer) -> None:
    rows, tally = met(kind, AwaitedClient, instance)
    assert rows == truth(instance)
    assert not tally.faults


@pytest.mark.parametrize(
    "kind", ["error_500", "html_503", "reset", "login_page", "redirect", "query_forbidden_403", "not_gzip"]
)
def test_a_fault_that_lasts_ends_in_the_same_words(kind: str, instance: SimulatorServer) -> None:
    said = []
    for make in (Client, AwaitedClient):
        instance.faults.clear()
        with make(instance.url, ADMIN, retry_backoff=0.01, max_retries=1) as client:
            client.get_count("incident")
            instance.faults.add(rule(kind, request="record"))
            instance.requests.clear()
            with pytest.raises(SnowError) as caught:
                client.get_record("incident", truth(instance)[0])
            said.append((type(caught.value), str(caught.value), len(instance.requests)))
    assert said[0] == said[1]


def test_a_wrong_password_is_tried_once_only(instance: SimulatorServer) -> None:
    wrong = Credentials.model_validate({"username": "admin", "password": "MARKED"})
    with (
        AwaitedClient(instance.url, wrong) as client,
        pytest.raises(SnowError, match="refused the credentials") as caught,
    ):
        client.get_count("incident")
    assert len(instance.requests) == 1
    assert "MARKED" not in str(caught.value) + repr(caught.value.__cause__)

"""An instance that goes down, comes back, or fails whatever it is asked: the run ends in bounded time, or goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snow_assets.errors import Cancelled, InstanceUnavailable, RunAgain
from snow_assets.pulls import Failed, Landed, Plan, land_slices
from snow_assets.simulator import Simulator
from snow_assets_tests.pulls.conftest import Workbench

WORKERS = 4
LANDED_FIRST = 5


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Workbench]:
    """500 slices of two rows."""
    with Simulator(rows={"incident": 1_000}, seed=3).serve() as server:
        yield Workbench(server, tmp_path / "data", page_size=2, slice_rows=2, max_workers=WORKERS, retry_backoff=0.003)


def land_until(bench: Workbench, plan: Plan, then: Any, **settings: Any) -> list[Landed | Failed]:
    """Land the plan; ``then`` is called once ``LANDED_FIRST`` slices have landed."""
    results: list[Landed | Failed] = []
    with bench.client(max_workers=WORKERS, timeout=(1.0, 1.0), **settings) as client:
        for result in land_slices(plan, plan.slices, bench.pull, client, bench.landing):
            results.append(result)
            if sum(isinstance(each, Landed) for each in results) == LANDED_FIRST and then is not None:
                then()
                then = None
    return results


def causes(results: list[Landed | Failed]) -> list[BaseException]:
    failed = [result.error for result in results if isinstance(result, Failed)]
    return [error for error in failed if not isinstance(error, Cancelled)]


@pytest.mark.parametrize("dead", ["html_503", "hang_up", "hibernating", "stopped"])
def test_an_instance_that_dies_ends_a_pull_of_500_slices_with_one_message_and_keeps_what_landed(
    many: Workbench, dead: str
) -> None:
    plan = many.plan().plan
    assert len(plan.slices) >= 450
    before = 0

    def die() -> None:
        nonlocal before
        before = many.asked()
        if dead == "stopped":
            many.server.close()
        else:
            many.server.faults.add({"kind": dead})

    retries = 2
    results = land_until(many, plan, die, max_retries=retries)
    landed = [result for result in results if isinstance(result, Landed)]
    assert len(results) == len(plan.slices)
    assert LANDED_FIRST <= len(landed) < len(plan.slices)
    assert all(many.landing.landed(plan, result.slice) is not None for result in landed)
    [error] = causes(results)
    assert isinstance(error, InstanceUnavailable)
    assert "the instance is down" in str(error)
    assert "what landed stays" in str(error)
    # Each thread spends its retries once, or twice where it was about to send as others gave up; one probes.
    probes = 16
    assert many.asked() - before <= 2 * WORKERS * (retries + 1) + probes + many_requests_of(landed)


def many_requests_of(landed: list[Landed]) -> int:
    """What slices that were still landed as the instance died may have asked for."""
    return sum(result.ledger.requests for result in landed[LANDED_FIRST:])


def test_an_instance_that_comes_back_is_waited_for_and_nothing_is_lost(own: Workbench) -> None:
    plan = own.plan().plan
    results: list[Landed | Failed] = []
    with own.client(max_workers=WORKERS, max_retries=1, retry_backoff=0.2) as client:
        for result in land_slices(plan, plan.slices, own.pull, client, own.landing):
            if not results:
                number = own.server.faults.add({"kind": "html_503"})
                threading.Timer(2.0, own.server.faults.clear, (number,)).start()  # long after the retries are used up
            results.append(result)
        snapshot = client.governor.snapshot()
    assert not causes(results)
    assert all(isinstance(result, Landed) for result in results)
    assert snapshot["pauses"] >= 1
    assert "outage" in {why for *_, why in snapshot["paused"]}


def test_pages_that_fail_while_the_instance_is_there_use_up_the_budget(many: Workbench) -> None:
    plan = many.plan().plan
    settings = {"max_retries": 1, "retry_backoff": 0.0}

    def spoil() -> None:
        many.server.faults.add({"kind": "html_503", "table": "incident"})

    results = land_until(many, plan, spoil, **settings)
    found = causes(results)
    assert all(isinstance(error, RunAgain) for error in found)
    budget = 2 * (12 + 4 * WORKERS)
    hits = sum(entry.fault == "html_503" for entry in many.server.requests)
    assert hits <= budget + 2 * WORKERS, "the budget, and what was under way as it was used up"
    assert len(found) <= 32 + WORKERS
    assert sum(isinstance(result, Landed) for result in results) >= LANDED_FIRST


def test_one_bad_slice_does_not_end_a_run_in_which_others_land(own: Workbench) -> None:
    plan = own.plan().plan
    broken = plan.slices[2]
    own.server.faults.add({"kind": "html_503", "low": f"{broken.lo}+", "high": broken.hi})
    failed = [result for result in own.land(plan, max_retries=1) if isinstance(result, Failed)]
    assert [result.slice for result in failed] == [broken]


def test_an_instance_that_dies_while_it_is_planned_ends_the_plan_with_its_name(many: Workbench) -> None:
    many.server.faults.add({"kind": "html_503", "query": "sys_id", "after": 20})
    many.server.faults.add({"kind": "html_503", "table": "sys_user", "after": 10})
    before = many.asked()
    with pytest.raises(InstanceUnavailable, match="boundary of incident"):
        many.plan()
    assert many.asked() - before < 20 + 16 * 2 * 4 + 60
    assert not many.landing.plan_ids()

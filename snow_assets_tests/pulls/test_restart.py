"""A pull that dies at any of its requests goes on where it was: nothing lost, nothing doubled, little read twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from snow_assets.pulls import Failed, Landed, land_slices, make_plan, publish, published, reconcile
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.exchange import Answer, Request
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.pulls.conftest import Workbench

ROWS, PAGE, SLICE, WORKERS = 60, 8, 20, 2


class Dead(BaseException):
    """The run is dead."""


@pytest.fixture(scope="module")
def tiny() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": ROWS}, seed=3).serve() as server:
        yield server


def _dies(client: Client, at: int, *, answered: bool) -> None:
    """From request ``at`` on nothing is sent; ``answered``: that one still reaches the instance."""
    send, sent = client._transport.send, [0]

    def counted(request: Request) -> Answer:
        sent[0] += 1
        number = sent[0]
        if number == at and answered:
            send(request)
        if number >= at:
            raise Dead
        return send(request)

    client._transport.send = counted  # type: ignore[method-assign]


def _pull(bench: Workbench, at: int | None, *, answered: bool) -> list[Landed]:
    """A whole pull, which dies at request ``at``; the slices that it landed itself."""
    landed: list[Landed] = []
    with bench.client(max_workers=WORKERS) as client:
        if at is not None:
            _dies(client, at, answered=answered)
        plan = make_plan(bench.pull, client, bench.landing).plan
        failed = False
        for result in land_slices(plan, plan.slices, bench.pull, client, bench.landing):
            failed |= isinstance(result, Failed)
            if isinstance(result, Landed) and not result.adopted:
                landed.append(result)
        if failed:
            raise Dead
    publish(plan, reconcile(plan, bench.landing, bench.pull), bench.landing, bench.pull)
    return landed


@pytest.mark.parametrize(
    "ways",
    [
        pytest.param((False, True), id="in turns"),
        pytest.param((False,), id="before it is sent", marks=pytest.mark.slow),
        pytest.param((True,), id="after it was answered", marks=pytest.mark.slow),
    ],
)
def test_a_pull_may_die_at_every_single_request(tiny: SimulatorServer, tmp_path: Path, ways: tuple[bool, ...]) -> None:
    truth = {row["sys_id"] for row in tiny.sim.rows("incident")}
    settings = {"page_size": PAGE, "slice_rows": SLICE, "max_workers": WORKERS}
    before = len(tiny.requests)
    _pull(Workbench(tiny, tmp_path / "whole", **settings), None, answered=False)
    requests = len(tiny.requests) - before
    for at in range(1, requests + 1):
        bench = Workbench(tiny, tmp_path / str(at), **settings)
        answered = ways[at % len(ways)]
        try:
            _pull(bench, at, answered=answered)
        except Dead:
            pass
        else:  # the workers that read a slice in the same moment may each try the count, or the first of them for all
            assert at > requests - WORKERS + 1, f"request {at} did not end the pull"
            break
        assert published(bench.landing) is None
        plans = bench.landing.plan_ids()
        before_it = len(bench.landing.all_landed(bench.landing.read_plan(plans[-1]))) if plans else 0
        again = _pull(bench, None, answered=answered)
        dataset = published(bench.landing)
        assert dataset is not None
        if plans:
            assert dataset.plan == plans[-1]
        plan = bench.landing.read_plan(dataset.plan)
        assert len(again) == len(plan.slices) - before_it, f"request {at}: what had landed was read again"
        assert bench.ids(plan) == dict.fromkeys(truth, 1), f"request {at}"

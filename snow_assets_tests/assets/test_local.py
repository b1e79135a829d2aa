"""A whole pull in this process, as the command line runs it."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import pytest

from snow_assets.assets.keys import PullNames
from snow_assets.assets.local import run_pull
from snow_assets.config import Environment
from snow_assets.errors import CredentialsError, LeaseHeld, PublishRefused, SliceFailed, UnknownTableError
from snow_assets.pulls import lease_holder
from snow_assets.pulls.progress import Progress
from snow_assets_tests.assets.conftest import ROWS, Location, settings
from snow_assets_tests.conftest import Hold

NAMES = PullNames("incidents")


@pytest.fixture
def local(location: Location, monkeypatch: pytest.MonkeyPatch) -> Location:
    """The location with a Dagster home of its own, instead of an instance in memory."""
    home = location.settings.path.parent / ".dagster"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    location.environment = Environment(
        {**location.environment.values, "DAGSTER_HOME": str(home)}, location.environment.cwd
    )
    return location


def test_a_pull_is_three_runs_that_the_local_instance_remembers(local: Location) -> None:
    events: list[Progress] = []
    holders: list[str | None] = []

    def listen(event: Progress) -> None:
        events.append(event)
        holders.append(lease_holder(local.landing))

    outcome = run_pull(local.settings, local.environment, "incidents", on_progress=listen)

    assert outcome.error is None
    assert outcome.published
    assert outcome.totals is not None
    assert (outcome.totals.landed, outcome.landed) == (ROWS, len(outcome.plan.slices))
    assert events[-1].landed == len(outcome.plan.slices)
    assert set(holders) == {f"snow-assets pull, process {os.getpid()}"}
    with dg.DagsterInstance.get() as instance:
        assert {run.job_name for run in instance.get_runs()} == {
            "pull_incidents",
            "slices_incidents",
            "publish_incidents",
        }
        assert instance.get_materialized_partitions(NAMES.slices) == set(outcome.plan.partition_keys)
        assert instance.get_latest_materialization_event(NAMES.dataset) is not None


def test_a_failed_slice_is_named_and_the_next_call_fetches_it_alone(local: Location) -> None:
    probe = run_pull(local.settings, local.environment, "incidents")
    piece = probe.plan.slices[2]
    inside = next(row["sys_id"] for row in local.server.sim.rows("incident") if row["sys_id"] > (piece.lo or ""))
    local.server.sim.faults.add({"kind": "error_500", "request": "list", "sys_id": inside, "narrow": False})

    outcome = run_pull(local.settings, local.environment, "incidents")

    assert not outcome.published
    [(key, error)] = outcome.failed
    assert isinstance(error, SliceFailed)
    assert error.value == inside  # the row that fails even alone is named
    assert outcome.error is error
    assert outcome.plan.plan_id in key
    assert outcome.landed == len(outcome.plan.slices) - 1
    assert outcome.totals is None

    local.server.sim.faults.clear()
    local.server.requests.clear()
    again = run_pull(local.settings, local.environment, "incidents")

    assert again.published
    assert again.plan == outcome.plan
    pages = [entry for entry in local.server.requests.find(kind="list") if entry.params.get("sysparm_display_value")]
    lo = str(outcome.plan.slice(key).lo)
    assert pages
    assert all(lo in entry.query for entry in pages if "sys_id>=" in entry.query)


def test_an_unknown_table_raises_and_leaves_nothing_behind(local: Location) -> None:
    wrong = settings(local.settings.path.parent, table="incidnet", fields=None)

    with pytest.raises(UnknownTableError):
        run_pull(wrong, local.environment, "incidents")

    assert not Path(local.environment.data_dir).exists()


def test_a_wrong_password_raises(local: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNOW_PASSWORD", "wrong")
    environment = local.environment.with_values(SNOW_PASSWORD="wrong")

    with pytest.raises(CredentialsError):
        run_pull(local.settings, environment, "incidents")

    assert not Path(local.environment.data_dir).exists()


def test_a_live_run_of_the_same_pull_is_named(local: Location, another_process: Hold) -> None:
    with (
        another_process(local.environment.data_dir, "incidents"),
        pytest.raises(LeaseHeld, match="snow-assets pull, process 1"),
    ):
        run_pull(local.settings, local.environment, "incidents")


def test_a_fall_of_rows_is_published_only_when_accepted(local: Location) -> None:
    run_pull(local.settings, local.environment, "incidents")
    fewer = settings(local.settings.path.parent)
    gone = [row["sys_id"] for row in local.server.sim.rows("incident")][: ROWS // 2]
    kept = {sys_id: local.server.sim.store.rows_of("incident")[sys_id] for sys_id in gone}
    for sys_id in gone:
        local.server.sim.delete("incident", sys_id, log=False)
    try:
        refused = run_pull(fewer, local.environment, "incidents")
        assert isinstance(refused.error, PublishRefused)
        assert not refused.published
        assert refused.landed == len(refused.plan.slices)

        accepted = run_pull(fewer, local.environment, "incidents", accept=refused.plan.plan_id)
        assert accepted.plan == refused.plan
        assert accepted.published
    finally:
        for row in kept.values():
            local.server.sim.insert("incident", row)

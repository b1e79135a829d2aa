"""A delta pull in Dagster: what is tried again, what waits for a person, and what is not done yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from snow_assets.assets.due import Due, LandSlices, Nothing, PlanAgain, Publish
from snow_assets.assets.keys import PullNames, plan_config, publish_config
from snow_assets.assets.metadata import sweep_metadata
from snow_assets.checks import sweep_results
from snow_assets.pulls import Sweep
from snow_assets.pulls.current import current
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.assets.conftest import Location, settings

NAMES = PullNames("incidents")


@pytest.fixture
def simulator() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": 60}, seed=1).serve() as server:
        yield server


@pytest.fixture
def deltas(location: Location) -> Location:
    """A delta pull whose base is landed."""
    changes = {"mode": "delta", "deletes": "keys", "slice_rows": 60}
    location.settings = settings(location.settings.path.parent, **changes)
    landed(location)
    return location


def landed(location: Location) -> None:
    assert location.run("pull_incidents").success
    due = location.tick()
    assert isinstance(due, LandSlices)
    assert location.follow(due).success


def rows(location: Location) -> tuple[int, int]:
    """Live and deleted current rows."""
    now = current(location.landing)
    assert now is not None
    return now.rows, now.deleted


def reason(due: Due) -> str:
    assert isinstance(due, Nothing), due
    return due.reason


def test_a_sweep_that_fails_is_tried_again_and_one_that_is_refused_waits_to_be_accepted(
    deltas: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = deltas.server.sim
    assert deltas.follow(deltas.tick()).success
    sim.clock.advance(hours=1)
    for row in list(sim.rows("incident"))[:20]:
        sim.delete("incident", row["sys_id"])
    landed(deltas)
    sim.faults.add({"kind": "error_500", "table": "incident"})
    assert not deltas.follow(deltas.tick()).success
    sim.faults.clear()
    assert "publishing failed, try 2 in 5 min" in reason(deltas.tick())
    deltas.now += 6 * 60

    with monkeypatch.context() as wrong:  # it must not be tried until the account is locked
        wrong.setenv("SNOW_PASSWORD", "the new one is another")
        assert not deltas.follow(deltas.tick()).success
        deltas.now += 7200
        assert "refused the credentials, see the run that publishes" in reason(deltas.tick())

    assert deltas.run("pull_incidents").success  # the same plan goes on
    again = deltas.tick()
    assert isinstance(again, Publish)
    assert not deltas.follow(again).success
    deltas.now += 7200
    assert "launch publish_incidents with accept: true" in reason(deltas.tick())
    assert rows(deltas) == (60, 0)

    accepted = publish_config(NAMES, again.plan_id, accept=True, mode="delta")
    assert deltas.run("publish_incidents", config=accepted).success
    assert rows(deltas) == (40, 20)
    assert deltas.tick() == Nothing(f"plan {again.plan_id} is published")


def test_a_plan_is_not_done_before_the_current_rows_are_there(deltas: Location) -> None:
    """No later sync may come for a week, or ever."""
    in_the_way = Path(deltas.landing.beside("current").location)
    in_the_way.write_bytes(b"")
    failed = deltas.follow(deltas.tick())
    assert [event.step_key for event in failed.all_events if event.is_step_failure] == [
        "servicenow__incidents__current"
    ]
    in_the_way.unlink()
    assert "publishing failed, try 2 in 5 min" in reason(deltas.tick())
    deltas.now += 6 * 60
    assert deltas.follow(deltas.tick()).success
    assert rows(deltas) == (60, 0)
    assert deltas.tick() == Nothing(f"plan {deltas.plan.plan_id} is published")


def test_a_base_that_was_asked_for_is_asked_for_again(deltas: Location) -> None:
    assert deltas.follow(deltas.tick()).success
    deltas.server.sim.faults.add({"kind": "hibernating"})
    failed = deltas.run("pull_incidents", config=plan_config(NAMES, new=False, base=True))
    deltas.server.sim.faults.clear()
    deltas.now += 6 * 60
    again = deltas.tick()
    assert again == PlanAgain(failed.run_id, 2, base=True)
    assert deltas.follow(again).success
    assert not deltas.plan.is_delta


def test_the_ui_shows_the_columns_of_current_rows_and_what_a_sweep_compared(deltas: Location) -> None:
    result = deltas.follow(deltas.tick())

    events = {event.asset_key: event.materialization.metadata for event in result.get_asset_materialization_events()}
    columns = events[NAMES.current]["dagster/column_schema"].value
    assert isinstance(columns, dg.TableSchema)
    descriptions = {column.name: column.description for column in columns.columns}
    assert descriptions["number"] == "Number: string"
    assert list(descriptions)[-5:] == ["_plan", "_deleted_at", "_deleted_by", "_left_at", "_state"]
    assert events[NAMES.sweep]["sweeps"].value == "none was needed"
    for check in result.get_asset_check_evaluations():
        target = check.target_materialization_data
        assert target is not None, check.check_name
        assert target.run_id == result.run_id, check.check_name  # and not the materialization before
    compared = Sweep("incidents", "20261101T000000Z", kinds=("verify", "audit"), unknown="deletes are unknown")
    assert sweep_metadata(compared)["sweeps"].value == "the keys of all rows, the log of deletions"
    assert [each.description for each in sweep_results(compared)] == [
        "deletes are unknown",
        "The keys of all rows were compared.",
    ]

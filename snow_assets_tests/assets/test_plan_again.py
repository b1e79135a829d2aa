"""A plan run that failed at night is started again; what needs a person, or was cancelled, is not."""

from __future__ import annotations

import dagster as dg
import pytest

from snow_assets.assets.due import LandSlices, Nothing, PlanAgain, Publish
from snow_assets.assets.keys import DRIVER_TAG, PullNames, run_tags
from snow_assets.pulls import Landing
from snow_assets_tests.assets.conftest import Location, settings
from snow_assets_tests.assets.test_drivers import evaluate_sensor

PLAN = run_tags("incidents", "plan")


def plan(location: Location, **tags: str) -> dg.ExecuteInProcessResult:
    """The plan job, as a schedule launches it."""
    return location.run("pull_incidents", tags={**PLAN, **tags})


def reason(location: Location) -> str:
    due = location.tick()
    assert isinstance(due, Nothing), due
    return due.reason


@pytest.fixture
def asleep(location: Location) -> Location:
    """An instance that hibernates."""
    location.server.sim.faults.add({"kind": "hibernating"})
    return location


def test_an_instance_that_slept_is_asked_again_until_it_wakes(asleep: Location) -> None:
    first = plan(asleep)
    assert not first.success
    assert reason(asleep).startswith("planning failed once, try 2 in 5 min")
    result = evaluate_sensor(asleep)
    assert result.skip_reason is not None
    assert str(result.skip_reason.skip_message).startswith("incidents: planning failed once, try 2 in")

    asleep.now += 6 * 60
    again = asleep.tick()
    assert again == PlanAgain(first.run_id, 2)
    assert not asleep.follow(again).success
    assert reason(asleep).startswith("planning failed 2 times, try 3 in")

    asleep.now += 20 * 60
    asleep.server.sim.faults.clear()
    assert asleep.follow(asleep.tick()).success
    assert isinstance(asleep.tick(), LandSlices)
    assert asleep.follow(asleep.tick()).success
    assert isinstance(asleep.tick(), Publish)
    assert asleep.follow(asleep.tick()).success
    assert reason(asleep) == f"plan {asleep.plan.plan_id} is published"


def test_it_gives_up_and_the_next_night_begins_afresh(asleep: Location) -> None:
    asleep.settings = settings(asleep.settings.path.parent, repair_attempts=1)
    plan(asleep)
    asleep.now += 6 * 60
    last = asleep.follow(asleep.tick())
    asleep.now += 12 * 3600
    given_up = f"planning failed 2 times, giving up: see run {last.run_id[:8]}; launch pull_incidents to try again"
    assert reason(asleep) == given_up

    tonight = plan(asleep)
    assert asleep.tick() == PlanAgain(tonight.run_id, 2)


def test_what_needs_a_person_is_not_tried_again(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNOW_PASSWORD", "wrong")
    failed = plan(location)
    location.now += 7200
    assert not failed.success
    assert f"see run {failed.run_id[:8]}, then launch pull_incidents" in reason(location)


def test_a_password_that_changed_is_not_tried_until_the_account_is_locked(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert plan(location).success
    password = location.environment.values["SNOW_PASSWORD"]
    monkeypatch.setenv("SNOW_PASSWORD", "the new one is another")
    assert not location.follow(location.tick()).success
    location.now += 7200
    assert "refused the credentials, see the run of its slices; launch pull_incidents" in reason(location)

    monkeypatch.setenv("SNOW_PASSWORD", password)
    assert plan(location).success
    assert isinstance(location.tick(), LandSlices)


def test_a_success_by_hand_ends_it(asleep: Location) -> None:
    plan(asleep)
    asleep.server.sim.faults.clear()
    assert plan(asleep).success
    asleep.now += 7200
    assert isinstance(asleep.tick(), LandSlices)


def test_a_new_plan_that_failed_stays_a_new_plan(location: Location) -> None:
    assert plan(location).success
    old = location.plan
    location.follow(location.tick())
    location.follow(location.tick())
    location.server.sim.faults.add({"kind": "hibernating"})
    config = {"ops": {PullNames("incidents").plan.to_python_identifier(): {"config": {"new": True}}}}
    assert not location.run("pull_incidents", tags=PLAN, config=config).success
    location.server.sim.faults.clear()
    location.now += 6 * 60

    again = location.tick()

    assert isinstance(again, PlanAgain)
    assert again.new
    assert location.follow(again).success
    assert location.plan.plan_id > old.plan_id


@pytest.mark.parametrize("continued", [False, True])
def test_a_plan_run_that_died_behind_its_plan_costs_no_second_pull(
    location: Location, monkeypatch: pytest.MonkeyPatch, continued: bool
) -> None:
    if continued:
        assert plan(location).success
    with monkeypatch.context() as broken:
        broken.setattr(dg.DagsterInstance, "get_dynamic_partitions", _gone)
        assert not plan(location).success
    made = location.plan.plan_id
    location.now += 7200
    for due in (LandSlices, Publish):
        assert isinstance(location.tick(), due)
        evaluate_sensor(location)  # adds the partitions that are missing
        assert location.follow(location.tick()).success
    assert reason(location) == f"plan {made} is published"


def test_a_plan_run_that_died_before_its_plan_is_started_again(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Landing, "write_plan", _gone)
        failed = plan(location)
    assert not failed.success
    location.now += 7200
    assert location.tick() == PlanAgain(failed.run_id, 2)


def _gone(*_: object) -> None:
    raise RuntimeError("the process is gone")


def test_a_cancelled_plan_run_stays_cancelled(location: Location) -> None:
    run = dg.DagsterRun(job_name="pull_incidents", tags=PLAN, status=dg.DagsterRunStatus.CANCELED)
    location.instance.add_run(run)
    location.now += 7200
    assert reason(location) == "planning was cancelled; launch pull_incidents to go on"


def test_a_command_in_a_terminal_is_left_to_whoever_ran_it(asleep: Location) -> None:
    plan(asleep, **{DRIVER_TAG: "terminal"})
    asleep.now += 7200
    assert reason(asleep) == "no plan yet"

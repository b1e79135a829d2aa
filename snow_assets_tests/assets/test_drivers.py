"""Schedules, the reconciler sensor, and who may work on a pull at a time."""

from __future__ import annotations

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from snow_assets.assets.due import LandSlices, Nothing
from snow_assets.assets.keys import PullNames, range_tags, run_tags
from snow_assets.schedules import pull_schedule
from snow_assets_tests.assets.conftest import Location, settings
from snow_assets_tests.conftest import Hold

NAMES = PullNames("incidents")


def evaluate_sensor(location: Location) -> dg.SensorResult:
    sensor = location.definitions.get_repository_def().get_sensor_def("reconciler")
    with dg.build_sensor_context(instance=location.instance) as context:
        result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_the_sensor_runs_by_default_and_says_why_nothing_is_due(location: Location) -> None:
    sensor = location.definitions.get_repository_def().get_sensor_def("reconciler")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING

    result = evaluate_sensor(location)

    assert not result.run_requests
    assert result.skip_reason is not None
    assert result.skip_reason.skip_message == "incidents: no plan yet"


def test_the_sensor_asks_for_one_ranged_run_and_nothing_of_the_instance(location: Location) -> None:
    location.run("pull_incidents")
    location.server.requests.clear()

    result = evaluate_sensor(location)

    [request] = result.run_requests or []
    keys = location.plan.partition_keys
    assert request.job_name == "slices_incidents"
    assert request.tags == {
        **run_tags("incidents", "slices", location.plan.plan_id),
        **range_tags(keys[0], keys[-1]),
    }
    assert location.server.requests.total == 0


def test_a_damaged_plan_is_said_and_stops_only_its_pull(location: Location) -> None:
    location.run("pull_incidents")
    path = next(iter((location.settings.path.parent / "data" / "incidents").glob("*/plan.json")))
    path.write_text("{")

    due = location.tick()

    assert isinstance(due, Nothing)
    assert "damaged" in due.reason


def test_a_damaged_slice_is_landed_again(location: Location) -> None:
    location.run("pull_incidents")
    location.follow(location.tick())
    key = location.plan.partition_keys[1]
    path = next(iter((location.settings.path.parent / "data" / "incidents").glob(f"{key}-1.parquet")))
    path.write_bytes(path.read_bytes()[:-20])
    location.now += 6 * 60

    due = location.tick()

    assert due == LandSlices(location.plan.plan_id, key, key, attempt=2)
    assert location.follow(due).success
    assert not isinstance(location.tick(), LandSlices)


def test_a_live_lease_leaves_the_pull_alone(
    location: Location, another_process: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snow_assets.assets.leases._GRACE_SECONDS", 0.1)
    location.run("pull_incidents")
    with another_process(location.environment.data_dir, "incidents"):
        due = location.tick()
        result = location.run("slices_incidents", tags=range_tags(*[location.plan.partition_keys[0]] * 2))

    assert due == Nothing("snow-assets pull, process 1 works on it")
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "is being worked on by snow-assets pull, process 1" in str(failure.step_failure_data.error)
    assert isinstance(location.tick(), LandSlices | Nothing)


def test_a_queued_run_from_the_ui_leaves_the_pull_alone(location: Location) -> None:
    location.run("pull_incidents")
    location.instance.add_run(
        dg.DagsterRun(
            job_name="__ASSET_JOB",
            run_id="0b1e6d2e-2c4b-4f0e-9d53-6f4c1a2b3c4d",
            asset_selection=frozenset({NAMES.slices}),
            status=dg.DagsterRunStatus.STARTED,
        )
    )

    assert location.tick() == Nothing("run 0b1e6d2e is started")


def test_a_backfill_that_was_asked_for_leaves_the_pull_alone(location: Location) -> None:
    location.run("pull_incidents")
    location.instance.add_backfill(
        PartitionBackfill(
            backfill_id="abcdefgh",
            status=BulkActionStatus.REQUESTED,
            from_failure=False,
            tags={},
            backfill_timestamp=location.now,
            asset_selection=[NAMES.slices],
        )
    )

    assert location.tick() == Nothing("a backfill is in progress")


def test_a_schedule_has_its_cron_and_time_zone(location: Location, another_process: Hold) -> None:
    job = location.definitions.resolve_job_def("pull_incidents")
    declared = settings(location.settings.path.parent, schedule={"cron": "0 2 * * *", "timezone": "Europe/Berlin"})
    from snow_assets.resources import LandingResource

    landing = LandingResource(data=location.environment.data_dir)
    schedule = pull_schedule(declared.pulls["incidents"], landing, job)

    assert schedule is not None
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 2 * * *", "Europe/Berlin")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    [request] = schedule.evaluate_tick(dg.build_schedule_context(instance=location.instance)).run_requests or []
    assert request.tags["snow/pull"] == "incidents"
    with another_process(location.environment.data_dir, "incidents"):
        tick = schedule.evaluate_tick(dg.build_schedule_context(instance=location.instance))
    assert tick.run_requests == []
    assert tick.skip_message == "snow-assets pull, process 1 works on pull incidents"


def test_a_pull_without_a_schedule_has_none(location: Location) -> None:
    assert location.definitions.get_repository_def().schedule_defs == []

"""The story of a pull: plan, a slice that fails, one repair, totals and dataset."""

from __future__ import annotations

import re

import dagster as dg

from snow_assets.assets.due import LandSlices, Nothing, Publish
from snow_assets.assets.keys import PullNames, range_tags
from snow_assets.pulls import published
from snow_assets_tests.assets.conftest import ROWS, Location

NAMES = PullNames("incidents")


def test_plan_adds_one_partition_per_slice_in_offset_order(location: Location) -> None:
    result = location.run("pull_incidents")

    assert result.success
    assert location.instance.get_dynamic_partitions("servicenow/incidents/slices") == location.plan.partition_keys
    [event] = result.get_asset_materialization_events()
    assert event.materialization.metadata["counted"].value == ROWS


def test_a_pull_without_faults_takes_three_runs(location: Location) -> None:
    location.run("pull_incidents")
    landing = location.tick()
    assert location.follow(landing).success
    publishing = location.tick()
    assert isinstance(publishing, Publish)
    assert location.follow(publishing).success

    dataset = published(location.landing)
    assert dataset is not None
    assert (dataset.plan, dataset.rows) == (location.plan.plan_id, ROWS)
    assert location.tick() == Nothing(f"plan {location.plan.plan_id} is published")
    assert len(location.instance.get_runs()) == 3


def test_a_failed_slice_fails_alone_and_nothing_is_published(location: Location) -> None:
    location.run("pull_incidents")
    bad = location.break_slice(2)
    due = location.tick()

    result = location.follow(due)

    assert not result.success
    statuses = location.statuses()
    assert statuses.pop(bad) == "FAILED"
    assert set(statuses.values()) == {"MATERIALIZED"}
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert bad in str(failure.step_failure_data.error)
    [check] = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.severity) == ("slices_landed", False, dg.AssetCheckSeverity.ERROR)
    assert published(location.landing) is None
    waiting = location.tick()
    assert isinstance(waiting, Nothing)
    assert "try 2 in 5 min" in waiting.reason


def test_repairing_the_failed_partition_asks_for_that_slice_only_and_publishing_follows(location: Location) -> None:
    location.run("pull_incidents")
    bad = location.break_slice(2)
    location.follow(location.tick())
    location.server.sim.faults.clear()
    location.server.requests.clear()

    # What the UI launches for one failed partition: the asset's range from it to itself, with no tag of ours.
    repair = location.run("slices_incidents", tags=range_tags(bad, bad))

    assert repair.success
    piece = location.plan.slice(bad)
    assert piece.lo is not None
    assert piece.hi is not None
    bounds = [re.findall(r"sys_id([<>]=?)(\w+)", query) for query in location.asked()]
    assert bounds
    assert all({symbol[0] for symbol, _ in each} == {"<", ">"} for each in bounds)
    assert all(piece.lo <= sys_id <= piece.hi for each in bounds for _, sys_id in each)
    assert set(location.statuses().values()) == {"MATERIALIZED"}
    assert isinstance(location.tick(), Publish)
    assert location.follow(location.tick()).success
    assert published(location.landing) is not None


def test_the_reconciler_repairs_after_its_wait(location: Location) -> None:
    location.run("pull_incidents")
    bad = location.break_slice(1)
    location.follow(location.tick())
    location.server.sim.faults.clear()

    location.now += 6 * 60
    due = location.tick()

    assert due == LandSlices(location.plan.plan_id, bad, bad, attempt=2)
    assert location.follow(due).success
    assert isinstance(location.tick(), Publish)


def test_a_slice_of_a_published_plan_is_adopted_without_a_request(location: Location) -> None:
    location.run("pull_incidents")
    location.follow(location.tick())
    location.follow(location.tick())
    before = published(location.landing)
    location.server.requests.clear()
    keys = location.plan.partition_keys

    result = location.run("slices_incidents", tags=range_tags(keys[1], keys[3]))

    assert result.success
    events = result.get_asset_materialization_events()
    assert [event.partition for event in events] == keys[1:4]
    assert all(event.materialization.metadata["adopted"].value is True for event in events)
    assert location.server.requests.total == 0
    assert published(location.landing) == before


def test_a_resumed_range_skips_what_landed_between(location: Location) -> None:
    location.run("pull_incidents")
    location.break_slice(1)
    location.break_slice(3)
    location.follow(location.tick())
    location.server.sim.faults.clear()
    location.server.requests.clear()
    location.now += 6 * 60

    due = location.tick()
    assert isinstance(due, LandSlices)
    result = location.follow(due)

    adopted = [event.materialization.metadata.get("adopted") for event in result.get_asset_materialization_events()]
    assert sorted(flag is not None for flag in adopted) == [False, False, True]
    between = location.plan.slices[2]
    assert not any(f"sys_id>={between.lo}" in query for query in location.asked())


def test_totals_of_an_incomplete_plan_fail_and_publish_nothing(location: Location) -> None:
    location.run("pull_incidents")
    location.break_slice(0)
    location.follow(location.tick())

    result = location.run("publish_incidents")

    assert not result.success
    [check] = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("complete", False)
    assert published(location.landing) is None


def test_a_new_plan_retires_the_unfinished_one_with_its_keys_and_files(location: Location) -> None:
    location.run("pull_incidents")
    old = location.plan
    config = {"ops": {NAMES.plan.to_python_identifier(): {"config": {"new": True}}}}

    assert location.run("pull_incidents", config=config).success

    assert location.plan.plan_id > old.plan_id
    assert location.landing.plan_ids() == [location.plan.plan_id]
    assert location.instance.get_dynamic_partitions(NAMES.partitions_name) == location.plan.partition_keys


def test_a_second_plan_run_continues_the_unfinished_plan(location: Location) -> None:
    location.run("pull_incidents")
    old = location.plan

    result = location.run("pull_incidents")

    [event] = result.get_asset_materialization_events()
    assert event.materialization.metadata["continued"].value is True
    assert location.plan == old

"""The story of a pull: plan, a slice that fails, one repair, totals and dataset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import pytest

from snow_assets.assets.due import LandSlices, Nothing, Publish
from snow_assets.assets.keys import PullNames, publish_config, range_tags
from snow_assets.pulls import published
from snow_assets.simulator import HiddenRows
from snow_assets_tests.assets.conftest import ROWS, Location, settings

NAMES = PullNames("incidents")


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    [failure] = [event for event in result.all_events if event.is_step_failure]
    return str(failure.step_failure_data.error)


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


@contextmanager
def fewer_rows(location: Location) -> Iterator[None]:
    """The instance loses half of its incidents for a while."""
    sim = location.server.sim
    gone = [dict(row) for row in sim.rows("incident")[: ROWS // 2]]
    for row in gone:
        sim.delete("incident", row["sys_id"], log=False)
    try:
        yield
    finally:
        for row in gone:
            sim.insert("incident", row)


@pytest.fixture
def hidden(location: Location) -> Iterator[int]:
    """Some incidents are hidden from the account; how many."""
    sim = location.server.sim
    sys_ids = frozenset(row["sys_id"] for row in sim.rows("incident")[5:90:17])
    sim.knobs.hidden_rows.append(HiddenRows("incident", sys_ids=sys_ids))
    yield len(sys_ids)
    sim.knobs.hidden_rows.clear()


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
    listed = [query.partition("sys_idIN")[2].partition("^")[0] for query in location.asked() if "sys_idIN" in query]
    assert all(piece.lo <= sys_id <= piece.hi for ids in listed for sys_id in ids.split(","))
    ranges = [query for query in location.asked() if "sys_idIN" not in query]
    bounds = [re.findall(r"sys_id([<>]=?)(\w+)", query) for query in ranges]
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


def test_a_range_over_two_plans_lands_each_from_its_own(location: Location) -> None:
    for _ in range(2):
        location.run("pull_incidents")
        location.follow(location.tick())
        location.follow(location.tick())
    keys = location.instance.get_dynamic_partitions(NAMES.partitions_name)
    assert len({key.split("/")[0] for key in keys}) == 2
    location.server.requests.clear()

    result = location.run("slices_incidents", tags=range_tags(keys[0], keys[-1]))

    assert result.success
    assert [event.partition for event in result.get_asset_materialization_events()] == keys
    assert location.server.requests.total == 0


def test_a_range_whose_keys_are_gone_fails_instead_of_doing_nothing(location: Location) -> None:
    location.run("pull_incidents")
    keys = location.plan.partition_keys
    location.instance.delete_dynamic_partition(NAMES.partitions_name, keys[0])
    location.instance.add_dynamic_partitions(NAMES.partitions_name, [keys[0]])

    result = location.run("slices_incidents", tags=range_tags(keys[0], keys[-1]))

    assert not result.success
    assert "the range holds no partitions any more" in failure_of(result)


def test_a_slice_of_a_plan_that_is_gone_fails_by_name(location: Location) -> None:
    location.run("pull_incidents")
    plan = location.plan
    location.landing.remove_plan(plan.plan_id)

    result = location.run("slices_incidents", tags=range_tags(plan.partition_keys[0], plan.partition_keys[0]))

    assert not result.success
    assert f"plan '{plan.plan_id}': pull incidents has no such plan" in failure_of(result)


def test_hidden_rows_warn_with_their_number(location: Location, hidden: int) -> None:
    location.run("pull_incidents")
    location.follow(location.tick())

    result = location.follow(location.tick())

    assert result.success
    check = checks_of(result)["hidden_rows"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.metadata["hidden"].value == hidden
    dataset = published(location.landing)
    assert dataset is not None
    assert dataset.rows == ROWS - hidden


def test_hidden_rows_are_refused_where_the_pull_says_so(location: Location, hidden: int) -> None:
    assert hidden
    location.settings = settings(location.settings.path.parent, hidden_rows="fail")
    location.run("pull_incidents")
    location.follow(location.tick())

    result = location.follow(location.tick())

    assert not result.success
    check = checks_of(result)["hidden_rows"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert published(location.landing) is None
    location.now += 7200
    refused = location.tick()
    assert isinstance(refused, Nothing)
    assert "publishing was refused" in refused.reason


def test_a_fall_of_rows_is_refused_until_it_is_accepted_by_name(location: Location) -> None:
    location.run("pull_incidents")
    location.follow(location.tick())
    location.follow(location.tick())
    location.settings = settings(location.settings.path.parent)
    before = published(location.landing)
    with fewer_rows(location):
        location.run("pull_incidents")
        location.follow(location.tick())
        refused = location.follow(location.tick())
    plan_id = location.plan.plan_id

    assert not refused.success
    assert checks_of(refused)["acceptable"].passed is False
    assert published(location.landing) == before
    location.now += 7200
    waiting = location.tick()
    assert isinstance(waiting, Nothing)
    assert "publishing was refused" in waiting.reason

    accepted = location.run("publish_incidents", config=publish_config(NAMES, plan_id, accept=True))

    assert accepted.success
    after = published(location.landing)
    assert after is not None
    assert (after.plan, after.rows) == (plan_id, ROWS // 2)


def test_metadata_that_the_ui_knows(location: Location) -> None:
    location.run("pull_incidents")
    slices = location.follow(location.tick()).get_asset_materialization_events()
    published_events = location.follow(location.tick()).get_asset_materialization_events()

    rows = [event.materialization.metadata["dagster/partition_row_count"].value for event in slices]
    assert sum(int(str(number)) for number in rows) == ROWS
    totals, dataset = (event.materialization.metadata for event in published_events)
    assert isinstance(totals["receipt"], dg.MarkdownMetadataValue)
    assert isinstance(totals["receipt_page"], dg.PathMetadataValue)
    assert dataset["dagster/row_count"].value == ROWS
    columns = dataset["dagster/column_schema"].value
    assert isinstance(columns, dg.TableSchema)
    assert [column.name for column in columns.columns] == ["sys_id", "number", "state", "short_description"]

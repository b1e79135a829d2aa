"""A pull that was begun in plain Python is finished by Dagster or the command line, and the other way round."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from snow_assets.assets.due import LandSlices, Nothing, Publish
from snow_assets.assets.keys import PullNames, range_tags
from snow_assets.assets.local import run_pull
from snow_assets.errors import LeaseHeld, SnowError
from snow_assets.pulls import Failed, Landed, Slice, land_slices, make_plan, published
from snow_assets.pulls.library import lazy_pull_to, pull_to
from snow_assets.servicenow.client import Client
from snow_assets_tests.assets.conftest import ROWS, Location
from snow_assets_tests.pulls.asked import only_of, ranges_asked

NAMES = PullNames("incidents")
BROKEN = (1, 4)


@contextmanager
def client_of(location: Location) -> Iterator[Client]:
    server = location.server
    with Client(server.url, username=server.username, password=server.password, max_retries=0) as client:
        yield client


def path_of(location: Location) -> str:
    return f"{location.environment.data_dir}/incidents"


def break_two(location: Location) -> list[Slice]:
    """Make two slices fail; returns them."""
    for index in BROKEN:
        piece = location.plan.slices[index]
        rule = {"kind": "error_500", "table": "incident", "query": "sys_id<", "low": f"{piece.lo}+", "high": piece.hi}
        location.server.sim.faults.add(rule)
    return [location.plan.slices[index] for index in BROKEN]


def mend(location: Location) -> None:
    location.server.sim.faults.clear()
    location.server.requests.clear()


def die_in_python(location: Location) -> list[Slice]:
    """A pull from Python of which two slices fail; returns them. The instance works again."""
    with client_of(location) as client:
        make_plan(location.pull, client, location.landing)
        broken = break_two(location)
        with pytest.raises(SnowError, match=f"2 of {len(location.plan.slices)} slices of pull incidents failed"):
            pull_to(
                path_of(location),
                client,
                table="incident",
                fields=["number", "state", "short_description"],
                page_size=10,
                slice_rows=20,
            )
    assert published(location.landing) is None
    mend(location)
    return broken


def finish_in_python(location: Location) -> str:
    """The id of the plan that a pull of the declared settings published."""
    with client_of(location) as client:
        pulled = pull_to(path_of(location), client, pull=location.pull)
    assert pulled.rows == ROWS
    return pulled.plan_id


def test_dagster_finishes_what_python_began_and_asks_for_the_missing_slices_alone(location: Location) -> None:
    broken = die_in_python(location)
    plan = location.plan

    assert location.run("pull_incidents").success
    due = location.tick()
    assert isinstance(due, LandSlices)
    assert (due.first, due.last) == (plan.partition_keys[BROKEN[0]], plan.partition_keys[BROKEN[1]])
    assert location.follow(due).success
    assert isinstance(location.tick(), Publish)
    assert location.follow(location.tick()).success

    assert only_of(broken, ranges_asked(location.server))
    dataset = published(location.landing)
    assert dataset is not None
    assert (dataset.plan, dataset.rows) == (plan.plan_id, ROWS)


def test_what_python_landed_is_shown_once_its_slices_are_materialised(location: Location) -> None:
    die_in_python(location)
    location.run("pull_incidents")
    plan_id = finish_in_python(location)
    keys = location.plan.partition_keys
    assert location.instance.get_dynamic_partitions(NAMES.partitions_name) == keys
    assert "MATERIALIZED" not in location.statuses().values()
    location.server.requests.clear()

    assert location.run("slices_incidents", tags=range_tags(keys[0], keys[-1])).success
    result = location.run("publish_incidents")

    assert result.success
    assert location.statuses() == dict.fromkeys(keys, "MATERIALIZED")
    assert location.server.requests.total == 0
    assert [event.asset_key for event in result.get_asset_materialization_events()] == [NAMES.totals, NAMES.dataset]
    dataset = published(location.landing)
    assert dataset is not None
    assert (dataset.plan, dataset.version) == (plan_id, 0)


@pytest.mark.slow
def test_the_command_line_finishes_what_python_began(location: Location) -> None:
    broken = die_in_python(location)
    plan = location.plan

    outcome = run_pull(location.settings, location.environment, "incidents")

    assert (outcome.error, outcome.published, outcome.plan) == (None, True, plan)
    assert only_of(broken, ranges_asked(location.server))


def test_python_finishes_what_dagster_began_and_its_ui_heals_by_adoption(location: Location) -> None:
    location.run("pull_incidents")
    broken = break_two(location)
    assert not location.follow(location.tick()).success
    failed = [location.plan.partition_keys[index] for index in BROKEN]
    mend(location)

    assert finish_in_python(location) == location.plan.plan_id

    assert only_of(broken, ranges_asked(location.server))
    assert location.tick() == Nothing(f"plan {location.plan.plan_id} is published")
    shown = location.statuses()
    assert [key for key, status in shown.items() if status != "MATERIALIZED"] == failed
    location.server.requests.clear()
    healed = location.run("slices_incidents", tags=range_tags(failed[0], failed[-1]))
    assert healed.success
    assert set(location.statuses().values()) == {"MATERIALIZED"}
    assert location.run("publish_incidents").success
    assert location.server.requests.total == 0


@pytest.mark.slow
def test_the_next_plan_of_dagster_follows_the_one_that_python_published(location: Location) -> None:
    with client_of(location) as client:
        first = pull_to(path_of(location), client, pull=location.pull)

    location.run("pull_incidents")
    location.follow(location.tick())
    assert location.follow(location.tick()).success

    dataset = published(location.landing)
    assert dataset is not None
    assert dataset.plan == location.plan.plan_id > first.plan_id
    assert set(location.statuses()) == set(location.plan.partition_keys)


def test_the_reconciler_leaves_a_pull_alone_on_which_python_works(location: Location) -> None:
    with client_of(location) as client, lazy_pull_to(path_of(location), client, pull=location.pull) as records:
        next(records)
        waiting = location.tick()
        assert isinstance(waiting, Nothing)
        assert "a Python program, process" in waiting.reason


def test_python_leaves_a_pull_alone_on_which_a_run_works(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[str] = []

    def land_meanwhile(*arguments: Any) -> Iterator[Landed | Failed]:
        with client_of(location) as client, pytest.raises(LeaseHeld) as failure:
            pull_to(path_of(location), client, pull=location.pull)
        refused.append(str(failure.value))
        yield from land_slices(*arguments)

    location.run("pull_incidents")
    monkeypatch.setattr("snow_assets.assets.slices.land_slices", land_meanwhile)
    assert location.follow(location.tick()).success
    [line] = refused
    assert "is being worked on by Dagster run" in line

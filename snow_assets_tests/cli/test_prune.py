"""``snow-assets prune`` and ``compact``: what goes is listed first, and bad arguments change nothing."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from snow_assets.assets.keys import PullNames
from snow_assets.assets.local import local_instance
from snow_assets.config import Environment
from snow_assets.pulls.plan import moment_of
from snow_assets.simulator import SimulatorServer
from snow_assets_tests.cli.conftest import Folder
from snow_assets_tests.conftest import Hold
from snow_assets_tests.pulls.conftest import Workbench
from snow_assets_tests.pulls.lives import tree

PULLS = """\
pulls:
  incidents: {table: incident, keep: 30d}
  every: {table: incident}
  changes: {table: incident, mode: delta}
"""
NOW = ("--keep", "0.001s")  # whatever has happened is older


@pytest.fixture
def bench(folder: Folder, server: SimulatorServer) -> Workbench:
    """A folder with two published plans of ``incidents``."""
    folder.write(PULLS)
    bench = Workbench(server, folder.path / "data", page_size=400, slice_rows=400)
    for _ in range(2):
        bench.pull_all()
    while moment_of(bench.landing.plan_ids()[-1]) >= datetime.now(UTC):  # two of one second: the second lies ahead
        time.sleep(0.05)
    return bench


def test_prune_lists_what_goes_and_then_removes_it(folder: Folder, bench: Workbench) -> None:
    old, new = bench.landing.plan_ids()
    before = tree(folder.path)
    told = folder.call("prune", "incidents", "--dry-run", *NOW)
    assert (told.code, told.err) == (0, "")
    assert f"plan {old}" in told.out
    assert f"stays: plan {new}" in told.out
    assert "would go" in told.out
    dry = folder.call("prune", "incidents", "--dry-run", "--json", *NOW).json
    assert (dry["plans"], dry["versions"], dry["dry_run"]) == ([old], [0], True)
    assert tree(folder.path) == before

    done = folder.call("prune", "incidents", "--json", *NOW)
    assert (done.code, done.json["plans"], done.json["files"]) == (0, [old], dry["files"])
    assert bench.landing.plan_ids() == [new]
    assert "nothing is older" in folder.call("prune", "incidents", *NOW).out


def test_without_a_name_the_pulls_that_declare_it_are_pruned_and_no_dagster_home_is_made(
    folder: Folder, bench: Workbench
) -> None:
    before = bench.landing.store.sizes("")
    done = folder.call("prune", "--json")
    assert [pull["pull"] for pull in done.json["pulls"]] == ["incidents"]
    assert bench.landing.store.sizes("") == before  # nothing is 30 days old
    done = folder.call("prune", "--dry-run", "--json", *NOW)
    assert [pull["pull"] for pull in done.json["pulls"]] == ["incidents"]  # the others keep everything
    assert not (folder.path / ".dagster").exists()


def test_partitions_of_plans_that_go_are_deleted(folder: Folder, bench: Workbench) -> None:
    name = PullNames("incidents").partitions_name
    home = folder.path / "home"
    with local_instance(Environment({"DAGSTER_HOME": str(home)}, folder.path)) as instance:
        for plan_id in bench.landing.plan_ids():
            instance.add_dynamic_partitions(name, bench.landing.read_plan(plan_id).partition_keys)
        assert folder.call("prune", "incidents", *NOW, DAGSTER_HOME=str(home)).code == 0
        [left] = bench.landing.plan_ids()
        assert instance.get_dynamic_partitions(name) == bench.landing.read_plan(left).partition_keys


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("prune", "nosuch"), "nosuch"),
        (("prune", "every"), "keep: 30d"),
        (("prune", "incidents", "--keep", "soon"), "--keep"),
        (("prune", "incidents", "--keep", "0d"), "--keep"),
        (("compact", "incidents"), "full pull"),
        (("compact", "nosuch"), "nosuch"),
    ],
)
def test_bad_arguments_end_with_2_and_change_nothing(folder: Folder, arguments: tuple[str, ...], named: str) -> None:
    folder.write(PULLS)
    before = tree(folder.path)
    done = folder.call(*arguments)
    assert (done.code, done.out) == (2, "")
    assert named in done.err
    assert len(done.err.splitlines()) == 1
    assert tree(folder.path) == before


def test_a_pull_that_is_worked_on_is_left_alone(folder: Folder, bench: Workbench, another_process: Hold) -> None:
    before = bench.landing.store.sizes("")
    with another_process(folder.path / "data", "incidents"):
        done = folder.call("prune", "incidents", *NOW, "--json")
    assert (done.code, done.json["retryable"]) == (1, True)
    assert "snow-assets pull, process 1" in done.err
    assert bench.landing.store.sizes("") == before


def test_compact_says_why_there_is_nothing_to_do(folder: Folder) -> None:
    folder.write(PULLS)
    done = folder.call("compact", "changes")
    assert (done.code, done.out) == (0, "changes: nothing to do: nothing is published\n")
    assert folder.call("compact", "changes", "--json").json["files"] == 0
    assert not (folder.path / "data").exists()

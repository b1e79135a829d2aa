"""Retention: what is older than ``keep`` goes, what a younger version names stays, and no kill spoils either."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from snow_assets.errors import ConfigError, LandingError
from snow_assets.pulls import Landing, published, published_chain
from snow_assets.pulls.compaction import compact
from snow_assets.pulls.current import bring_up, home_of
from snow_assets.pulls.current_files import files_of
from snow_assets.pulls.current_keys import LIVE
from snow_assets.pulls.object_store import ObjectStore
from snow_assets.pulls.retention import Pruned, prune, prune_current
from snow_assets.pulls.stores import LocalStore
from snow_assets_tests.pulls.conftest import Workbench
from snow_assets_tests.pulls.lives import ROWS, commit_at, content, day, live, plan_of, rows_of, tree
from snow_assets_tests.pulls.made import Made
from snow_assets_tests.pulls.sweeping import small_instance

DAYS = 12
COMPACTED_ON = 8  # between this day and the next
INCIDENTS = 120


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a pull that lived for twelve days, compacted on the eighth. Not to be changed."""
    made = Made.at(tmp_path_factory.mktemp("lived"))
    live(made, range(COMPACTED_ON + 1))
    assert compact(made.landing, made.pull).into == 1
    commit_at(made.landing, COMPACTED_ON + 1, day(COMPACTED_ON + 0.5))
    live(made, range(COMPACTED_ON + 1, DAYS))
    store = made.landing.beside("sweeps")
    store.create(f"{plan_of(3)}-keys/plan.json", b"{}")
    return Path(made.landing.location).parent


@pytest.fixture
def made(lived: Path, tmp_path: Path) -> Made:
    """The pull that lived, in a folder of its own with a name that is hard on readers."""
    data = tmp_path / "d#t a?"
    shutil.copytree(lived, data)
    return keeping(Made.at(data), 3)


def keeping(made: Made, days: float) -> Made:
    seconds = days * 86400.0
    return replace(made, base=plan_of(0), pull=made.pull.model_copy(update={"keep": seconds, "keep_current": seconds}))


def named(landing: Landing, version: int) -> set[str]:
    table = DeltaTable(landing.delta_location, version=version)
    return set(pa.table(table.get_add_actions()).column("path").to_pylist())


def on_disk(landing: Landing) -> set[str]:
    sizes = landing.store.sizes("")
    return {path for path in sizes if path.endswith(".parquet") and not path.startswith("_delta_log/")}


def test_time_travel_to_whatever_is_younger_goes_on_and_the_rest_is_gone(made: Made) -> None:
    landing = made.landing
    newest = DeltaTable(landing.delta_location).version()
    before = {version: content(landing, version) for version in range(newest + 1)}
    # A version an hour after each midnight, and that of the compaction at the noon of day 8.
    for keep, first in ((20.0, 0), (8.0, 3), (3.6, 8), (3.4, 9), (1.0, 11), (0.01, 12)):
        prune(landing, keeping(made, keep).pull, day(DAYS))
        kept = range(first, newest + 1)
        assert {version: content(landing, version) for version in kept} == {v: before[v] for v in kept}, keep
        table = DeltaTable(landing.delta_location)
        table.load_as_version(day(DAYS - keep) if keep < DAYS else day(0.1))
        assert table.version() == first, keep
        for version in range(first):
            with pytest.raises(DeltaError):
                DeltaTable(landing.delta_location, version=version)
        assert on_disk(landing) == set().union(*(named(landing, version) for version in kept)), keep


def test_a_dry_run_names_what_goes_and_changes_nothing(made: Made) -> None:
    data = Path(made.landing.location).parent
    before = tree(data)
    found = prune(made.landing, made.pull, day(DAYS), dry_run=True)
    assert tree(data) == before
    assert found.plans == tuple(plan_of(number) for number in range(1, 8))
    assert found.partition_keys == tuple(f"{plan_of(number)}/0000000000" for number in range(1, 8))
    assert found.versions == tuple(range(9))
    for number in (
        0,
        8,
    ):  # the base, of which every kept version speaks, and the plan that the oldest of them published
        assert any(plan_of(number) in line for line in found.stays)
    done = prune(made.landing, made.pull, day(DAYS))
    assert replace(done, dry_run=True) == found
    after = tree(data)
    gone = {path for path in before if path not in after}
    single = {str(Path(path).relative_to(data)) for path in found.files}
    folders = {f"tickets/{plan_id}" for plan_id in found.plans}
    assert {
        path for path in gone if str(Path(path).parent) not in folders and not path.startswith("tickets.sweeps")
    } < single
    assert sum(len(before[path]) for path in gone) == found.size
    again = prune(made.landing, made.pull, day(DAYS))
    assert again.nothing
    assert tree(data) == after


class _Killed(Exception):
    pass


def _dies_at(monkeypatch: pytest.MonkeyPatch, step: int) -> Callable[[], int]:
    """Die before the ``step``-th thing that is changed; returns how many came."""
    count = 0

    def counted(kind: type[Any], name: str) -> None:
        real = getattr(kind, name)

        def dying(self: Any, *arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                raise _Killed
            return real(self, *arguments)

        monkeypatch.setattr(kind, name, dying)

    for name in ("remove", "remove_folder", "remove_scratch"):
        counted(LocalStore, name)
    counted(DeltaTable, "create_checkpoint")
    return lambda: count


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_a_kill_at_any_step_leaves_what_is_read_and_the_next_call_ends_it(
    lived: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    shutil.copytree(lived, tmp_path / "whole")
    whole = keeping(Made.at(tmp_path / "whole"), 3)
    kept = range(9, DeltaTable(whole.landing.delta_location).version() + 1)
    truth = [content(whole.landing, version) for version in kept]
    with monkeypatch.context() as counting:
        steps = _dies_at(counting, 0)
        prune(whole.landing, whole.pull, day(DAYS))
        total = steps()
    assert total > 20
    for step in range(1, total + 1, every):
        data = tmp_path / f"killed-{step}"
        shutil.copytree(lived, data)
        killed = keeping(Made.at(data), 3)
        with monkeypatch.context() as dying:
            _dies_at(dying, step)
            with pytest.raises(_Killed):
                prune(killed.landing, killed.pull, day(DAYS))
        assert [content(killed.landing, version) for version in kept] == truth, step
        assert published_chain(killed.landing) == published_chain(whole.landing), step
        prune(killed.landing, killed.pull, day(DAYS))
        assert set(tree(data)) == set(tree(tmp_path / "whole")), step
        assert content(killed.landing) == truth[-1]
        shutil.rmtree(data)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Workbench]:
    """A pull against a small instance of its own."""
    with small_instance(INCIDENTS).serve() as server:
        yield Workbench(server, tmp_path)


def test_the_next_delta_goes_on_after_pruning(own: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snow_assets.pulls.compaction.FEW", 2)
    own.pull = own.pull.model_copy(update={"mode": "delta", "keep": 86400.0, "lag": 0.0})
    own.pull_all()
    for number in range(2):
        own.sim.update("incident", own.sim.rows("incident")[number]["sys_id"], short_description=f"before {number}")
        own.pull_all()
    bring_up(own.landing, own.pull)
    chain = published_chain(own.landing)
    assert compact(own.landing, own.pull).files > 2
    later = datetime.now(UTC) + timedelta(days=3)
    assert prune(own.landing, own.pull, later).plans
    assert published_chain(own.landing) == chain
    own.sim.update("incident", own.sim.rows("incident")[3]["sys_id"], short_description="after")
    totals = own.pull_all()
    plan = own.landing.read_plan(totals.plan)
    assert chain is not None
    assert (plan.is_delta, plan.base) == (True, chain.base)
    now = bring_up(own.landing, own.pull)
    assert (now.plan, now.rows) == (plan.plan_id, INCIDENTS)
    truth = {row["sys_id"]: row["short_description"] for row in own.sim.rows("incident")}
    assert _descriptions(own.landing) == truth
    shutil.rmtree(now.location)  # and from what is left, the current rows can be made anew
    bring_up(own.landing, own.pull)
    assert _descriptions(own.landing) == truth


def _descriptions(landing: Landing, version: int | None = None) -> dict[str, str]:
    """Of the live rows, now or in a version of the table of current rows."""
    home = home_of(landing)
    rows = []
    for file in files_of(DeltaTable(home.delta_location, version=version)):
        if file.state == LIVE:
            with home.parquet(file.path) as opened:
                rows += opened.read(columns=["sys_id", "short_description"]).to_pylist()
    return {row["sys_id"]["value"]: row["short_description"]["value"] for row in rows}


def test_a_new_base_lets_the_old_chain_go_with_its_marks(tmp_path: Path) -> None:
    made = keeping(Made.at(tmp_path), 3)
    made.base = ""
    live(made, range(3))
    for number in (1, 12):
        made.mark(plan_of(number), ("a" * 32, "deleted", "keys", day(number)))
    live(made, range(10, 13), base=True)
    pruned = prune(made.landing, made.pull, day(12.5))
    assert pruned.plans == ()  # at day 9.5 the old chain was what readers saw
    pruned = prune(made.landing, made.pull, day(14))
    assert pruned.plans == tuple(map(plan_of, range(3)))
    assert made.landing.beside("marks").list("") == [f"{plan_of(12)}.parquet"]
    assert made.landing.plan_ids() == [plan_of(10), plan_of(11), plan_of(12)]


def test_a_plan_that_can_go_on_stays_and_is_told(made: Made) -> None:
    for number in (DAYS, DAYS + 1):
        made.landing.store.create(f"{plan_of(number)}/0000000000-1.parquet", b"landed")
        made.landing.store.create(f"{plan_of(number)}/0000000000-1.parquet.damaged", b"set aside")
    pruned = prune(made.landing, made.pull, day(DAYS + 30))
    assert plan_of(DAYS) in pruned.plans  # a newer one has taken its place
    assert made.landing.taken_ids()[-1] == plan_of(DAYS + 1)
    assert len(made.landing.store.list(plan_of(DAYS + 1))) == 2
    assert any(plan_of(DAYS + 1) in line and "go on" in line for line in pruned.stays)


def test_the_plan_of_current_rows_that_lag_behind_stays(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snow_assets.pulls.compaction.FEW", 2)
    for number in (DAYS, DAYS + 1):
        made.publish(plan_of(number), rows_of(number))
    compact(made.landing, made.pull)
    pruned = prune(made.landing, made.pull, datetime.now(UTC) + timedelta(days=30))
    assert plan_of(DAYS - 2) in pruned.plans
    assert any(plan_of(DAYS - 1) in line and "current rows" in line for line in pruned.stays)
    rows = content(made.landing)
    assert bring_up(made.landing, made.pull).plan == plan_of(DAYS + 1)
    assert content(made.landing) == rows


def test_of_a_full_pull_the_newest_plan_is_left_whatever_its_age(own: Workbench) -> None:
    own.pull = own.pull.model_copy(update={"keep": 86400.0})
    first, second, third = (own.pull_all() for _ in range(3))
    folder = Path(own.landing.store.uri(third.plan))
    (folder / "0000000000-2.parquet.damaged").write_bytes(b"set aside")
    remains = folder.parent / ".retired-20260101T000000Z-12345678"
    remains.mkdir()
    (remains / "plan.json").write_bytes(b"left by a kill")
    rows = content(own.landing)
    pruned = prune(own.landing, own.pull, datetime.now(UTC) + timedelta(days=400))
    assert pruned.plans == (first.plan, second.plan)
    assert len(pruned.partition_keys) == first.slices + second.slices
    assert own.landing.plan_ids() == [third.plan]
    assert not remains.exists()
    assert not list(folder.glob("*.damaged"))
    assert content(own.landing) == rows
    assert own.pull_all().landed == INCIDENTS
    dataset = published(own.landing)
    assert dataset is not None
    assert dataset.version == 3


def test_a_pull_that_keeps_everything_or_has_a_damaged_log_is_refused_with_nothing_changed(made: Made) -> None:
    data = Path(made.landing.location).parent
    before = tree(data)
    with pytest.raises(ConfigError, match="keep"):
        prune(made.landing, made.pull.model_copy(update={"keep": None}), day(DAYS))
    assert tree(data) == before
    (data / "tickets" / "_delta_log" / f"{3:020}.json").write_bytes(b"{")
    before = tree(data)
    with pytest.raises(LandingError, match="_delta_log"):
        prune(made.landing, made.pull, day(DAYS))
    assert tree(data) == before


def test_versions_go_by_keep_alone_also_those_that_delta_would_forget_after_30_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made.at(tmp_path)
    today = datetime.now(UTC).replace(microsecond=0)
    monkeypatch.setattr(sys.modules["snow_assets.pulls.current"], "CHECKPOINTS", {"delta.checkpointInterval": "2"})
    before = []
    for number, age in enumerate((90, 20, 19, 18, 17)):
        moment = today - timedelta(days=age)
        monkeypatch.setattr("snow_assets.pulls.current_files._now", lambda at=moment: int(at.timestamp() * 1000))
        version = made.publish(f"{moment:%Y%m%dT%H%M%SZ}", rows_of(number)).version
        if not number:
            DeltaTable(made.landing.delta_location).alter.set_table_properties({"delta.checkpointInterval": "2"})
            commit_at(made.landing, version + 1, moment)
        commit_at(made.landing, version, moment)
        home = home_of(made.landing)
        commit_at(home, bring_up(made.landing, made.pull).version, moment)
        for path in Path(home.location).rglob("*.parquet"):
            if path.stat().st_mtime > moment.timestamp() + 60:
                os.utime(path, (moment.timestamp(), moment.timestamp()))
        before.append(_descriptions(made.landing))
    for keep in (60.0, 30.0):  # until day 20, the first one was what readers saw
        prune(made.landing, keeping(made, keep).pull, datetime.now(UTC))
        assert content(made.landing, 0)[0] == ROWS
        for version, descriptions in enumerate(before):
            assert _descriptions(made.landing, version) == descriptions
    prune(made.landing, keeping(made, 19.5).pull, datetime.now(UTC))
    with pytest.raises(DeltaError):
        DeltaTable(home_of(made.landing).delta_location, version=0)
    assert _descriptions(made.landing, 1) == before[1]
    assert _descriptions(made.landing) == before[-1]
    assert on_disk(home_of(made.landing)) == set().union(*(named(home_of(made.landing), each) for each in range(1, 5)))


def test_a_landing_where_nothing_was_published_keeps_its_newest_plan(made: Made, tmp_path: Path) -> None:
    empty = Landing.open(str(tmp_path / "other"), "tickets")
    assert prune(empty, made.pull, day(DAYS)).nothing
    for number in range(3):
        empty.store.create(f"{plan_of(number)}/plan.json", b"{}")
    assert prune(empty, made.pull, day(DAYS)).plans == (plan_of(0), plan_of(1))


def test_an_object_store_is_pruned_the_same(made: Made, tmp_path: Path) -> None:
    data = Path(made.landing.location).parent
    shutil.copytree(data, tmp_path / "twin")
    twin = keeping(Made.at(tmp_path / "twin"), 3)
    expected = prune(twin.landing, twin.pull, day(DAYS))
    landing = Landing(made.landing.pull, ObjectStore(Path(made.landing.location).as_uri()))
    pruned = prune(landing, made.pull, day(DAYS))
    assert (pruned.plans, pruned.versions, pruned.size) == (expected.plans, expected.versions, expected.size)
    assert set(tree(data)) == set(tree(tmp_path / "twin"))
    assert content(made.landing)[0] == len([row for number in range(DAYS) for row in rows_of(number)])


def test_what_was_pruned_says_whether_there_was_anything() -> None:
    pruned = Pruned("p", day(0), (), (), 0, (), (), ("plan x",), dry_run=False)
    assert pruned.nothing
    assert not replace(pruned, versions=(1,)).nothing


def test_replaced_files_of_current_rows_go_also_where_everything_else_is_kept(made: Made) -> None:
    """Each sync rewrites some of them: kept for ever, they would fill the disk."""
    short = made.pull.model_copy(update={"keep": None, "keep_current": 86400.0})
    for number in range(DAYS + 1, DAYS + 4):
        made.publish(plan_of(number), rows_of(number))
        bring_up(made.landing, short)
    data = Path(made.landing.location).parent
    before = tree(data)
    assert not prune_current(made.landing, short, datetime.now(UTC), dry_run=True)
    now = datetime.now(UTC) + timedelta(days=3)
    would = prune_current(made.landing, short, now, dry_run=True)
    assert would
    assert tree(data) == before
    assert prune_current(made.landing, short, now) == would
    after = tree(data)
    gone = {path for path in before if path not in after}
    assert len(gone) == len(would)
    assert all(".current" in str(path) for path in gone)
    assert not bring_up(made.landing, short).changed
    assert _descriptions(made.landing)

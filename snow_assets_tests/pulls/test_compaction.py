"""Compaction: fewer files, and not one version of one row lost, changed or seen by another plan."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from snow_assets.config import PullConfig
from snow_assets.errors import ConfigError, LandingError, LeaseHeld
from snow_assets.pulls import published, published_chain
from snow_assets.pulls.compaction import compact
from snow_assets.pulls.current import bring_up
from snow_assets.pulls.seal import is_intact
from snow_assets_tests.pulls.lives import ROWS, content, live, plan_of, rows_of, tree
from snow_assets_tests.pulls.made import FIELDS, Made

DELTAS = 9


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a base and nine deltas, all in the current rows. Not to be changed."""
    data = tmp_path_factory.mktemp("lived")
    live(Made.at(data), range(DELTAS + 1))
    return data


@pytest.fixture
def made(lived: Path, tmp_path: Path) -> Made:
    """The same, in a folder of its own with a name that is hard on readers."""
    data = tmp_path / "d#t a?"
    shutil.copytree(lived, data)
    return replace(Made.at(data), base=plan_of(0))


def test_many_files_become_one_and_every_version_of_every_row_stays(made: Made) -> None:
    before, chain = content(made.landing), published_chain(made.landing)
    found = compact(made.landing, made.pull)
    assert (found.files, found.into, found.rows, found.why) == (DELTAS + 1, 1, ROWS + 5 * DELTAS, "")
    assert content(made.landing) == before
    dataset = published(made.landing)
    assert dataset is not None
    assert (len(dataset.files), dataset.plan, dataset.mode) == (1, plan_of(DELTAS), "delta")
    assert published_chain(made.landing) == chain
    assert is_intact(Path(dataset.files[0]))
    assert len(DeltaTable(made.landing.delta_location, version=DELTAS).file_uris()) == DELTAS + 1
    assert content(made.landing, DELTAS) == before
    assert "fewer" in compact(made.landing, made.pull).why


def test_deltas_and_current_rows_go_on_after_it(made: Made) -> None:
    compact(made.landing, made.pull)
    live(made, range(DELTAS + 1, 2 * DELTAS))
    now = bring_up(made.landing, made.pull)
    before = content(made.landing)
    assert compact(made.landing, made.pull).files == DELTAS  # the one that it made, and the new ones
    assert content(made.landing) == before
    again = bring_up(made.landing, made.pull)
    assert (again.changed, again.rows) == (False, now.rows)
    live(made, range(2 * DELTAS, 2 * DELTAS + 1), base=True)
    assert bring_up(made.landing, made.pull).base == plan_of(2 * DELTAS)


def test_columns_that_came_later_are_null_in_the_rows_before(made: Made) -> None:
    rows = [{**row, "priority": "1"} for row in rows_of(DELTAS + 1)]
    made.publish(plan_of(DELTAS + 1), rows, fields=(*FIELDS, "priority"))
    bring_up(made.landing, made.pull)
    before = content(made.landing)
    assert compact(made.landing, made.pull).into == 1
    assert content(made.landing) == before


def test_what_the_current_rows_have_not_taken_in_is_left(made: Made) -> None:
    made.publish(plan_of(DELTAS + 1), rows_of(DELTAS + 1))
    assert compact(made.landing, made.pull).files == DELTAS + 1
    dataset = published(made.landing)
    assert dataset is not None
    assert sorted(Path(file).parent.name for file in dataset.files) == [plan_of(DELTAS + 1), "compacted"]
    now = bring_up(made.landing, made.pull)
    assert (now.changed, now.plan) == (True, plan_of(DELTAS + 1))


def test_a_kill_before_the_commit_changes_nothing_and_leaves_nothing_for_long(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(made.landing)
    folder = Path(made.landing.store.uri("compacted"))

    def dies(*_arguments: Any, **_named: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(DeltaTable, "create_write_transaction", dies)
        with pytest.raises(KeyboardInterrupt):
            compact(made.landing, made.pull)
    assert len(list(folder.iterdir())) == 1
    (folder / ".half.parquet.123-abc.tmp").write_bytes(b"half")
    assert content(made.landing) == before
    assert compact(made.landing, made.pull).into == 1
    assert content(made.landing) == before
    assert len(list(folder.iterdir())) == 1


def test_whoever_publishes_at_the_same_time_is_not_hidden_by_it(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    real = DeltaTable.create_write_transaction

    def raced(self: DeltaTable, *arguments: Any, **named: Any) -> None:
        monkeypatch.setattr(DeltaTable, "create_write_transaction", real)
        made.publish(plan_of(DELTAS + 1), rows_of(DELTAS + 1))
        real(self, *arguments, **named)

    monkeypatch.setattr(DeltaTable, "create_write_transaction", raced)
    with pytest.raises(LeaseHeld):
        compact(made.landing, made.pull)
    dataset = published(made.landing)
    assert dataset is not None
    assert (dataset.plan, len(dataset.files)) == (plan_of(DELTAS + 1), DELTAS + 2)


@pytest.mark.parametrize("damage", ["cut", "bit"])
def test_a_damaged_file_is_told_with_nothing_changed(made: Made, damage: str) -> None:
    path = Path(made.landing.store.uri(f"{plan_of(4)}/0000000000-1.parquet"))
    content = bytearray(path.read_bytes())
    content[60] ^= 4
    path.write_bytes(content if damage == "bit" else content[: len(content) // 2])
    before = tree(Path(made.landing.location))
    with pytest.raises(LandingError, match=plan_of(4)):
        compact(made.landing, made.pull)
    assert tree(Path(made.landing.location)) == before


def test_there_is_nothing_to_do_for_a_full_pull_or_before_anything_was_brought_up(tmp_path: Path) -> None:
    made = Made.at(tmp_path)
    assert compact(made.landing, made.pull).why == "nothing is published"
    made.publish(plan_of(0), rows_of(0))
    assert "brought up" in compact(made.landing, made.pull).why
    with pytest.raises(ConfigError, match="full pull"):
        compact(made.landing, PullConfig(name="tickets", table="incident"))

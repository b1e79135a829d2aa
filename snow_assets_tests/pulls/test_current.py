"""Current rows: the newest version of each, what went away marked, one commit, whatever happens in between."""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from snow_assets.errors import ConfigError, LandingError, LeaseHeld
from snow_assets.pulls import Landing, current_files, current_keys, current_rewrite
from snow_assets.pulls.current import bring_up, current, vacuum
from snow_assets.pulls.object_store import ObjectStore
from snow_assets_tests.pulls.current_model import Mark, Model, Row, rows_of
from snow_assets_tests.pulls.made import FIELDS, MARKS, Made, cell

MODULE = sys.modules["snow_assets.pulls.current"]  # its name is the function's, too
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
KINDS = [("left_filter", "sweep"), ("reclassified", "sweep"), ("deleted", "audit"), ("deleted", "keys")]


def plan(number: int) -> str:
    return f"202601{number + 1:02}T000000Z"


def sys_id(number: int) -> str:
    return f"{number:032x}"


def row(number: int, text: str = "", changed: str = "2026-01-01 00:00:00", mods: int = 0, **fields: Any) -> Row:
    return {
        "sys_id": sys_id(number),
        "number": f"INC{number:05}",
        "state": cell("1", "New"),
        "short_description": text,
        "sys_updated_on": changed,
        "sys_mod_count": str(mods),
        **fields,
    }


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """A pull whose current files hold a handful of rows, so that few rows make many files."""
    monkeypatch.setattr(current_files, "SMALLEST", 12)
    monkeypatch.setattr(current_files, "LARGEST", 12)
    monkeypatch.setattr(current_files, "GROUP_ROWS", 5)
    monkeypatch.setattr(current_keys, "KEYS", 7)
    monkeypatch.setattr(current_rewrite, "FEW", 3)
    return Made.at(tmp_path / "data")


def texts(made: Made) -> dict[str, tuple[str, str]]:
    """State and short description of every row, by number and in that order: files hold them in any."""
    now = current(made.landing)
    assert now is not None
    rows = sorted(rows_of(now).values(), key=lambda row: str(row["number"]["value"]))
    return {row["number"]["value"]: (row["_state"], row["short_description"]["value"]) for row in rows}


def test_the_later_observation_wins_though_the_clock_stands_still_or_goes_back(made: Made) -> None:
    made.publish(plan(0), [row(1, "old", "2026-01-05 00:00:00", 9), row(2, "old"), row(3, "old")])
    made.publish(plan(1), [row(1, "back", "2026-01-02 00:00:00", 1), row(2, "still")])
    bring_up(made.landing, made.pull)
    assert texts(made) == {"INC00001": ("live", "back"), "INC00002": ("live", "still"), "INC00003": ("live", "old")}


def test_in_one_plan_the_cursor_decides_then_the_number_of_changes_as_a_number(made: Made) -> None:
    made.publish(plan(0), [row(0), row(1), row(2), row(3)])
    slices = [row(1, "newer", "2026-01-03 00:00:00"), row(2, "tenth", mods=10), row(3, "read")]
    mended = [row(1, "older", "2026-01-02 00:00:00", 5), row(2, "ninth", mods=9), row(3, "mended")]
    made.publish(plan(1), slices, mended=mended)
    bring_up(made.landing, made.pull)
    assert [text for _, text in texts(made).values()] == ["", "newer", "tenth", "mended"]


def test_marks_take_rows_away_and_a_later_version_brings_them_back(made: Made) -> None:
    made.publish(plan(0), [row(number, "old") for number in range(6)])
    bring_up(made.landing, made.pull)
    marks: list[Mark] = [(sys_id(at), *kind, NOON + timedelta(minutes=at)) for at, kind in enumerate(KINDS)]
    made.mark(plan(1), *marks, ("f" * 32, "deleted", "audit", NOON))  # the last one is of a row that nobody knows
    made.publish(plan(1), [row(2, "seen, then deleted"), row(5, "new")])
    now = bring_up(made.landing, made.pull)
    assert (now.rows, now.deleted, now.left) == (2, 2, 2)
    gone = {one["number"]["value"]: one for one in rows_of(now).values() if one["_state"] != "live"}
    assert gone["INC00000"]["_left_at"] == NOON
    assert [gone[f"INC0000{at}"]["_deleted_by"] for at in range(4)] == [None, None, "audit", "keys"]
    assert (gone["INC00002"]["short_description"]["value"], gone["INC00002"]["_plan"]) == (
        "seen, then deleted",
        plan(1),
    )
    assert (gone["INC00003"]["short_description"]["value"], gone["INC00003"]["_plan"]) == ("old", plan(0))

    made.publish(plan(2), [row(2, "undeleted"), row(0, "back")])
    now = bring_up(made.landing, made.pull)
    back = [one for one in rows_of(now).values() if one["_plan"] == plan(2)]
    assert [(one["_state"], one["_deleted_at"], one["_left_at"]) for one in back] == [("live", None, None)] * 2
    assert (now.rows, now.deleted, now.left) == (4, 1, 1)


def test_bringing_up_again_changes_nothing(made: Made) -> None:
    made.publish(plan(0), [row(number) for number in range(30)])
    first = bring_up(made.landing, made.pull)
    again = bring_up(made.landing, made.pull)
    assert (first.changed, again) == (True, replace(first, changed=False))
    assert current(made.landing) == again
    made.publish(plan(1), [])
    empty = bring_up(made.landing, made.pull)
    assert (empty.changed, empty.plan, empty.files) == (True, plan(1), first.files)


def test_only_touched_files_are_rewritten(made: Made) -> None:
    made.publish(plan(0), [row(number, changed=f"2026-01-01 00:{number:02}:00") for number in range(60)])
    before = bring_up(made.landing, made.pull)
    assert len(before.files) >= 5
    made.publish(plan(1), [row(59, "changed"), row(58, "changed")])
    after = bring_up(made.landing, made.pull)
    assert len(set(before.files) - set(after.files)) == 1  # rows that changed last lie together
    assert sum(text == "changed" for _, text in texts(made).values()) == 2


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 23))])
def test_it_equals_a_plain_model_after_any_plans(made: Made, seed: int) -> None:
    chance = random.Random(seed)
    model, fields = Model(), list(FIELDS)
    size = 40
    for number in range(8 if seed < 3 else 16):
        base = number == 0 or chance.random() < 0.08
        fields = _other_columns(fields, number, chance) if chance.random() < 0.3 else fields
        share = 1.0 if base else chance.choice([0.0, 0.05, 0.2, 0.6])
        seen = [_random_row(at, chance, fields) for at in range(size) if chance.random() < share]
        mended = [] if base else [_random_row(chance.randrange(size + 5), chance, fields)]
        marks = [_random_mark(size + 9, chance) for _ in range(0 if base else chance.choice([0, 1, 9]))]
        if marks:
            made.mark(plan(number), *marks)
        made.publish(plan(number), seen, fields=fields, base=base, mended=mended)
        model.apply(plan(number), [*seen, *mended], marks, fields, base=base)
        if chance.random() < 0.7 or number % 8 == 7:
            now = bring_up(made.landing, made.pull)
            model.must_equal(now)
            assert len(now.files) <= 2 * (now.rows // 6 + 4)
            size += 3


def _random_row(number: int, chance: random.Random, fields: list[str]) -> Row:
    moment = f"2026-01-0{chance.randint(1, 3)} 00:00:00"
    made = row(number, chance.choice(["", "a", "täxt\n\"'"]), moment, chance.choice([0, 2, 10]))
    odd = [None, {"display_value": None, "value": None, "link": None}, {**cell("x", "X"), "link": "https://x/y"}]
    made["state"] = chance.choice([cell("1", "New"), *odd])
    return made | {name: chance.choice([cell("v"), *odd]) for name in fields if name.startswith("u_")}


def _other_columns(fields: list[str], number: int, chance: random.Random) -> list[str]:
    own = [name for name in fields if name.startswith("u_")]
    kept = [name for name in fields if name not in own[:1]]
    return kept if own and chance.random() < 0.4 else [*fields, f"u_{number}"]


def _random_mark(rows: int, chance: random.Random) -> Mark:
    return (sys_id(chance.randrange(rows)), *chance.choice(KINDS), NOON + timedelta(minutes=chance.randint(0, 3)))


@pytest.mark.parametrize("fails", ["while it writes", "before the commit", "after the commit"])
def test_after_a_crash_the_next_run_gives_what_one_without_gives(
    made: Made, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    model = Model()
    for number, seen in enumerate(([row(at) for at in range(30)], [row(at, "new") for at in range(0, 40, 4)])):
        made.publish(plan(number), seen)
        model.apply(plan(number), seen, [], FIELDS, base=number == 0)
        with monkeypatch.context() as crash:
            _crash(crash, fails)
            with pytest.raises(KeyboardInterrupt):
                bring_up(made.landing, made.pull)
        before = current(made.landing)
        assert (before is not None and before.plan == plan(number)) == (fails == "after the commit")
        now = bring_up(made.landing, made.pull)
        assert now.changed == (fails != "after the commit")
        model.must_equal(now)
    assert not list(Path(now.location).rglob(".*.tmp*"))


def _crash(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    def crash(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    if when == "while it writes":
        monkeypatch.setattr(current_files._OpenFile, "close", crash)
        return
    commit: Callable[..., None] = MODULE._commit

    def committed(*given: Any) -> None:
        if when == "after the commit":
            commit(*given)
        crash()

    monkeypatch.setattr(MODULE, "_commit", committed)


@pytest.mark.parametrize("already", [False, True])
def test_whoever_brings_up_at_the_same_time_is_told_to_run_again(
    made: Made, monkeypatch: pytest.MonkeyPatch, already: bool
) -> None:
    made.publish(plan(0), [row(at) for at in range(30)])
    if already:
        bring_up(made.landing, made.pull)
        made.publish(plan(1), [row(3, "new")])
    write = current_rewrite.Rewrite.write

    def raced(self: current_rewrite.Rewrite) -> None:
        write(self)
        monkeypatch.undo()
        bring_up(made.landing, made.pull)

    monkeypatch.setattr(current_rewrite.Rewrite, "write", raced)
    with pytest.raises(LeaseHeld, match="run it again"):
        bring_up(made.landing, made.pull)
    again = bring_up(made.landing, made.pull)
    assert (again.changed, again.rows, again.version) == (False, 30, int(already))


def test_a_reader_that_began_before_reads_on_until_the_vacuum(made: Made) -> None:
    made.publish(plan(0), [row(at, "old") for at in range(30)])
    before = bring_up(made.landing, made.pull)
    made.publish(plan(1), [row(at, "new") for at in range(0, 30, 2)])
    after = bring_up(made.landing, made.pull)
    assert {one["short_description"]["value"] for one in rows_of(before).values()} == {"old"}
    assert DeltaTable(before.location, version=before.version).to_pyarrow_table().num_rows == 30

    young = Path(after.files[0]).with_name("of-a-commit-that-is-being-made.parquet")
    young.write_bytes(b"")
    assert vacuum(made.landing, datetime.now(UTC) - timedelta(days=1)) == []
    replaced = sorted(set(before.files) - set(after.files))
    log, *removed = vacuum(made.landing, datetime.now(UTC), dry_run=True)
    assert log == f"_delta_log/{before.version:020}.json"
    assert [str(Path(after.location, path)) for path in removed] == replaced
    assert all(Path(path).exists() for path in replaced)
    vacuum(made.landing, datetime.now(UTC))
    assert not any(Path(path).exists() for path in replaced)
    assert young.exists()
    assert len(rows_of(after)) == 30
    assert vacuum(made.landing, datetime.now(UTC)) == []


def test_delta_readers_see_one_row_each_with_its_state(made: Made) -> None:
    made.mark(plan(1), (sys_id(4), "deleted", "audit", NOON))
    made.publish(plan(0), [row(at) for at in range(30)])
    made.publish(plan(1), [row(5, u_new="x")], fields=[*FIELDS, "u_new"])
    now = bring_up(made.landing, made.pull)
    frame = pl.scan_delta(now.location).collect()
    assert frame.group_by("_state").len().sort("_state").rows() == [("deleted", 1), ("live", 29)]
    assert frame.filter(pl.col("_state") == "deleted")["_deleted_at"].to_list() == [NOON]
    with duckdb.connect() as connection:
        files = list(now.files)
        [found] = connection.execute("SELECT count(u_new.value), count(*) FROM read_parquet(?)", [files]).fetchall()
    assert found == (1, 29)


def test_a_dataset_begun_anew_is_built_from_its_base_on(made: Made) -> None:
    made.publish(plan(0), [row(at, "old", u_old="x") for at in range(30)], fields=[*FIELDS, "u_old"])
    bring_up(made.landing, made.pull)
    made.mark(plan(1), (sys_id(0), "deleted", "audit", NOON))
    made.publish(plan(1), [row(1, "old")])
    made.publish(plan(2), [row(at, "base") for at in range(20)], base=True)
    made.publish(plan(3), [row(1, "delta")])
    now = bring_up(made.landing, made.pull)
    assert (now.base, now.plan, now.rows, now.deleted, now.fields) == (plan(2), plan(3), 20, 0, FIELDS)
    assert sorted(text for _, text in texts(made).values()) == ["base"] * 19 + ["delta"]


def test_the_log_is_kept_short_by_checkpoints(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "CHECKPOINTS", {"delta.checkpointInterval": "2"})
    for number in range(4):
        made.publish(plan(number), [row(number)])
        bring_up(made.landing, made.pull)
    assert (Path(made.landing.beside("current").location) / "_delta_log" / "_last_checkpoint").exists()
    assert bring_up(made.landing, made.pull).rows == 4


def test_files_of_no_plan_count_by_the_plans_in_them(made: Made) -> None:
    made.publish(plan(0), [row(at) for at in range(10)])
    made.mark(plan(1), (sys_id(3), "deleted", "audit", NOON))
    made.publish(plan(1), [row(1, "new"), row(2, "new")])
    bring_up(made.landing, made.pull)
    made.publish(plan(2), [row(2, "newer")])
    dataset = DeltaTable(made.landing.location)
    dataset.optimize.compact()
    assert all("/" not in path for path in pa.table(dataset.get_add_actions()).column("path").to_pylist())
    now = bring_up(made.landing, made.pull)
    assert (now.plan, now.rows, now.deleted) == (plan(2), 9, 1)  # what was applied before is not taken for new
    rows = rows_of(now)
    shutil.rmtree(now.location)
    again = bring_up(made.landing, made.pull)  # all from the compacted file
    assert rows_of(again) == rows
    assert {one["_plan"] for one in rows_of(again).values()} == {plan(0), plan(1), plan(2)}


def test_an_object_store_holds_the_table_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tickets", "tickets.current", "tickets.marks"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("snow_assets.pulls.landing.open_store", lambda data, name: ObjectStore(f"{data}/{name}"))
    made = Made(Landing("tickets", ObjectStore((tmp_path / "tickets").as_uri())), Made.at(tmp_path).pull)
    made.publish(plan(0), [row(at) for at in range(10)])
    bring_up(made.landing, made.pull)
    made.mark(plan(1), (sys_id(3), "deleted", "audit", NOON))
    made.publish(plan(1), [row(1, "new")])
    now = bring_up(made.landing, made.pull)
    assert (now.rows, now.deleted) == (9, 1)
    assert all(
        file.startswith(f"{tmp_path.as_uri()}/tickets.current/_state=") for file in (*now.files, *now.gone_files)
    )
    local = replace(now, files=tuple(map(_path, now.files)), gone_files=tuple(map(_path, now.gone_files)))
    assert [one["short_description"]["value"] for one in rows_of(local).values()].count("new") == 1
    assert len(vacuum(made.landing, datetime.now(UTC))) == 2  # a file and its version


def _path(uri: str) -> str:
    return uri.removeprefix("file://")


def test_what_cannot_be_brought_up_is_told_by_name(made: Made) -> None:
    with pytest.raises(ConfigError, match="nothing is published"):
        bring_up(made.landing, made.pull)
    made.publish(plan(0), [row(at) for at in range(30)])
    damaged = Path(bring_up(made.landing, made.pull).files[0])
    made.publish(plan(1), [row(at, "new") for at in range(30)])
    marks = pa.Table.from_pylist([{"sys_id": sys_id(0), "kind": "vanished", "method": "audit", "at": NOON}], MARKS)
    folder = Path(made.landing.beside("marks").location)
    folder.mkdir()
    pq.write_table(marks, folder / f"{plan(1)}.parquet")
    with pytest.raises(LandingError, match="vanished"):
        bring_up(made.landing, made.pull)
    (folder / f"{plan(1)}.parquet").unlink()
    damaged.write_bytes(b"PAR1")
    with pytest.raises(LandingError, match=str(damaged)):
        bring_up(made.landing, made.pull)

"""Hierarchies: nothing starts early, and what follows a failure is as declared."""

from __future__ import annotations

import itertools
import random
import shutil
import threading
import time
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from snow_assets.errors import ConfigError, LoadUnfinished, SourceError
from snow_assets.imports import books_view, flow, running
from snow_assets.imports.contract import Applied, Counters, MappedSet
from snow_assets.imports.workspace import Workspace
from snow_assets_tests.imports.loads import Imports, numbered

# Three levels, two children for each parent; the order of siblings is declared against that of their names.
TREE = {"root": None, "b": "root", "a": "root", "b2": "b", "b1": "b", "a1": "a", "a2": "a"}
ORDER = {"b": 1, "a": 2, "b2": 1, "b1": 2, "a1": 1, "a2": 2}
PLAN = ["root", "b", "b2", "b1", "a", "a1", "a2"]


class Slow:
    """A target that takes its time, and notes what happens in a log of its own."""

    def __init__(self, log: list[tuple[str, str]], chance: random.Random, lock: threading.Lock) -> None:
        self._log, self._chance, self._lock = log, chance, lock

    def check(self, fields: Any) -> None:
        pass

    def applied(self, _key: str) -> None:
        return None

    def apply(self, mapped: MappedSet) -> Applied:
        with self._lock:
            self._log.append(("begin", mapped.import_name))
            delay = self._chance.random() / 100
        time.sleep(delay)
        with self._lock:
            self._log.append(("end", mapped.import_name))
        return Applied(mapped.attempt, Counters(mapped.total, inserts=mapped.total))

    def close(self) -> None:
        pass


def tree(imports: Imports, rows: int = 4, **keys: Any) -> None:
    for name, parent in TREE.items():
        more: dict[str, Any] = {"order": ORDER[name]} if name in ORDER else {}
        imports.declare(name, numbered(rows), parent=parent, **more, **keys)


def slowly(workspace: Workspace, seed: int, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Run the tree into slow targets; returns the log."""
    log: list[tuple[str, str]] = []
    target = Slow(log, random.Random(seed), threading.Lock())
    monkeypatch.setattr(workspace, "target", lambda _config: target)
    monkeypatch.setattr(running, "map_set", lambda _config, staged, out, _context: mapped(staged, out))
    flow.run_import(workspace, "root")
    return log


def mapped(staged: Path, out: Path) -> None:
    """Rows as they were staged: what is tested is when they come."""
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(staged, out)


def check_log(log: list[tuple[str, str]], sets: int = 4) -> None:
    """By the log alone: an import begins when every set of the one before has ended."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, (_what, name) in enumerate(log):
        places[name].append(place)
    assert {name: len(found) for name, found in places.items()} == dict.fromkeys(PLAN, 2 * sets)
    for before, after in itertools.pairwise(PLAN):
        assert max(places[before]) < min(places[after])


def check_books(workspace: Workspace) -> None:
    """By the books alone: all jobs of an import ended before the next was released, by the last of them."""
    early = """
        SELECT e.scheduled_import, e.position FROM sys_import_set_execution e
        JOIN sys_import_set_execution b ON b.execution_context = e.execution_context AND b.position = e.position - 1
        JOIN sys_concurrent_import_set_job j ON j.concurrent_import_set = b.concurrent_import_set
        JOIN sys_concurrent_import_set l ON l.number = e.concurrent_import_set
        JOIN sys_concurrent_import_set p ON p.number = b.concurrent_import_set
        WHERE j.state <> 'completed' OR j.completed > e.released OR e.released > e.started
           OR l.sys_created_on < e.released OR e.started_by <> p.last_job OR e.started_by IS NULL
    """
    assert books_view.query(workspace, early).to_pylist() == []
    done = "SELECT scheduled_import, state FROM sys_import_set_execution ORDER BY execution_context, position"
    rows = [tuple(row.values()) for row in books_view.query(workspace, done).to_pylist()]
    assert rows == [(name, "completed") for name in PLAN] * (len(rows) // len(PLAN))
    assert {row["state"] for row in books_view.query(workspace, "FROM sys_execution_context").to_pylist()} == {
        "completed"
    }


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_no_import_starts_before_the_one_before_it_is_finished(
    imports: Imports, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    tree(imports)
    with imports.open() as workspace:
        check_log(slowly(workspace, seed, monkeypatch))
        check_books(workspace)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_hundred_hierarchies_never_start_anything_early(imports: Imports, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(imports)
    with imports.open() as workspace:
        for seed in range(100):
            check_log(slowly(workspace, seed, monkeypatch))
        check_books(workspace)


def test_the_execution_plan_is_frozen_when_the_root_starts(imports: Imports) -> None:
    tree(imports)
    with imports.open() as workspace:
        load = flow.stage(imports.declared["root"], workspace)
    del imports.declared["b2"]
    imports.declare("late", numbered(1), parent="root", order=0)
    with imports.open() as workspace:
        plan = books_view.query(workspace, "SELECT scheduled_import, parent, depth FROM sys_execution_plan").to_pylist()
        assert [row["scheduled_import"] for row in plan] == PLAN
        assert [row["depth"] for row in plan] == [0, 1, 2, 2, 1, 2, 2]
        with pytest.raises(ConfigError, match="'b2': is no declared import"):
            flow.resume(workspace, "root")
        assert workspace.load("b").context == load.context


def test_a_child_is_not_started_in_a_hierarchy_before_its_turn(imports: Imports) -> None:
    tree(imports)
    with imports.open() as workspace:
        load = flow.stage(imports.declared["root"], workspace)
        with pytest.raises(LoadUnfinished, match="the import before it in the execution plan is not finished"):
            flow.stage(imports.declared["b"], workspace, context=load.context)


def test_the_next_import_is_released_once_and_told_until_it_starts(imports: Imports) -> None:
    tree(imports)
    root = imports.declared["root"]
    with imports.open() as workspace:
        load = flow.stage(root, workspace)
        assert workspace.books.released() == {}
        outcomes = list(flow.transform(root, workspace, load.load_id))
        [last] = [each.job for each in outcomes if each.last]
        assert [flow.finish(root, workspace, load.load_id).released for _ in range(2)] == ["b", "b"]
        assert workspace.books.released() == {"b": load.context}
        released = books_view.query(
            workspace, "SELECT started_by FROM sys_import_set_execution WHERE released IS NOT NULL AND position > 0"
        ).to_pylist()
        assert released == [{"started_by": last}]
        flow.stage(imports.declared["b"], workspace)
        assert flow.finish(root, workspace, load.load_id).released is None
        assert workspace.books.released() == {}


@pytest.mark.slow
def test_a_hierarchy_that_is_not_finished_is_not_begun_again_unless_told(imports: Imports) -> None:
    imports.declare("root", numbered(2))
    imports.declare("child", numbered(2), parent="root")
    with imports.open() as workspace:
        root = imports.declared["root"]
        load = flow.stage(root, workspace)
        list(flow.transform(root, workspace, load.load_id))
        flow.finish(root, workspace, load.load_id)
        with pytest.raises(LoadUnfinished, match=rf"its hierarchy {load.context} is not finished \(child\)"):
            flow.run_import(workspace, "root")
        assert [each.load.name for each in flow.run_import(workspace, "root", new=True)] == ["root", "child"]
        states = "SELECT number, state FROM sys_execution_context ORDER BY number"
        assert [row["state"] for row in books_view.query(workspace, states).to_pylist()] == ["error", "completed"]


@pytest.mark.parametrize("on_error", ["stop", "continue"])
def test_what_follows_a_failed_import_is_as_declared_and_can_be_resumed(
    imports: Imports, tmp_path: Path, on_error: str
) -> None:
    hooks = tmp_path / "hooks.py"
    hooks.write_text("def start(context):\n    raise ValueError('no')\n")
    transform = {"fields": {"id": "id"}, "hooks": {"on_start": f"{hooks}:start"}}
    imports.declare("root", numbered(2), transform=transform, on_error=on_error)
    imports.declare("child", numbered(2), parent="root")
    with imports.open() as workspace:
        names = [(each.load.name, each.load.state) for each in flow.run_import(workspace, "root")]
        followed = [("child", "processed")] if on_error == "continue" else []
        assert names == [("root", "error"), *followed]
        states = "SELECT e.state, c.state AS context FROM sys_import_set_execution e JOIN sys_execution_context c"
        query = f"{states} ON c.number = e.execution_context ORDER BY e.position"
        left = "completed" if on_error == "continue" else "cancelled"
        assert [tuple(row.values()) for row in books_view.query(workspace, query).to_pylist()] == [
            ("error", "error"),
            (left, "error"),
        ]
        hooks.write_text("def start(context):\n    pass\n")
        assert flow.resume(workspace, "root")[-1].load.name == ("root" if on_error == "continue" else "child")
        context = workspace.load("root").context
        rows = books_view.query(workspace, f"{query}").to_pylist()
        assert {row["state"] for row in rows} == {"completed"}, context


def test_a_child_whose_source_is_missing_ends_its_hierarchy_and_goes_on_when_it_is_there(imports: Imports) -> None:
    imports.declare("root", numbered(2))
    imports.declare("child", parent="root")
    imports.declare("grandchild", numbered(2), parent="child")
    with imports.open() as workspace:
        with pytest.raises((ConfigError, SourceError), match=r"child\.csv"):
            flow.run_import(workspace, "root")
        assert workspace.load("root").state == "processed"
        assert workspace.books.load("child") is None
        assert workspace.books.released() == {}
        imports.write("child", numbered(2))
        assert [each.load.name for each in flow.resume(workspace, "root")] == ["root", "child", "grandchild"]


@pytest.mark.parametrize("died", [True, False])
def test_a_hierarchy_that_stopped_below_is_taken_up_where_its_first_import_is_resumed(
    imports: Imports, tmp_path: Path, died: bool
) -> None:
    hooks = tmp_path / "hooks.py"
    failing = "KeyboardInterrupt" if died else "ValueError('no')"
    hooks.write_text(f"def start(context):\n    raise {failing}\n")
    imports.declare("root", numbered(2))
    transform = {"fields": {"id": "id"}, "hooks": {"on_start": f"{hooks}:start"}}
    imports.declare("child", numbered(2), parent="root", transform=transform)
    imports.declare("grandchild", numbered(2), parent="child")
    with imports.open() as workspace:
        with pytest.raises(KeyboardInterrupt) if died else nullcontext():
            flow.run_import(workspace, "root")
        hooks.write_text("def start(context):\n    pass\n")
        names = [each.load.name for each in flow.resume(workspace, "root")]
        assert names == ["root", "child", "grandchild"]
        states = "SELECT DISTINCT state FROM sys_import_set_execution"
        assert [row["state"] for row in books_view.query(workspace, states).to_pylist()] == ["completed"]
        assert [each.load.name for each in flow.resume(workspace, "root")] == ["root"]

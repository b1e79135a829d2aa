"""Several who import at once, and do not know of each other."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import duckdb
import pytest

from snow_assets.errors import ConfigError, LoadUnfinished
from snow_assets.imports import books_database, books_view, flow, loading, staging
from snow_assets.imports.books import Books
from snow_assets.imports.flow import Progress
from snow_assets.imports.workspace import Workspace
from snow_assets_tests.imports.loads import Imports, numbered
from snow_assets_tests.imports.postgres.server import Database


@pytest.mark.parametrize("coalesce", ["id", []])
def test_two_folders_that_load_in_the_same_second_have_no_import_sets_in_common(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coalesce: object
) -> None:
    monkeypatch.setattr(loading, "plan_id_of", lambda _now: "20261121T020000Z")
    file = tmp_path / "shared.duckdb"
    for folder in ("one", "two"):
        imports = Imports(tmp_path / folder)
        imports.root.mkdir()
        rows = [(f"{folder}-{number}", folder) for number in range(3)]
        imports.declare("people", rows, target={"duckdb": str(file), "table": "people"}, coalesce=coalesce)
        with imports.open() as workspace:
            [finished] = flow.run_import(workspace, "people")
        assert finished.counters.inserts == 3
    with duckdb.connect(file) as connection:
        assert connection.sql("SELECT count(DISTINCT id), count(*) FROM people").fetchall() == [(6, 6)]


def chain(imports: Imports) -> None:
    """Three imports, one after the other."""
    for name, parent in (("first", None), ("second", "first"), ("third", "second")):
        imports.declare(name, numbered(2), parent=parent, max_import_sets=1)


def executions(workspace: Workspace) -> list[str]:
    query = "SELECT state FROM sys_import_set_execution ORDER BY execution_context, position"
    return [row["state"] for row in books_view.query(workspace, query).to_pylist()]


def test_whoever_comes_second_to_a_child_leaves_the_hierarchy_to_the_other(imports: Imports) -> None:
    chain(imports)
    with imports.open() as one, imports.open() as other:
        config = one.config("second")

        def faster(progress: Progress) -> None:
            if (progress.name, progress.phase) == ("first", "finished"):
                flow.stage(config, one)

        with pytest.raises(LoadUnfinished, match="is loaded and not finished"):
            flow.run_import(other, "first", on_progress=faster)
        child = one.load("second")
        list(flow.transform(config, one, child.load_id))
        assert flow.finish(config, one, child.load_id).released == "third"
        with pytest.raises(LoadUnfinished, match="its turn in the execution plan is over: completed"):
            flow.stage(config, other, context=child.context)
        assert other.load("second") == one.load("second")
        assert other.load("second").number == child.number
        assert executions(one) == ["completed", "completed", "pending"]


def test_a_load_that_is_worked_on_keeps_its_hierarchy_when_a_new_one_is_refused(imports: Imports) -> None:
    chain(imports)
    with imports.open() as one, imports.open() as other:
        config = one.config("first")
        load = flow.stage(config, one)
        with one.working(load, 1):
            one.books.take(load, 1)
            with pytest.raises(LoadUnfinished, match="is being worked on by another run"):
                flow.stage(other.config("first"), other, new=True)
        list(flow.transform(config, one, load.load_id))
        assert flow.finish(config, one, load.load_id).released == "second"
        assert executions(one) == ["completed", "pending", "pending"]
        assert [each.load.name for each in flow.resume(other, "first")] == ["first", "second", "third"]


def test_a_hierarchy_that_was_given_up_does_not_end_as_if_it_were_done(imports: Imports) -> None:
    chain(imports)
    with imports.open() as one:
        load = flow.stage(one.config("first"), one)
        list(flow.transform(one.config("first"), one, load.load_id))
        flow.finish(one.config("first"), one, load.load_id)
        child = flow.stage(one.config("second"), one)
        flow.stage(one.config("first"), one, new=True)
        list(flow.transform(one.config("second"), one, child.load_id))
        assert flow.finish(one.config("second"), one, child.load_id).released is None
        states = "SELECT state FROM sys_execution_context ORDER BY number"
        assert [row["state"] for row in books_view.query(one, states).to_pylist()] == ["error", "running"]


def test_a_hierarchy_that_stopped_in_a_child_names_the_child_to_resume(imports: Imports) -> None:
    chain(imports)
    with imports.open() as one:
        load = flow.stage(one.config("first"), one)
        list(flow.transform(one.config("first"), one, load.load_id))
        flow.finish(one.config("first"), one, load.load_id)
        flow.stage(one.config("second"), one)
        with pytest.raises(LoadUnfinished, match="imports resume second goes on with it"):
            flow.run_import(one, "first")
        assert [each.load.name for each in flow.resume(one, "second")] == ["second", "third"]


def test_a_load_is_not_closed_by_what_its_sets_were_before(imports: Imports) -> None:
    config = imports.declare("people", numbered(4), max_import_sets=2)
    with imports.open() as workspace:
        load = flow.stage(config, workspace)
        seen = workspace.books.sets(load)
        assert workspace.books.finish(load, "error", "old news", seen).state == "error"
        opened = workspace.books.reopen(load)
        workspace.books.take(opened, 1)
        assert workspace.books.finish(opened, "error", "old news", seen).state == "loaded"


def test_of_two_who_reprocess_at_once_the_second_is_refused(imports: Imports) -> None:
    config = imports.declare("people", numbered(4), max_import_sets=2)
    with imports.open() as one, imports.open() as other:
        [done] = flow.run_import(one, "people")
        flow.reopen_to_reprocess(one, done.load)
        with pytest.raises(LoadUnfinished, match="is loaded and not finished"):
            flow.reopen_to_reprocess(other, done.load)
        [again] = flow.resume(other, "people")
        assert again.counters.ignored == again.counters.total == 4
        assert flow.finish(config, one, done.load.load_id).load.state == "processed"


@pytest.mark.parametrize("wrong", [{"domain": "acme"}, {"set_nos": [7]}])
def test_what_is_refused_leaves_the_load_as_it_was(imports: Imports, wrong: dict[str, Any]) -> None:
    imports.declare("people", numbered(4), max_import_sets=2)
    with imports.open() as workspace:
        flow.run_import(workspace, "people")
    imports.declare("people", **({"domain": wrong["domain"]} if "domain" in wrong else {}))
    with imports.open() as workspace:
        load = workspace.load("people")
        with pytest.raises(ConfigError):
            flow.reprocess(workspace, "people", set_nos=wrong.get("set_nos"))
        assert workspace.load("people") == load
        failed = workspace.books.finish(workspace.books.reopen(load, [1], reprocess=True), "error", "failed")
        with pytest.raises(ConfigError):
            flow.resume(workspace, "people", set_nos=wrong.get("set_nos"))
        assert workspace.load("people") == failed


def test_machines_that_keep_imports_in_folders_of_other_names_lock_each_other_out(
    tmp_path: Path, postgres: Database
) -> None:
    one, other = Imports(tmp_path, postgres.url), Imports(tmp_path, postgres.url)
    for each, folder in ((one, "here"), (other, "there")):
        each.variables["SNOW_IMPORTS_DIR"] = str(tmp_path / folder)
        each.declare("people", numbered(2))
    with one.open() as first, other.open() as second, first.loading("people"):
        assert second.is_loading("people")


def test_books_that_cannot_be_written_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books_database, "_PAUSE", 60.0)
    path = tmp_path / "books.db"
    sqlite3.connect(path).execute("CREATE TABLE t (i)").connection.close()
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        books_database._prepare(connection, None)
    connection.close()


@pytest.mark.parametrize("coalesce", ["id", [], {"fields": "id", "create_on_empty": True}])
def test_a_load_that_breaks_off_is_loaded_anew_without_doubling_rows(
    imports: Imports, monkeypatch: pytest.MonkeyPatch, coalesce: Any
) -> None:
    imports.declare("people", [*numbered(3), ("", "nobody")], partition={"size": 1}, coalesce=coalesce)
    seal, applied = staging.SetFiles._seal, threading.Event()

    def breaks(self: staging.SetFiles, number: int) -> None:
        if number == 4:
            applied.wait(0 if coalesce == [] or isinstance(coalesce, dict) else 30)
            raise OSError("No space left on device")
        seal(self, number)

    done = Books.done

    def booked(*given: Any) -> None:
        done(*given)
        applied.set()

    with imports.open() as workspace:
        with monkeypatch.context() as patch:
            patch.setattr(staging.SetFiles, "_seal", breaks)
            patch.setattr(Books, "done", booked)
            with pytest.raises(OSError, match="No space left"):
                flow.run_import(workspace, "people")
        assert applied.is_set() == (coalesce == "id")
        [finished] = flow.resume(workspace, "people")
        assert finished.counters.accounted == 4
    assert imports.target("SELECT count(*) FROM people") == [(3 if coalesce == "id" else 4,)]

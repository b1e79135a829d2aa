"""The books: who may take what, and who is the last, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import random
import threading
from pathlib import Path

import pytest

from snow_assets.config import Environment
from snow_assets.errors import ConfigError, InstanceUnavailable, LoadUnfinished
from snow_assets.imports import books_view, flow
from snow_assets.imports.books_records import LoadRecord
from snow_assets.imports.contract import Applied, Counters
from snow_assets.imports.workspace import Workspace
from snow_assets_tests.imports.loads import Imports, numbered

ID = "20261121T020000Z"


def loaded(workspace: Workspace, imports: Imports, sets: int = 3, rows: int = 5) -> LoadRecord:
    """A load of so many sets, without files."""
    config = imports.declared["people"] if "people" in imports.declared else imports.declare("people")
    load = workspace.books.start_load(config, ID)
    for set_no in range(1, sets + 1):
        workspace.books.add_set(load, set_no, rows)
    return workspace.books.loaded(load, sets * rows, 0)


def applied(rows: int = 5) -> Applied:
    return Applied("attempt", Counters(rows, inserts=rows))


def test_a_job_goes_from_pending_through_running_to_completed(imports_on_both: Imports) -> None:
    with imports_on_both.open() as workspace:
        load = loaded(workspace, imports_on_both)
        [first, *_] = workspace.books.sets(load)
        assert (first.number, first.state, first.rows, first.partition_key) == (
            "ISET0000001",
            "loaded",
            5,
            f"{ID}/0001",
        )
        assert first.job is not None
        assert (first.job.number, first.job.type, first.job.state) == ("CISJ0000001", "regular", "pending")
        taken = workspace.books.take(load, 1, "me")
        assert taken is not None
        running = workspace.books.sets(load)[0].job
        assert running is not None
        assert (running.state, running.worker, running.retry_count) == ("running", "me", 0)
        workspace.books.done(taken, applied(), 1.5)
        [first, *_] = workspace.books.sets(load)
        assert first.job is not None
        assert first.run is not None
        assert (first.state, first.job.state, first.run.state) == ("processed", "completed", "complete")
        assert first.run.counters == Counters(5, inserts=5)
        assert workspace.books.take(load, 1) is None


def test_a_dead_or_failed_job_is_taken_up_as_resuming_and_counted(imports: Imports) -> None:
    with imports.open() as workspace:
        load = loaded(workspace, imports)
        first = workspace.books.take(load, 1)
        assert first is not None
        second = workspace.books.take(load, 1)  # the caller holds its lock: whoever ran it is dead
        assert second is not None
        assert (second.job, second.type, second.attempts) == (first.job, "resuming", (first.attempt,))
        workspace.books.failed(second, "no")
        third = workspace.books.take(load, 1)
        assert third is not None
        job = workspace.books.sets(load)[0].job
        assert job is not None
        assert (job.type, job.state, job.retry_count, job.error) == ("resuming", "running", 2, "")


def test_a_reprocessing_that_is_taken_up_again_stays_one(imports: Imports) -> None:
    with imports.open() as workspace:
        load = loaded(workspace, imports, sets=1)
        taken = workspace.books.take(load, 1)
        assert taken is not None
        workspace.books.done(taken, applied(), 1)
        load = workspace.books.reopen(workspace.books.finish(load, "processed"), [1], reprocess=True)
        again = workspace.books.take(load, 1)
        once_more = workspace.books.take(load, 1)
        assert again is not None
        assert once_more is not None
        assert once_more.reprocess
        assert once_more.job != taken.job
        assert once_more.attempts == (again.attempt,)


@pytest.mark.parametrize("seed", range(3))
def test_one_job_is_the_last_whatever_the_interleaving(imports_on_both: Imports, seed: int) -> None:
    """Each worker has connections of its own, as processes have."""
    sets, chance = 6, random.Random(seed)
    with imports_on_both.open() as workspace:
        load = loaded(workspace, imports_on_both, sets=sets)
    answers: list[tuple[bool, bool]] = []
    start = threading.Barrier(sets)
    pauses = [chance.random() / 100 for _ in range(sets)]

    def work(set_no: int) -> None:
        with imports_on_both.open() as own:
            taken = own.books.take(load, set_no)
            assert taken is not None
            start.wait()
            threading.Event().wait(pauses[set_no - 1])
            own.books.done(taken, applied(), 0.0)
            is_last = own.books.last(load, taken.job)
            ended = {each.job.state for each in own.books.sets(load) if each.job}
            answers.append((is_last, ended == {"completed"} or not is_last))

    workers = [threading.Thread(target=work, args=(set_no,)) for set_no in range(1, sets + 1)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    assert sorted(is_last for is_last, _ in answers) == [False] * (sets - 1) + [True]
    assert all(others_ended for _, others_ended in answers)


def test_no_job_is_the_last_while_another_waits_or_runs(imports: Imports) -> None:
    with imports.open() as workspace:
        books, load = workspace.books, loaded(workspace, imports, sets=2)
        first = books.take(load, 1)
        assert first is not None
        books.done(first, applied(), 0)
        assert not books.last(load, first.job)  # the other waits
        second = books.take(load, 2)
        assert second is not None
        assert not books.last(load, first.job)  # it runs
        books.failed(second, "no")
        assert books.last(load, second.job)  # it has ended, if in error


def test_no_job_is_the_last_while_rows_still_load(imports: Imports) -> None:
    config = imports.declare("people", partition={"size": 5})
    with imports.open() as workspace:
        books = workspace.books
        load = books.start_load(config, ID)
        books.add_set(load, 1, 5)
        books.add_set(load, 2, 5)
        first = books.take(load, 1)
        assert first is not None
        books.done(first, applied(), 0)
        assert not books.last(load, first.job)  # a set waits
        second = books.take(load, 2)
        assert second is not None
        books.done(second, applied(), 0)
        assert not books.last(load, second.job)  # later rows may come
        load = books.loaded(load, 10, 0)
        assert books.last(load, second.job)
        assert not books.last(load, second.job)


def test_sets_are_not_taken_before_all_rows_are_there(imports: Imports) -> None:
    config = imports.declare("people")
    with imports.open() as workspace:
        load = workspace.books.start_load(config, ID)
        workspace.books.add_set(load, 1, 5)
        with pytest.raises(LoadUnfinished, match="has not loaded yet"):
            workspace.books.take(load, 1)


def test_a_load_is_refused_while_an_older_one_is_not_finished(imports_on_both: Imports) -> None:
    with imports_on_both.open() as workspace:
        load = loaded(workspace, imports_on_both)
        config = imports_on_both.declared["people"]
        with pytest.raises(LoadUnfinished, match=rf"{ID} is loaded and not finished.*imports resume people.*--new"):
            workspace.books.start_load(config, ID)
        assert workspace.books.take(load, 1)
        with pytest.raises(LoadUnfinished, match="being worked on"):
            workspace.books.start_load(config, ID, new=True, alive=lambda _load, set_no: set_no == 1)
        newer = workspace.books.start_load(config, ID, new=True)
        assert newer.load_id == "20261121T020001Z"  # the next free second
        old = workspace.books.load("people", ID)
        assert old is not None
        assert (old.state, old.error) == ("cancelled", "given up for a new load")
        assert {each.job.state for each in workspace.books.sets(old) if each.job} == {"error"}
        with pytest.raises(LoadUnfinished, match="is cancelled"):
            workspace.books.take(old, 2)


def test_a_load_that_died_is_cancelled_and_its_applied_sets_are_named(imports: Imports) -> None:
    config = imports.declare("people", partition={"size": 5})
    with imports.open() as workspace:
        load = workspace.books.start_load(config, ID)
        for set_no in (1, 2):
            workspace.books.add_set(load, set_no, 5)
        taken = workspace.books.take(load, 1)
        assert taken is not None
        workspace.books.done(taken, applied(), 0)
        workspace.books.start_load(config, ID)
        old = workspace.books.load("people", ID)
        assert old is not None
        assert old.state == "cancelled"
        assert "import sets 1 were applied before that" in old.error
        assert [each.state for each in workspace.books.sets(old)] == ["processed", "cancelled"]


def test_books_that_cannot_be_used_are_named_without_their_password(tmp_path: Path) -> None:
    config = Imports(tmp_path).declare("people")
    (tmp_path / "data").write_text("a file\n")
    with Imports(tmp_path).open() as workspace, pytest.raises(ConfigError, match=r"books .*data/import-sets"):
        workspace.books.start_load(config, ID)
    with pytest.raises(ConfigError, match="SNOW_IMPORTS_DATABASE") as caught:
        Imports(tmp_path, "mysql://me:hush-hush@host/db").open()
    assert "hush" not in str(caught.value)
    with Imports(tmp_path, "postgresql://me:hush-hush@127.0.0.1:1/db").open() as workspace:
        with pytest.raises(InstanceUnavailable, match=r"SNOW_IMPORTS_DATABASE: the books cannot be reached") as lost:
            workspace.books.start_load(config, ID)
        assert "hush" not in str(lost.value)


def test_reading_books_that_are_not_there_makes_nothing(tmp_path: Path) -> None:
    imports = Imports(tmp_path)
    imports.declare("people")
    with imports.open() as workspace:
        assert workspace.books.load("people") is None
        assert workspace.books.loads() == []
        assert workspace.books.released() == {}
        counted = books_view.query(workspace, "SELECT count(*) AS n FROM sys_import_set_row")
        assert counted.to_pylist() == [{"n": 0}]
    assert list(tmp_path.iterdir()) == []


def test_imports_work_where_the_environment_says(tmp_path: Path) -> None:
    def found(**values: str) -> Environment:
        return Environment.load(tmp_path, values)

    assert found().imports_path == tmp_path / "imports.yaml"
    assert found(SNOW_PULLS="conf/pulls.yaml").imports_path == tmp_path / "conf" / "imports.yaml"
    assert found(SNOW_IMPORTS="mine.yaml").imports_path == tmp_path / "mine.yaml"
    assert found().imports_dir == tmp_path / "data" / "import-sets"
    assert found(SNOW_DATA_DIR="s3://bucket/x", SNOW_IMPORTS_DIR="here").imports_dir == tmp_path / "here"
    with pytest.raises(ConfigError, match=r"SNOW_IMPORTS_DIR.*is not a local folder"):
        _ = found(SNOW_DATA_DIR="s3://bucket/x").imports_dir


def test_rows_of_import_sets_are_tables_with_the_platforms_names(imports: Imports) -> None:
    imports.declare("people", numbered(20), transform={"id": "id", "age": {"source": "name", "type": "integer"}})
    imports.write("people", [*((i, i) for i in range(1, 20)), (20, "old")])
    with imports.open() as workspace:
        [finished] = flow.run_import(workspace, "people")
        assert finished.counters == Counters(20, inserts=19, errors=1)

        def rows(sql: str) -> list[tuple[object, ...]]:
            return [tuple(row.values()) for row in books_view.query(workspace, sql).to_pylist()]

        states = "SELECT sys_import_state, count(*) FROM sys_import_set_row GROUP BY 1 ORDER BY 1"
        assert rows(states) == [("error", 1), ("inserted", 19)]
        sets = (
            "SELECT s.set_no, count(*) FROM sys_import_set_row r JOIN sys_import_set s ON s.number = r.sys_import_set"
        )
        assert rows(f"{sets} GROUP BY 1 ORDER BY 1") == [(1, 5), (2, 5), (3, 5), (4, 5)]
        first = "SELECT sys_import_set, sys_target_table, length(sys_target_sys_id) FROM sys_import_set_row"
        assert rows(f"{first} WHERE sys_import_row = 1") == [("ISET0000001", "people", 32)]
        [(file, line, row, code, message)] = rows(
            "SELECT sys_import_file, sys_import_line, sys_import_row, code, message FROM sys_import_set_row_error"
        )
        assert (file, line, row, code) == ("people.csv", 21, 20, 400)
        assert "age" in str(message)
        assert rows("SELECT id, sys_import_state FROM imp_people WHERE sys_import_row = 20") == [("20", "error")]
        [shown] = books_view.rows_in_error(workspace, finished.load)
        assert (shown["line"], shown["row"]) == (21, 20)
        with pytest.raises(ConfigError, match="SHOW TABLES"):
            books_view.query(workspace, "SELECT * FROM nothing")


def test_numbers_are_given_once(imports: Imports) -> None:
    with imports.open() as workspace:
        load = loaded(workspace, imports, sets=4)
        numbers = [each.number for each in workspace.books.sets(load)]
    assert numbers == [f"ISET{i:07d}" for i in itertools.islice(itertools.count(1), 4)]

"""One DuckDB file under several threads, processes and killed ones."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from snow_assets.errors import TargetBusy, TargetRefused
from snow_assets.imports.targets import duckdb as targets_duckdb
from snow_assets_tests.imports.targets.made_sets import Sets, an_import

# Applies a set, and stops where the test wants it to: with everything written but the commit, or right after it.
KILLED = """
import os, signal, sys
from pathlib import Path
from snow_assets.imports.targets.duckdb import DuckDbWriter
from snow_assets_tests.imports.targets.made_sets import Sets, an_import
commit, when = DuckDbWriter.commit, sys.argv[2]
def stopped(self):
    if when == "after":
        commit(self)
    os.kill(os.getpid(), signal.SIGKILL)
DuckDbWriter.commit = stopped
Sets(Path(sys.argv[1]), an_import(coalesce="email")).apply(*({"email": f"{at}@x", "name": "N"} for at in range(50)))
"""


@pytest.mark.parametrize(("when", "rows"), [pytest.param("before", 0, marks=pytest.mark.slow), ("after", 50)])
def test_a_killed_process_leaves_a_set_whole_or_absent_and_the_next_one_knows(
    tmp_path: Path, when: str, rows: int
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), when], check=False)
    assert killed.returncode == -signal.SIGKILL
    sets = Sets(tmp_path, an_import(coalesce="email"))
    assert sets.run("SELECT count(*) FROM people") == [(rows,)]
    mapped = sets.mapped([{"email": f"{at}@x", "name": "N"} for at in range(50)])
    target = sets.target()
    assert (target.applied(mapped.key) is not None) == (when == "after")
    applied = target.apply(mapped)
    target.close()
    assert applied.counters.inserts == 50
    assert applied.attempt == mapped.attempt
    assert sets.run("SELECT count(*), count(DISTINCT email) FROM people") == [(50, 50)]


def test_threads_that_carry_the_same_keys_insert_each_once(tmp_path: Path) -> None:
    sets = Sets(tmp_path, an_import(coalesce="email"))
    target = sets.target()
    mapped = [sets.mapped([{"email": f"{at}@x", "name": str(number)} for at in range(40)]) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(target.apply, mapped))
    target.close()
    assert sum(each.counters.inserts for each in applied) == 40
    assert sum(each.counters.updates for each in applied) == 120
    assert sets.run("SELECT count(*) FROM people") == [(40,)]


def test_a_file_that_another_program_holds_is_named_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets_duckdb, "FILE_WAIT", 0.0)
    sets = Sets(tmp_path, an_import(coalesce="email"))
    sets.apply({"email": "a@x"})
    holding = f"import duckdb, sys; c = duckdb.connect({str(sets.file)!r}); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", holding], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(TargetBusy) as caught:
            sets.apply({"email": "b@x"})
        other.communicate()
    assert caught.value.value == str(sets.file)
    assert "close the program" in caught.value.hint
    assert sets.run("SELECT email FROM people") == [("a@x",)]


def test_a_file_that_is_locked_by_another_import_is_waited_for_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets_duckdb, "LOCK_WAIT", 0.0)
    sets = Sets(tmp_path, an_import(coalesce="email"))
    other = sets.target()
    with other.database.writing(), pytest.raises(TargetBusy, match="is locked"):
        sets.apply({"email": "a@x"})
    sets.apply({"email": "b@x"})


def test_the_file_is_open_only_while_sets_are_applied(tmp_path: Path) -> None:
    sets = Sets(tmp_path, an_import(coalesce="email"))
    target = sets.target()
    target.apply(sets.mapped([{"email": "a@x"}]))
    script = f"import duckdb; print(duckdb.connect({str(sets.file)!r}).sql('FROM people').fetchall())"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    target.close()


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    sets = Sets(tmp_path, an_import(coalesce="email"))
    sets.file.write_text("not a database, but somebody's notes" * 50, encoding="utf-8")
    with pytest.raises(TargetRefused) as caught:
        sets.apply({"email": "a@x"})
    assert caught.value.value == str(sets.file)
    assert sets.file.read_text(encoding="utf-8").startswith("not a database")


def test_a_failure_in_the_middle_leaves_the_table_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = Sets(tmp_path, an_import(coalesce="email"))
    sets.apply({"email": "a@x"})
    with monkeypatch.context() as broken:
        broken.setattr("snow_assets.imports.sql_target.settle", lambda *_paths: (_ for _ in ()).throw(OSError("disk")))
        with pytest.raises(OSError, match="disk"):
            sets.apply({"email": "b@x"})
    with duckdb.connect(sets.file) as connection:
        assert connection.execute("SELECT email FROM people").fetchall() == [("a@x",)]
        assert connection.execute("SELECT count(*) FROM snow_import_ledger").fetchone() == (1,)
    assert len(list((tmp_path / "rows").iterdir())) == 1


def test_a_set_that_is_too_large_for_the_memory_says_what_to_do(tmp_path: Path) -> None:
    file = targets_duckdb.DuckDbFile(tmp_path / "t.duckdb")
    with pytest.raises(TargetRefused, match="smaller import sets") as caught, file.writing():
        raise duckdb.OutOfMemoryException("Out of Memory Error: could not allocate block")
    assert "Out of Memory" in str(caught.value)
    file.close()

"""Loading: whole or not at all, one load of an import at a time, and what is kept of it."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snow_assets.errors import ConfigError, LoadUnfinished, SourceError
from snow_assets.imports import flow
from snow_assets.imports.books_retention import prune
from snow_assets.imports.home import LoadFolder
from snow_assets.imports.partition import dealer
from snow_assets.imports.staging import SetFiles, StagedRows
from snow_assets_tests.imports.loads import Imports, numbered

_LOADS = """
import sys
from pathlib import Path
from snow_assets_tests.imports.loads import Imports
with Imports(Path(sys.argv[1]), *sys.argv[2:]).open() as workspace, workspace.loading("people"):
    print("loading", flush=True)
    sys.stdin.readline()
"""


def test_two_processes_do_not_load_one_import_at_once(imports_on_both: Imports) -> None:
    config = imports_on_both.declare("people", numbered(4))
    url = imports_on_both.variables.get("SNOW_IMPORTS_DATABASE", "")
    command = [sys.executable, "-c", _LOADS, str(imports_on_both.root), url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "loading\n"
        with imports_on_both.open() as workspace:
            assert workspace.is_loading("people")
            with pytest.raises(LoadUnfinished, match="'people': is being loaded by another run"):
                flow.stage(config, workspace)
            assert workspace.books.loads() == []
        other.kill()  # and its lock is free
    with imports_on_both.open() as workspace:
        assert not workspace.is_loading("people")
        assert flow.stage(config, workspace).staged == 4


def test_a_load_that_fails_in_the_middle_leaves_nothing_to_transform(imports: Imports, tmp_path: Path) -> None:
    config = imports.declare("people", numbered(4), source={"csv": str(tmp_path / "people.csv"), "bad_rows": "fail"})
    with (tmp_path / "people.csv").open("a") as file:
        file.write("one,two,three,four\n")
    with imports.open() as workspace:
        with pytest.raises(SourceError, match="line 6"):
            flow.stage(config, workspace)
        assert all(load.state == "error" and not workspace.books.sets(load) for load in workspace.books.loads())
        imports.write("people", numbered(5))
        assert flow.stage(config, workspace).staged == 5
    assert len(list(tmp_path.rglob("*.parquet"))) == 4  # of the second load alone


def test_bad_rows_are_kept_beside_the_sets(imports: Imports, tmp_path: Path) -> None:
    imports.declare("people", numbered(4))
    with (tmp_path / "people.csv").open("a") as file:
        file.write("one,two,three,four\n")
    with imports.open() as workspace:
        [finished] = flow.run_import(workspace, "people")
        assert (finished.load.staged, finished.load.rejected, finished.counters.total) == (4, 1, 4)
        assert workspace.folder(finished.load).errors.exists()


def test_a_column_that_the_import_keeps_is_refused_in_a_source(imports: Imports) -> None:
    batch = pa.table({"sys_import_file": ["a"], "sys_import_line": [1], "sys_import_row": [1]})
    with pytest.raises(ConfigError, match=r"sys_import_row.*twice"):
        StagedRows([batch], dealer(imports.declare("people")))


def test_columns_that_change_on_the_way_are_loud(imports: Imports) -> None:
    place = {"sys_import_file": ["a"], "sys_import_line": [1]}
    batches = [pa.table({**place, "id": ["1"]}), pa.table({**place, "name": ["1"]})]
    rows = StagedRows(batches, dealer(imports.declare("people")))
    with pytest.raises(ConfigError, match="its columns change at row 2"):
        list(rows)


def test_the_next_load_removes_what_is_no_longer_kept(imports: Imports) -> None:
    imports.declare("people", numbered(4), keep=0.000001)
    with imports.open() as workspace:
        loads = [flow.run_import(workspace, "people")[0].load for _ in range(2)]
        assert [workspace.folder(load).path.exists() for load in loads] == [False, True]


def test_sets_of_a_size_are_sealed_as_they_fill_up_and_not_all_open_at_once(tmp_path: Path) -> None:
    sealed: list[tuple[int, int]] = []
    most = 0

    def note(number: int, rows: int) -> None:
        nonlocal most
        sealed.append((number, rows))
        most = max(most, len(list(tmp_path.rglob("*.tmp"))))

    rows = pa.table({"id": [str(number) for number in range(7)]})
    with SetFiles(LoadFolder(tmp_path), rows.schema, size=2, sealed=note) as files:
        for start in (0, 5):
            files.add(rows.slice(start, 5), np.arange(start, min(start + 5, 7)) // 2 + 1)
        assert sealed == [(1, 2), (2, 2), (3, 2)]
        files.seal()
    assert (sealed, most) == ([(1, 2), (2, 2), (3, 2), (4, 1)], 0)
    found = [pq.ParquetFile(LoadFolder(tmp_path).staged(number)).read()["id"].to_pylist() for number in range(1, 5)]
    assert found == [["0", "1"], ["2", "3"], ["4", "5"], ["6"]]


def test_old_loads_are_pruned_but_the_newest_and_the_books_stay(imports: Imports) -> None:
    imports.declare("people", numbered(4))
    with imports.open() as workspace:
        loads = [flow.run_import(workspace, "people")[0].load for _ in range(2)]
        assert prune(workspace) == []
        assert [load.number for load in prune(workspace, timedelta(0))] == [loads[0].number]
        assert [workspace.folder(load).path.exists() for load in loads] == [False, True]
        assert len(workspace.books.loads()) == 2
        with pytest.raises(ConfigError, match="its staged rows are not there"):
            flow.reprocess(workspace, "people", loads[0].load_id, force=True)

"""Imports of rows, names and folders as they are found in the wild."""

from __future__ import annotations

from pathlib import Path

from snow_assets.imports.books_view import query
from snow_assets.imports.flow import run_import
from snow_assets_tests.imports.loads import Imports


def test_folders_and_columns_that_mean_something_to_duckdb_change_nothing(tmp_path: Path) -> None:
    root = tmp_path / "env=prod" / "id=9"
    root.mkdir(parents=True)
    imports = Imports(root)
    imports.declare("people", [("a", "x.csv")], columns="id,filename")
    with imports.open() as workspace:
        run_import(workspace, "people")
        staged = query(workspace, "SELECT * EXCLUDE (sys_import_set, load_id) FROM imp_people").to_pylist()
    assert imports.target("SELECT * EXCLUDE (sys_id, sys_created_on, sys_updated_on) FROM people") == [
        ("global", "a", "x.csv", 0)
    ]
    assert [(row["id"], row["filename"], row["sys_import_state"]) for row in staged] == [("a", "x.csv", "inserted")]

"""Several who import at once, and do not know of each other."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from snow_assets.imports import flow, loading
from snow_assets_tests.imports.loads import Imports


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

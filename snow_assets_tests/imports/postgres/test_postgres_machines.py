"""Two machines, with folders of their own, share one set of books and one target in PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from snow_assets.imports import flow
from snow_assets_tests.imports.loads import Imports, numbered
from snow_assets_tests.imports.postgres.server import Database
from snow_assets_tests.imports.postgres.sets import VARIABLE


@pytest.fixture
def machines(postgres: Database, tmp_path: Path) -> list[Imports]:
    """Both declare the same import, and stage in their own folders."""
    found = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        machine = Imports(tmp_path / name, postgres.url)
        machine.variables[VARIABLE] = postgres.url
        machine.declare("people", numbered(8), nodes=1, target={"table": "people", "postgresql": VARIABLE})
        found.append(machine)
    return found


def test_set_that_another_machine_staged_is_not_transformed_here(machines: list[Imports], postgres: Database) -> None:
    first, second = machines
    with first.open() as workspace:
        load = flow.stage(workspace.config("people"), workspace)
    with second.open() as workspace:
        config = workspace.config("people")
        outcomes = list(flow.transform(config, workspace, load.load_id))
        assert [each.state for each in outcomes] == ["failed", "failed"]
        assert "its staged rows are not on this machine" in str(outcomes[0].error)
    with first.open() as workspace:
        [finished] = flow.resume(workspace, "people", load.load_id)
        assert finished.counters.inserts == 8
    assert postgres.run("SELECT count(*) FROM people") == [(8,)]


def test_what_one_machine_imported_the_other_finds(machines: list[Imports], postgres: Database) -> None:
    for machine, inserts in zip(machines, (8, 0), strict=True):
        with machine.open() as workspace:
            [finished] = flow.run_import(workspace, "people")
            assert (finished.counters.inserts, finished.counters.ignored) == (inserts, 8 - inserts)
    assert postgres.run("SELECT count(*), count(DISTINCT load_id) FROM sys_concurrent_import_set") == [(2, 2)]

"""Whatever the options, sets come to what a run row by row would: each row's state, and the table."""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from snow_assets.imports.sql_target import SqlTarget
from snow_assets.imports.targets.duckdb import DuckDbFile
from snow_assets_tests.imports.coalesce_model import FIELDS, Model, Row, Story, stories, write_mapped


def told(story: Story, folder: Path) -> None:
    """Apply the story's sets to a DuckDB file and to the model, and hold one against the other."""
    file = folder / "targets.duckdb"
    target = SqlTarget(story.config, DuckDbFile(file))
    model = Model(story.config, [dict(row) for row in story.there])
    target.check(pa.schema(list(FIELDS.items())))
    target.close()
    with duckdb.connect(file) as connection:
        for row in story.there:
            names = ", ".join(row)
            connection.execute(f"INSERT INTO people ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values()))
    for at, (number, rows, again) in enumerate(story.sets):
        mapped = write_mapped(folder, number, rows, f"a{at}", reprocess=again)
        expected = model.apply(rows, mapped)
        applied = target.apply(mapped)
        assert outcome(mapped.rows) == expected
        assert applied.counters.accounted == applied.counters.total == len(rows)
        states = [state for _, state, _ in expected]
        assert [applied.counters.inserts, applied.counters.updates] == [
            states.count("inserted"),
            states.count("updated"),
        ]
        assert target.applied(mapped.key) == applied
        assert target.apply(write_mapped(folder, number, rows, f"b{at}")) == applied  # remembered, and not done again
    target.close()
    assert table(file) == model.table()


def outcome(path: Path) -> list[tuple[int, str, str | None]]:
    columns = ("sys_import_row", "sys_import_state", "sys_target_sys_id")
    return [tuple(row[name] for name in columns) for row in pq.read_table(path).to_pylist()]


def table(file: Path) -> list[Row]:
    names = ("sys_id", "sys_domain", *FIELDS, "sys_mod_count")
    with duckdb.connect(file) as connection:
        found = connection.execute(f"SELECT {', '.join(names)} FROM people ORDER BY sys_id").fetchall()
    rows = [dict(zip(names, row, strict=True)) for row in found]
    return [{name: None if value == "" else value for name, value in row.items()} for row in rows]


@settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=tuple(HealthCheck))
@given(stories())
def test_sets_come_to_what_a_run_row_by_row_would(story: Story) -> None:
    with tempfile.TemporaryDirectory() as folder:
        told(story, Path(folder))


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=tuple(HealthCheck))
@given(stories())
def test_sets_come_to_what_a_run_row_by_row_would_in_many_cases(story: Story) -> None:
    with tempfile.TemporaryDirectory() as folder:
        told(story, Path(folder))

"""The dbt project, run by dbt itself on landed files: typed without loss, and of use before anything has landed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PROJECT = Path(__file__).resolve().parent.parent / "dbt"
HALF = pa.struct([("display_value", pa.string()), ("value", pa.string()), ("link", pa.string())])


class Dbt:
    """A copy of the project, with what it built last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "dbt"
        self.database = folder / "it's here" / "snow.duckdb"
        self.database.parent.mkdir()
        shutil.copytree(PROJECT, self.folder, ignore=shutil.ignore_patterns("target", "logs"))

    def build(self, variables: Mapping[str, Any]) -> dict[str, str]:
        """``dbt build``; the status of each node by its name."""
        given = json.dumps({**variables, "duckdb_path": str(self.database)})
        command = [
            str(Path(sys.executable).with_name("dbt")),
            "build",
            "--quiet",
            "--profiles-dir",
            ".",
            "--vars",
            given,
        ]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:]
        results = json.loads((self.folder / "target" / "run_results.json").read_bytes())["results"]
        return {each["unique_id"].split(".")[2]: each["status"] for each in results}

    def rows(self, query: str) -> list[dict[str, Any]]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            table: pa.Table = connection.sql(query).to_arrow_table()
            found: list[dict[str, Any]] = table.to_pylist()
            return found


@pytest.fixture
def dbt(tmp_path: Path) -> Dbt:
    return Dbt(tmp_path)


def half(value: str | None, display: str | None = None) -> dict[str, str | None]:
    return {"display_value": value if display is None else display, "value": value, "link": None}


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    fields = list(dict.fromkeys(name for row in rows for name in row))
    pq.write_table(pa.Table.from_pylist(rows, pa.schema([(name, HALF) for name in fields])), path)
    return str(path)


def incident(number: int, **fields: dict[str, str | None]) -> dict[str, Any]:
    times = {"sys_created_on": half("2026-01-05 07:00:00"), "sys_updated_on": half("2026-02-01 00:00:00")}
    base = {"sys_id": half(f"{number:032x}"), "number": half(f"INC{number:07}"), "active": half("true")}
    return {**base, "state": half("1", "New"), **times, **fields}


def test_values_are_typed_and_counted_once(dbt: Dbt, tmp_path: Path) -> None:
    solved = incident(
        1,
        active=half("false"),
        state=half("7", "Geschlossen"),
        priority=half("1", "1 - Kritisch"),
        assignment_group=half("a" * 32, "Größe 'Ä'"),
        opened_at=half("2026-01-05 07:00:00", "05.01.2026 08:00:00"),
        resolved_at=half("2026-01-05 11:30:00"),
        reassignment_count=half("1,204"),
        business_duration=half("1970-01-02 01:00:00", "1 Tag 1 Stunde"),
        made_sla=half("true"),
    )
    # Another file, without some of the columns: an empty value, and one that is no number.
    open_ = incident(2, opened_at=half("2026-01-31 23:59:59"), resolved_at=half(""), priority=half("urgent"))
    files = [write(tmp_path / "o'ne.parquet", [solved]), write(tmp_path / "two.parquet", [open_])]

    status = dbt.build({"incidents_files": files})

    [one, two] = dbt.rows("select * from stg_incidents order by number")
    assert one["active"] is False
    assert (one["state"], one["state_display"]) == (7, "Geschlossen")
    assert one["assignment_group_display"] == "Größe 'Ä'"
    assert one["opened_at"] == datetime(2026, 1, 5, 7)  # noqa: DTZ001 - timestamps are UTC without a zone
    assert one["reassignment_count"] == 1204
    assert one["business_duration"] == 25 * 3600
    assert one["cmdb_ci"] is None
    assert two["resolved_at"] is None
    assert two["priority"] is None
    assert status.pop("stg_incidents_typed_without_loss") == "warn"
    assert set(status.values()) == {"success", "pass"}

    marts = dbt.rows("select * from incident_resolution order by priority desc")
    assert [row["opened_month"] for row in marts] == [date(2026, 1, 1)] * 2
    assert [(row["priority"], row["incidents"], row["still_open"], row["resolved"]) for row in marts] == [
        (1, 1, 0, 1),
        (0, 1, 1, 0),
    ]
    assert marts[0]["median_hours_to_resolve"] == 4.5
    assert marts[1]["assignment_group_name"] == "(none)"


def test_models_build_before_anything_is_published(dbt: Dbt) -> None:
    status = dbt.build({})

    assert set(status.values()) == {"success", "pass"}
    assert dbt.rows("select * from stg_incidents") == []
    assert dbt.rows("select * from incident_resolution") == []

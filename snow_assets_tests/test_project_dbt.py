"""The dbt project, run by dbt itself on landed files: typed without loss, and of use before anything has landed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PROJECT = Path(__file__).resolve().parent.parent / "dbt"
PLAIN = dict.fromkeys(("at", "_deleted_at", "_left_at"), pa.timestamp("us", "UTC"))
HALF = pa.struct([("display_value", pa.string()), ("value", pa.string()), ("link", pa.string())])


class Dbt:
    """A copy of the project, with what it built last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "dbt"
        self.database = folder / "it's here" / "snow.duckdb"
        self.database.parent.mkdir()
        shutil.copytree(PROJECT, self.folder, ignore=shutil.ignore_patterns("target", "logs"))

    def build(self, variables: Mapping[str, Any], *arguments: str) -> dict[str, str]:
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
            *arguments,
        ]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:]
        results = json.loads((self.folder / "target" / "run_results.json").read_bytes())["results"]
        return {each["unique_id"].split(".")[2]: each["status"] for each in results}

    def rows(self, query: str) -> list[dict[str, Any]]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            result = connection.execute(query)
            names = [column[0] for column in result.description]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


@pytest.fixture
def dbt(tmp_path: Path) -> Dbt:
    return Dbt(tmp_path)


def half(value: str | None, display: str | None = None) -> dict[str, str | None]:
    return {"display_value": value if display is None else display, "value": value, "link": None}


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    fields = list(dict.fromkeys(name for row in rows for name in row))
    kinds = {
        name: PLAIN.get(name, HALF if any(isinstance(row.get(name), dict) for row in rows) else pa.string())
        for name in fields
    }
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(list(kinds.items()))), path)
    return str(path)


def incident(number: int, **fields: dict[str, str | None]) -> dict[str, Any]:
    times = {"sys_created_on": half("2026-01-05 07:00:00"), "sys_updated_on": half("2026-02-01 00:00:00")}
    base = {"sys_id": half(f"{number:032x}"), "number": half(f"INC{number:07}"), "active": half("true")}
    return {**base, "state": half("1", "New"), **times, **fields}


@pytest.mark.slow
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
    assert one["business_duration"] == timedelta(hours=25)
    assert one["cmdb_ci"] is None
    assert two["resolved_at"] is None
    assert two["priority"] is None
    assert status.pop("incidents_current_typed_without_loss") == "warn"
    assert status.pop("incidents_current_dictionary_readable") == "warn"  # there is no `incidents_columns`
    assert set(status.values()) == {"success", "pass"}

    marts = dbt.rows("select * from incident_resolution order by priority desc")
    assert [row["opened_month"] for row in marts] == [date(2026, 1, 1)] * 2
    assert [(row["priority"], row["incidents"], row["still_open"], row["resolved"]) for row in marts] == [
        (1, 1, 0, 1),
        (0, 1, 1, 0),
    ]
    assert marts[0]["median_hours_to_resolve"] == 4.5
    assert marts[1]["assignment_group_name"] == "(none)"


def version(number: int, plan: str, updated: str, count: int, **fields: dict[str, str | None]) -> dict[str, Any]:
    """A version as a plan landed it, written at that hour of 1 February."""
    clock = {"sys_updated_on": half(f"2026-02-01 {updated}:00"), "sys_mod_count": half(str(count))}
    return {**incident(number, **fields), **clock, "_plan": plan}


def mark(number: int, plan: str, at: str, kind: str) -> dict[str, Any]:
    moment = datetime.fromisoformat(f"2026-02-01 {at}:00+00:00")
    return {"sys_id": f"{number:032x}", "kind": kind, "method": "audit", "at": moment, "plan": plan, "detail": ""}


@pytest.mark.slow
def test_history_has_one_interval_per_version_that_a_sync_saw(dbt: Dbt, tmp_path: Path) -> None:
    first, second, third, fourth, fifth = (f"20260201T{hour:02}0000Z" for hour in (10, 11, 12, 13, 14))
    seen = [
        # Changed once; the overlap showed the first version again. Its description came later, under the same clock.
        version(1, first, "09:00", 0),
        version(1, second, "09:00", 0, short_description=half("mended")),
        version(1, third, "11:30", 1),
        # Changed twice in the same minute, and then the clock went back.
        version(2, first, "09:00", 0),
        version(2, second, "09:00", 1),
        version(2, third, "08:00", 2),
        # Deleted, and undeleted as it was; it left the filter, and came back changed; and changed once more unseen.
        version(3, first, "09:00", 0),
        version(3, third, "09:00", 0),
        version(3, fifth, "13:20", 1),
        # Gone, for two reasons. The last sync is not in the current rows yet.
        version(4, first, "09:00", 0),
        version(4, "20260201T150000Z", "14:30", 1),
        # Back in the plan that also marked it: the mark was made after.
        version(5, first, "09:00", 0),
        version(5, second, "10:30", 1),
    ]
    marks = [
        mark(3, second, "10:15", "deleted"),
        mark(3, fourth, "13:00", "left_filter"),
        mark(4, second, "10:20", "left_filter"),
        mark(4, third, "11:40", "deleted"),
        mark(5, second, "10:45", "reclassified"),
        mark(1, "20260101T000000Z", "00:00", "deleted"),  # of an earlier chain
    ]
    live = [seen[2], seen[5], seen[8]]
    gone = [
        {**seen[9], "_state": "deleted", "_deleted_at": marks[3]["at"], "_deleted_by": "audit"},
        {**seen[12], "_state": "reclassified", "_left_at": marks[4]["at"]},
    ]
    files = {
        "files": [write(tmp_path / "live.parquet", live)],
        "gone": [write(tmp_path / "gone.parquet", gone)],
        "versions": [write(tmp_path / "versions.parquet", seen)],
        "marks": [write(tmp_path / "marks.parquet", marks)],
        "base": first,
        "plan": fifth,
    }

    status = dbt.build({f"incidents_{name}": value for name, value in files.items()})

    assert set(status.values()) <= {"success", "pass", "warn"}
    query = """
        select sys_id[-1:]::int as id, sys_mod_count as mods, strftime(valid_from, '%H:%M') as began,
            strftime(valid_to, '%H:%M') as ended, ended_by, short_description as title, is_current
        from incidents_history order by 1, valid_from"""
    found = [tuple(row.values()) for row in dbt.rows(query)]
    assert found == [
        (1, 0, "09:00", "11:30", "update", "mended", False),
        (1, 1, "11:30", None, None, None, True),
        (2, 0, "09:00", "11:00", "update", None, False),
        (2, 1, "11:00", "12:00", "update", None, False),
        (2, 2, "12:00", None, None, None, True),
        (3, 0, "09:00", "10:15", "deleted", None, False),
        (3, 0, "12:00", "13:00", "left_filter", None, False),
        (3, 1, "13:20", None, None, None, True),
        (4, 0, "09:00", "10:20", "left_filter", None, False),
        (5, 0, "09:00", "10:30", "update", None, False),
        (5, 1, "10:30", "10:45", "reclassified", None, False),
    ]
    states = dbt.rows("select _state, _deleted_at, _deleted_by from incidents_current order by sys_id")
    assert [row["_state"] for row in states] == ["live"] * 3 + ["deleted", "reclassified"]
    assert states[3]["_deleted_at"] == datetime(2026, 2, 1, 11, 40)  # noqa: DTZ001
    assert [row["number"][-1] for row in dbt.rows("select number from stg_incidents order by 1")] == ["1", "2", "3"]


@pytest.mark.slow
def test_models_build_before_anything_is_published(dbt: Dbt) -> None:
    status = dbt.build({})

    assert set(status.values()) == {"success", "pass"}
    assert dbt.rows("select * from stg_incidents") == []
    assert dbt.rows("select * from incident_resolution") == []
    assert dbt.rows("select * from incident_backlog") == []
    assert dbt.rows("select * from incidents_history") == []


@pytest.mark.slow
def test_a_pull_may_be_the_first_that_is_published(dbt: Dbt, tmp_path: Path) -> None:
    """Dagster then builds what descends from it, and no more."""
    entry = {
        "sys_id": half("e" * 32),
        "name": half("incident"),
        "element_id": half(f"{1:032x}"),
        "value": half("Hello"),
    }
    file = write(tmp_path / "journals.parquet", [entry])

    status = dbt.build({"journals_files": [file]}, "--select", "source:servicenow.journals+")

    assert status["incident_journal"] == "success"
    assert dbt.rows("select * from incident_journal") == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_thousand_files_are_read(dbt: Dbt, tmp_path: Path) -> None:
    """Their names fit into no argument: they are passed as Dagster passes them, in a file."""
    folder = tmp_path / "a folder with a name that is quite long, as the names of data folders tend to be"
    folder.mkdir()
    files = [write(folder / f"{number:010}-1.parquet", [incident(number)]) for number in range(5000)]
    names = {"incidents_files": files, "incidents_versions": files}
    (tmp_path / "vars.json").write_text(json.dumps(names))
    assert (tmp_path / "vars.json").stat().st_size > 1_000_000

    dbt.build({"snow_vars": str(tmp_path / "vars.json")})

    assert dbt.rows("select count(*) as rows from stg_incidents") == [{"rows": 5000}]
    assert dbt.rows("select count(*) as rows from incidents_history where is_current") == [{"rows": 5000}]

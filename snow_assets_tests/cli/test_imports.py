"""The command imports: what scripts rely on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snow_assets_tests.cli.conftest import Done, Folder

IMPORTS = """\
imports:
  locations:
    source: {csv: locations.csv}
    target: cmn_location
    coalesce: name
    nodes: 1
  people:
    parent: locations
    source: {csv: people.csv}
    target: sys_user
    coalesce: email
    nodes: 1
    transform: {email: email, age: {source: age, type: integer}}
"""


@pytest.fixture
def working(tmp_path: Path) -> Folder:
    """A folder with a hierarchy of two imports, one row of which is wrong, and no pulls."""
    (tmp_path / "imports.yaml").write_text(IMPORTS, encoding="utf-8")
    (tmp_path / "locations.csv").write_text("name,city\nHQ,Paris\nLab,Rome\n", encoding="utf-8")
    (tmp_path / "people.csv").write_text("email,age\na@x,31\nb@x,old\nc@x,40\n", encoding="utf-8")
    return Folder(tmp_path)


def test_a_hierarchy_runs_and_tells_rows_in_error_loudly(working: Folder) -> None:
    done = working.call("imports", "run", "locations", "--json")

    assert done.code == 0, done.err
    first, second = done.json["imports"]
    assert (first["import"], first["state"], first["counters"]["inserts"]) == ("locations", "processed", 2)
    assert (second["import"], second["counters"]["inserts"], second["counters"]["errors"]) == ("people", 2, 1)
    assert first["execution_context"] == second["execution_context"]
    assert second["import_sets"] == {"total": 2, "pending": 0, "running": 0, "completed": 2, "error": 0}
    [row] = second["errors"]
    assert (row["file"], row["line"], row["row"]) == ("people.csv", 3, 2)
    assert "people: 1 row was refused" in done.err
    assert "people.csv, line 3" in done.err
    assert len(first["runs"]) == 3
    shown = working.call("imports", "status", "people", "--json").json
    assert [each["job"]["state"] for each in shown["sets"]] == ["completed", "completed"]
    assert working.call("imports", "status").out.splitlines()[2].startswith("people")
    query = "select message from sys_import_set_row_error"
    assert "old" in working.call("imports", "sql", query, "--json").json["rows"][0][0]


@pytest.mark.slow
def test_what_runs_alone_starts_nothing_and_is_reprocessed(working: Folder) -> None:
    alone = working.call("imports", "run", "locations", "--only", "--json").json["imports"]
    assert [each["import"] for each in alone] == ["locations"]
    [again] = working.call("imports", "reprocess", "locations", "--set", "1", "--json").json["imports"]
    assert again["counters"] == {"total": 2, "inserts": 1, "updates": 0, "ignored": 1, "skipped": 0, "errors": 0}
    assert working.call("imports", "status", "people").out.startswith("people: no load yet")


@pytest.mark.slow
def test_a_set_that_fails_is_exit_code_1_and_resume_goes_on(working: Folder) -> None:
    change = "def transform(table, context):\n    raise ValueError('the service is down')\n"
    (working.path / "change.py").write_text(change, encoding="utf-8")
    text = IMPORTS.replace("    coalesce: name\n", "    coalesce: name\n    transform: {python: change.py:transform}\n")
    (working.path / "imports.yaml").write_text(text, encoding="utf-8")

    failed = working.call("imports", "run", "locations", "--json")

    assert failed.code == 1
    data = failed.json
    assert data["retryable"]
    assert [each["state"] for each in data["imports"]] == ["error"]
    assert len(data["imports"][0]["failed"]) == 2
    assert "the service is down" in failed.err
    assert "imports resume locations" in failed.err
    (working.path / "change.py").write_text("def transform(table, context):\n    return table\n", encoding="utf-8")
    resumed = working.call("imports", "resume", "locations", "--json")
    assert resumed.code == 0, resumed.err
    assert [each["import"] for each in resumed.json["imports"]] == ["locations", "people"]
    assert resumed.json["imports"][0]["counters"]["inserts"] == 2


@pytest.mark.slow
def test_a_child_that_failed_goes_on_when_its_parent_is_resumed(working: Folder) -> None:
    (working.path / "change.py").write_text("def transform(table, context):\n    raise ValueError('no')\n")
    child = "    transform: {email: email, age: {source: age, type: integer}}\n"
    text = IMPORTS.replace(child, "    transform: {python: change.py:transform}\n") + (
        "  grandchildren:\n    parent: people\n    source: {csv: locations.csv}\n    target: others\n"
        "    coalesce: name\n"
    )
    (working.path / "imports.yaml").write_text(text, encoding="utf-8")
    assert working.call("imports", "run", "locations").code == 1
    assert working.call("imports", "resume", "locations").code == 1
    (working.path / "change.py").write_text("def transform(table, context):\n    return table\n", encoding="utf-8")
    resumed = working.call("imports", "resume", "locations", "--json")
    assert resumed.code == 0, resumed.err
    assert [each["import"] for each in resumed.json["imports"]] == ["locations", "people", "grandchildren"]


@pytest.mark.slow
@pytest.mark.parametrize("resumed", ["people", "locations"])
def test_a_child_whose_source_was_missing_is_resumed(working: Folder, resumed: str) -> None:
    people = working.path / "people.csv"
    people.rename(working.path / "late.csv")

    failed = working.call("imports", "run", "locations", "--json")

    assert failed.code == 2
    assert [each["state"] for each in failed.json["imports"]] == ["processed", "none"]
    assert "error: import people: source.csv" in failed.err
    (working.path / "late.csv").rename(people)
    done = working.call("imports", "resume", resumed, "--json")
    assert done.code == 0, done.err
    last = done.json["imports"][-1]
    assert (last["import"], last["counters"]["inserts"]) == ("people", 2)
    assert last["execution_context"] == failed.json["imports"][0]["execution_context"]


@pytest.mark.slow
def test_an_import_that_was_taken_out_of_the_file_is_named(working: Folder) -> None:
    (working.path / "people.csv").unlink()
    working.call("imports", "run", "locations")
    (working.path / "imports.yaml").write_text(IMPORTS.partition("  people:")[0], encoding="utf-8")
    done = working.call("imports", "resume", "locations", "--json")
    assert done.code == 2
    assert done.json["imports"][1]["error"]["message"] == "is no declared import"


def problem(done: Done) -> str:
    assert done.code == 2, done.err
    assert len(done.err.splitlines()) == 1, done.err
    return done.err


def test_list_and_validate_open_nothing(working: Folder) -> None:
    for name in ("locations", "people"):
        (working.path / f"{name}.csv").unlink()
    lines = working.call("imports", "list").out.splitlines()
    assert [line.partition("  ")[0] for line in lines] == ["import", "locations", "> people"]
    assert [each["depth"] for each in working.call("imports", "list", "--json").json["imports"]] == [0, 1]
    assert working.call("validate", "--json").json["imports"] == ["locations", "people"]
    assert not (working.path / "data").exists()


def test_what_is_wrong_is_one_line_and_changes_nothing(working: Folder) -> None:
    before = sorted(path.name for path in working.path.iterdir())
    assert "peple" in problem(working.call("imports", "run", "peple"))
    assert "people" in problem(working.call("imports", "status", "peple"))
    assert "no.yaml" in problem(working.call("imports", "list", "--imports", "no.yaml"))
    assert "did you mean" in problem(working.call("imports", "rnu"))
    assert "--load" in problem(working.call("imports", "status", "people", "--load", "20260101T000000Z"))
    (working.path / "imports.yaml").write_text(IMPORTS.replace("target: sys_user", "tarqet: sys_user"), "utf-8")
    assert "line 7" in problem(working.call("imports", "list"))
    found = json.loads(working.call("validate", "--json").out)
    assert not found["valid"]
    assert any("tarqet" in each["key"] for each in found["problems"])
    assert sorted(path.name for path in working.path.iterdir()) == before


def test_a_source_that_is_missing_begins_no_load(working: Folder) -> None:
    (working.path / "locations.csv").unlink()
    assert "locations.csv" in problem(working.call("imports", "run", "locations"))
    assert working.call("imports", "status", "locations").out.startswith("locations: no load yet")

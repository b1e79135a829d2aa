"""A delta pull through readers and commands: its current live rows, and on demand what went away and what was seen."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

import snow_assets
from snow_assets.errors import ConfigError
from snow_assets.pulls.current import bring_up
from snow_assets.reader import connect
from snow_assets_tests.cli.conftest import Folder
from snow_assets_tests.pulls.made import FIELDS, Made, cell

PULLS = "pulls:\n  tickets: {table: incident, mode: delta}\n"
FIRST, SECOND, THIRD = "20260101T000000Z", "20260102T000000Z", "20260103T000000Z"


def row(number: int, text: str, **fields: object) -> dict[str, object]:
    moment = "2026-01-01 00:00:00"
    texts = {"number": f"INC{number}", "short_description": text, "sys_updated_on": moment, "sys_mod_count": "0"}
    return {"sys_id": f"{number:032x}", "state": cell("1", "New"), **texts, **fields}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Four rows, of which one was changed, with a new field, and one deleted."""
    made = Made.at(tmp_path_factory.mktemp("delta") / "data")
    made.publish(FIRST, [row(number, "old") for number in range(4)])
    made.mark(SECOND, (f"{0:032x}", "deleted", "audit", datetime(2026, 1, 1, 5, tzinfo=UTC)))
    made.publish(SECOND, [row(1, "new", u_new="x")], fields=[*FIELDS, "u_new"])
    bring_up(made.landing, made.pull)
    folder = Folder(Path(made.landing.location).parent.parent)
    folder.write(PULLS)
    return folder


def test_jsonl_gives_the_live_records_key_for_key(folder: Folder) -> None:
    done = folder.call("jsonl", "tickets")
    assert (done.code, done.err) == (0, "")
    records = {record["number"]["value"]: record for record in map(json.loads, done.out.splitlines())}
    assert sorted(records) == ["INC1", "INC2", "INC3"]
    assert list(records["INC2"]) == list(FIELDS)
    assert list(records["INC1"]) == [*FIELDS, "u_new"]
    assert records["INC1"]["state"] == {"display_value": "New", "value": "1"}


def test_files_are_those_of_live_rows_and_others_on_demand(folder: Folder) -> None:
    live = folder.call("files", "tickets", "--json").json
    assert (live["plan"], live["rows"]) == (SECOND, 3)
    assert all("/tickets.current/_state=live/" in file for file in live["files"])
    everything = folder.call("files", "tickets", "--all").out.split()
    assert [file for file in everything if "_state=deleted" in file] == sorted(set(everything) - set(live["files"]))
    versions = folder.call("files", "tickets", "--versions").out.split()
    assert [Path(file).parent.name for file in versions] == [FIRST, SECOND]
    both = folder.call("files", "tickets", "--all", "--versions")
    assert (both.code, both.out) == (2, "")


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("select number, short_description, u_new from tickets order by 1 limit 2", "INC1,new,x\nINC2,old,"),
        ("select count(*), count(u_new.value) from tickets_raw", "3,1"),
        ("select number, _state, _deleted_by from tickets_gone", "INC0,deleted,audit"),
        ("select number, _plan from tickets_versions where number = 'INC1' order by 2",
         f"INC1,{FIRST}\nINC1,{SECOND}"),
    ],
)  # fmt: skip
def test_sql_has_views_of_live_rows_of_gone_ones_and_of_all_versions(folder: Folder, query: str, answer: str) -> None:
    done = folder.call("sql", query, "--format", "csv")
    assert (done.code, done.err) == (0, "")
    assert done.out.partition("\n")[2].rstrip("\n") == answer


def test_an_error_names_the_views_that_people_use(folder: Folder) -> None:
    done = folder.call("sql", "select * from nothing")
    assert "views: tickets, tickets_gone, tickets_raw, tickets_versions)" in done.err


def test_read_gives_fields_and_nothing_of_ours(folder: Folder) -> None:
    data = str(folder.path / "data")
    table = snow_assets.read("tickets", data=data)
    assert (table.num_rows, table.column_names) == (3, [*FIELDS, "u_new"])
    flat = snow_assets.read("tickets", data=data, columns=["number", "u_new"], flat=True).sort_by("number")
    assert flat.to_pydict() == {
        "number": ["INC1", "INC2", "INC3"],
        "number_display": ["INC1", "INC2", "INC3"],
        "u_new": ["x", None, None],
        "u_new_display": ["x", None, None],
    }


def test_rows_of_an_older_plan_than_published_say_so(tmp_path: Path) -> None:
    made = Made.at(tmp_path / "data")
    made.publish(FIRST, [row(1, "old")])
    folder = Folder(tmp_path)
    folder.write(PULLS)
    done = folder.call("files", "tickets")
    assert (done.code, done.out) == (2, "")
    assert "were not brought up yet" in done.err
    with pytest.raises(ConfigError):
        snow_assets.read("tickets", data=str(tmp_path / "data"))
    views = connect(str(tmp_path / "data")).sql("SHOW TABLES").fetchall()
    assert ("tickets_versions",) in views
    assert ("tickets",) not in views

    bring_up(made.landing, made.pull)
    made.publish(SECOND, [row(1, "new"), row(2, "new")])
    for command in ("files", "jsonl"):
        done = folder.call(command, "tickets")
        assert (done.code, len(done.out.splitlines())) == (0, 1)
        assert FIRST in done.err
        assert SECOND in done.err

"""Replaying an event log: the newest version at each moment, and the changes in between."""

from __future__ import annotations

import gzip
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from snow_assets.simulator import Simulator
from snow_assets.simulator.event_log import EventLog
from snow_assets.simulator.schema import SCHEMA, columns_of

HEADER = (
    "number,incident_state,active,reassignment_count,reopen_count,sys_mod_count,made_sla,caller_id,opened_by,opened_at,"
    "sys_created_by,sys_created_at,sys_updated_by,sys_updated_at,contact_type,location,category,subcategory,u_symptom,"
    "cmdb_ci,impact,urgency,priority,assignment_group,assigned_to,knowledge,u_priority_confirmation,notify,problem_id,"
    "rfc,vendor,caused_by,closed_code,resolved_by,resolved_at,closed_at"
)


def line(number: str, state: str, mods: int, updated: str, **other: str) -> str:
    cells = dict.fromkeys(HEADER.split(","), "?") | {
        "number": number,
        "incident_state": state,
        "active": "false" if state == "Closed" else "true",
        "sys_mod_count": str(mods),
        "sys_updated_at": updated,
        "opened_at": "1/3/2020 08:05",
        "impact": "2 - Medium",
    }
    return ",".join((cells | other).values())


LINES = [
    line("INC1", "New", 0, "1/3/2020 08:05", caller_id="Caller 1", sys_created_at="1/3/2020 08:06"),
    line("INC1", "Awaiting Vendor", 1, "1/3/2020 09:00", caller_id="Caller 1", assignment_group="Group 1"),
    line("INC1", "Closed", 3, "2/3/2020 10:00", caller_id="Caller 1", closed_at="2/3/2020 10:00"),
    line("INC1", "Resolved", 2, "2/3/2020 10:00", caller_id="Caller 1"),
    line("INC2", "-100", 0, "1/3/2020 09:00", caller_id="Caller 2", rfc="CHG0000132", caused_by="CHG0000132"),
]


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    path = tmp_path / "log.csv"
    path.write_text("\n".join([HEADER, *LINES]) + "\n", encoding="utf-8")
    return EventLog(path)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def states(log: EventLog, text: str) -> dict[str, str]:
    return {row["number"]: row["state"] for row in log.rows_at(moment(text))["incident"]}


def test_an_incident_is_its_newest_version(log: EventLog) -> None:
    assert states(log, "2020-03-01 08:04") == {}
    assert states(log, "2020-03-01 08:05") == {"INC1": "1"}
    assert states(log, "2020-03-01 09:00") == {"INC1": "3", "INC2": "-100"}


def test_versions_of_one_minute_are_ordered_by_their_count(log: EventLog) -> None:
    assert states(log, "2020-03-02 10:00")["INC1"] == "7"


def test_changes_lead_from_one_moment_to_another(log: EventLog) -> None:
    changes = log.changes_between(moment("2020-03-01 08:05"), moment("2020-03-02 10:00"))
    assert [(row["number"], row["sys_mod_count"]) for row in changes] == [
        ("INC2", "0"),
        ("INC1", "1"),
        ("INC1", "2"),
        ("INC1", "3"),
    ]
    rows = {row["sys_id"]: row for row in log.rows_at(moment("2020-03-01 08:05"))["incident"]}
    rows |= {row["sys_id"]: row for row in changes}
    assert list(rows.values()) == log.rows_at(moment("2020-03-02 10:00"))["incident"]


def test_labels_become_rows_that_references_reach(log: EventLog) -> None:
    tables = log.rows_at(moment("2020-03-02 10:00"))
    incidents = {row["number"]: row for row in tables["incident"]}
    names = {row["sys_id"]: row["name"] for row in tables["sys_user"]}
    assert names[incidents["INC1"]["caller_id"]] == "Caller 1"
    changes = {row["sys_id"]: row["number"] for row in tables["change_request"]}
    assert changes[incidents["INC2"]["rfc"]] == "CHG0000132"
    assert incidents["INC2"]["rfc"] == incidents["INC2"]["caused_by"]
    assert "admin" in {row["user_name"] for row in tables["sys_user"]}


def test_unknown_is_empty_and_times_are_stored_utc(log: EventLog) -> None:
    row = log.rows_at(moment("2020-03-01 08:05"))["incident"][0]
    assert row["sys_created_on"] == "2020-03-01 08:06:00"
    assert row["impact"] == "2"
    assert "assigned_to" not in row
    assert row.keys() <= {column.name for column in columns_of("incident")}


def test_base_tables_are_kept_and_extended(log: EventLog) -> None:
    base = {
        "kb_knowledge": [{"sys_id": "a" * 32}],
        "sys_user": [{"sys_id": "b" * 32}],
        "incident": [{"sys_id": "c" * 32}],
    }
    tables = log.rows_at(moment("2020-03-01 08:05"), base)
    assert tables["kb_knowledge"] == base["kb_knowledge"]
    assert "b" * 32 in {row["sys_id"] for row in tables["sys_user"]}
    assert len(tables["sys_user"]) == 3
    assert [row["number"] for row in tables["incident"]] == ["INC1"]
    assert len(base["sys_user"]) == 1


def test_gzip_and_sys_ids_are_stable(log: EventLog, tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress("\n".join([HEADER, LINES[0]]).encode()))
    packed = EventLog(path).rows_at(moment("2020-03-01 08:05"))["incident"]
    assert packed == log.rows_at(moment("2020-03-01 08:05"))["incident"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("number,state\nINC1,New\n", "no column"),
        ("", "no column"),
        (HEADER + "\n" + line("INC1", "New", 0, "yesterday"), "line 2"),
        (HEADER + "\nINC1,New\n", "line 2"),
        (HEADER + "\n" + LINES[0].rpartition(",")[0], "line 2: 35 cells instead of 36"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        EventLog(path)


@pytest.mark.parametrize("content", [b"no gzip at all", gzip.compress(HEADER.encode() * 50)[:-20], b""])
def test_damaged_archives_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.csv.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"log\.csv\.gz"):
        EventLog(path)


def test_an_empty_log_has_no_incidents(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text(HEADER + "\n", encoding="utf-8")
    log = EventLog(path)
    assert (log.start, log.end) == (None, None)
    assert log.rows_at(moment("2020-03-01 08:05"))["incident"] == []


@pytest.mark.skipif("SNOW_EVENT_LOG" not in os.environ, reason="SNOW_EVENT_LOG names no event log")
def test_the_real_log_replays() -> None:
    log = EventLog(os.environ["SNOW_EVENT_LOG"])
    assert log.start is not None
    assert log.end is not None
    middle = log.start + (log.end - log.start) / 2
    tables = log.rows_at(middle)
    rows = {row["sys_id"]: row for row in tables["incident"]}
    rows |= {row["sys_id"]: row for row in log.changes_between(middle, middle + timedelta(days=3))}
    later = {row["sys_id"]: row for row in log.rows_at(middle + timedelta(days=3))["incident"]}
    assert rows == later
    assert set(tables) <= set(SCHEMA)


def test_no_version_is_passed_over_while_the_clock_runs(log: EventLog) -> None:
    sim = Simulator(event_log=log.path, at=moment("2020-03-01 08:59:59.9"))
    while sim.clock.now() <= moment("2020-03-01 09:00"):
        pass
    assert sim.move_to(moment("2020-03-01 12:00")) == 2
    assert {row["number"]: row["state"] for row in sim.rows("incident")} == {"INC1": "3", "INC2": "-100"}

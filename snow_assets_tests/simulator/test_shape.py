"""How rows are worded in the three display modes."""

from __future__ import annotations

from typing import Any

import pytest

from snow_assets.simulator import Knobs, SimulatorServer
from snow_assets.simulator.display import duration

from .conftest import ADMIN, IT, LUCY, Ask, ask


def row(get: Ask, number: int, fields: str, mode: str, **parts: Any) -> dict[str, Any]:
    got = get(f"table/incident/{f'{number:02x}' * 16}", sysparm_fields=fields, sysparm_display_value=mode, **parts)
    result: dict[str, Any] = got.json["result"]
    return result


@pytest.mark.parametrize(
    ("number", "field", "stored", "shown"),
    [
        (1, "sys_id", "01" * 16, "01" * 16),
        (1, "active", "true", "true"),
        (1, "priority", "1", "1 - Critical"),
        (4, "priority", "", ""),
        (6, "reassignment_count", "1200", "1,200"),
        (1, "opened_at", "2026-03-01 08:15:42", "2026-03-01 01:15:42"),
        (1, "closed_at", "", ""),
        (5, "calendar_duration", "1970-01-02 04:46:44", "1 Day 4 Hours 46 Minutes"),
        (5, "watch_list", f"{LUCY},x@example.com", "Lucy Ruggeri, x@example.com"),
        (1, "sys_class_name", "incident", "Incident"),
        (5, "short_description", 'Ünïcode 日本 🙂 "quoted" 50% a,b', 'Ünïcode 日本 🙂 "quoted" 50% a,b'),
        (1, "caller_id.name", "System Administrator", "System Administrator"),
        (4, "caller_id.name", "", ""),
        (1, "caller_id.department.name", "IT", "IT"),
        (
            1,
            "work_notes",
            "",
            (
                "2026-03-02 03:00:00 - Lucy Ruggeri (Work notes)\nrebooted the host\n\n"
                "2026-03-01 01:20:11 - System Administrator (Work notes)\nlooking\n\n"
            ),
        ),
        (2, "work_notes", "", ""),
        (1, "comments", "", "2026-03-02 04:00:00 - Lucy Ruggeri (Additional comments)\nThanks!\n\n"),
    ],
)
def test_plain_columns(get: Ask, number: int, field: str, stored: str, shown: str) -> None:
    assert row(get, number, field, "false") == {field: stored}
    assert row(get, number, field, "true") == {field: shown}
    assert row(get, number, field, "all") == {field: {"display_value": shown, "value": stored}}


def test_references(get: Ask, small: SimulatorServer) -> None:
    link = f"{small.url}/api/now/table/sys_user/{ADMIN}"
    name = "System Administrator"
    assert row(get, 1, "caller_id", "false") == {"caller_id": {"link": link, "value": ADMIN}}
    assert row(get, 1, "caller_id", "true") == {"caller_id": {"display_value": name, "link": link}}
    assert row(get, 1, "caller_id", "all") == {"caller_id": {"display_value": name, "link": link, "value": ADMIN}}
    plain = {"sysparm_exclude_reference_link": "true"}
    assert row(get, 1, "caller_id", "false", **plain) == {"caller_id": ADMIN}
    assert row(get, 1, "caller_id", "true", **plain) == {"caller_id": name}
    assert row(get, 1, "caller_id", "all", **plain) == {"caller_id": {"display_value": name, "value": ADMIN}}


def test_empty_dangling_and_foreign_references(get: Ask, small: SimulatorServer) -> None:
    assert row(get, 4, "caller_id", "false") == row(get, 4, "caller_id", "true") == {"caller_id": ""}
    assert row(get, 4, "caller_id", "all") == {"caller_id": {"display_value": "", "value": ""}}
    assert row(get, 5, "caller_id", "all")["caller_id"] == {
        "display_value": "",
        "link": f"{small.url}/api/now/table/sys_user/{'f' * 32}",
        "value": "f" * 32,
    }
    assert row(get, 5, "sys_domain", "all")["sys_domain"] == {
        "display_value": "global",
        "link": f"{small.url}/api/now/table/sys_user_group/global",
        "value": "global",
    }


def test_a_walked_reference_is_a_flat_key_with_an_object(get: Ask, small: SimulatorServer) -> None:
    link = f"{small.url}/api/now/v2/table/cmn_department/{IT}"
    got = get(f"v2/table/incident/{'01' * 16}", sysparm_fields="caller_id.department")
    assert got.json["result"] == {"caller_id.department": {"link": link, "value": IT}}


def test_every_column_comes_when_none_is_named(get: Ask) -> None:
    result = get(f"table/incident/{'01' * 16}").json["result"]
    assert {"sys_id", "number", "caller_id", "work_notes", "sys_mod_count", "close_notes"} <= result.keys()
    assert 80 <= len(result) <= 100
    assert all(isinstance(value, (str, dict)) for value in result.values())


def test_unknown_names_are_ignored_and_sys_id_is_not_added(get: Ask) -> None:
    assert row(get, 1, "number, nope,caller_id.nope,number", "false") == {"number": "INC0001"}


def test_zone_and_format_are_the_readers(small: SimulatorServer) -> None:
    got = ask(
        small, f"table/incident/{'02' * 16}", login="lucy:pw", sysparm_fields="opened_at", sysparm_display_value="all"
    )
    assert got.json["result"]["opened_at"] == {"display_value": "11/03/2026 00:30:00", "value": "2026-03-10 23:30:00"}


def test_unreadable_columns_are_absent_or_empty(get: Ask, knobs: Knobs) -> None:
    knobs.hidden_fields = {"task": {"priority"}}
    assert row(get, 1, "number,priority", "false") == {"number": "INC0001"}
    knobs.hidden_field_shape = "empty"
    assert row(get, 1, "number,priority", "false") == {"number": "INC0001", "priority": ""}
    assert row(get, 1, "priority", "all") == {"priority": {"display_value": "", "value": ""}}


def test_an_unset_choice_may_display_as_null(get: Ask, knobs: Knobs) -> None:
    knobs.null_unset_choices = True
    assert row(get, 4, "priority", "all") == {"priority": {"display_value": None, "value": ""}}


def test_references_of_the_dictionary_are_by_name(generated: SimulatorServer) -> None:
    query = "name=incident^element=caller_id"
    got = ask(generated, "table/sys_dictionary", sysparm_query=query, sysparm_fields="internal_type,reference,element")
    base = f"{generated.url}/api/now/table"
    assert got.rows == [
        {
            "internal_type": {"link": f"{base}/sys_glide_object?name=reference", "value": "reference"},
            "reference": {"link": f"{base}/sys_db_object?name=sys_user", "value": "sys_user"},
            "element": "caller_id",
        }
    ]


@pytest.mark.parametrize("mode", ["false", "true", "all"])
def test_what_is_shown_follows_changes_of_others(small: SimulatorServer, get: Ask, mode: str) -> None:
    def name() -> Any:
        return row(get, 2, "caller_id.name", mode)["caller_id.name"]

    before = name()
    small.sim.update("sys_user", LUCY, name="Lisa")
    after = {"false": "Lisa", "true": "Lisa", "all": {"display_value": "Lisa", "value": "Lisa"}}[mode]
    assert before != after
    assert name() == after


def test_a_new_journal_entry_shows(small: SimulatorServer, get: Ask) -> None:
    assert row(get, 3, "work_notes", "true") == {"work_notes": ""}
    entry = {"name": "incident", "element": "work_notes", "element_id": "03" * 16, "value": "done"}
    small.sim.insert("sys_journal_field", entry)
    assert row(get, 3, "work_notes", "true")["work_notes"].endswith("- System Administrator (Work notes)\ndone\n\n")


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("1970-01-01 00:00:00", "0 Seconds"),
        ("1970-01-01 00:00:44", "44 Seconds"),
        ("1970-01-01 00:01:01", "1 Minute"),
        ("1970-01-01 01:00:59", "1 Hour"),
        ("1970-02-01 02:02:00", "31 Days 2 Hours 2 Minutes"),
        ("not a duration", "not a duration"),
    ],
)
def test_durations(stored: str, shown: str) -> None:
    assert duration(stored) == shown


def test_rendered_rows_are_bounded(small: SimulatorServer, get: Ask) -> None:
    """However many lists are worded, what is remembered of them stays within the bound, give or take a page."""
    shapes = small.sim.shapes
    shapes.max_bytes = 3_000
    for offset in range(7):
        got = get("table/incident", sysparm_query="ORDERBYsys_id", sysparm_limit=1, sysparm_offset=offset)
        assert got.rows[0]["number"] == f"INC000{offset + 1}"
    assert 3_000 < sum(shape.bytes for shape in shapes.kept()) < 10_000
    for fields in ("number", "number,state"):
        assert len(get("table/incident", sysparm_fields=fields).rows) == 7
    assert sum(shape.bytes for shape in shapes.kept()) <= 3_000

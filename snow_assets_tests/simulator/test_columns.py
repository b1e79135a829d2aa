"""Columns that come, go and change while the instance runs: in answers, queries, the dictionary and the choices."""

from __future__ import annotations

import json
from typing import Any

import pytest

from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.simulator.conftest import Ask, ask, small_tables


@pytest.fixture
def described() -> Any:
    """An instance with a dictionary, and few rows."""
    with Simulator({"incident": 30}, seed=5).serve() as server:
        yield server


def entry(server: SimulatorServer, table: str, element: str) -> list[dict[str, Any]]:
    found = ask(
        server,
        "table/sys_dictionary",
        sysparm_query=f"name={table}^element={element}",
        sysparm_exclude_reference_link="true",
    )
    return found.rows


def choice_set(server: SimulatorServer, table: str, element: str) -> dict[str, str]:
    query = f"name={table}^element={element}^ORDERBYsequence"
    return {row["value"]: row["label"] for row in ask(server, "table/sys_choice", sysparm_query=query).rows}


def test_a_new_column_is_empty_in_all_rows_and_stands_in_the_dictionary(described: SimulatorServer) -> None:
    before = len(ask(described, "table/incident").rows[0])
    described.sim.add_column("task", "u_color", "integer", "Color", choices=(("1", "Red"), ("2", "Blue")))
    rows = ask(described, "table/incident").rows
    assert {row["u_color"] for row in rows} == {""}
    assert len(rows[0]) == before + 1
    [known] = entry(described, "task", "u_color")
    assert (known["internal_type"], known["column_label"], known["choice"]) == ("integer", "Color", "1")
    assert entry(described, "incident", "u_color") == []
    assert choice_set(described, "task", "u_color") == {"1": "Red", "2": "Blue"}


def test_a_new_column_can_be_written_queried_and_shown(described: SimulatorServer) -> None:
    described.sim.add_column("incident", "u_color", "integer", "Color", choices=(("1", "Red"),))
    [one, *_] = described.sim.rows("incident")
    ask(described, f"table/incident/{one['sys_id']}", method="PATCH", body='{"u_color": "1"}')
    [row] = ask(described, "table/incident", sysparm_query="u_color=1", sysparm_display_value="all").rows
    assert row["sys_id"]["value"] == one["sys_id"]
    assert row["u_color"] == {"display_value": "Red", "value": "1"}


def test_a_removed_column_vanishes_and_a_query_of_it_is_an_invalid_term(described: SimulatorServer) -> None:
    query: Any = {"sysparm_query": "close_notesISNOTEMPTY"}
    some = len(ask(described, "table/incident", **query).rows)
    assert 0 < some < 30
    described.sim.drop_column("task", "close_notes")
    rows = ask(described, "table/incident", **query).rows
    assert len(rows) == 30
    assert all("close_notes" not in row for row in rows)
    assert ask(described, "table/incident", sysparm_fields="number,close_notes").rows[0].keys() == {"number"}
    assert entry(described, "task", "close_notes") == []
    described.sim.knobs.invalid_terms = "no_rows"
    assert ask(described, "table/incident", **query).rows == []


def test_a_column_that_comes_back_is_empty(described: SimulatorServer) -> None:
    described.sim.drop_column("task", "close_notes")
    described.sim.add_column("task", "close_notes")
    assert {row["close_notes"] for row in ask(described, "table/incident").rows} == {""}


def test_a_retyped_column_compares_and_shows_by_its_new_type(described: SimulatorServer) -> None:
    ids = [row["sys_id"] for row in described.sim.rows("incident")]
    for sys_id, text in zip(ids, ("9", "10", "100000"), strict=False):
        described.sim.update("incident", sys_id, business_stc=text)
    described.sim.change_column("incident", "business_stc", type="string")
    over: Any = {"sysparm_query": "business_stc>5^business_stcISNOTEMPTY", "sysparm_display_value": "true"}
    as_text = {row["business_stc"] for row in ask(described, "table/incident", **over).rows}
    assert "9" in as_text
    assert not as_text & {"10", "100000", "100,000"}
    described.sim.change_column("incident", "business_stc", type="integer")
    as_number = {row["business_stc"] for row in ask(described, "table/incident", **over).rows}
    assert {"9", "10", "100,000"} <= as_number
    [known] = entry(described, "incident", "business_stc")
    assert known["internal_type"] == "integer"


def test_a_childs_entry_for_an_inherited_column_wins(described: SimulatorServer) -> None:
    described.sim.add_column("incident", "description", "html", "What happened")
    assert described.sim.store.columns.of("incident")["description"].type == "html"
    assert described.sim.store.columns.of("problem")["description"].type == "string"
    assert len(entry(described, "incident", "description")) == len(entry(described, "task", "description")) == 1


def test_a_child_may_have_choices_of_its_own_for_an_inherited_column(described: SimulatorServer) -> None:
    parents = choice_set(described, "task", "priority")
    described.sim.change_column("incident", "priority", choices=(("1", "Now"), ("2", "Later")))
    assert choice_set(described, "incident", "priority") == {"1": "Now", "2": "Later"}
    assert choice_set(described, "task", "priority") == parents
    [one, *_] = described.sim.rows("incident")
    described.sim.update("incident", one["sys_id"], priority="1")
    shown = ask(described, "table/incident", sysparm_query="priority=1", sysparm_display_value="true").rows
    assert {row["priority"] for row in shown} == {"Now"}
    assert choice_set(described, "incident", "state") != choice_set(described, "task", "state")
    with pytest.raises(ValueError, match="inherits"):
        described.sim.change_column("incident", "priority", type="string")


def test_two_instances_do_not_see_each_others_columns(described: SimulatorServer) -> None:
    def check(other: SimulatorServer) -> None:
        [row, *_] = ask(other, "table/incident").rows
        assert "u_mine" not in row
        assert "caller_id" in row

    with Simulator(tables=small_tables()).serve() as before:
        described.sim.add_column("incident", "u_mine")
        described.sim.drop_column("incident", "caller_id")
        check(before)
    with Simulator(tables=small_tables()).serve() as after:
        check(after)
    assert "u_mine" in ask(described, "table/incident").rows[0]


def test_columns_are_steered_over_http(small: SimulatorServer, get: Ask) -> None:
    def steer(method: str, body: Any = None, **where: Any) -> Any:
        return ask(small, "/simulator/columns", method=method, body=json.dumps(body), table="incident", **where)

    added = steer("POST", {"name": "u_ref", "type": "reference", "label": "Ref", "reference": "sys_user"}).json
    assert next(column for column in added["columns"] if column["name"] == "u_ref")["reference"] == "sys_user"
    assert get("table/incident").rows[0]["u_ref"] == ""
    changed = steer("POST", {"name": "u_ref", "type": "string", "reference": "", "choices": [["a", "A"]]}).json
    assert [column["type"] for column in changed["columns"] if column["name"] == "u_ref"] == ["string"]
    assert "u_ref" not in {column["name"] for column in steer("DELETE", name="u_ref").json["columns"]}
    assert "u_ref" not in get("table/incident").rows[0]
    wrong = (
        steer("DELETE", name="u_ref"),
        steer("POST", {"type": "string"}),
        steer("POST", {"name": "u_far", "type": "reference", "reference": "nowhere"}),
        steer("POST", {"name": "u_far", "size": 3}),
    )
    assert {answer.status for answer in wrong} == {400}

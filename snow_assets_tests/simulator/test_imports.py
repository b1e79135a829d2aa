"""The Import Set API as a caller meets it: answers, staged rows, coalescing, and what the sets say of themselves."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

import pytest

from snow_assets.simulator import SimulatorServer

from .conftest import IT, LUCY, Ask, Got, ask

BOB = {"user_id": "bob", "first_name": "Bob", "last_name": "Ross"}


@pytest.fixture
def load(small: SimulatorServer) -> Ask:
    """Post a body to a staging table: ``load("imp_user", BOB)``."""

    def load_(staging: str, body: Any, **parts: Any) -> Got:
        return ask(small, f"import/{staging}", method="POST", body=json.dumps(body), **parts)

    return load_


def entry(got: Got) -> dict[str, str]:
    [only] = got.json["result"]
    assert isinstance(only, dict)
    return only


def test_a_row_is_imported_while_the_caller_waits(load: Ask, small: SimulatorServer) -> None:
    got = load("imp_user", BOB)
    [made] = [row for row in small.sim.rows("sys_user") if row["user_name"] == "bob"]
    link = f"{small.url}/api/now/table/sys_user/{made['sys_id']}"
    assert (got.status, got.json) == (201, {
        "import_set": "ISET0010001", "staging_table": "imp_user", "result": [
            {"transform_map": "User", "table": "sys_user", "display_name": "name", "display_value": "Bob Ross",
             "record_link": link, "status": "inserted", "sys_id": made["sys_id"]}]})  # fmt: skip
    again = ask(small, got.headers["Location"].removeprefix(small.url))
    assert (again.status, again.json) == (200, got.json)


def test_the_second_time_it_is_updated_and_the_third_time_ignored(load: Ask) -> None:
    states = [entry(load("imp_user", BOB | {"title": title})) for title in ("", "Painter", "Painter")]
    assert [one["status"] for one in states] == ["inserted", "updated", "ignored"]
    assert states[2]["status_message"] == "No field values changed"
    assert len({one["sys_id"] for one in states}) == 1


def test_names_match_whatever_their_case_and_a_missing_one_is_skipped(load: Ask) -> None:
    assert entry(load("imp_user", {"user_id": "LUCY", "title": "Chief"}))["sys_id"] == LUCY
    skipped = entry(load("imp_user", {"title": "Nobody"}))
    assert (skipped["status"], "user_name" in skipped["status_message"]) == ("skipped", True)


def test_references_are_found_by_name_and_the_word_null_empties(load: Ask, small: SimulatorServer) -> None:
    load("imp_user", {"user_id": "lucy", "department": "it", "title": "Chief"})
    [lucy] = [row for row in small.sim.rows("sys_user") if row["sys_id"] == LUCY]
    assert (lucy["department"], lucy["title"]) == (IT, "Chief")
    load("imp_user", {"user_id": "lucy", "department": "", "title": "NULL"})
    [lucy] = [row for row in small.sim.rows("sys_user") if row["sys_id"] == LUCY]
    assert (lucy["department"], lucy["title"]) == (IT, "")


def test_values_become_text_and_unknown_names_are_dropped(load: Ask, small: SimulatorServer) -> None:
    load("imp_user", [{"user_id": 7, "title": {"a": 1, "b": [True]}, "nope": "x", "sys_import_state": "error"}, BOB])
    [staged] = small.sim.rows("imp_user")
    assert (staged["user_id"], staged["title"]) == ("7", "{a=1, b=[true]}")
    assert "nope" not in staged
    assert staged["sys_import_state"] == "inserted"


def test_staged_rows_say_what_became_of_them(load: Ask, small: SimulatorServer) -> None:
    for title in ("", "", "Painter"):
        load("imp_user", BOB | {"title": title})
    found = ask(small, "table/imp_user", sysparm_query="sys_import_set.number=ISET0010001^ORDERBYsys_import_row")
    assert [row["sys_import_state"] for row in found.rows] == ["inserted", "ignored", "updated"]
    assert [row["sys_import_row"] for row in found.rows] == ["1", "2", "3"]
    assert {row["sys_target_table"] for row in found.rows} == {"sys_user"}
    [run] = ask(small, "table/sys_import_set_run").rows
    counted = ("total", "processed", "inserts", "updates", "ignored", "skipped", "errors")
    assert [run[name] for name in counted] == ["3", "3", "1", "1", "1", "0", "0"]


def test_the_shared_set_is_processed_at_midnight(load: Ask, small: SimulatorServer) -> None:
    first = load("imp_user", BOB)
    assert load("imp_user", BOB).json["import_set"] == first.json["import_set"]
    small.sim.clock.advance(hours=13)
    assert load("imp_user", BOB).json["import_set"] != first.json["import_set"]
    states = {row["number"]: row["state"] for row in small.sim.rows("sys_import_set")}
    assert sorted(states.values()) == ["loading", "processed"]
    small.sim.clock.advance(days=8)
    assert ask(small, first.headers["Location"].removeprefix(small.url)).status == 404


@pytest.mark.parametrize("staging", ["nope", "incident", "sys_import_set_row"])
def test_what_is_no_staging_table_is_refused(load: Ask, staging: str) -> None:
    assert load(staging, BOB).status == 400


def test_a_blocked_import_is_answered_by_an_empty_201(load: Ask, small: SimulatorServer) -> None:
    small.sim.knobs.denied_imports = {"imp_user"}
    got = load("imp_user", BOB)
    assert (got.status, got.body, small.sim.rows("imp_user")) == (201, b"", [])


# -- maps ---------------------------------------------------------------------------------------------------------


def test_maps_and_fields_are_records(small: SimulatorServer, load: Ask) -> None:
    def post(table: str, **values: str) -> str:
        got = ask(small, f"table/{table}", method="POST", body=json.dumps(values))
        sys_id: str = got.json["result"]["sys_id"]
        return sys_id

    small.sim.staging_table("u_parts", {"u_no": "Part", "u_text": "Text"})
    made = post("sys_transform_map", name="Parts", source_table="u_parts", target_table="incident")
    post("sys_transform_entry", map=made, source_field="u_no", target_field="correlation_id", coalesce="true")
    post("sys_transform_entry", map=made, source_field="u_text", target_field="short_description")
    states = [entry(load("u_parts", {"u_no": "1", "u_text": text}))["status"] for text in ("a", "b", "b")]
    assert states == ["inserted", "updated", "ignored"]


def test_maps_run_in_their_order_and_only_active_ones(small: SimulatorServer, load: Ask) -> None:
    small.sim.staging_table("u_two", ["name"])
    small.sim.transform_map("u_two", "cmn_department", {"name": "name"}, name="last", order=300)
    small.sim.transform_map("u_two", "core_company", {"name": "name"}, name="first", order=100)
    small.sim.transform_map("u_two", "cmn_location", {"name": "name"}, name="off", order=200, active=False)
    assert [one["transform_map"] for one in load("u_two", {"name": "x"}).json["result"]] == ["first", "last"]


def test_without_coalesce_every_row_is_inserted(small: SimulatorServer, load: Ask) -> None:
    small.sim.staging_table("u_open", ["name"])
    small.sim.transform_map("u_open", "core_company", {"name": "name"})
    assert [entry(load("u_open", {"name": "x"}))["status"] for _ in range(2)] == ["inserted", "inserted"]


def test_of_several_matches_the_first_is_updated(small: SimulatorServer, load: Ask) -> None:
    ids = sorted(small.sim.insert("cmn_location", name="twice") for _ in range(3))
    assert entry(load("imp_location", {"name": "Twice", "city": "X"}))["sys_id"] == ids[0]


@pytest.mark.parametrize(
    ("settings", "field", "states"),
    [
        ({}, {}, ["skipped", "skipped"]),
        ({"create_new_record_on_empty_coalesce": True}, {}, ["inserted", "inserted"]),
        ({}, {"coalesce_empty_fields": True}, ["inserted", "ignored"]),
    ],
)
def test_empty_keys(small: SimulatorServer, load: Ask, settings: Any, field: Any, states: list[str]) -> None:
    small.sim.staging_table("u_key", ["name", "city"])
    fields: dict[str, Any] = {"name": {"source_field": "name", **field}, "city": "city"}
    small.sim.transform_map("u_key", "core_company", fields, coalesce=["name"], **settings)
    assert [entry(load("u_key", {"city": "X"}))["status"] for _ in states] == states


def test_case_counts_where_the_map_says_so_and_all_keys_must_match(small: SimulatorServer, load: Ask) -> None:
    small.sim.staging_table("u_case", ["name", "city"])
    fields: dict[str, Any] = {"name": {"source_field": "name", "coalesce_case_sensitive": True}, "city": "city"}
    small.sim.transform_map("u_case", "core_company", fields, coalesce=["name", "city"])
    rows = [("a", "X"), ("A", "X"), ("a", "Y"), ("a", "x"), ("A", "X")]
    found = [entry(load("u_case", {"name": name, "city": city}))["status"] for name, city in rows]
    assert found == ["inserted", "inserted", "inserted", "updated", "ignored"]


@pytest.mark.parametrize(
    ("action", "state", "caller"), [("create", "inserted", "new"), ("ignore", "inserted", ""), ("reject", "error", "")]
)
def test_a_reference_to_nobody(small: SimulatorServer, load: Ask, action: str, state: str, caller: str) -> None:
    small.sim.staging_table("u_ref", ["who"])
    field = {"source_field": "who", "choice_action": action, "reference_value_field": "user_name"}
    small.sim.transform_map("u_ref", "incident", {"caller_id": field})
    one = entry(load("u_ref", {"who": "new"}))
    assert one["status"] == state
    [made] = [row for row in small.sim.rows("incident") if row["sys_id"] == one.get("sys_id")] or [{}]
    users = {row["sys_id"]: row.get("user_name", "") for row in small.sim.rows("sys_user")}
    assert users.get(made.get("caller_id", ""), "") == caller
    [staged] = small.sim.rows("u_ref")
    assert [row["code"] for row in small.sim.rows("sys_import_set_row_error")] == (["100"] if state == "error" else [])
    assert ("who" in one.get("error_message", "") or "new" in one.get("error_message", "")) is (state == "error")
    assert staged["sys_import_state"] == state


@pytest.mark.parametrize(("action", "state"), [("create", "odd"), ("ignore", ""), ("reject", None)])
def test_a_value_that_is_no_choice(small: SimulatorServer, load: Ask, action: str, state: str | None) -> None:
    small.sim.staging_table("u_choice", ["state"])
    small.sim.transform_map("u_choice", "incident", {"state": {"source_field": "state", "choice_action": action}})
    one = entry(load("u_choice", {"state": "odd"}))
    made = {row["sys_id"]: row for row in small.sim.rows("incident")}.get(one.get("sys_id", ""))
    assert (None if made is None else made.get("state", "")) == state
    assert any(row.get("value") == "odd" for row in small.sim.rows("sys_choice")) is (action == "create")


def test_a_map_that_cannot_be_is_refused_whole(small: SimulatorServer) -> None:
    small.sim.staging_table("u_bad", ["a"])
    before = len(small.sim.rows("sys_transform_map"))
    wrong: list[tuple[dict[str, str], list[str], dict[str, Any]]] = [
        ({"nope": "a"}, [], {}),
        ({"name": "a"}, ["city"], {}),
        ({"name": "a"}, [], {"x": 1}),
    ]
    for fields, coalesce, more in wrong:
        with pytest.raises(ValueError, match=r"nope|city|x"):
            small.sim.transform_map("u_bad", "core_company", fields, coalesce=coalesce, **more)
    with pytest.raises(ValueError, match="already"):
        small.sim.staging_table("u_bad", ["a"])
    assert len(small.sim.rows("sys_transform_map")) == before


def test_staging_tables_and_maps_are_made_over_http(small: SimulatorServer, load: Ask) -> None:
    def control(name: str, document: Any) -> Got:
        return ask(small, f"/simulator/{name}", method="POST", login="", body=json.dumps(document))

    assert control("staging_tables", {"table": "u_web", "columns": ["login"]}).status == 200
    mapping = {"source": "u_web", "target": "sys_user", "fields": {"user_name": "login"}, "coalesce": ["user_name"]}
    assert control("transform_maps", mapping).status == 200
    assert entry(load("u_web", {"login": "lucy"}))["status"] == "ignored"
    assert control("transform_maps", {**mapping, "source": "incident"}).status == 400
    assert control("staging_tables", {"table": "u_web", "columns": ["login"]}).status == 400
    assert control("staging_tables", {"columns": ["login"]}).status == 400


def test_a_table_of_one_instance_is_none_of_another(small: SimulatorServer) -> None:
    from snow_assets.simulator import Simulator

    small.sim.staging_table("u_mine", ["a"])
    assert ask(small, "table/u_mine").rows == []
    with Simulator(tables={"incident": []}).serve() as other:
        assert ask(other, "table/u_mine").error == ("Invalid table u_mine", None)


# -- callers at once ----------------------------------------------------------------------------------------------


def both(small: SimulatorServer, load: Ask, patience: float) -> Counter[str]:
    """Two callers who send the same new location; where they may, both look for it before either inserts."""
    gate = threading.Barrier(2)
    found: list[str] = []

    def meet(_: object) -> None:
        try:
            gate.wait(patience)
        except threading.BrokenBarrierError:
            return  # the other one has to wait for us

    small.sim.imports.before_write.append(meet)
    callers = [
        threading.Thread(target=lambda: found.append(entry(load("imp_location", {"name": "Oslo"}))["status"]))
        for _ in range(2)
    ]
    for one in callers:
        one.start()
    for one in callers:
        one.join()
    return Counter(found)


def test_rows_that_coalesce_come_one_after_the_other(small: SimulatorServer, load: Ask) -> None:
    assert both(small, load, 0.2) == {"inserted": 1, "ignored": 1}


def test_doubles_appear_where_they_do_not(small: SimulatorServer, load: Ask) -> None:
    small.sim.knobs.imports_serialized = False
    assert both(small, load, 60) == {"inserted": 2}
    assert len([row for row in small.sim.rows("cmn_location") if row["name"] == "Oslo"]) == 2

"""Many rows at once: what the instance does behind the caller's back, and when."""

from __future__ import annotations

import json
from typing import Any

import pytest

from snow_assets.simulator import SimulatorServer

from .conftest import Ask, Got, ask

ROWS = [{"Name": "Kyoto", "City": "K"}, {"Name": "Oslo"}, {"Name": "KYOTO", "City": "K"}]


@pytest.fixture
def send(small: SimulatorServer) -> Ask:
    """Post records: ``send("imp_location", ROWS)``."""

    def send_(staging: str, rows: Any, **params: Any) -> Got:
        return ask(
            small, f"import/{staging}/insertMultiple", method="POST", body=json.dumps({"records": rows}), **params
        )

    return send_


def state(small: SimulatorServer, got: Got) -> str:
    found = ask(small, f"table/sys_import_set/{got.json['import_set_id']}", sysparm_fields="state")
    text: str = found.json["result"]["state"]
    return text


def staged(small: SimulatorServer, got: Got) -> list[dict[str, str]]:
    query = f"sys_import_set={got.json['import_set_id']}^ORDERBYsys_import_row"
    return ask(small, "table/imp_location", sysparm_query=query).rows


def test_rows_go_in_by_label_and_are_transformed_behind_the_callers_back(send: Ask, small: SimulatorServer) -> None:
    small.sim.knobs.hold_transforms = True
    got = send("imp_location", ROWS)
    assert (got.status, set(got.json)) == (201, {"import_set_id", "multi_import_set_id"})
    assert state(small, got) == "loaded"
    assert {row["sys_import_state"] for row in staged(small, got)} == {"pending"}
    small.sim.knobs.hold_transforms = False
    assert state(small, got) == "processed"
    rows = staged(small, got)
    assert [(row["name"], row["sys_import_state"]) for row in rows] == [
        ("Kyoto", "inserted"), ("Oslo", "inserted"), ("KYOTO", "updated")]  # fmt: skip
    assert rows[0]["sys_target_sys_id"] == rows[2]["sys_target_sys_id"]
    [run] = ask(small, "table/sys_import_set_run", sysparm_query=f"set={got.json['import_set_id']}").rows
    counted = ("state", "total", "processed", "inserts", "updates", "ignored", "skipped", "errors")
    assert [run[name] for name in counted] == ["complete", "3", "3", "2", "1", "0", "0", "0"]


def test_names_of_columns_are_no_labels_until_a_record_says_so(send: Ask, small: SimulatorServer) -> None:
    by_name = [{"name": "Kyoto", "city": "K"}]
    assert [row["name"] for row in staged(small, send("imp_location", by_name))] == [""]
    small.sim.insert("sys_rest_insert_multiple", source_table="imp_location", column_keys="names", asynchronous="false")
    small.sim.knobs.hold_transforms = True
    got = send("imp_location", by_name)
    assert [(row["name"], row["sys_import_state"]) for row in staged(small, got)] == [("Kyoto", "inserted")]
    [found] = [row for row in small.sim.rows("sys_import_set") if row["sys_id"] == got.json["import_set_id"]]
    assert (found["mode"], found["state"]) == ("synchronous", "processed")


def test_loading_and_transforming_take_their_time(send: Ask, small: SimulatorServer) -> None:
    small.sim.clock.stop()
    small.sim.knobs.load_seconds, small.sim.knobs.transform_seconds = 10, 20
    small.sim.knobs.transform_seconds_per_row = 1
    got, seen = send("imp_location", ROWS), []
    for seconds in (0, 10, 22, 1):
        small.sim.clock.advance(seconds=seconds)
        seen.append((state(small, got), [run["state"] for run in small.sim.rows("sys_import_set_run")]))
    assert seen == [("loading", []), ("loaded", ["running"]), ("loaded", ["running"]), ("processed", ["complete"])]


def test_sets_of_a_group_run_one_after_the_other(send: Ask, small: SimulatorServer) -> None:
    small.sim.knobs.hold_transforms = True
    first = send("imp_location", [{"Name": "Oslo", "City": "old"}])
    group, before = first.json["multi_import_set_id"], first.json["import_set_id"]
    second = send("imp_location", [{"Name": "Oslo", "City": "new"}], multi_import_set_id=group, run_after=before)
    assert second.json["multi_import_set_id"] == group
    assert len(small.sim.rows("sys_multi_import_set")) == 1
    assert small.sim.finish_imports(1) == 1
    assert (state(small, first), state(small, second)) == ("processed", "loaded")
    finished = ask(small, "/simulator/imports", method="POST", login="", body='{"finish": true}')
    assert finished.json == {"waiting": []}
    [oslo] = [row for row in small.sim.rows("cmn_location") if row["name"] == "Oslo"]
    assert oslo["city"] == "new"


def test_a_set_waits_for_the_one_before_it_however_long_that_takes(send: Ask, small: SimulatorServer) -> None:
    small.sim.knobs.transform_stops_after = 1
    stuck = send("imp_location", ROWS)
    after = send("imp_location", [{"Name": "Rome"}], run_after=stuck.json["import_set_id"])
    free = send("imp_location", [{"Name": "Lima"}])
    assert [state(small, one) for one in (stuck, after, free)] == ["loaded", "loaded", "processed"]
    small.sim.finish_imports(1)
    assert [state(small, one) for one in (stuck, after)] == ["processed", "processed"]


def test_a_cancelled_set_is_not_transformed(send: Ask, small: SimulatorServer) -> None:
    small.sim.knobs.hold_transforms = True
    got = send("imp_location", ROWS)
    ask(small, f"table/sys_import_set/{got.json['import_set_id']}", method="PATCH", body='{"state":"cancelled"}')
    assert small.sim.finish_imports() == 1
    assert small.sim.rows("cmn_location") == []


def test_a_transform_that_stops_on_the_way_is_continued_with_what_is_pending(send: Ask, small: SimulatorServer) -> None:
    small.sim.knobs.transform_stops_after = 2
    got = send("imp_location", ROWS)
    assert state(small, got) == "loaded"
    assert [row["sys_import_state"] for row in staged(small, got)] == ["inserted", "inserted", "pending"]
    small.sim.finish_imports()
    assert [row["sys_import_state"] for row in staged(small, got)] == ["inserted", "inserted", "updated"]
    [run] = small.sim.rows("sys_import_set_run")
    assert (run["state"], run["processed"]) == ("complete", "3")


def test_a_run_with_rejected_rows_says_so(send: Ask, small: SimulatorServer) -> None:
    small.sim.staging_table("u_ref", ["who"])
    small.sim.transform_map("u_ref", "incident", {"caller_id": {"source_field": "who", "choice_action": "reject"}})
    send("u_ref", [{"Who": "Lucy Ruggeri"}, {"Who": "nobody"}])
    [run] = small.sim.rows("sys_import_set_run")
    assert (run["state"], run["inserts"], run["errors"]) == ("complete_with_errors", "1", "1")


@pytest.mark.parametrize("body", ["[]", "{", '{"records": 1}', '{"records": ["x"]}', "{}"])
def test_what_holds_no_records_is_refused(small: SimulatorServer, body: str) -> None:
    assert ask(small, "import/imp_location/insertMultiple", method="POST", body=body).status == 400
    assert small.sim.rows("sys_import_set") == []


def test_a_group_or_set_that_there_is_not_is_refused(send: Ask, small: SimulatorServer) -> None:
    assert send("imp_location", ROWS, multi_import_set_id="f" * 32).status == 400
    assert send("imp_location", ROWS, run_after="f" * 32).status == 400
    assert send("incident", ROWS).status == 400
    assert small.sim.rows("imp_location") == []

"""Changing data, over HTTP and in process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from snow_assets.simulator import HiddenRows, SimulatorServer

from .conftest import LUCY, Ask, Got


def test_insert_update_delete(get: Ask, small: SimulatorServer) -> None:
    made = get("table/incident", method="POST", body=json.dumps({"state": 2, "active": True, "nope": "x"}))
    sys_id = made.json["result"]["sys_id"]
    assert (made.status, made.headers["Location"]) == (201, f"{small.url}/api/now/table/incident/{sys_id}")
    assert made.json["result"]["state"] == "2"
    changed = get(f"table/incident/{sys_id}", method="PATCH", body='{"state":"3","sys_created_on":"1999-01-01"}')
    result = changed.json["result"]
    assert (result["state"], result["sys_mod_count"], result["sys_created_on"][:4]) == ("3", "1", "2026")
    assert get(f"table/incident/{sys_id}", method="PUT", body='{"state":"3"}').json["result"]["sys_mod_count"] == "1"
    assert get(f"table/incident/{sys_id}", method="DELETE").status == 204
    assert get(f"table/incident/{sys_id}", method="DELETE").status == 404
    assert get(f"table/incident/{sys_id}", method="PATCH", body="{}").status == 404


def test_refused_writes(get: Ask) -> None:
    assert get("table/incident", method="POST", body="{").error[0] == "Exception while reading request"
    assert get("table/nope", method="POST", body="{}").status == 400
    assert get("table/incident", method="POST", body=json.dumps({"sys_id": "01" * 16})).status == 403
    assert get("table/incident", method="POST", body="<a/>", headers={"Content-Type": "application/xml"}).status == 415


def test_an_update_moves_the_system_columns_only_when_something_changes(small: SimulatorServer) -> None:
    before = small.sim.rows("incident")[0]
    assert small.sim.update("incident", "01" * 16, state="1") is before
    after = small.sim.update("incident", "01" * 16, state="2")
    assert (after["sys_mod_count"], after["sys_updated_on"][:10]) == ("1", "2026-03-11")
    assert before["state"] == "1"
    quiet = small.sim.store.update("incident", "01" * 16, {"state": "3"}, quiet=True)
    assert (quiet["sys_mod_count"], quiet["sys_updated_on"]) == ("1", after["sys_updated_on"])


def test_changes_that_cannot_be(small: SimulatorServer) -> None:
    with pytest.raises(KeyError):
        small.sim.update("problem", "01" * 16, state="2")
    with pytest.raises(KeyError):
        small.sim.delete("incident", "e" * 32)
    with pytest.raises(KeyError):
        small.sim.insert("nope", {})
    with pytest.raises(ValueError, match="already"):
        small.sim.insert("incident", {"sys_id": "e" * 32})


# -- what the values become ---------------------------------------------------------------------------------------


def post(get: Ask, table: str, headers: Any = None, values: Any = None, **params: str) -> Got:
    return get(f"table/{table}", method="POST", body=json.dumps(values or {}), headers=headers, **params)


def test_only_the_first_record_of_a_list_is_inserted(get: Ask, small: SimulatorServer) -> None:
    assert post(get, "cmn_department", values=[{"name": "a"}, {"name": "b"}]).json["result"]["name"] == "a"
    assert [row["name"] for row in small.sim.rows("cmn_department") if row["name"] in "ab"] == ["a"]


def test_the_answer_is_shaped_or_left_out(get: Ask) -> None:
    shaped = post(get, "incident", values={"caller_id": LUCY, "state": 2}, sysparm_fields="caller_id,state",
                  sysparm_display_value="all", sysparm_exclude_reference_link="true")  # fmt: skip
    assert shaped.json["result"] == {
        "caller_id": {"display_value": "Lucy Ruggeri", "value": LUCY},
        "state": {"display_value": "In Progress", "value": "2"},
    }
    silent = post(get, "incident", {"X-no-response-body": "true"})
    assert (silent.status, silent.body, "/table/incident/" in silent.headers["Location"]) == (201, b"", True)


def test_a_free_sys_id_is_taken_and_system_fields_are_not(get: Ask) -> None:
    sent = {"sys_id": "ab" * 16, "sys_created_by": "me", "sys_mod_count": "9", "sys_class_name": "problem"}
    row = post(get, "incident", values=sent).json["result"]
    assert (row["sys_id"], row["sys_created_by"], row["sys_mod_count"]) == ("ab" * 16, "admin", "0")
    assert (row["sys_class_name"], row["number"]) == ("incident", "INC0010001")
    again = post(get, "incident", values={"sys_id": "ab" * 16, "short_description": "other"})
    assert (again.status, again.error[0]) == (403, "Operation Failed")
    assert get(f"table/incident/{'ab' * 16}").json["result"]["short_description"] == ""


def test_references_are_set_by_sys_id_or_by_name(get: Ask) -> None:
    for sent, kept in ((LUCY, LUCY), ("lucy ruggeri", LUCY), ("f" * 32, "f" * 32), ("nobody", "nobody")):
        row = post(get, "incident", values={"caller_id": sent}, sysparm_exclude_reference_link="true").json["result"]
        assert row["caller_id"] == kept


def test_the_first_of_several_of_a_name_is_meant(get: Ask, small: SimulatorServer) -> None:
    ids = sorted(small.sim.insert("sys_user", name="Twin", user_name=f"twin{i}") for i in range(3))
    row = post(get, "incident", values={"caller_id": "Twin"}, sysparm_exclude_reference_link="true").json["result"]
    assert row["caller_id"] == ids[0]


def test_display_values_come_in_as_the_account_shows_them(get: Ask) -> None:
    sent = {"opened_at": "11/03/2026 13:00:00", "state": "In Progress", "caller_id": "Lucy Ruggeri",
            "reassignment_count": "1,200", "assigned_to": "nobody",
            "watch_list": "Lucy Ruggeri, x@example.com"}  # fmt: skip
    parts = {"sysparm_input_display_value": "true", "sysparm_exclude_reference_link": "true"}
    row = get("table/incident", method="POST", login="lucy:pw", body=json.dumps(sent), **parts).json["result"]
    got = {name: row[name] for name in sent}
    assert got == {"opened_at": "2026-03-11 12:00:00", "state": "2", "caller_id": LUCY, "reassignment_count": "1200",
                   "assigned_to": "", "watch_list": f"{LUCY},x@example.com"}  # fmt: skip
    plain = post(get, "incident", values={"opened_at": "2026-03-11 13:00:00"}).json["result"]
    assert plain["opened_at"] == "2026-03-11 13:00:00"


def test_what_is_no_choice_is_rejected_unless_the_instance_takes_it(get: Ask, small: SimulatorServer) -> None:
    refused = post(get, "incident", values={"state": "odd"})
    assert (refused.status, refused.error[0], "odd" in (refused.error[1] or "")) == (403, "Operation Failed", True)
    cleared = get(f"table/incident/{'01' * 16}", method="PATCH", body='{"state":"","description":""}')
    assert (cleared.status, cleared.json["result"]["state"]) == (200, "1")
    small.sim.knobs.unknown_choices = "accept"
    assert post(get, "incident", values={"state": "odd"}).json["result"]["state"] == "odd"


def test_a_data_policy_demands_fields(get: Ask, small: SimulatorServer) -> None:
    small.sim.knobs.mandatory_fields = {"task": {"short_description"}}
    before = small.sim.rows("incident")
    refused = post(get, "incident")
    assert (refused.status, refused.error[0]) == (403, "Operation Failed")
    assert "Data Policy Exception" in (refused.error[1] or "")
    assert "Short description" in (refused.error[1] or "")
    assert get(f"table/incident/{'01' * 16}", method="PATCH", body='{"short_description":""}').status == 403
    assert small.sim.rows("incident") == before
    assert post(get, "incident", values={"short_description": "x"}).status == 201


def test_a_body_can_be_too_large(get: Ask, small: SimulatorServer) -> None:
    small.sim.knobs.max_content_length = 50
    got = post(get, "incident", values={"description": "x" * 50})
    assert (got.status, got.error[0]) == (400, "Exception while reading request")
    assert "Max allowed: 50 bytes" in (got.error[1] or "")
    small.sim.knobs.large_body_status = 413
    assert post(get, "incident", values={"description": "x" * 50}).status == 413


def test_a_row_that_its_maker_may_not_read_is_there_although_refused(get: Ask, small: SimulatorServer) -> None:
    small.sim.knobs.hidden_rows = [HiddenRows("incident", sys_ids=frozenset({"ab" * 16}))]
    assert post(get, "incident", values={"sys_id": "ab" * 16}).status == 403
    assert "ab" * 16 in {row["sys_id"] for row in small.sim.rows("incident")}
    assert get(f"table/incident/{'ab' * 16}", method="PATCH", body="{}").status == 404
    assert get(f"table/incident/{'ab' * 16}", method="DELETE").status == 404


def test_tables_that_nobody_may_write_to(get: Ask, small: SimulatorServer) -> None:
    small.sim.knobs.read_only_tables, small.sim.knobs.closed_tables = {"incident"}, {"problem"}
    assert post(get, "incident").error[0] == "Operation Failed"
    assert post(get, "problem").error[0] == "User Not Authorized"


@pytest.mark.parametrize("table", ["cmn_location", "sys_user", "incident"])
def test_rows_are_of_the_domain_that_was_sent_or_global(get: Ask, table: str) -> None:
    for values, domain in (({}, "global"), ({"sys_domain": "TOP/ACME"}, "TOP/ACME")):
        row = post(get, table, values=values, sysparm_exclude_reference_link="true").json["result"]
        assert row["sys_domain"] == domain


def test_journal_fields_become_entries(get: Ask) -> None:
    row = post(get, "incident", values={"work_notes": "seen"}).json["result"]
    assert row["work_notes"] == ""
    found = get("table/sys_journal_field", sysparm_query=f"element_id={row['sys_id']}").rows
    assert [(entry["element"], entry["value"]) for entry in found] == [("work_notes", "seen")]


def test_the_log_says_what_was_written(get: Ask, small: SimulatorServer) -> None:
    sys_id = post(get, "incident", values={"short_description": "x"}).json["result"]["sys_id"]
    post(get, "incident", values={"state": "odd"})
    done, refused = small.requests.find(kind="write")
    assert (done.method, done.written, json.loads(done.body)) == ("POST", (sys_id,), {"short_description": "x"})
    assert (refused.status, refused.written) == (403, ())

"""Changing data, over HTTP and in process."""

from __future__ import annotations

import json

import pytest

from snow_assets.simulator import SimulatorServer

from .conftest import Ask


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

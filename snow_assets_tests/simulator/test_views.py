"""Database views, the rotated table, the table without dates, and how sys_ids compare."""

from __future__ import annotations

from typing import Any

import pytest

from snow_assets.simulator import Knobs, Simulator, SimulatorServer

from .conftest import Ask, ask, small_tables

VIEW = "u_incident_journal"


def test_a_view_joins_and_prefixes_columns(get: Ask) -> None:
    got = get(f"table/{VIEW}", sysparm_query="ORDERBYjrn_sys_id", sysparm_fields="jrn_value,inc_number,sys_id")
    assert got.rows == [
        {"jrn_value": "looking", "inc_number": "INC0001"},
        {"jrn_value": "rebooted the host", "inc_number": "INC0001"},
        {"jrn_value": "Thanks!", "inc_number": "INC0001"},
    ]
    assert got.headers["X-Total-Count"] == "3"
    assert "sys_id" not in get(f"table/{VIEW}").rows[0]
    assert get(f"stats/{VIEW}", sysparm_count="true").json["result"]["stats"]["count"] == "3"


def test_a_view_is_filtered_and_walked_by_its_columns(get: Ask) -> None:
    got = get(
        f"table/{VIEW}",
        sysparm_query="jrn_element=work_notes^inc_caller_id.name=System Administrator^ORDERBYDESCjrn_sys_id",
        sysparm_fields="jrn_sys_id,inc_caller_id.name",
        sysparm_display_value="all",
    )
    assert [row["jrn_sys_id"]["value"][:2] for row in got.rows] == ["11", "10"]
    assert got.rows[0]["inc_caller_id.name"]["display_value"] == "System Administrator"


def test_terms_on_the_sys_id_of_a_view_are_dropped(get: Ask) -> None:
    assert len(get(f"table/{VIEW}", sysparm_query="sys_id=nothing").rows) == 3


def test_a_view_follows_its_tables(small: SimulatorServer, get: Ask) -> None:
    small.sim.insert("sys_journal_field", element_id="02" * 16, element="comments", value="new")
    assert len(get(f"table/{VIEW}").rows) == 4
    small.sim.delete("incident", "01" * 16)
    assert [row["jrn_value"] for row in get(f"table/{VIEW}").rows] == ["new"]
    small.sim.update("incident", "02" * 16, number="INC9")
    assert [row["inc_number"] for row in get(f"table/{VIEW}").rows] == ["INC9"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_view_cannot_be_written(get: Ask, method: str) -> None:
    path = f"table/{VIEW}" + ("" if method == "POST" else "/" + "10" * 16)
    assert get(path, method=method, body="{}").status == 403
    assert get(f"table/{VIEW}/{'10' * 16}").status == 404


def test_the_oldest_shard_of_a_rotated_table_goes_at_once() -> None:
    sim = Simulator({"syslog": 80}, seed=2)
    dates = sorted(row["sys_created_on"] for row in sim.rows("syslog"))
    deleted = len(sim.rows("sys_audit_delete"))
    assert sim.rotate("syslog") == 10
    assert sorted(row["sys_created_on"] for row in sim.rows("syslog")) == dates[10:]
    assert len(sim.rows("sys_audit_delete")) == deleted


def test_a_table_without_dates(get: Ask, small: SimulatorServer) -> None:
    small.sim.insert("svc_ci_assoc", ci_id="x")
    assert set(get("table/svc_ci_assoc").rows[0]) == {"ci_id", "service_id", "sys_id"}


IDS = ["0a" * 16, "B" * 32, "c1" * 16, "_x", "global"]


@pytest.mark.parametrize(
    ("collation", "order", "alike"),
    [
        ("nocase", ["0a" * 16, "_x", "B" * 32, "c1" * 16, "global"], True),
        ("binary", ["0a" * 16, "B" * 32, "_x", "c1" * 16, "global"], False),
        ("words", ["0a" * 16, "B" * 32, "c1" * 16, "global", "_x"], True),
    ],
)
def test_sys_ids_sort_and_compare_by_the_collation(collation: Any, order: list[str], alike: bool) -> None:
    tables = {**small_tables(), "sys_user_role": [{"sys_id": sys_id, "name": sys_id} for sys_id in IDS]}
    with Simulator(tables=tables, knobs=Knobs(collation=collation)).serve() as server:

        def ids(query: str) -> list[str]:
            return [row["sys_id"] for row in ask(server, "table/sys_user_role", sysparm_query=query).rows]

        assert ids("ORDERBYsys_id") == order
        assert ids("nameISNOTEMPTY^ORDERBYname^ORDERBYsys_id") == sorted(IDS, key=str.lower)
        for at, sys_id in enumerate(order):
            assert ids(f"sys_id>={sys_id}^ORDERBYsys_id") == order[at:]
            assert ids(f"sys_id>{sys_id}^ORDERBYsys_id") == order[at + 1 :]
            assert ids(f"sys_id<={sys_id}^ORDERBYsys_id") == order[: at + 1]
            assert ids(f"sys_id<{sys_id}^ORDERBYsys_id") == order[:at]
            assert ids(f"sys_id={sys_id}") == ids(f"sys_idIN{sys_id},nobody") == [sys_id]
        found = ["B" * 32] if alike else []
        assert ids(f"sys_id={'b' * 32}") == ids(f"sys_idIN{'b' * 32}") == found
        assert ids(f"nameISNOTEMPTY^sys_id={'b' * 32}^NQsys_id={'b' * 32}") == found


def test_rows_that_come_and_go_keep_the_collations_order() -> None:
    sim = Simulator(tables={"sys_user_role": [{"sys_id": sys_id} for sys_id in IDS]})
    assert [row["sys_id"] for row in sim.rows("sys_user_role")][:2] == ["0a" * 16, "_x"]
    sim.insert("sys_user_role", sys_id="Abc")
    sim.delete("sys_user_role", "_x")
    assert [row["sys_id"] for row in sim.rows("sys_user_role")] == ["0a" * 16, "Abc", "B" * 32, "c1" * 16, "global"]

"""The Aggregate API."""

from __future__ import annotations

from snow_assets.simulator import HiddenRows, Knobs

from .conftest import Ask


def test_a_count_is_a_string_and_ignores_row_acls(get: Ask, knobs: Knobs) -> None:
    assert get("stats/incident", sysparm_count="true").json == {"result": {"stats": {"count": "7"}}}
    knobs.hidden_rows = [HiddenRows("incident", fraction=1.0)]
    got = get("stats/incident", sysparm_count="true", sysparm_query="state=1")
    assert got.json == {"result": {"stats": {"count": "3"}}}
    assert "X-Total-Count" not in got.headers


def test_figures(get: Ask) -> None:
    got = get("stats/incident", sysparm_min_fields="opened_at,reassignment_count", sysparm_max_fields="opened_at",
              sysparm_avg_fields="reassignment_count", sysparm_sum_fields="reassignment_count")  # fmt: skip
    assert got.json["result"]["stats"] == {
        "min": {"opened_at": "2025-12-31 23:59:59", "reassignment_count": "2"},
        "max": {"opened_at": "2026-03-11 11:59:59"},
        "avg": {"reassignment_count": "303.7500"},
        "sum": {"reassignment_count": "1215"},
    }
    nothing = get("stats/incident", sysparm_count="true", sysparm_min_fields="opened_at", sysparm_query="state=99")
    assert nothing.json["result"]["stats"] == {"count": "0", "min": {"opened_at": ""}}
    assert get("stats/incident").json == {"result": {"stats": {}}}


def test_groups(get: Ask) -> None:
    got = get("stats/incident", sysparm_count="true", sysparm_group_by="priority", sysparm_display_value="all")
    assert [(one["stats"]["count"], one["groupby_fields"]) for one in got.json["result"]] == [
        ("1", [{"field": "priority", "value": "", "display_value": ""}]),
        ("2", [{"field": "priority", "value": "1", "display_value": "1 - Critical"}]),
        ("1", [{"field": "priority", "value": "2", "display_value": "2 - High"}]),
        ("2", [{"field": "priority", "value": "4", "display_value": "4 - Low"}]),
        ("1", [{"field": "priority", "value": "5", "display_value": "5 - Planning"}]),
    ]


def test_having_and_order(get: Ask) -> None:
    got = get("stats/incident", sysparm_count="true", sysparm_group_by="state", sysparm_having="count^state^>^1",
              sysparm_order_by="COUNT^DESC")  # fmt: skip
    assert [one["groupby_fields"][0]["value"] for one in got.json["result"]] == ["1", "7"]
    by_name = get("stats/incident", sysparm_count="true", sysparm_group_by="caller_id", sysparm_display_value="true")
    assert {one["groupby_fields"][0]["value"] for one in by_name.json["result"]} == {
        "", "System Administrator", "Lucy Ruggeri",
    }  # fmt: skip


def test_refused(get: Ask, knobs: Knobs) -> None:
    knobs.denied_aggregates = {"incident"}
    got = get("stats/incident", sysparm_count="true")
    assert (got.status, got.error) == (
        403,
        ("Insufficient rights to query records", "No permission to read table 'incident'"),
    )
    assert get("table/incident").status == 200
    assert get("stats/nope", sysparm_count="true").status == 400

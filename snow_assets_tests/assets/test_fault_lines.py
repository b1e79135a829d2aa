"""Faults that a run met are in the run's own log, by name."""

from __future__ import annotations

import logging
from pathlib import Path

import dagster as dg

from snow_assets.servicenow.fault_log import LOGGER
from snow_assets_tests.assets.conftest import Location, settings


def lines(location: Location, result: dg.ExecuteInProcessResult) -> list[str]:
    entries = location.instance.all_logs(result.run_id)
    return [entry.user_message for entry in entries if not entry.is_dagster_event]


def test_the_log_of_a_run_names_each_fault(location: Location, tmp_path: Path) -> None:
    location.settings = settings(tmp_path, max_retries=3)
    faults = location.server.sim.faults
    faults.add({"kind": "null_body", "table": "incident", "times": 1})
    planned = location.run("pull_incidents")
    assert any("incident" in line and "null_body" in line for line in lines(location, planned))

    faults.clear()
    for number, kind in enumerate(("html_503", "truncated")):
        faults.add({"kind": kind, "table": "incident", "narrow": False, "times": 1, "after": 2 * number})
    landed = location.follow(location.tick())
    assert landed.success
    told = lines(location, landed)
    for name in ("gateway_error", "truncated_json"):
        assert [line for line in told if name in line and line.startswith("page of incident")], told


def test_no_handler_is_left_behind(location: Location) -> None:
    location.run("pull_incidents")
    assert logging.getLogger(LOGGER).handlers == []

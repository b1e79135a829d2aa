"""The check ``schema`` of plans, and the columns that the UI shows."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.assets.conftest import Location, settings


@pytest.fixture
def simulator() -> Iterator[SimulatorServer]:
    """An instance of its own for each test, whose columns it may change."""
    with Simulator(rows={"incident": 30}, seed=1).serve() as server:
        yield server


def said(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    [found] = [check for check in result.get_asset_check_evaluations() if check.check_name == "schema"]
    return found


def planned(location: Location, **config: object) -> dg.ExecuteInProcessResult:
    """The run of a plan, of all fields unless told otherwise."""
    location.settings = settings(location.settings.path.parent, **{"fields": None, "slice_rows": 100, **config})
    return location.run("pull_incidents")


def publish(location: Location) -> dg.TableSchema:
    """Land and publish what is planned; returns the columns that the UI shows."""
    location.follow(location.tick())
    events = location.follow(location.tick()).get_asset_materialization_events()
    schema = events[-1].materialization.metadata["dagster/column_schema"].value
    assert isinstance(schema, dg.TableSchema)
    return schema


def alter(server: SimulatorServer) -> None:
    server.sim.add_column("incident", "u_color")
    server.sim.drop_column("task", "close_notes")
    server.sim.change_column("incident", "business_stc", type="string")


def test_the_check_passes_warns_where_columns_evolve_and_fails_where_they_are_frozen(location: Location) -> None:
    assert said(planned(location)).passed
    publish(location)
    alter(location.server)
    before = location.landing.plan_ids()

    refused = planned(location, schema="freeze")

    assert not refused.success
    assert location.landing.plan_ids() == before
    check = said(refused)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    cause = str(check.metadata["cause"].value)
    assert "added u_color; removed close_notes; retyped business_stc from integer to string" in cause
    assert "schema: evolve" in cause

    warned = planned(location)

    assert warned.success
    check = said(warned)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    told = {name: value.value for name, value in check.metadata.items()}
    assert told == {"added": "u_color", "removed": "close_notes", "retyped": "business_stc from integer to string"}


def test_the_check_says_where_the_dictionary_cannot_be_read(location: Location) -> None:
    location.server.sim.knobs.denied_tables = {"sys_dictionary"}
    check = said(planned(location))
    assert check.passed
    assert "every column is a string" in str(check.metadata["dictionary"].value)


def test_the_ui_shows_type_label_reference_and_constraints_of_columns(location: Location) -> None:
    planned(location, fields=["number", "caller_id", "caller_id.name"])
    columns = {column.name: column for column in publish(location).columns}
    assert columns["number"].description == "Number: string"
    assert columns["number"].constraints.other == ["mandatory in forms", "at most 40 characters"]
    assert (columns["sys_id"].constraints.unique, columns["sys_id"].constraints.nullable) == (True, False)
    assert columns["caller_id"].description == "Caller: reference to sys_user"
    assert columns["caller_id.name"].description == "string, not described by the dictionary"

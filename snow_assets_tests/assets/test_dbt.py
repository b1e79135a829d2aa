"""The dbt project as assets: which models are there, and that they read what is published."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from snow_assets.assets.dbt import Warehouse, dbt_parts
from snow_assets.assets.local import run_pull
from snow_assets.config import Environment, PullConfig
from snow_assets_tests.assets.conftest import ROWS, Location, settings
from snow_assets_tests.cli.conftest import Folder

# dbt and what it imports warn on their own account.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

PROJECT = Path(__file__).parents[2] / "dbt"
INCIDENTS = PullConfig(name="incidents", table="incident")
PROBLEMS = PullConfig(name="problems", table="problem")
DELTAS = PullConfig(name="incidents", table="incident", mode="delta")
JOURNALS = PullConfig(name="journals", table="sys_journal_field")
MARTS = {f"incident_{name}" for name in ("facts", "volume", "backlog", "resolution", "rework", "sla")}
TYPED = {"incidents_current", "stg_incidents", "incidents_history"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project without its manifest."""
    folder = tmp_path_factory.mktemp("project") / "dbt"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("target", "logs"))
    return folder


def environment(project: Path, values: Mapping[str, str] | None = None) -> Environment:
    return Environment({**(values or {}), "SNOW_DBT_DIR": str(project)}, project.parent)


def keys(*assets: dg.AssetsDefinition) -> set[str]:
    return {key.to_user_string() for asset in assets for key in asset.keys}


def test_without_a_project_there_are_no_dbt_assets(tmp_path: Path) -> None:
    assert dbt_parts(environment(tmp_path / "none"), [INCIDENTS]).assets == ()


def test_models_depend_on_the_datasets_they_read(project: Path) -> None:
    [asset] = dbt_parts(environment(project), [INCIDENTS]).assets

    assert keys(asset) == TYPED | MARTS
    for name in ("incidents_current", "incidents_history"):
        spec = asset.get_asset_spec(dg.AssetKey(name))
        deps = {dep.asset_key.to_user_string() for dep in spec.deps} - TYPED
        assert deps == {"servicenow/incidents"}


def test_models_of_a_delta_pull_depend_on_its_current_rows(project: Path) -> None:
    [asset] = dbt_parts(environment(project), [DELTAS]).assets

    deps = {dep.asset_key.to_user_string() for key in asset.keys for dep in asset.get_asset_spec(key).deps}
    assert deps - TYPED - MARTS == {"servicenow/incidents/current"}


def test_a_model_over_two_pulls_wants_both(project: Path) -> None:
    [asset] = dbt_parts(environment(project), [DELTAS, JOURNALS]).assets

    assert keys(asset) == TYPED | MARTS | {"incident_journal"}


def test_models_of_pulls_that_are_not_declared_are_left_out(project: Path) -> None:
    parts = dbt_parts(environment(project), [PROBLEMS])

    assert keys(*parts.assets) == set()


def test_the_project_is_parsed_only_when_it_changed(project: Path) -> None:
    dbt_parts(environment(project), [INCIDENTS])
    manifest = project / "target" / "manifest.json"
    parsed = manifest.stat().st_mtime_ns

    dbt_parts(environment(project), [INCIDENTS])
    assert manifest.stat().st_mtime_ns == parsed

    later = time.time() + 5
    os.utime(project / "models" / "staging" / "stg_incidents.sql", (later, later))
    dbt_parts(environment(project), [INCIDENTS])
    assert manifest.stat().st_mtime_ns > parsed


def test_a_project_that_does_not_parse_costs_only_its_assets(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "dbt").mkdir()
    (tmp_path / "dbt" / "dbt_project.yml").write_text("name: broken\nprofile: none\n")

    assert dbt_parts(environment(tmp_path / "dbt"), [INCIDENTS]).assets == ()
    assert "does not parse" in caplog.text


@pytest.mark.slow
def test_publishing_builds_the_models_over_the_published_rows(location: Location, project: Path) -> None:
    location.settings = settings(project.parent, fields=None, slice_rows=50, page_size=50)
    location.environment = environment(project, location.environment.values)
    location.run("pull_incidents")
    location.follow(location.tick())

    result = location.follow(location.tick())

    assert result.success, failures(result)
    materialized = {
        str(event.asset_key and event.asset_key.to_user_string()): event.materialization.metadata
        for event in result.get_asset_materialization_events()
    }
    assert set(materialized) == {"servicenow/incidents/totals", "servicenow/incidents"} | TYPED | MARTS
    warehouse = Warehouse.of(location.environment)
    with duckdb.connect(str(warehouse.database), read_only=True) as connection:
        [(rows, incidents)] = connection.sql(
            "select (select count(*) from stg_incidents), (select sum(incidents) from incident_resolution)"
        ).fetchall()
    assert (rows, incidents) == (ROWS, ROWS)
    assert columns_of(materialized["incidents_current"])["opened_at"] == "TIMESTAMP"
    assert columns_of(materialized["incidents_current"])["state_display"] == "VARCHAR"
    assert materialized["incidents_current"]["dagster/row_count"].value == ROWS
    assert lineage_of(materialized["incidents_current"])["state_display"] == {("servicenow/incidents", "state")}
    assert lineage_of(materialized["incident_volume"])["day"] >= {("incident_facts", "opened_at")}
    passed = {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}
    assert passed["incident_resolution_counts_every_incident"]
    assert passed["incidents_current_typed_without_loss"]

    folder = Folder(project.parent, dict(location.environment.values))
    folder.write("pulls:\n  incidents: {table: incident}\n  problems: {table: problem}\n")
    given = folder.call("dbt-vars")
    assert given.code == 0, given.err
    assert given.json["duckdb_path"] == str(warehouse.database)
    variables = json.loads(Path(given.json["snow_vars"]).read_bytes())
    assert {name.partition("_")[0] for name in variables} == {"incidents"}
    assert variables["incidents_files"] == variables["incidents_versions"]
    assert len(variables["incidents_files"]) == len(location.plan.slices)
    assert variables["incidents_columns"]["caller_id"]["reference"] == "sys_user"
    assert variables["incidents_columns"]["category"]["choice"]


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    failed = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    return [error.to_string() for error in failed if error is not None]


def columns_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    return {column.name: column.type for column in metadata["dagster/column_schema"].value.columns}


def lineage_of(metadata: Mapping[str, Any]) -> dict[str, set[tuple[str, str]]]:
    deps = metadata["dagster/column_lineage"].value.deps_by_column
    return {name: {(dep.asset_key.to_user_string(), dep.column_name) for dep in found} for name, found in deps.items()}


@pytest.mark.slow
def test_a_model_that_fails_does_not_take_back_the_dataset(
    location: Location, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = project / "models" / "marts" / "broken.sql"
    broken.write_text("select error('this model is broken') as oops from {{ ref('stg_incidents') }}")
    home = str(location.settings.path.parent / ".dagster")
    monkeypatch.setenv("DAGSTER_HOME", home)
    values = {**location.environment.values, "DAGSTER_HOME": home}
    location.settings = settings(project.parent, fields=None, slice_rows=50, page_size=50)
    try:
        outcome = run_pull(location.settings, environment(project, values), "incidents")
    finally:
        broken.unlink()

    assert outcome.error is None
    assert outcome.published
    assert "dbt" in outcome.dbt_failed

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

from snow_assets.assets import dbt
from snow_assets.assets.dbt import dbt_parts, files_of
from snow_assets.assets.local import run_pull
from snow_assets.config import Environment, PullConfig
from snow_assets.resources import LandingResource
from snow_assets_tests.assets.conftest import ROWS, Location, settings

# dbt and what it imports warn on their own account.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

PROJECT = Path(__file__).parents[2] / "dbt"
INCIDENTS = PullConfig(name="incidents", table="incident")
PROBLEMS = PullConfig(name="problems", table="problem")


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

    assert keys(asset) == {"stg_incidents", "incident_resolution"}
    staging = asset.get_asset_spec(dg.AssetKey("stg_incidents"))
    assert [dep.asset_key for dep in staging.deps] == [dg.AssetKey(["servicenow", "incidents"])]


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


def test_publishing_builds_the_models_over_the_published_rows(location: Location, project: Path) -> None:
    location.settings = settings(project.parent, fields=None, slice_rows=50, page_size=50)
    location.environment = environment(project, location.environment.values)
    location.run("pull_incidents")
    location.follow(location.tick())

    result = location.follow(location.tick())

    assert result.success, [event.message for event in result.all_events if event.is_failure]
    built = {
        str(event.asset_key and event.asset_key.to_user_string()) for event in result.get_asset_materialization_events()
    }
    assert built == {"servicenow/incidents/totals", "servicenow/incidents", "stg_incidents", "incident_resolution"}
    database = Path(location.environment.data_dir) / "snow.duckdb"
    with duckdb.connect(str(database), read_only=True) as connection:
        [(rows, incidents)] = connection.sql(
            "select (select count(*) from stg_incidents), (select sum(incidents) from incident_resolution)"
        ).fetchall()
    assert (rows, incidents) == (ROWS, ROWS)
    landing = LandingResource(data=location.environment.data_dir)
    files: Any = json.loads(json.dumps(files_of(landing, ["incidents", "problems"])))
    assert len(files.pop("incidents_files")) == len(location.plan.slices)
    assert files == {}


def test_very_many_files_are_passed_as_a_pattern(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    location.run("pull_incidents")
    location.follow(location.tick())
    location.follow(location.tick())
    landing = LandingResource(data=location.environment.data_dir)
    monkeypatch.setattr(dbt, "_FILES_NAMED", 3)
    folder = Path(location.landing.location) / location.plan.plan_id

    assert files_of(landing, ["incidents"]) == {"incidents_files": [f"{folder}/*.parquet"]}

    (folder / "0000000000-9.parquet").touch()  # of an attempt that is not published
    [files] = files_of(landing, ["incidents"]).values()
    assert len(files) == len(location.plan.slices)


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

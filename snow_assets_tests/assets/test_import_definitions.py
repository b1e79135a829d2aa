"""What imports bring to the code location, without files, databases and instances."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from snow_assets.assets.import_keys import ImportNames
from snow_assets.config import Environment
from snow_assets.config_yaml import load_settings
from snow_assets.definitions import build_definitions, declared_imports, declared_pulls, defs
from snow_assets.errors import ConfigError

IMPORTS = """\
imports:
  locations: {source: {csv: nowhere.csv}, target: cmn_location, schedule: {cron: "0 3 * * *", timezone: Europe/Berlin}}
  people:
    parent: locations
    source: {pull: users}
    target: {table: sys_user, postgresql: WAREHOUSE_URL}
  groups:
    parent: locations
    order: 10
    source: {sql: select 1, database: SOURCE_URL}
    target: {table: sys_user_group, servicenow: table}
"""
PULLS = "pulls:\n  users: {table: sys_user}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SNOW_PULLS", "SNOW_IMPORTS", "SNOW_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imports.yaml").write_text(IMPORTS, encoding="utf-8")
    (tmp_path / "pulls.yaml").write_text(PULLS, encoding="utf-8")
    return tmp_path


def definitions(folder: Path) -> dg.Definitions:
    environment = Environment.load(folder, {})
    settings = declared_pulls(environment)
    return build_definitions(settings, environment, declared_imports(environment, settings))


def test_a_hierarchy_is_the_asset_graph(folder: Path) -> None:
    found = definitions(folder)
    dg.Definitions.validate_loadable(found)
    graph = found.resolve_asset_graph()
    parents = {
        key.to_user_string(): {each.to_user_string() for each in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert parents["imports/locations/staging"] == set()
    assert parents["imports/locations/transform"] == {"imports/locations/staging"}
    assert parents["imports/locations/target"] == {"imports/locations/transform"}
    assert parents["imports/people/staging"] == {"imports/locations/target", "servicenow/users"}
    assert parents["imports/groups/staging"] == {"imports/locations/target"}
    assert graph.get(ImportNames("people").target).kinds == {"postgresql"}
    assert sorted(path.name for path in folder.iterdir()) == ["imports.yaml", "pulls.yaml"]


def test_what_starts_by_itself(folder: Path) -> None:
    repository = definitions(folder).get_repository_def()
    sensor = repository.get_sensor_def("importer")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert {job.name for job in sensor.jobs} >= {"import_people", "import_people_sets", "import_people_target"}
    schedule = repository.get_schedule_def("import_locations_schedule")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    with dg.DagsterInstance.ephemeral() as instance, dg.build_schedule_context(instance=instance) as context:
        requests = schedule.evaluate_tick(context).run_requests
        assert [request.tags["snow/import"] for request in requests or []] == ["locations"]
    with dg.DagsterInstance.ephemeral() as instance, dg.build_sensor_context(instance=instance) as sensing:
        told = sensor(sensing)
        assert isinstance(told, dg.SensorResult)
        assert told.skip_reason is not None
        assert "groups: no load yet" in str(told.skip_reason.skip_message)


def test_without_imports_nothing_changes(folder: Path) -> None:
    (folder / "imports.yaml").unlink()
    found = definitions(folder)
    only = build_definitions(load_settings(folder / "pulls.yaml"), Environment.load(folder, {}))
    assert [each.name for each in found.sensors or []] == ["reconciler"]
    assert set(found.resources or {}) == set(only.resources or {})
    assert {*found.resolve_asset_graph().get_all_asset_keys()} == {*only.resolve_asset_graph().get_all_asset_keys()}


def test_imports_do_without_pulls(folder: Path) -> None:
    (folder / "pulls.yaml").unlink()
    (folder / "imports.yaml").write_text(IMPORTS.replace("{pull: users}", "{csv: users.csv}"), encoding="utf-8")
    assert dg.AssetKey(["imports", "people", "target"]) in defs().resolve_asset_graph().get_all_asset_keys()


def test_a_broken_file_is_one_line(folder: Path) -> None:
    (folder / "imports.yaml").write_text(IMPORTS.replace("order: 10", "order: soon"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"imports.groups.order 'soon': .*line 9"):
        defs()


@pytest.mark.usefixtures("folder")
def test_an_object_store_asks_for_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNOW_DATA_DIR", "s3://bucket/data")
    with pytest.raises(ConfigError, match="SNOW_IMPORTS_DIR"):
        defs()

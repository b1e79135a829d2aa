"""The instance as a Dagster resource: where its values come from, and that secrets stay out of sight."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest

from snow_assets.config import Environment, InstanceConfig
from snow_assets.errors import ConfigError, CredentialsError
from snow_assets.resources import ServiceNowResource
from snow_assets_tests.assets.conftest import QUIET, Location, settings

SECRET = "correct-horse-battery"


def resource(values: dict[str, str], instance: InstanceConfig | None = None) -> ServiceNowResource:
    return ServiceNowResource.from_environment(instance or InstanceConfig(), Environment(values, Path()))


def test_variables_that_are_set_win_over_pulls_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNOW_INSTANCE_URL", "https://dev2.example.com")
    instance = InstanceConfig(url="https://dev1.example.com", max_workers=4)

    made = resource({"SNOW_INSTANCE_URL": "https://dev2.example.com"}, instance)

    processed = made.process_config_and_initialize()
    assert (processed.url, processed.max_workers) == ("https://dev2.example.com", 4)


def test_secrets_are_neither_in_the_repr_nor_in_what_dagster_stores(location: Location) -> None:
    made = resource({"SNOW_PASSWORD": SECRET, "SNOW_USERNAME": "admin"})
    assert SECRET not in repr(made)
    assert SECRET not in repr(ServiceNowResource(password=SECRET, token=SECRET, client_secret=SECRET, api_key=SECRET))

    location.run("pull_incidents")

    [run] = location.instance.get_runs()
    password = location.server.password
    events = [str(entry) for entry in location.instance.all_logs(run.run_id)]
    stored = json.dumps(run.run_config) + json.dumps(dict(run.tags)) + "".join(events)
    snapshot = location.instance.get_job_snapshot(run.job_snapshot_id or "")
    assert f'"{password}"' not in stored
    assert "SNOW_PASSWORD" in str(snapshot.config_schema_snapshot)
    assert f"'{password}'" not in str(snapshot)


def test_a_url_that_is_missing_names_its_variable() -> None:
    made = ServiceNowResource(username="admin", password=SECRET)

    with pytest.raises(ConfigError, match="SNOW_INSTANCE_URL"), made.client(settings(Path()).pulls["incidents"]):
        pass


def test_half_a_sign_in_names_the_variable_that_is_missing() -> None:
    with pytest.raises(CredentialsError, match="SNOW_PASSWORD"):
        ServiceNowResource(url="https://dev1.example.com", username="admin").credentials()


def test_a_wrong_password_is_one_clear_failure(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNOW_PASSWORD", SECRET)

    result = location.definitions.resolve_job_def("pull_incidents").execute_in_process(
        instance=location.instance, run_config=QUIET, raise_on_error=False
    )

    [failure] = [event for event in result.all_events if event.is_step_failure]
    data = failure.step_failure_data
    assert data.user_failure_data is not None
    assert data.user_failure_data.metadata["error"] == dg.MetadataValue.text("CredentialsError")
    assert SECRET not in str(data)
    assert not (location.settings.path.parent / "data").exists()


def test_the_instances_limit_of_workers_bounds_every_pull(location: Location) -> None:
    pull = settings(Path(), max_workers=9).pulls["incidents"]
    made = ServiceNowResource(url=location.server.url, username="admin", password="admin", max_workers=3)

    with made.client(pull) as client:
        assert client.max_workers == 3

"""What a user of Dagster's UI reads where something is wrong: one clear line, and no wall of frames under it."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from pathlib import Path

import dagster as dg
import pytest

from snow_assets.assets.keys import PullNames, publish_config
from snow_assets.definitions import defs
from snow_assets.errors import ConfigError
from snow_assets_tests.assets.conftest import Location

PULLS = "pulls:\n  incidents: {table: incident}\n"
ROOT = Path(__file__).parents[2]

# What is written -> what the line names.
BROKEN: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "no pulls.yaml": ({}, ("pulls", "pulls.yaml", "snow-assets init")),
    "a value": (
        {"pulls.yaml": "pulls:\n  incidents: {table: incident, page_size: ten}\n"},
        ("pulls.incidents.page_size 'ten'", "line 2", "1 to 10000"),
    ),
    "not YAML": ({"pulls.yaml": "pulls: ["}, ("pulls", "is not YAML", "line 1")),
    "an address": ({"pulls.yaml": PULLS, ".env": "SNOW_INSTANCE_URL=dev1\n"}, ("SNOW_INSTANCE_URL 'dev1'", "https://")),
    "a data folder": ({"pulls.yaml": PULLS, ".env": "SNOW_DATA_DIR=s3://\n"}, ("data 's3://'", "s3://BUCKET")),
    ".env": ({"pulls.yaml": PULLS, ".env": "SNOW_TOKEN geheim\n"}, (".env", "line 1", "NAME=value")),
}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no variables of ours."""
    for name in [name for name in os.environ if name.startswith(("SNOW_", "DAGSTER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", BROKEN)
def test_a_code_location_that_cannot_load_says_why(alone: Path, case: str) -> None:
    files, named = BROKEN[case]
    write(alone, files)

    with pytest.raises(ConfigError) as caught:
        defs()

    told = str(caught.value)
    assert all(word in told for word in named), told
    assert "\n" not in told
    assert "geheim" not in told
    assert caught.value.__suppress_context__
    frames = [frame for frame in traceback.extract_tb(caught.value.__traceback__) if "snow_assets/" in frame.filename]
    assert [Path(frame.filename).name for frame in frames if "_tests" not in frame.filename] == ["definitions.py"]
    assert sorted(path.name for path in alone.iterdir()) == sorted(files)


def test_dagster_shows_that_line(alone: Path) -> None:
    files, named = BROKEN["a value"]
    write(alone, {**files, "workspace.yaml": (ROOT / "workspace.yaml").read_text()})
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=alone, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    output = done.stdout + done.stderr
    [line] = [line for line in output.splitlines() if "ConfigError" in line]
    assert all(word in line for word in named), line
    frames = [line for line in output.splitlines() if line.strip().startswith("File ")]
    assert len(frames) <= 2, output


def failure_of(result: dg.ExecuteInProcessResult) -> tuple[str, dict[str, object]]:
    """What the UI shows of the failed step: the message, and the table under it."""
    assert not result.success
    [event] = [event for event in result.all_events if event.is_step_failure]
    data = event.step_failure_data
    assert data.error is not None
    assert data.error.cause is None
    assert data.error.context is None
    metadata = data.user_failure_data.metadata if data.user_failure_data else {}
    return data.error.message.strip(), {name: value.value for name, value in metadata.items()}


def test_an_instance_that_sleeps(location: Location) -> None:
    location.server.sim.faults.add({"kind": "hibernating"})
    line, metadata = failure_of(location.run("pull_incidents"))

    assert "\n" not in line
    assert f"SNOW_INSTANCE_URL '{location.server.url}': " in line
    assert "hibernating" in line
    assert metadata["error"] == "InstanceUnavailable"
    assert (metadata["key"], metadata["value"]) == ("SNOW_INSTANCE_URL", location.server.url)
    assert metadata["hint"]


def test_wrong_credentials(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNOW_PASSWORD", "geheim")
    line, metadata = failure_of(location.run("pull_incidents"))

    assert "\n" not in line
    assert "SNOW_USERNAME 'admin': " in line
    assert (metadata["error"], metadata["key"]) == ("CredentialsError", "SNOW_USERNAME")
    assert "geheim" not in line + str(metadata)


def test_what_is_launched_without_a_plan(location: Location) -> None:
    line, metadata = failure_of(location.run("publish_incidents"))

    assert line.endswith("pull 'incidents': has no plan yet (materialise its plan asset)")
    assert metadata["error"] == "PlanIncomplete"


def test_a_plan_that_is_not_there(location: Location) -> None:
    config = publish_config(PullNames("incidents"), "yesterday")
    line, metadata = failure_of(location.run("publish_incidents", config=config))

    assert "plan 'yesterday': pull incidents has no such plan" in line
    assert metadata["value"] == "yesterday"


def test_slices_without_partitions(location: Location) -> None:
    line, _ = failure_of(location.run("slices_incidents"))

    assert line.endswith("choose partitions: a slice is one partition of this asset")


def test_run_config_that_is_wrong_names_its_path(location: Location) -> None:
    config = {"ops": {PullNames("incidents").plan.to_python_identifier(): {"config": {"new": "soon"}}}}

    with pytest.raises(dg.DagsterInvalidConfigError, match=r'config:new\. Value "soon"'):
        location.run("pull_incidents", config=config)

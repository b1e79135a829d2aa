"""``dagster dev`` as users start it: a pull launched from the UI's own API ends as a published dataset."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from snow_assets.assets.keys import PullNames
from snow_assets.dagster_home import write_dagster_home
from snow_assets.pulls import Landing, published
from snow_assets.simulator import Simulator, SimulatorServer

pytestmark = pytest.mark.slow  # half a minute; what the UI launches is tried in one process by assets/test_story.py
NAMES = PullNames("incidents")
PULLS = """\
pulls:
  incidents:
    table: incident
    fields: [number, state, short_description]
    page_size: 10
    slice_rows: 20
    max_retries: 0
    schedule: {cron: "0 2 * * *", timezone: Europe/Berlin}
"""
LAUNCH_JOB = """mutation($job: String!) { launchRun(executionParams: {
  selector: {jobName: $job, repositoryName: "__repository__", repositoryLocationName: "snow_assets.definitions"},
  runConfigData: {}}) { __typename ... on PythonError { message } } }"""
# What the button "Launch 1 run" of the UI sends for one partition of one asset.
LAUNCH_PARTITION = """mutation($key: String!, $path: [String!]!) { launchRun(executionParams: {
  selector: {jobName: "__ASSET_JOB", repositoryName: "__repository__",
    repositoryLocationName: "snow_assets.definitions", assetSelection: [{path: $path}]},
  executionMetadata: {tags: [{key: "dagster/partition", value: $key}]},
  runConfigData: {}}) { __typename ... on PythonError { message } } }"""
STATUSES = """query($path: [String!]!) { assetNodeOrError(assetKey: {path: $path}) { ... on AssetNode {
  assetPartitionStatuses { ... on DefaultPartitionStatuses {
    materializedPartitions failedPartitions unmaterializedPartitions } } } } }"""
DRIVERS = """{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
  ... on RepositoryLocation { repositories {
    sensors { name sensorState { status } } schedules { name scheduleState { status } } } } } } } } }"""


class Dev:
    """A running ``dagster dev`` and its GraphQL."""

    def __init__(self, url: str, folder: Path, server: SimulatorServer) -> None:
        self.url = url
        self.server = server
        self.landing = Landing.open(str(folder / "data"), "incidents")

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = json.load(answer)
        assert not found.get("errors"), found["errors"]
        return found["data"]

    def statuses(self) -> Any:
        return self.ask(STATUSES, path=list(NAMES.slices.path))["assetNodeOrError"]["assetPartitionStatuses"]

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = 100) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"still waiting for {what}"
            time.sleep(0.5)


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    folder = tmp_path_factory.mktemp("dev")
    (folder / "pulls.yaml").write_text(PULLS)
    with Simulator(rows={"incident": 100}, seed=1).serve() as server:
        variables = {
            "SNOW_INSTANCE_URL": server.url,
            "SNOW_USERNAME": server.username,
            "SNOW_PASSWORD": server.password,
            "SNOW_DATA_DIR": str(folder / "data"),
            "DAGSTER_HOME": str(write_dagster_home(folder / ".dagster")),
        }
        port = free_port()
        command = [sys.executable, "-m", "dagster", "dev", "-m", "snow_assets.definitions", "-p", str(port)]
        with (folder / "dev.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **variables},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        made = Dev(f"http://127.0.0.1:{port}", folder, server)
        try:
            made.wait(lambda: answers(made), "the webserver")
            yield made
        finally:
            stop(process)
            sys.stderr.write((folder / "dev.log").read_text()[-8000:])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def answers(made: Dev) -> bool:
    try:
        return bool(made.ask(DRIVERS)["workspaceOrError"]["locationEntries"])
    except OSError:
        return False


def stop(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_sensor_and_schedule_run_from_the_start(dev: Dev) -> None:
    [entry] = dev.ask(DRIVERS)["workspaceOrError"]["locationEntries"]
    [repository] = entry["locationOrLoadError"]["repositories"]

    assert repository["sensors"] == [{"name": "reconciler", "sensorState": {"status": "RUNNING"}}]
    assert repository["schedules"] == [{"name": "pull_incidents_schedule", "scheduleState": {"status": "RUNNING"}}]


def test_failed_one_click_done(dev: Dev) -> None:
    rows = [row["sys_id"] for row in dev.server.sim.rows("incident")]
    dev.server.sim.faults.add(
        {"kind": "error_500", "request": "list", "sys_id": rows[70], "narrow": False, "low": rows[1]}
    )
    assert dev.ask(LAUNCH_JOB, job="pull_incidents")["launchRun"]["__typename"] == "LaunchRunSuccess"

    dev.wait(lambda: len(dev.statuses()["failedPartitions"]) == 1, "the failed slice")
    [failed] = dev.statuses()["failedPartitions"]
    plan = dev.landing.latest_plan()
    assert plan is not None
    assert sorted([*dev.statuses()["materializedPartitions"], failed]) == plan.partition_keys
    assert published(dev.landing) is None

    dev.server.sim.faults.clear()
    dev.server.requests.clear()
    launched = dev.ask(LAUNCH_PARTITION, key=failed, path=list(NAMES.slices.path))
    assert launched["launchRun"]["__typename"] == "LaunchRunSuccess"

    dev.wait(lambda: published(dev.landing) is not None, "the dataset")
    dataset = published(dev.landing)
    assert dataset is not None
    assert (dataset.plan, dataset.rows) == (plan.plan_id, len(rows))
    lists = [entry for entry in dev.server.requests.find(kind="list") if entry.path.endswith("/incident")]
    pages = [entry for entry in lists if "sys_idIN" not in entry.query]  # the count is tried on rows of the slice
    piece = plan.slice(failed)
    assert pages
    assert all(f"sys_id<={piece.hi}" in entry.query for entry in pages)

"""``dagster dev`` as users start it, and what the UI sends to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from snow_assets.dagster_home import write_dagster_home

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

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = json.load(answer)
        assert not found.get("errors"), found["errors"]
        return found["data"]

    def launch(self, query: str, **variables: Any) -> None:
        assert self.ask(query, **variables)["launchRun"]["__typename"] == "LaunchRunSuccess"

    def partitions(self, *path: str) -> Any:
        """Partitions of an asset by their status."""
        return self.ask(STATUSES, path=list(path))["assetNodeOrError"]["assetPartitionStatuses"]

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = 100) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"still waiting for {what}"
            time.sleep(0.5)


@contextmanager
def dagster_dev(folder: Path, variables: Mapping[str, str]) -> Iterator[Dev]:
    """A ``dagster dev`` in ``folder`` while the block runs. What it logged is shown at the end."""
    port = free_port()
    home = str(write_dagster_home(folder / ".dagster"))
    command = [sys.executable, "-m", "dagster", "dev", "-m", "snow_assets.definitions", "-p", str(port)]
    with (folder / "dev.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **variables, "SNOW_DATA_DIR": str(folder / "data"), "DAGSTER_HOME": home},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    made = Dev(f"http://127.0.0.1:{port}", folder)
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

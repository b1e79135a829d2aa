"""``dagster dev`` as users start it: a pull launched from the UI's own API ends as a published dataset."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from snow_assets.assets.keys import PullNames
from snow_assets.pulls import Landing, published
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.dev import DRIVERS, LAUNCH_JOB, LAUNCH_PARTITION, Dev, dagster_dev

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


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": 100}, seed=1).serve() as made:
        yield made


@pytest.fixture(scope="module")
def dev(server: SimulatorServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    folder = tmp_path_factory.mktemp("dev")
    (folder / "pulls.yaml").write_text(PULLS)
    variables = {
        "SNOW_INSTANCE_URL": server.url,
        "SNOW_USERNAME": server.username,
        "SNOW_PASSWORD": server.password,
    }
    with dagster_dev(folder, variables) as made:
        yield made


def slices(dev: Dev) -> Any:
    return dev.partitions(*NAMES.slices.path)


def landing(dev: Dev) -> Landing:
    return Landing.open(str(dev.folder / "data"), "incidents")


def test_sensor_and_schedule_run_from_the_start(dev: Dev) -> None:
    [entry] = dev.ask(DRIVERS)["workspaceOrError"]["locationEntries"]
    [repository] = entry["locationOrLoadError"]["repositories"]

    assert repository["sensors"] == [{"name": "reconciler", "sensorState": {"status": "RUNNING"}}]
    assert repository["schedules"] == [{"name": "pull_incidents_schedule", "scheduleState": {"status": "RUNNING"}}]


def test_failed_one_click_done(dev: Dev, server: SimulatorServer) -> None:
    rows = [row["sys_id"] for row in server.sim.rows("incident")]
    server.sim.faults.add({"kind": "error_500", "request": "list", "sys_id": rows[70], "narrow": False, "low": rows[1]})
    dev.launch(LAUNCH_JOB, job="pull_incidents")

    dev.wait(lambda: len(slices(dev)["failedPartitions"]) == 1, "the failed slice")
    [failed] = slices(dev)["failedPartitions"]
    plan = landing(dev).latest_plan()
    assert plan is not None
    assert sorted([*slices(dev)["materializedPartitions"], failed]) == plan.partition_keys
    assert published(landing(dev)) is None

    server.sim.faults.clear()
    server.requests.clear()
    dev.launch(LAUNCH_PARTITION, key=failed, path=list(NAMES.slices.path))

    dev.wait(lambda: published(landing(dev)) is not None, "the dataset")
    dataset = published(landing(dev))
    assert dataset is not None
    assert (dataset.plan, dataset.rows) == (plan.plan_id, len(rows))
    lists = [entry for entry in server.requests.find(kind="list") if entry.path.endswith("/incident")]
    pages = [entry for entry in lists if "sys_idIN" not in entry.query]  # the count is tried on rows of the slice
    piece = plan.slice(failed)
    assert pages
    assert all(f"sys_id<={piece.hi}" in entry.query for entry in pages)

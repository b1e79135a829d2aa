"""``dagster dev`` as users start it: a hierarchy of imports launched from the UI's own API ends in its target."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from snow_assets_tests.dev import DRIVERS, LAUNCH_JOB, LAUNCH_PARTITION, Dev, dagster_dev

pytestmark = pytest.mark.slow  # a minute; what the UI launches is tried in one process by test_import_story.py
IMPORTS = """\
imports:
  locations:
    source: {csv: locations.csv}
    target: cmn_location
    coalesce: name
    nodes: 1
    transform: {python: change.py:transform}
    schedule: {cron: "0 2 * * *", timezone: Europe/Berlin}
  people: {parent: locations, source: {csv: people.csv}, target: sys_user, coalesce: email, partition: {size: 2}}
"""
BROKEN = """\
def transform(table, context):
    if "Lab" in table["name"].to_pylist():
        raise ValueError("the geocoder is down")
    return table
"""


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    folder = tmp_path_factory.mktemp("imports")
    (folder / "imports.yaml").write_text(IMPORTS, encoding="utf-8")
    (folder / "change.py").write_text(BROKEN, encoding="utf-8")
    (folder / "locations.csv").write_text("name,city\nHQ,Paris\nLab,Rome\n", encoding="utf-8")
    (folder / "people.csv").write_text("email\na@x\nb@x\nc@x\n", encoding="utf-8")
    with dagster_dev(folder, {}) as made:
        yield made


def test_the_importer_and_schedules_run_from_the_start(dev: Dev) -> None:
    [entry] = dev.ask(DRIVERS)["workspaceOrError"]["locationEntries"]
    [repository] = entry["locationOrLoadError"]["repositories"]
    assert {"name": "importer", "sensorState": {"status": "RUNNING"}} in repository["sensors"]
    assert repository["schedules"] == [{"name": "import_locations_schedule", "scheduleState": {"status": "RUNNING"}}]


def test_a_failed_set_is_one_click_and_what_follows_runs_by_itself(dev: Dev) -> None:
    transform = ("imports", "locations", "transform")
    dev.launch(LAUNCH_JOB, job="import_locations")
    dev.wait(lambda: len(dev.partitions(*transform)["failedPartitions"]) == 1, "the failed import set")
    [failed] = dev.partitions(*transform)["failedPartitions"]
    assert failed.endswith("/0002")

    (dev.folder / "change.py").write_text("def transform(table, context):\n    return table\n", encoding="utf-8")
    dev.launch(LAUNCH_PARTITION, key=failed, path=list(transform))

    dev.wait(lambda: rows(dev) == 3, "the people", seconds=200)
    people = ("imports", "people", "transform")
    dev.wait(lambda: len(dev.partitions(*people)["materializedPartitions"]) == 2, "the partitions of people")
    assert dev.partitions(*transform)["failedPartitions"] == []


def rows(dev: Dev) -> int:
    """People in the target; what is open for writing is tried again."""
    try:
        with duckdb.connect(str(dev.folder / "data" / "targets.duckdb"), read_only=True) as connection:
            [(count,)] = connection.execute("select count(*) from sys_user").fetchall()
            return int(count)
    except duckdb.Error:
        return 0

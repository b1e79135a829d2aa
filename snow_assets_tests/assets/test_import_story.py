"""Imports through Dagster: a hierarchy tick by tick, sets that fail, are resumed and reprocessed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from snow_assets.assets.due import Nothing
from snow_assets.assets.import_due import CloseLoad, ImportDue, StartImport, TransformSets
from snow_assets.assets.import_keys import REPROCESS_TAG, ImportNames
from snow_assets.assets.keys import range_tags
from snow_assets.config import Environment
from snow_assets.definitions import build_definitions, declared_imports, declared_pulls
from snow_assets.imports.workspace import Workspace
from snow_assets.sensors import evaluate_imports, import_requests

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
HIERARCHY = """\
imports:
  locations:
    source: {csv: locations.csv}
    target: cmn_location
    coalesce: name
  people:
    parent: locations
    source: {csv: people.csv}
    target: sys_user
    coalesce: email
    nodes: 1
    transform: {email: email, age: {source: age, type: integer}}
"""
LOCATIONS = "name,city\nHQ,Paris\nLab,Rome\n"
PEOPLE = "email,age\na@x,31\nb@x,old\nc@x,40\n"


@dataclass
class Imports:
    """A code location with imports, driven by hand instead of by the daemon."""

    folder: Path
    instance: dg.DagsterInstance
    environment: Environment
    now: float = field(default_factory=time.time)

    def declare(self, text: str, **files: str) -> None:
        (self.folder / "imports.yaml").write_text(text, encoding="utf-8")
        for name, content in files.items():
            (self.folder / f"{name}.csv").write_text(content, encoding="utf-8")
        settings = declared_pulls(self.environment)
        self.settings = declared_imports(self.environment, settings)
        self.definitions = build_definitions(settings, self.environment, self.settings)

    def run(
        self, job: str, *, tags: Mapping[str, str] | None = None, config: Mapping[str, Any] | None = None
    ) -> dg.ExecuteInProcessResult:
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            tags=dict(tags or {}),
            run_config={**(config or {}), **QUIET},
            raise_on_error=False,
        )

    def materialise(self, name: str, first: str, last: str = "", **config: Any) -> dg.ExecuteInProcessResult:
        """Import sets, as a person does on the asset's page."""
        names = ImportNames(name)
        return self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=[names.transform],
            tags=range_tags(first, last or first),
            run_config={"ops": {names.transform.to_python_identifier(): {"config": config}}, **QUIET},
            raise_on_error=False,
        )

    def tick(self) -> dict[str, ImportDue]:
        """What the importer finds due."""
        with self.workspace() as workspace:
            return dict(evaluate_imports(workspace, self.instance, now=self.now))

    def follow(self, name: str, due: ImportDue) -> dg.ExecuteInProcessResult:
        """Run what is due, as the daemon would."""
        [request] = import_requests(name, due)
        assert request.job_name is not None
        return self.run(request.job_name, tags=request.tags, config=request.run_config)

    def settle(self) -> list[tuple[str, str]]:
        """Follow everything that is due; returns what that was, in order."""
        found: list[tuple[str, str]] = []
        while due := {name: each for name, each in self.tick().items() if not isinstance(each, Nothing)}:
            for name, each in due.items():
                found.append((name, type(each).__name__))
                assert len(found) < 50
                self.follow(name, each)
        return found

    def workspace(self) -> Workspace:
        return Workspace(self.settings, self.environment)

    def keys(self, name: str) -> list[str]:
        return list(self.instance.get_dynamic_partitions(ImportNames(name).partitions_name))

    def statuses(self, name: str) -> dict[str, str]:
        """The status of each import set as the UI shows it."""
        names = ImportNames(name)
        found = self.instance.get_status_by_partition(names.transform, self.keys(name), names.partitions) or {}
        return {key: status.value if status else "MISSING" for key, status in found.items()}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.folder / "data" / "targets.duckdb"), read_only=True) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Imports]:
    variables = {"SNOW_DATA_DIR": str(tmp_path / "data"), "SNOW_PULLS": str(tmp_path / "pulls.yaml")}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Imports(tmp_path, instance, Environment(variables, tmp_path))


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    [event] = [event for event in result.all_events if event.is_step_failure]
    return str(event.step_failure_data.error)


def events_of(result: dg.ExecuteInProcessResult) -> list[dg.AssetMaterialization]:
    return [event.step_materialization_data.materialization for event in result.get_asset_materialization_events()]


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {each.check_name: each.passed for each in result.get_asset_check_evaluations()}


def test_a_hierarchy_runs_by_itself_once_its_root_is_launched(imports: Imports) -> None:
    imports.declare(HIERARCHY, locations=LOCATIONS, people=PEOPLE)
    assert all(isinstance(due, Nothing) for due in imports.tick().values())

    assert imports.run("import_locations").success
    done = imports.settle()

    assert done == [
        ("locations", "TransformSets"),
        ("locations", "CloseLoad"),
        ("people", "StartImport"),
        ("people", "TransformSets"),
        ("people", "CloseLoad"),
    ]
    assert imports.rows("select name, city from cmn_location order by 1") == [("HQ", "Paris"), ("Lab", "Rome")]
    assert imports.rows("select email, age from sys_user order by 1") == [("a@x", 31), ("c@x", 40)]
    assert set(imports.statuses("people").values()) == {"MATERIALIZED"}


def test_counters_are_metadata_and_rows_in_error_are_shown_with_their_line(imports: Imports) -> None:
    imports.declare(HIERARCHY, locations=LOCATIONS, people=PEOPLE)
    imports.run("import_people")
    transformed = imports.follow("people", imports.tick()["people"])
    events = {each.partition: each.metadata for each in events_of(transformed)}
    assert sorted(map(str, events)) == imports.keys("people")
    counted = {name: [each[name].value for each in events.values()] for name in ("total", "inserts")}
    assert counted in ({"total": [2, 1], "inserts": [2, 0]}, {"total": [1, 2], "inserts": [0, 2]})
    assert {"updates", "ignored", "skipped", "errors", "seconds", "dagster/partition_row_count"} <= set(
        next(iter(events.values()))
    )

    closed = imports.follow("people", imports.tick()["people"])

    assert closed.success
    assert checks_of(closed) == {"counters_add_up": True, "rows_in_error": False}
    [told] = [each for each in closed.get_asset_check_evaluations() if each.check_name == "rows_in_error"]
    assert told.severity is dg.AssetCheckSeverity.WARN
    shown = str(told.metadata["first rows in error"].value)
    assert "| people.csv | 3 | 2 |" in shown
    assert "old" in shown


def test_nothing_is_started_twice(imports: Imports) -> None:
    imports.declare(HIERARCHY, locations=LOCATIONS, people=PEOPLE)
    imports.run("import_people")
    due = imports.tick()["people"]
    assert isinstance(due, TransformSets)
    [request] = import_requests("people", due)
    imports.instance.add_run(
        dg.DagsterRun(job_name="import_people_sets", run_id=RUN, status=dg.DagsterRunStatus.STARTED, tags=request.tags)
    )
    assert isinstance(imports.tick()["people"], Nothing)
    assert import_requests("people", due)[0].run_key == request.run_key


RUN = "0b1e6d2e-2c4b-4f0e-9d53-6f4c1a2b3c4d"
BROKEN = """\
import pyarrow as pa

def transform(table: pa.Table, context: object) -> pa.Table:
    from pathlib import Path
    if "b@x" in table["email"].to_pylist() and Path(__file__).with_name("broken").exists():
        raise ValueError("the service is down")
    return table
"""


@pytest.fixture
def broken(imports: Imports) -> Imports:
    """The second of two import sets fails while a file named ``broken`` is there."""
    (imports.folder / "change.py").write_text(BROKEN, encoding="utf-8")
    (imports.folder / "broken").touch()
    text = HIERARCHY.replace(
        "    transform: {email: email, age: {source: age, type: integer}}\n",
        "    transform: {python: change.py:transform}\n",
    ).replace("  people:\n    parent: locations\n", "  people:\n") + (
        "  notes: {parent: people, source: {csv: people.csv}, target: notes}\n"
    )
    imports.declare(text, locations=LOCATIONS, people=PEOPLE)
    imports.run("import_people")
    return imports


def test_a_set_that_fails_fails_alone_and_is_named(broken: Imports) -> None:
    first, second = broken.keys("people")
    result = broken.follow("people", broken.tick()["people"])

    assert not result.success
    assert "1 of 2 import sets of import people failed" in failure_of(result)
    assert second in failure_of(result)
    assert checks_of(result) == {"sets_applied": False}
    assert broken.statuses("people") == {first: "MATERIALIZED", second: "FAILED"}
    assert broken.rows("select email from sys_user order by 1") == [("a@x",), ("c@x",)]


@pytest.mark.slow
def test_a_failed_set_is_resumed_by_materialising_it_and_the_chain_goes_on(broken: Imports) -> None:
    first, second = broken.keys("people")
    broken.follow("people", broken.tick()["people"])
    (broken.folder / "broken").unlink()

    result = broken.materialise("people", first, second)

    assert result.success, failure_of(result)
    assert broken.statuses("people") == {first: "MATERIALIZED", second: "MATERIALIZED"}
    assert broken.rows("select email, sys_mod_count from sys_user order by 1") == [("a@x", 0), ("b@x", 0), ("c@x", 0)]
    assert broken.settle()[:2] == [("people", "CloseLoad"), ("notes", "StartImport")]


@pytest.mark.slow
def test_what_keeps_failing_closes_the_load_in_error_and_stops_what_follows(broken: Imports) -> None:
    for _ in range(4):
        due = broken.tick()["people"]
        assert isinstance(due, TransformSets)
        broken.follow("people", due)
        broken.now += 3700
    closing = broken.tick()["people"]
    assert isinstance(closing, CloseLoad)

    closed = broken.follow("people", closing)

    assert not closed.success
    assert checks_of(closed)["counters_add_up"] is False
    assert "import sets failed" in failure_of(closed)
    assert broken.tick()["people"] == Nothing(f"load {closing.load_id} is error")
    assert isinstance(broken.tick()["notes"], Nothing)
    (broken.folder / "broken").unlink()
    assert broken.materialise("people", broken.keys("people")[1]).success
    assert broken.settle()[:2] == [("people", "CloseLoad"), ("notes", "StartImport")]


@pytest.mark.slow
def test_a_set_that_is_done_is_transformed_again_by_materialising_it(imports: Imports) -> None:
    imports.declare(HIERARCHY, locations=LOCATIONS, people=PEOPLE)
    imports.run("import_people")
    imports.settle()
    key = imports.keys("people")[0]

    again = imports.materialise("people", key)

    [event] = events_of(again)
    assert event.metadata["ignored"].value == 2
    assert event.metadata["inserts"].value == 0
    with imports.workspace() as workspace:
        load = workspace.load("people")
        assert [each.job.type for each in workspace.books.sets(load) if each.job] == ["reprocessing", "regular"]
    assert imports.settle() == [("people", "CloseLoad")]
    left = imports.run("import_people_sets", tags=range_tags(key, key))
    assert not left.success
    assert "processed" in failure_of(left)


@pytest.mark.slow
def test_sets_of_an_older_load_are_transformed_again_only_when_told(imports: Imports) -> None:
    imports.declare(HIERARCHY, locations=LOCATIONS, people=PEOPLE)
    for _ in range(2):
        imports.run("import_people")
        imports.settle()
    old = imports.keys("people")[0]

    refused = imports.materialise("people", old)

    assert not refused.success
    assert "newer" in failure_of(refused)
    assert imports.materialise("people", old, reprocess=True).success


def test_a_tick_of_the_schedule_waits_for_the_whole_hierarchy(imports: Imports) -> None:
    scheduled = HIERARCHY.replace("target: cmn_location", 'target: cmn_location\n    schedule: "0 3 * * *"')
    imports.declare(scheduled, locations=LOCATIONS, people=PEOPLE)

    def tick() -> str:
        schedule = imports.definitions.get_repository_def().get_schedule_def("import_locations_schedule")
        with dg.build_schedule_context(instance=imports.instance) as context:
            return schedule.evaluate_tick(context).skip_message or "due"

    assert tick() == "due"
    imports.run("import_locations")
    assert "is not finished" in tick()
    for step in (TransformSets, CloseLoad):
        due = imports.tick()["locations"]
        assert isinstance(due, step)
        imports.follow("locations", due)
    assert "its hierarchy EXEC0000001 is not finished (people)" in tick()  # the load of the root is
    with imports.workspace() as workspace, workspace.loading("locations"):
        assert "is not finished" in tick()
    imports.settle()
    assert tick() == "due"


def test_an_empty_range_fails(imports: Imports) -> None:
    imports.declare(HIERARCHY, locations=LOCATIONS, people=PEOPLE)
    imports.run("import_people")
    first, second = imports.keys("people")
    for key in (first, second):
        imports.instance.delete_dynamic_partition(ImportNames("people").partitions_name, key)
    imports.instance.add_dynamic_partitions(ImportNames("people").partitions_name, [second, first])
    result = imports.run("import_people_sets", tags=range_tags(first, second))
    assert not result.success
    assert "holds no import sets" in failure_of(result)


def test_a_child_whose_source_is_missing_ends_the_chain(imports: Imports) -> None:
    imports.declare(HIERARCHY, locations=LOCATIONS)
    imports.run("import_locations")
    assert imports.settle()[-1] == ("people", "StartImport")
    assert isinstance(imports.tick()["people"], Nothing)
    assert imports.run("import_locations").success
    assert isinstance(imports.tick()["locations"], TransformSets)
    assert not isinstance(imports.tick()["people"], StartImport)


@pytest.mark.slow
def test_a_run_that_is_tagged_leaves_what_is_done(broken: Imports) -> None:
    assert REPROCESS_TAG == "snow/reprocess"
    first, second = broken.keys("people")
    broken.follow("people", broken.tick()["people"])
    (broken.folder / "broken").unlink()
    again = broken.run("import_people_sets", tags={**range_tags(first, second), REPROCESS_TAG: "false"})
    adopted = {each.partition: "adopted" in each.metadata for each in events_of(again)}
    assert adopted == {first: True, second: False}


def test_a_job_is_left_alone_while_its_process_lives_and_taken_up_when_it_died(imports: Imports) -> None:
    imports.declare(HIERARCHY, locations=LOCATIONS, people=PEOPLE)
    imports.run("import_people")
    with imports.workspace() as workspace:
        load = workspace.load("people")
        with workspace.working(load, 1):
            workspace.books.take(load, 1, "another process")
            told = imports.tick()["people"]
            assert isinstance(told, Nothing)
            assert "are being transformed" in told.reason
    due = imports.tick()["people"]
    assert isinstance(due, TransformSets)  # the second set, which nobody took, goes first
    assert due.first == due.last == imports.keys("people")[1]
    imports.follow("people", due)
    imports.now += 6 * 60
    assert [name for _, name in imports.settle()] == ["TransformSets", "CloseLoad"]
    with imports.workspace() as workspace:
        assert [each.job.retry_count for each in workspace.books.sets(load) if each.job] == [1, 0]
    assert imports.rows("select email from sys_user order by 1") == [("a@x",), ("c@x",)]

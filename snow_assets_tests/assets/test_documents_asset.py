"""Documents in Dagster: they are made in the runs that publish what they are made of, and show what changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from snow_assets.assets.documents import documents_made_of
from snow_assets.assets.keys import PullNames, publish_config
from snow_assets.config import Environment, Settings
from snow_assets.definitions import build_definitions
from snow_assets.documents import declared
from snow_assets.documents.export import read_export
from snow_assets.documents.loader import Loader
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.assets.conftest import QUIET
from snow_assets_tests.pulls.conftest import Workbench

NAMES, JOURNALS = PullNames("incidents"), PullNames("journals")
ROWS = 30
PULLS: dict[str, dict[str, Any]] = {
    "incidents": {"table": "incident", "documents": {"include_journals": "journals"}},
    "journals": {"table": "sys_journal_field", "query": "elementINcomments,work_notes"},
}


@dataclass
class Place:
    """A code location over one data folder. Slices are landed by the library; Dagster publishes."""

    server: SimulatorServer
    folder: Path
    instance: dg.DagsterInstance
    settings: Settings

    @property
    def definitions(self) -> dg.Definitions:
        return build_definitions(self.settings, self.environment)

    @property
    def environment(self) -> Environment:
        values = {"SNOW_INSTANCE_URL": self.server.url, "SNOW_DATA_DIR": str(self.folder / "data")}
        return Environment(
            {**values, "SNOW_USERNAME": self.server.username, "SNOW_PASSWORD": self.server.password}, self.folder
        )

    @property
    def landing(self) -> Any:
        return self.bench("incidents").landing

    def bench(self, name: str) -> Workbench:
        pull = self.settings.pulls[name]
        made = Workbench(self.server, self.folder / "data", name=name, table=pull.table)
        made.pull = pull.model_copy(update={"retry_backoff": 0.01})
        return made

    def publish(self, name: str) -> dg.ExecuteInProcessResult:
        """Pull, and run the job that publishes."""
        bench = self.bench(name)
        plan = bench.plan(new=True).plan
        bench.land(plan)
        names = PullNames(name)
        return self.run(names.publish_job, publish_config(names, plan.plan_id))

    def run(self, job: str, config: dict[str, Any] | None = None) -> dg.ExecuteInProcessResult:
        resolved = self.definitions.resolve_job_def(job)
        config = {**(config or {}), **QUIET}
        return resolved.execute_in_process(instance=self.instance, run_config=config, raise_on_error=False)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    settings = Settings(pulls=PULLS, path=tmp_path / "pulls.yaml")
    with Simulator(rows={"incident": ROWS}, seed=3).serve() as server, dg.DagsterInstance.ephemeral() as instance:
        yield Place(server, tmp_path, instance, settings)


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any] | None:
    """The metadata of the documents, where the run made them."""
    for event in result.get_asset_materialization_events():
        if event.asset_key == NAMES.documents:
            return {name: value.value for name, value in event.materialization.metadata.items()}
    return None


def check_of(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    [check] = [each for each in result.get_asset_check_evaluations() if each.asset_key == NAMES.documents]
    return check


def changes(found: dict[str, Any]) -> dict[str, str]:
    lines = map(json.loads, Path(found["changes.jsonl"]).read_bytes().splitlines())
    return {line["id"].partition("/")[2]: line["change"] for line in lines}


def test_documents_follow_the_rows_and_the_journals_and_show_what_changed(place: Place) -> None:
    sim = place.server.sim
    ids = [row["sys_id"] for row in sim.rows("incident")]
    sim.update("incident", min(ids), short_description="``` ends <script>alert(1)</script> no block")

    result = place.publish("journals")
    assert result.success
    assert shown(result) is None
    check = check_of(result)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.metadata["waits_for"].value == "incidents"

    result = place.publish("incidents")
    found = shown(result)
    assert found is not None
    assert check_of(result).passed
    assert [found[name] for name in ("dagster/row_count", "added", "changed", "deleted")] == [ROWS, ROWS, 0, 0]
    lines = found["sample"].splitlines()
    assert (lines[0], lines[-1]) == ("````text", "````")
    assert "``` ends <script>" in lines[1]

    sim.update("incident", ids[3], short_description="told anew")
    sim.delete("incident", ids[4])
    new = sim.insert("incident", short_description="new")
    found = shown(place.publish("incidents"))
    assert found is not None
    assert changes(found) == {ids[3]: "changed", ids[4]: "deleted", new: "added"}

    entry = {"element_id": ids[5], "name": "incident", "element": "comments", "value": "It works again."}
    sim.insert("sys_journal_field", {**entry, "sys_created_on": "2026-11-20 10:00:00", "sys_created_by": "someone"})
    found = shown(place.publish("journals"))
    assert found is not None
    assert changes(found) == {ids[5]: "changed"}
    assert "It works again." in Path(found["jsonl"]).read_text()

    again = place.run(NAMES.publish_job, publish_config(NAMES, found["export"].partition("-")[0]))
    found = shown(again)
    assert found is not None
    assert (again.success, found["written"], found["unchanged"]) == (True, False, ROWS - 1)


def test_documents_that_are_not_one_for_each_row_fail_the_run_and_the_export_before_stays(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.settings = Settings(pulls={"incidents": {"table": "incident", "documents": True}}, path=place.settings.path)
    assert place.publish("incidents").success
    before = read_export(place.landing)
    load = Loader.lazy_load
    monkeypatch.setattr(Loader, "lazy_load", lambda self: load(self, limit=ROWS - 1))
    result = place.publish("incidents")
    check = check_of(result)
    assert (result.success, check.passed, check.severity) == (False, False, dg.AssetCheckSeverity.ERROR)
    assert f"{ROWS - 1} documents were made of {ROWS} published rows" in str(check.metadata["cause"].value)
    assert read_export(place.landing) == before
    monkeypatch.undo()
    config = {"ops": {NAMES.documents.to_python_identifier(): {"config": {"again": True}}}}
    plan = place.landing.plan_ids()[-1]
    merged = {"ops": {**publish_config(NAMES, plan)["ops"], **config["ops"]}}
    assert place.run(NAMES.publish_job, merged).success
    after = read_export(place.landing)
    assert after is not None
    assert (after.plan, after.rows, after.changed) == (plan, ROWS, 0)


def test_another_version_of_the_software_or_recipe_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    pulls: dict[str, Any] = {"incidents": {"table": "incident", "documents": {"content_fields": ["number"]}}}
    place.settings = Settings(pulls=pulls, path=place.settings.path)
    assert place.publish("incidents").success
    monkeypatch.setattr(declared, "__version__", "99")
    plan = place.landing.plan_ids()[-1]
    found = shown(place.run(NAMES.publish_job, publish_config(NAMES, plan)))
    assert found is not None
    assert [found[name] for name in ("new_recipe", "changed", "unchanged")] == [True, 0, ROWS]  # worded as before
    pulls["incidents"]["documents"] = {"content_template": "{{ number }}!"}
    place.settings = Settings(pulls=pulls, path=place.settings.path)
    found = shown(place.run(NAMES.publish_job, publish_config(NAMES, plan)))
    assert found is not None
    assert [found[name] for name in ("new_recipe", "changed", "unchanged")] == [True, ROWS, 0]
    assert found["sample"].splitlines()[1].endswith("!")


def test_documents_depend_on_every_pull_that_they_are_made_of(tmp_path: Path) -> None:
    pulls = {**PULLS, "journals": {**PULLS["journals"], "mode": "delta", "cursor": "sys_created_on"}}
    settings = Settings(pulls=pulls, path=tmp_path / "pulls.yaml", instance={"url": "https://dev1.example.com"})
    definitions = build_definitions(settings, Environment({}, tmp_path))
    graph = definitions.resolve_asset_graph()
    assert graph.get(NAMES.documents).parent_keys == {NAMES.dataset, JOURNALS.current}
    for name in ("incidents", "journals"):
        job = definitions.resolve_job_def(PullNames(name).publish_job)
        assert NAMES.documents in job.asset_layer.executable_asset_keys
    made = documents_made_of(settings.pulls["journals"], settings.pulls)  # what a pull in a terminal builds, too
    assert [each.key for each in made] == [NAMES.documents]
    assert documents_made_of(settings.pulls["incidents"], settings.pulls) == []

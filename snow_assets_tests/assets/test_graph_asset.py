"""The graph of a pull of ``cmdb_rel_ci``: built in the run that publishes it, checked, and not written twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from snow_assets.assets.keys import PullNames, publish_config
from snow_assets.config import Environment, Settings
from snow_assets.definitions import build_definitions
from snow_assets.documents.cmdb import RelationGraph, export, files
from snow_assets.documents.cmdb.export import GraphExport, export_graph, home_of, read_graph
from snow_assets.errors import ConfigError
from snow_assets.pulls import Landing, lease_holder, published
from snow_assets.pulls.live import Live, live_rows
from snow_assets.simulator import SimulatorServer
from snow_assets_tests.assets.conftest import QUIET
from snow_assets_tests.documents.cmdb.conftest import Graph, add_awkward_rows, cmdb, graph_of
from snow_assets_tests.pulls.conftest import Workbench

NAMES = PullNames("relations")


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatorServer]:
    sim = cmdb(60, 200)
    add_awkward_rows(sim)
    with sim.serve() as one:
        yield one


@pytest.fixture
def bench(server: SimulatorServer, tmp_path: Path) -> Workbench:
    settings: dict[str, Any] = {"name": "relations", "table": "cmdb_rel_ci", "fields": None}
    return Workbench(server, tmp_path, **settings)


def published_now(bench: Workbench) -> str:
    """The id of the plan that is published."""
    dataset = published(bench.landing)
    assert dataset is not None
    return dataset.plan


def publish_cis(bench: Workbench) -> None:
    Workbench(bench.server, bench.data, name="cis", table="cmdb_ci", fields=None).pull_all()


def truth(bench: Workbench) -> Graph:
    return graph_of(bench.sim.rows("cmdb_rel_ci"))


def published_by(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> dg.ExecuteInProcessResult:
    """The run that publishes a landed plan, of the definitions that ``pulls.yaml`` makes."""
    plan = bench.plan(new=True).plan
    bench.land(plan)
    variables = {
        "SNOW_INSTANCE_URL": bench.server.url,
        "SNOW_USERNAME": bench.server.username,
        "SNOW_PASSWORD": bench.server.password,
        "SNOW_DATA_DIR": str(bench.data),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    pulls = {
        "relations": {"table": "cmdb_rel_ci", "graph": {"cis": "cis"}, "retry_backoff": 0.01},
        "cis": {"table": "cmdb_ci"},
    }
    settings = Settings.model_validate({"pulls": pulls, "path": bench.data / "pulls.yaml"})
    job = build_definitions(settings, Environment(variables, bench.data)).resolve_job_def(NAMES.publish_job)
    config = {**publish_config(NAMES, plan.plan_id), **QUIET}
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(instance=instance, run_config=config, raise_on_error=False)


def test_the_run_that_publishes_builds_the_graph_and_shows_what_there_is_to_say(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_cis(bench)
    result = published_by(bench, monkeypatch)
    assert result.success
    order = [event.asset_key for event in result.get_asset_materialization_events()]
    assert order == [NAMES.totals, NAMES.dataset, NAMES.graph]
    *_, event = result.get_asset_materialization_events()
    shown = {name: each.value for name, each in event.materialization.metadata.items()}
    found, rows = read_graph(bench.landing), truth(bench)
    assert found is not None
    assert shown["dagster/row_count"] == shown["relations"] == 209
    assert (shown["nodes"], shown["edges"]) == (len(rows), rows.number_of_edges())
    assert (shown["without_parent"], shown["without_child"], shown["without_ends"]) == (2, 2, 1)
    assert shown["known_cis"] == found.known_cis > 50
    assert shown["cis"] == f"cis, plan {found.cis_plan}"
    assert {"components", "largest", "cyclic", "duplicates", "loops"} <= set(shown)
    assert [shown["edges.parquet"], shown["nodes.parquet"]] == [file.location for file in found.files]
    check = next(each for each in result.get_asset_check_evaluations() if each.asset_key == NAMES.graph)
    assert (check.check_name, check.passed, check.metadata["relations"].value) == ("valid", True, 209)
    nodes = pq.read_table(found.files[1].location)
    assert nodes.num_rows - nodes.column("class").null_count == found.known_cis


def test_a_run_keeps_the_command_from_writing_the_same_files(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    holders: list[str | None] = []

    def exported(landing: Landing, **options: Any) -> GraphExport:
        holders.append(lease_holder(home_of(landing)))  # of which the command takes the lease, too
        return export_graph(landing, **options)

    monkeypatch.setattr("snow_assets.assets.graph.export_graph", exported)
    assert published_by(bench, monkeypatch).success
    assert [(holder or "").startswith("Dagster run ") for holder in holders] == [True]


def test_relations_are_those_of_the_plan_that_the_export_is_named_by(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.pull_all()
    plan = published_now(bench)

    def published_meanwhile(landing: Landing) -> Live:
        live = live_rows(landing)
        bench.pull_all()
        return live

    monkeypatch.setattr("snow_assets.documents.cmdb.export.live_rows", published_meanwhile)
    monkeypatch.setattr("snow_assets.documents.cmdb.graph.live_rows", lambda _: pytest.fail("looked at twice"))
    assert export_graph(bench.landing).plan == plan < published_now(bench)


def test_relations_that_are_not_those_that_were_published_are_no_graph(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = files.fill
    monkeypatch.setattr(files, "fill", lambda *given: fill(*given) - 1)
    result = published_by(bench, monkeypatch)
    check = next(each for each in result.get_asset_check_evaluations() if each.asset_key == NAMES.graph)
    assert (result.success, check.passed) == (False, False)
    assert "rows of" in str(check.metadata["cause"].value)
    assert read_graph(bench.landing) is None


def test_an_export_is_written_once_and_anew_where_cis_or_relations_are_newer(bench: Workbench) -> None:
    bench.pull_all()
    first = export_graph(bench.landing, cis="cis")
    assert (first.changed, first.cis_plan, first.known_cis, first.export) == (True, "", 0, first.plan)
    again = export_graph(bench.landing, cis="cis")
    assert (again.changed, again.files) == (False, first.files)
    publish_cis(bench)
    second = export_graph(bench.landing, cis="cis")
    assert (second.export, second.plan) == (f"{first.plan}-2", first.plan)
    assert second.known_cis > 50
    assert second.files[0].sha256 == first.files[0].sha256  # equal relations make equal files
    home = Path(second.files[0].location).parent
    assert {path.name for path in home.iterdir()} >= {file.name for each in (first, second) for file in each.files}
    plain = export_graph(bench.landing)
    assert (plain.export, plain.known_cis) == (f"{first.plan}-3", 0)
    left = {path.name for path in home.iterdir() if path.name.startswith(first.plan)}
    assert left == {file.name for each in (second, plain) for file in each.files}  # the newest two stay
    assert export_graph(bench.landing, again=True).files[0].sha256 == first.files[0].sha256


def test_files_that_a_dead_run_finished_are_adopted(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.pull_all()
    made = list[str]()

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(export, "write_manifest", dies)
        with pytest.raises(KeyboardInterrupt):
            export_graph(bench.landing)
    assert read_graph(bench.landing) is None
    monkeypatch.setattr(files, "fill", lambda path, *_: made.append(path.name))
    found = export_graph(bench.landing)
    assert (found.changed, made) == (True, [])
    graph = RelationGraph.from_parquet(found.files[0].location, found.files[1].location)
    assert graph.figures == found.figures


def test_where_nothing_is_published_nothing_is_made(bench: Workbench) -> None:
    with pytest.raises(ConfigError, match="nothing is published"):
        export_graph(Landing.open(str(bench.data), "relations"))
    assert not list(bench.data.iterdir())

"""What a pull has beside its rows, in Dagster: a corpus, and attachments in runs of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from snow_assets.assets.attachments import attachments_asset, attachments_job
from snow_assets.assets.corpus import corpus_asset
from snow_assets.assets.keys import PULL_TAG, PullNames
from snow_assets.config import AttachmentsConfig, PullConfig
from snow_assets.pulls import Landing, lease, lease_holder
from snow_assets.pulls import corpus as corpora
from snow_assets.pulls.attachments import home_of
from snow_assets.pulls.corpus import Corpus, export_corpus, read_corpus
from snow_assets.resources import LandingResource, ServiceNowResource
from snow_assets.schedules import attachments_schedule
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.assets.conftest import QUIET
from snow_assets_tests.pulls.conftest import Workbench

NAMES = PullNames("incidents")


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatorServer]:
    rows = {"incident": 40, "change_request": 10, "kb_knowledge": 0, "sys_attachment": 40}
    with Simulator(rows=rows, seed=3).serve() as one:
        yield one


@pytest.fixture
def bench(server: SimulatorServer, tmp_path: Path) -> Workbench:
    server.faults.clear()
    settings: dict[str, Any] = {"attachments": {"schedule": "@daily"}, "corpus": True, "max_retries": 0}
    made = Workbench(server, tmp_path, **settings)
    made.pull_all()
    return made


def run_job(bench: Workbench, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    server = bench.server
    definitions = dg.Definitions(
        assets=[attachments_asset(bench.pull, pool=None), corpus_asset(bench.pull)],
        jobs=[attachments_job(bench.pull), dg.define_asset_job("corpora", dg.AssetSelection.assets(NAMES.corpus))],
        resources={
            "servicenow": ServiceNowResource(url=server.url, username=server.username, password=server.password),
            "landing": LandingResource(data=str(bench.data)),
        },
    )
    name = "corpora" if bench.pull.attachments is None else NAMES.attachments_job
    job = definitions.resolve_job_def(name)
    return job.execute_in_process(instance=instance, run_config=QUIET, raise_on_error=False)


def figures(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """The metadata of the one materialisation."""
    [event] = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_attachments_are_materialised_with_their_figures_also_where_one_failed(bench: Workbench) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        ids = {row["sys_id"] for row in bench.sim.rows("incident")}
        victim = next(row["sys_id"] for row in bench.sim.rows("sys_attachment") if row["table_sys_id"] in ids)
        bench.server.faults.add({"kind": "error_500", "request": "file", "sys_id": victim})
        result = run_job(bench, instance)
        [check] = result.get_asset_check_evaluations()
        found = figures(result)
        assert (result.success, check.passed, found["failed"]) == (False, False, 1)
        assert found["landed"] == found["fetched"] > 1
        assert PULL_TAG not in result.dagster_run.tags  # the pull itself goes on meanwhile

        bench.server.faults.clear()
        result = run_job(bench, instance)
        assert (result.success, figures(result)["fetched"]) == (True, 1)
        assert [each.passed for each in result.get_asset_check_evaluations()] == [True]


def test_the_schedule_leaves_a_run_alone_and_starts_with_the_tag_of_attachments(bench: Workbench) -> None:
    landing = LandingResource(data=str(bench.data))
    job = dg.define_asset_job(NAMES.attachments_job, dg.AssetSelection.assets(NAMES.attachments))
    schedule = attachments_schedule(bench.pull, landing, job)
    assert schedule is not None
    context = dg.build_schedule_context()
    with lease(home_of(Landing.open(str(bench.data), "incidents")), "somebody"):
        skipped = schedule(context)
    assert isinstance(skipped, dg.SkipReason)
    assert "somebody works on the attachments" in str(skipped.skip_message)
    request = schedule(context)
    assert isinstance(request, dg.RunRequest)
    assert request.tags == {"snow/attachments": "incidents"}
    plain = PullConfig(name="incidents", table="incident", attachments=AttachmentsConfig())
    assert attachments_schedule(plain, landing, job) is None


def test_a_corpus_is_checked_and_shows_where_its_files_are(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    def exported(landing: Landing) -> Corpus:
        holder = lease_holder(corpora.home_of(landing))  # of which the command takes the lease, too
        assert holder is not None
        assert holder.startswith("Dagster run ")
        return export_corpus(landing)

    monkeypatch.setattr("snow_assets.assets.corpus.export_corpus", exported)
    bench.pull = bench.pull.model_copy(update={"attachments": None})
    with dg.DagsterInstance.ephemeral() as instance:
        result = run_job(bench, instance)
    [check] = result.get_asset_check_evaluations()
    corpus = read_corpus(bench.landing)
    assert corpus is not None
    assert (check.check_name, check.passed, check.metadata["counted"].value) == ("valid", True, 40)
    assert figures(result)["jsonl"] == corpus.files[1].location
    assert figures(result)["dagster/row_count"] == 40

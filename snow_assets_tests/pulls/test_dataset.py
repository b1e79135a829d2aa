"""The dataset: one zero-copy commit of a complete plan, readable everywhere, and never silently smaller."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from snow_assets.config import PullConfig
from snow_assets.errors import LandingError, LeaseHeld, PlanIncomplete, PublishRefused
from snow_assets.pulls import (
    LandedFile,
    Landing,
    Plan,
    Slice,
    Totals,
    publish,
    published,
    published_plan,
    pull_status,
    read_totals,
    reconcile,
)
from snow_assets.simulator import HiddenRows
from snow_assets_tests.pulls.conftest import Workbench


def test_the_landed_files_are_the_tables_files(own: Workbench) -> None:
    totals = own.pull_all()
    plan = own.landing.read_plan(totals.plan)
    landed = sorted(own.landing.store.uri(file.path) for file in own.landing.all_landed(plan).values())
    dataset = published(own.landing)
    assert dataset is not None
    assert list(dataset.files) == landed
    assert (dataset.rows, dataset.plan, dataset.version) == (1200, plan.plan_id, 0)
    files = [str(path) for path in (own.data / "incidents").rglob("*.parquet")]
    assert sorted(files) == landed


def test_duckdb_and_polars_read_it(own: Workbench) -> None:
    own.pull_all()
    location = str(own.data / "incidents")
    files = DeltaTable(location).file_uris()
    with duckdb.connect() as connection:
        query = f"select count(*), count(distinct sys_id.value) from read_parquet({files})"
        rows = connection.execute(query).fetchall()
    assert rows == [(1200, 1200)]
    assert pl.scan_delta(location).select(pl.len()).collect().item() == 1200


def test_a_full_pull_replaces_and_older_versions_stay_readable(own: Workbench) -> None:
    first = own.pull_all()
    for row in own.sim.rows("incident")[:20]:
        own.sim.delete("incident", row["sys_id"])
    second = own.pull_all()
    location = str(own.data / "incidents")
    assert len(DeltaTable(location).file_uris()) == second.slices
    assert len(DeltaTable(location, version=0).file_uris()) == first.slices
    commit = DeltaTable(location).history(1)[0]
    assert (commit["snow_assets.plan"], commit["snow_assets.landed"]) == (second.plan, "1180")


def test_publishing_twice_or_an_older_plan_changes_nothing(own: Workbench) -> None:
    first = own.pull_all()
    second = own.pull_all()
    old, new = own.landing.read_plan(first.plan), own.landing.read_plan(second.plan)
    for plan, totals in ((new, second), (old, first), (old, first)):
        again = publish(plan, totals, own.landing, own.pull)
        assert (again.changed, again.plan, again.version) == (False, second.plan, 1)


def test_an_incomplete_plan_is_not_published(own: Workbench) -> None:
    plan = own.plan().plan
    own.land(plan, plan.slices[:-1])
    with pytest.raises(PlanIncomplete):
        reconcile(plan, own.landing, own.pull)
    own.land(plan)
    totals = reconcile(plan, own.landing, own.pull)
    with pytest.raises(PlanIncomplete):
        publish(plan, replace(totals, missing=1), own.landing, own.pull)
    Path(own.landing.store.uri(own.landing.all_landed(plan)[plan.slices[0]].path)).unlink()
    with pytest.raises(PlanIncomplete, match="lost files"):
        publish(plan, totals, own.landing, own.pull)
    assert published(own.landing) is None


@pytest.mark.parametrize("loss", ["rows", "everything", "a role"])
def test_a_dataset_that_shrinks_is_published_only_when_accepted(own: Workbench, loss: str) -> None:
    good = own.pull_all()
    ids = [row["sys_id"] for row in own.sim.rows("incident")]
    if loss == "a role":
        own.sim.knobs.hidden_rows.append(HiddenRows("incident", sys_ids=frozenset(ids[:150])))
    else:
        for sys_id in ids if loss == "everything" else ids[:200]:
            own.sim.delete("incident", sys_id)
    with pytest.raises(PublishRefused, match="--accept"):
        own.pull_all()
    kept = published(own.landing)
    assert kept is not None
    assert kept.plan == good.plan

    plan = own.landing.latest_plan()
    assert plan is not None
    totals = read_totals(own.landing, plan.plan_id)
    assert totals is not None
    assert publish(plan, totals, own.landing, own.pull, accept=True).plan == plan.plan_id


def test_hidden_rows_fail_the_totals_when_the_pull_says_so(own: Workbench) -> None:
    own.sim.knobs.hidden_rows.append(HiddenRows("incident", fraction=0.05))
    own.pull = own.pull.model_copy(update={"hidden_rows": "fail"})
    with pytest.raises(PublishRefused, match="are hidden"):
        own.pull_all()
    plan = own.landing.latest_plan()
    assert plan is not None
    totals = read_totals(own.landing, plan.plan_id)  # written all the same, to be looked at
    assert totals is not None
    with pytest.raises(PublishRefused, match="are hidden"):
        publish(plan, totals, own.landing, own.pull, accept=True)
    assert published(own.landing) is None


def test_the_receipt_is_json_and_a_page(own: Workbench) -> None:
    totals = own.pull_all()
    folder = own.data / "incidents" / totals.plan
    assert Totals.from_json((folder / "totals.json").read_bytes()) == totals
    receipt = json.loads((folder / "totals.json").read_text())
    assert (receipt["counted"], receipt["landed"], receipt["hidden"], receipt["missing"]) == (1200, 1200, 0, 0)
    assert receipt["cost"]["requests"] > receipt["slices"]
    page = (folder / "totals.html").read_text()
    assert "1,200" in page
    assert totals.digest in page
    assert totals.plan in page


def test_the_digest_does_not_depend_on_how_rows_are_cut(own: Workbench) -> None:
    one = own.pull_all()
    own.pull = own.pull.model_copy(update={"slice_rows": 450, "page_size": 77})
    other = own.pull_all()
    assert one.slices != other.slices
    assert one.digest == other.digest
    own.sim.update("incident", own.sim.rows("incident")[0]["sys_id"], short_description="changed")
    assert own.pull_all().digest != one.digest


@pytest.mark.parametrize("content", [b"{not json", b"", b"{}"])
def test_a_damaged_log_is_told_by_name(own: Workbench, content: bytes) -> None:
    totals = own.pull_all()
    (own.data / "incidents" / "_delta_log" / f"{0:020}.json").write_bytes(content)
    plan = own.landing.read_plan(totals.plan)
    for ask in (
        lambda: published(own.landing),
        lambda: published_plan(own.landing),
        lambda: pull_status("incidents", own.landing),
        own.plan,
        lambda: publish(plan, totals, own.landing, own.pull),
    ):
        with pytest.raises(LandingError, match="_delta_log"):
            ask()


class _Raced(Landing):
    """A landing into which another run publishes the same plan just before our commit."""

    def all_landed(self, plan: Plan) -> dict[Slice, LandedFile]:
        landing = Landing(self.pull, self.store)
        totals = read_totals(landing, plan.plan_id)
        assert totals is not None
        publish(plan, totals, landing, PullConfig(name=self.pull, table="incident"))
        return super().all_landed(plan)


@pytest.mark.parametrize("already", [False, True])
def test_whoever_publishes_at_the_same_time_is_told_to_run_again(own: Workbench, already: bool) -> None:
    if already:
        own.pull_all()
    plan = own.plan(new=True).plan
    own.land(plan)
    totals = reconcile(plan, own.landing, own.pull)
    with pytest.raises(LeaseHeld, match="run it again"):
        publish(plan, totals, _Raced("incidents", own.landing.store), own.pull)
    again = publish(plan, totals, own.landing, own.pull)
    assert (again.changed, again.plan, again.version) == (False, plan.plan_id, int(already))

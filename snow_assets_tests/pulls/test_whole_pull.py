"""Every row lands exactly once, as the instance gave it, whatever the display mode and the query."""

from __future__ import annotations

from pathlib import Path

import pytest

from snow_assets.pulls import Landing, make_plan, pull_status
from snow_assets.pulls.columns import HALVES
from snow_assets.pulls.records import digest_of
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.pulls.conftest import FIELDS, PAGE, ROWS, Workbench, read_plainly


@pytest.mark.parametrize("display_value", ["all", "true", "false"])
def test_files_hold_the_instances_rows_key_for_key(
    instance: SimulatorServer, tmp_path: Path, display_value: str
) -> None:
    fields = (*FIELDS, "caller_id.name", "assigned_to", "calendar_duration", "sys_domain")
    workbench = Workbench(
        instance, tmp_path, page_size=PAGE, slice_rows=2 * PAGE, fields=fields, display_value=display_value
    )
    totals = workbench.pull_all()
    plan = workbench.landing.read_plan(totals.plan)

    assert workbench.landed_records(plan) == read_plainly(instance, "incident", fields, display_value)
    assert (totals.counted, totals.landed, totals.hidden, totals.missing, totals.duplicates) == (ROWS, ROWS, 0, 0, 0)
    assert totals.differences == ()
    files = [workbench.landing.parquet(file.path) for file in workbench.landing.all_landed(plan).values()]
    assert digest_of(files, plan.display_value) == totals.digest


def test_all_columns_when_fields_are_left_out(small: SimulatorServer, tmp_path: Path) -> None:
    workbench = Workbench(small, tmp_path, page_size=500, fields=None, display_value="false")
    plan = workbench.landing.read_plan(workbench.pull_all().plan)
    landed = workbench.landed_records(plan)
    assert landed == read_plainly(small, "incident", plan.fields, "false")
    assert len(plan.fields) > 80
    assert plan.types["opened_at"] == "glide_date_time"


def test_sys_id_comes_first_when_fields_leave_it_out(small: SimulatorServer, tmp_path: Path) -> None:
    workbench = Workbench(small, tmp_path, fields=("number", "state"))
    plan = workbench.landing.read_plan(workbench.pull_all().plan)
    file = next(iter(workbench.landing.all_landed(plan).values()))
    assert workbench.landing.parquet(file.path).schema_arrow.names == ["sys_id", "number", "state"]


def test_every_column_is_a_struct_of_three_strings(workbench: Workbench) -> None:
    plan = workbench.landing.read_plan(workbench.pull_all().plan)
    for file in workbench.landing.all_landed(plan).values():
        for column in workbench.landing.parquet(file.path).schema_arrow:
            assert [(half.name, str(half.type)) for half in column.type] == [(half, "string") for half in HALVES]


@pytest.mark.parametrize(
    "query",
    [
        "active=true",
        "active=true^ORDERBYDESCsys_created_on",
        "stateIN6,7^close_notesISNOTEMPTY^sys_updated_on>=javascript:gs.daysAgoStart(730)",
        "priority=1^active=true^NQstate=6^ORstate=7",
        "number=no such number",
    ],
)
def test_a_query_lands_what_it_matches(instance: SimulatorServer, tmp_path: Path, query: str) -> None:
    workbench = Workbench(instance, tmp_path, page_size=200, slice_rows=400, query=query, fields=("number", "state"))
    totals = workbench.pull_all()
    plan = workbench.landing.read_plan(totals.plan)
    truth = [row["sys_id"] for row in read_plainly(instance, "incident", ("sys_id",), "false", query)]
    truth_ids = sorted(set(truth))
    assert sorted(workbench.ids(plan).elements()) == truth_ids
    assert totals.landed == len(truth_ids)


def test_slices_tile_the_keys_and_name_their_offsets(workbench: Workbench) -> None:
    plan = workbench.plan().plan
    slices = plan.slices
    assert slices[0].lo is None
    assert slices[-1].hi is None
    assert [piece.hi for piece in slices[:-1]] == [piece.lo for piece in slices[1:]]
    assert sum(piece.rows or 0 for piece in slices) == ROWS
    assert plan.partition_keys == sorted(plan.partition_keys)
    assert plan.partition_keys[0] == f"{plan.plan_id}/0000000000"


def test_an_empty_table_is_one_empty_slice_and_an_empty_dataset(tmp_path: Path) -> None:
    with Simulator(rows={"incident": 0}).serve() as server:
        workbench = Workbench(server, tmp_path, fields=("number",))
        totals = workbench.pull_all()
        status = pull_status("incidents", workbench.landing)
        assert (totals.counted, totals.landed, totals.slices) == (0, 0, 1)
        assert (status.state, status.published_rows) == ("published", 0)


def test_a_plan_is_read_by_few_requests_none_of_which_walks_far(workbench: Workbench) -> None:
    before = workbench.asked()
    totals = workbench.pull_all()
    asked = [entry for entry in list(workbench.server.requests)[before:] if entry.path.endswith("/table/incident")]
    assert max(int(entry.params.get("sysparm_offset", "0")) for entry in asked) <= 2 * PAGE
    pages = totals.cost["purposes"]["page"]
    assert pages <= 2 * ROWS / PAGE
    counted = [entry for entry in asked if "sysparm_no_count" not in entry.params]
    assert len(counted) <= totals.slices * 2 + 20


def test_nothing_is_made_before_the_first_write(instance: SimulatorServer, tmp_path: Path) -> None:
    landing = Landing.open(str(tmp_path / "data"), "incidents")
    assert pull_status("incidents", landing).state == "none"
    assert not (tmp_path / "data").exists()
    workbench = Workbench(instance, tmp_path / "data", fields=("no_such_field",))
    with workbench.client() as client, pytest.raises(Exception, match="no_such_field"):
        make_plan(workbench.pull, client, workbench.landing)
    assert not (tmp_path / "data").exists()

"""A failed slice is fetched alone; what landed is adopted; damaged files are found and fetched again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from snow_assets.errors import FingerprintError, LandingError, LeaseHeld, PlanIncomplete, RequestFailed
from snow_assets.pulls import Failed, Landed, Landing, lease, make_plan, pull_status, reconcile
from snow_assets.pulls.lease import lease_holder
from snow_assets.pulls.ledger import FOOTER_KEY
from snow_assets.pulls.plan import Plan
from snow_assets.pulls.progress import Progress, listening
from snow_assets.simulator import Account, SimulatorServer
from snow_assets_tests.pulls.conftest import ROWS, Workbench


def test_only_the_failed_slice_is_asked_for_again(workbench: Workbench) -> None:
    plan = workbench.plan().plan
    broken = plan.slices[4]
    workbench.server.faults.add({"kind": "error_500", "low": f"{broken.lo}+", "high": broken.hi})
    assert [r.slice for r in workbench.land(plan, max_retries=0) if isinstance(r, Failed)] == [broken]
    status = pull_status("incidents", workbench.landing)
    assert (status.state, status.landed, status.missing) == (
        "unfinished",
        len(plan.slices) - 1,
        (plan.partition_keys[4],),
    )
    with pytest.raises(PlanIncomplete, match=broken.name):
        reconcile(plan, workbench.landing, workbench.pull)

    workbench.server.faults.clear()
    again = workbench.plan()
    assert again.continued
    assert again.plan == plan
    before = workbench.asked()
    results = workbench.land(plan)
    asked = list(list(workbench.server.requests)[before:])
    assert [r.slice for r in results if isinstance(r, Landed) and not r.adopted] == [broken]
    assert asked
    of_it = [f"sys_id<={broken.hi}" in entry.query for entry in asked]
    assert of_it.count(False) <= 1  # whether counts are right is tried once in a run, on rows that landed
    assert reconcile(plan, workbench.landing, workbench.pull).landed == ROWS


def test_adopting_a_whole_plan_asks_for_nothing(workbench: Workbench) -> None:
    totals = workbench.pull_all()
    plan = workbench.landing.read_plan(totals.plan)
    before = (workbench.asked(), _files(workbench.data))
    assert all(isinstance(result, Landed) and result.adopted for result in workbench.land(plan))
    assert (workbench.asked(), _files(workbench.data)) == before


@pytest.mark.parametrize("damage", ["cut short", "overwritten", "emptied", "no ledger", "rows removed"])
def test_a_damaged_file_is_found_by_its_footer_and_fetched_again(own: Workbench, tmp_path: Path, damage: str) -> None:
    plan = own.plan().plan
    own.land(plan)
    victim = Path(own.landing.store.uri(own.landing.all_landed(plan)[plan.slices[1]].path))
    content = victim.read_bytes()
    other = own.landing.all_landed(plan)[plan.slices[0]]
    shorter = pq.read_table(victim).slice(1)
    footer = {FOOTER_KEY: pq.read_metadata(victim).metadata[FOOTER_KEY]}
    pq.write_table(shorter.replace_schema_metadata(footer), tmp_path / "shorter.parquet")
    victim.write_bytes(
        {
            "cut short": content[: len(content) // 2],
            "overwritten": b"x" * len(content),
            "emptied": b"",
            "no ledger": content.replace(b"snow_assets.ledger", b"someone_else.thing"),
            "rows removed": (tmp_path / "shorter.parquet").read_bytes(),
        }[damage]
    )
    assert pull_status("incidents", own.landing).missing == (plan.partition_keys[1],)
    results = own.land(plan)
    assert [r.slice for r in results if isinstance(r, Landed) and not r.adopted] == [plan.slices[1]]
    assert reconcile(plan, own.landing, own.pull).landed == 1200
    assert own.landing.all_landed(plan)[plan.slices[0]] == other


def test_a_file_of_another_slice_under_this_name_is_refused_by_name(own: Workbench) -> None:
    plan = own.plan().plan
    own.land(plan)
    files = own.landing.all_landed(plan)
    first, second = (Path(own.landing.store.uri(files[piece].path)) for piece in plan.slices[:2])
    second.write_bytes(first.read_bytes())
    with pytest.raises(FingerprintError, match=second.name):
        own.landing.all_landed(plan)


def test_scratch_files_of_a_dead_run_are_passed_over(own: Workbench) -> None:
    plan = own.plan().plan
    folder = own.data / "incidents" / plan.plan_id
    (folder / f".{plan.slices[0].name}-1.parquet.999-dead.tmp").write_bytes(b"half")
    assert not [result for result in own.land(plan) if isinstance(result, Failed)]
    assert reconcile(plan, own.landing, own.pull).landed == 1200


@pytest.mark.parametrize("change", ["query", "fields", "display mode", "account"])
def test_another_fingerprint_starts_a_new_plan_and_retires_the_unfinished_one(
    small: SimulatorServer, tmp_path: Path, change: str
) -> None:
    workbench = Workbench(small, tmp_path, page_size=100, slice_rows=200)
    first = workbench.plan().plan
    if change == "account":
        user = small.sim.rows("sys_user")[5]["user_name"]
        small.sim.knobs.accounts["other"] = Account(user, "pw")
        small.sim.knobs.accounts[user] = Account(user, "pw")
        from snow_assets.config import Credentials
        from snow_assets.pulls import make_plan
        from snow_assets.servicenow.client import Client

        with Client(small.url, Credentials(username=user, password="pw")) as client:
            planned = make_plan(workbench.pull, client, workbench.landing)
    else:
        updates: dict[str, dict[str, Any]] = {
            "query": {"query": "active=true"},
            "fields": {"fields": ("number",)},
            "display mode": {"display_value": "true"},
        }
        workbench.pull = workbench.pull.model_copy(update=updates[change])
        planned = workbench.plan()
    assert not planned.continued
    assert planned.retired == (first.plan_id,)
    assert planned.plan.fingerprint != first.fingerprint
    assert workbench.landing.plan_ids() == [planned.plan.plan_id]


def test_two_plans_in_one_second_get_two_ids(own: Workbench) -> None:
    own.sim.knobs  # noqa: B018 - the clock stands still by the fault below
    own.server.faults.add({"kind": "wrong_date", "date": "Fri, 20 Nov 2026 02:00:00 GMT"})
    own.pull_all()
    second = own.pull_all()
    assert own.landing.plan_ids() == ["20261120T020000Z", "20261120T020001Z"]
    assert pull_status("incidents", own.landing).published_plan == second.plan


def test_one_driver_at_a_time(own: Workbench, tmp_path: Path) -> None:
    with lease(own.landing, "cli pid 1"):
        with lease(own.landing, "the same process again"):
            pass
        assert lease_holder(own.landing) == "cli pid 1"
        child = os.fork()
        if child == 0:
            os._exit(_try_lease(str(own.data)))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert lease_holder(own.landing) is None
    assert not (tmp_path / "data").exists()


def _try_lease(data: str) -> int:
    from filelock import FileLock

    FileLock._instances.clear()  # a fork is no new process to the singleton
    try:
        with lease(Landing.open(data, "incidents"), "child"):
            return 0
    except LeaseHeld as error:
        return 7 if "cli pid 1" in str(error) else 8


@pytest.mark.parametrize("kind", ["a file", "below a file"])
def test_an_unusable_data_folder_is_told_before_anything_is_asked(
    small: SimulatorServer, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "taken").write_text("")
    data = tmp_path / "taken" if kind == "a file" else tmp_path / "taken" / "deeper"
    workbench = Workbench(small, data)
    before = workbench.asked()
    with pytest.raises(LandingError, match="taken"):
        workbench.plan()
    assert workbench.asked() == before


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_an_unfinished_plan_of_all_columns_keeps_its_field_list(small: SimulatorServer, tmp_path: Path) -> None:
    """A field that a role change hides meanwhile must not throw away what has landed."""
    workbench = Workbench(small, tmp_path, page_size=300, slice_rows=600, fields=None)
    plan = workbench.plan().plan
    workbench.land(plan, plan.slices[:1])
    small.sim.knobs.hidden_fields["incident"] = {"short_description"}
    again = workbench.plan()
    assert again.continued
    assert again.plan.fields == plan.fields


def test_a_plan_older_than_max_plan_age_is_retired(own: Workbench) -> None:
    first = own.plan().plan
    own.pull = own.pull.model_copy(update={"max_plan_age": 0.0})
    second = own.plan()
    assert not second.continued
    assert second.retired == (first.plan_id,)


def test_a_pull_that_declared_fields_does_not_lend_them_to_one_of_all_columns(
    small: SimulatorServer, tmp_path: Path
) -> None:
    workbench = Workbench(small, tmp_path, fields=("number",))
    workbench.plan()
    workbench.pull = workbench.pull.model_copy(update={"fields": None})
    planned = workbench.plan()
    assert not planned.continued
    assert len(planned.plan.fields) > 80


def test_a_clock_that_goes_back_still_gives_the_newest_plan(own: Workbench) -> None:
    own.server.faults.add({"kind": "wrong_date", "date": "Fri, 20 Nov 2026 02:00:00 GMT"})
    own.pull_all()
    own.server.faults.clear()
    own.server.faults.add({"kind": "wrong_date", "date": "Thu, 01 Oct 2026 02:00:00 GMT"})
    second = own.pull_all()
    assert second.plan == "20261120T020001Z"
    assert pull_status("incidents", own.landing).published_plan == second.plan


def test_a_listener_that_fails_ends_no_pull(own: Workbench) -> None:
    def fail(_: Progress) -> None:
        raise BrokenPipeError

    with listening(fail):
        assert own.pull_all().landed == 1200


def _as_of_old(bench: Workbench, plan: Plan) -> None:
    """Take from a landing what its first format had not: the plan's digest and witnesses, and the files' seals."""
    folder = Path(bench.landing.location) / plan.plan_id
    path = folder / "plan.json"
    data = json.loads(path.read_text())
    del data["digest"], data["witnesses"]
    path.write_text(json.dumps(data, indent=1))
    for file in folder.glob("*.parquet"):
        table = pq.read_table(file)
        metadata = {k: v for k, v in (pq.read_metadata(file).metadata or {}).items() if k == FOOTER_KEY}
        with pq.ParquetWriter(file, table.schema.remove_metadata(), write_page_checksum=True) as writer:
            writer.write_table(table.replace_schema_metadata(None))
            writer.add_key_value_metadata(metadata)


def test_a_plan_and_files_of_the_first_format_go_on(own: Workbench) -> None:
    plan = own.plan().plan
    own.land(plan, plan.slices[:2])
    _as_of_old(own, plan)
    assert pull_status("incidents", own.landing).landed == 2
    planned = own.plan()
    assert (planned.continued, planned.plan.plan_id, planned.passed_over) == (True, plan.plan_id, ())
    assert sum(isinstance(each, Landed) and each.adopted for each in own.land(planned.plan)) == 2
    assert reconcile(planned.plan, own.landing, own.pull).landed == 1200


def test_a_damaged_plan_that_is_passed_over_is_told(own: Workbench, caplog: pytest.LogCaptureFixture) -> None:
    plan = own.plan().plan
    folder = Path(own.landing.location) / plan.plan_id
    (folder / "plan.json").write_text("{")
    [line] = own.plan().passed_over
    assert f"plan {plan.plan_id} of pull incidents is damaged" in line
    assert f"remove {folder}" in line
    assert line in caplog.messages


def test_a_client_whose_planning_failed_can_be_used_again(own: Workbench) -> None:
    own.server.faults.add({"kind": "error_500", "table": "incident", "narrow": True, "query": "sys_id>", "times": 1})
    with own.client(max_retries=0) as client:
        with pytest.raises(RequestFailed):
            make_plan(own.pull, client, own.landing)
        assert len(make_plan(own.pull, client, own.landing).plan.slices) > 1

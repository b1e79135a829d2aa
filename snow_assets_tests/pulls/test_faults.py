"""Whatever the instance answers, every readable row lands once, or the slice fails by name."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from snow_assets.errors import LandingError, QueryError
from snow_assets.pulls import Failed, land_slices, reconcile
from snow_assets.pulls.writer import SliceWriter
from snow_assets.simulator import HiddenRows
from snow_assets_tests.pulls.conftest import ROWS, Workbench, sys_id_of

PASSING: list[dict[str, Any]] = [
    {"kind": "error_500"},
    {"kind": "html_500"},
    {"kind": "html_502"},
    {"kind": "html_503"},
    {"kind": "html_504"},
    {"kind": "empty_503"},
    {"kind": "rate_limited_429", "retry_after": 0, "times": 3},
    {"kind": "overloaded_429"},
    {"kind": "unauthorized_401", "after": 12, "times": 1},  # two may meet the same request, which ends the run
    {"kind": "execution_time_500"},
    {"kind": "execution_time_in_200"},
    {"kind": "execution_time_broken"},
    {"kind": "dropped_202"},
    {"kind": "hibernating", "times": 2},
    {"kind": "login_page", "times": 1},
    {"kind": "redirect", "times": 1},
    {"kind": "null_body"},
    {"kind": "list_body"},
    {"kind": "empty_body"},
    {"kind": "no_result"},
    {"kind": "result_null"},
    {"kind": "truncated"},
    {"kind": "truncated_length"},
    {"kind": "broken_gzip"},
    {"kind": "byte_order_mark"},
    {"kind": "content_type"},
    {"kind": "reset"},
    {"kind": "hang_up"},
    {"kind": "reset_inside_body"},
    {"kind": "foreign_row"},
    {"kind": "reversed_rows"},
    {"kind": "doubled_row"},
    {"kind": "repeated_page"},
    {"kind": "row_without_sys_id"},
    {"kind": "row_null"},
    {"kind": "missing_fields", "fresh": False},
    {"kind": "short_page", "rows": 7},
    {"kind": "lost_rows", "rows": 5},
    {"kind": "empty_page"},
]


# Others of the same name are tried; these, too, page by page in servicenow/test_faults.py.
TWINS = {"html_500", "html_502", "html_504", "empty_503", "execution_time_in_200", "result_null", "hang_up",
         "truncated_length"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=fault["kind"], marks=pytest.mark.slow if fault["kind"] in TWINS else ())
        for fault in PASSING
    ],
)
def test_a_fault_that_passes_loses_no_row(workbench: Workbench, fault: dict[str, Any]) -> None:
    plan = workbench.plan().plan
    workbench.server.faults.add({"table": "incident", "narrow": False, "every": 5, "after": 1, **fault})
    results = workbench.land(plan, max_retries=8)
    assert [result.error for result in results if isinstance(result, Failed)] == []
    totals = reconcile(plan, workbench.landing, workbench.pull)
    assert (totals.landed, totals.hidden, totals.missing) == (ROWS, 0, 0)
    records = workbench.landed_records(plan)
    ids = [sys_id_of(record) for record in records]
    assert ids == [row["sys_id"] for row in workbench.sim.rows("incident")]  # each once, and in order
    assert all(set(record) == set(plan.fields) for record in records)


@pytest.mark.parametrize("rows", [1, 40])
@pytest.mark.parametrize("count", ["kept", "count_absent", "count_lie"])
def test_hidden_rows_beside_silently_short_pages(own: Workbench, rows: int, count: str) -> None:
    """ACLs hide rows after the limit, pages lose rows without a word, and the count cannot be trusted."""
    own.sim.knobs.hidden_rows.append(HiddenRows("incident", fraction=rows / 100))
    every = {row["sys_id"] for row in own.sim.rows("incident")}
    plan = own.plan().plan
    own.server.faults.add({"kind": "lost_rows", "rows": 3, "narrow": False, "every": 3})
    own.server.faults.add({"kind": "empty_page", "narrow": False, "every": 7})
    if count != "kept":
        own.server.faults.add({"kind": count, **({"delta": -100} if count == "count_lie" else {})})
    assert not [result.error for result in own.land(plan) if isinstance(result, Failed)]
    totals = reconcile(plan, own.landing, own.pull)
    landed = own.ids(plan)
    own.server.faults.clear()
    visible = {row["sys_id"] for row in _visible(own)}
    assert set(landed) == visible
    assert set(landed.values()) == {1}
    if count == "kept":
        assert totals.hidden == len(every) - len(visible)
    if count == "count_absent":
        assert totals.hidden is None


def _visible(bench: Workbench) -> list[dict[str, Any]]:
    rule = bench.sim.knobs.hidden_rows[0]
    with bench.client() as client:
        rows = list(client.get_records("incident", fields=["sys_id"], display_value="false"))
    assert rule.fraction
    return rows


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_whole_slices_hidden_are_numbered_and_lose_nothing_else(own: Workbench, where: str) -> None:
    ids = [row["sys_id"] for row in own.sim.rows("incident")]
    low, high = {"first": (0, 450), "middle": (400, 850), "last": (800, 1200)}[where]
    hidden = frozenset(ids[low:high])
    own.sim.knobs.hidden_rows.append(HiddenRows("incident", sys_ids=hidden))
    totals = own.pull_all()
    assert set(own.ids(own.landing.read_plan(totals.plan))) == set(ids) - hidden
    assert (totals.counted, totals.landed, totals.hidden, totals.missing) == (1200, 1200 - len(hidden), len(hidden), 0)
    assert [difference.cause for difference in totals.differences] == ["hidden"]


def test_a_slice_that_keeps_failing_is_named_and_the_others_land(workbench: Workbench) -> None:
    plan = workbench.plan().plan
    broken = plan.slices[3]
    assert broken.lo is not None  # its row proves the end of the slice before, so the fault begins behind it
    workbench.server.faults.add({"kind": "error_500", "low": f"{broken.lo}+", "high": broken.hi})
    results = workbench.land(plan, max_retries=1)
    failed = [result for result in results if isinstance(result, Failed)]
    assert [result.slice for result in failed] == [broken]
    assert "server_error" in str(failed[0].error)
    assert broken.lo in str(failed[0].error)


def test_a_row_that_fails_alone_is_named_or_skipped(own: Workbench) -> None:
    plan = own.plan().plan
    poison = own.sim.rows("incident")[321]["sys_id"]
    own.server.faults.add({"kind": "execution_time_500", "sys_id": poison, "narrow": False})
    failed = [result for result in own.land(plan, max_retries=1) if isinstance(result, Failed)]
    assert [poison in str(result.error) for result in failed] == [True]

    own.pull = own.pull.model_copy(update={"unreadable_rows": "skip"})
    assert not [result for result in own.land(plan, max_retries=1) if isinstance(result, Failed)]
    totals = reconcile(plan, own.landing, own.pull)
    assert (totals.landed, totals.missing) == (1199, 0)
    skipped = [difference for difference in totals.differences if difference.cause == "unreadable"]
    assert [(difference.rows, difference.sys_ids) for difference in skipped] == [(-1, (poison,))]


def test_a_field_that_the_account_loses_is_asked_for_twice_and_reported(own: Workbench) -> None:
    plan = own.plan().plan
    own.sim.knobs.hidden_fields["incident"] = {"short_description"}
    assert not [result for result in own.land(plan) if isinstance(result, Failed)]
    totals = reconcile(plan, own.landing, own.pull)
    assert [difference.cause for difference in totals.differences] == ["field_hidden"]
    assert all("short_description" not in record for record in own.landed_records(plan))


def test_a_dead_instance_ends_the_run_early(workbench: Workbench) -> None:
    plan = workbench.plan().plan
    workbench.server.faults.add({"kind": "html_503"})
    before = workbench.asked()
    results = workbench.land(plan, max_retries=1)
    assert all(isinstance(result, Failed) for result in results)
    assert len(results) == len(plan.slices)
    assert workbench.asked() - before < 2 * len(plan.slices)


def test_a_right_that_is_missing_stops_what_is_queued(workbench: Workbench) -> None:
    plan = workbench.plan().plan
    workbench.server.faults.add({"kind": "query_forbidden_403"})
    before = workbench.asked()
    results = workbench.land(plan, max_workers=3)
    assert all(isinstance(result, Failed) for result in results)
    assert workbench.asked() - before <= 3  # what was in flight when the first was refused
    assert any("query_range" in str(result.error) for result in results if isinstance(result, Failed))


def test_a_lost_field_is_asked_for_in_fresh_sessions_before_it_is_believed(own: Workbench) -> None:
    plan = own.plan().plan
    own.server.faults.add({"kind": "missing_fields", "fields": "short_description", "narrow": False, "times": 2})
    with own.client(max_workers=1) as client:
        own.pull = own.pull.model_copy(update={"max_workers": 1})
        results = list(land_slices(plan, plan.slices, own.pull, client, own.landing))
    assert not [result for result in results if isinstance(result, Failed)]
    assert all("short_description" in record for record in own.landed_records(plan))


def test_sweeps_that_had_to_be_halved_miss_nothing(own: Workbench) -> None:
    """A narrow request that is too heavy shows fewer rows than asked for; what it did not reach is not hidden."""
    ids = [row["sys_id"] for row in own.sim.rows("incident")]
    hidden = frozenset(ids[300:800])
    own.sim.knobs.hidden_rows.append(HiddenRows("incident", sys_ids=hidden))
    own.pull = own.pull.model_copy(update={"slice_rows": 2_000, "page_size": 100})
    plan = own.plan().plan
    own.server.faults.add({"kind": "execution_time_500", "narrow": True, "every": 2, "times": 12})
    assert not [result for result in own.land(plan) if isinstance(result, Failed)]
    totals = reconcile(plan, own.landing, own.pull)
    assert set(own.ids(plan)) == set(ids) - hidden
    assert (totals.hidden, totals.missing) == (500, 0)


@pytest.mark.parametrize("fault", ["error_500", "execution_time_500", "broken_gzip"])
def test_a_poison_row_on_a_boundary_is_named_once(own: Workbench, fault: str) -> None:
    plan = own.plan().plan
    poison = plan.slices[2].lo
    assert poison is not None
    own.server.faults.add({"kind": fault, "sys_id": poison, "narrow": False})
    failed = [result for result in own.land(plan, max_retries=0) if isinstance(result, Failed)]
    assert [result.slice for result in failed] == [plan.slices[2]]
    assert poison in str(failed[0].error)


def test_the_receipt_counts_what_failed_attempts_cost(own: Workbench) -> None:
    before = own.asked()
    plan = own.plan().plan
    own.server.faults.add({"kind": "error_500", "narrow": False, "times": 9})
    own.land(plan, max_retries=1)
    own.server.faults.clear()
    assert not [result for result in own.land(plan) if isinstance(result, Failed)]
    totals = reconcile(plan, own.landing, own.pull)
    assert totals.cost["requests"] == own.asked() - before
    assert totals.cost["faults"]["server_error"] == 9


def test_a_query_that_cannot_be_proven_is_refused(own: Workbench) -> None:
    ids = [row["sys_id"] for row in own.sim.rows("incident")]
    own.sim.knobs.hidden_rows.append(HiddenRows("incident", sys_ids=frozenset(ids)))
    own.sim.knobs.denied_tables |= {"sys_dictionary", "sys_db_object"}
    own.pull = own.pull.model_copy(update={"query": "no_such_field=1"})
    with pytest.raises(QueryError, match="cannot be proven"):
        own.plan()


def test_a_full_disk_stops_the_run_and_says_so(own: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = own.plan().plan

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(SliceWriter, "add", full)
    errors = [result.error for result in own.land(plan) if isinstance(result, Failed)]
    assert len(errors) == len(plan.slices)
    assert any(isinstance(error, LandingError) and "No space left" in str(error) for error in errors)

"""Rows that the account may not read, together with pages and counts that lie: what is readable lands, no row less."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from snow_assets.errors import ConfigError, ForbiddenError, PlanIncomplete, PublishRefused
from snow_assets.pulls import Failed, Plan, Totals, publish, published, reconcile
from snow_assets.simulator import HiddenRows, Simulator, SimulatorServer
from snow_assets_tests.cli.conftest import Folder, variables_of
from snow_assets_tests.pulls.conftest import Workbench

ROWS, SLICE, PAGE = 600, 120, 40
FIELDS = ("sys_id", "number", "state")

Choice = Callable[[Sequence[str], Plan], set[str]]


def _share(share: float) -> Choice:
    return lambda ids, _: {sys_id for sys_id in ids if zlib.crc32(sys_id.encode()) / 2**32 < share}


def _between(low: int, high: int) -> Choice:
    return lambda ids, _: set(ids[low:high])


def _of_slice(at: int) -> Choice:
    def rows(ids: Sequence[str], plan: Plan) -> set[str]:
        piece = plan.slices[at]
        return {one for one in ids if (piece.lo or "") <= one < (piece.hi or "~")}

    return rows


def _boundaries(_: Sequence[str], plan: Plan) -> set[str]:
    return {piece.lo for piece in plan.slices if piece.lo}


HIDDEN: dict[str, Choice] = {
    "3 %": _share(0.03),
    "40 %": _share(0.4),
    "all": _between(0, ROWS),
    "first page": _between(0, PAGE),
    "last page": _between(ROWS - PAGE, ROWS),
    "first slice": _of_slice(0),
    "middle slice": _of_slice(2),
    "last slice": _of_slice(-1),
    "every boundary": _boundaries,
    "all but one": lambda ids, _: set(ids) - {ids[333]},
}

# By name: the faults, and whether hidden rows can be numbered: exactly, not at all, or wrongly (the count lies).
WRONG: dict[str, tuple[list[dict[str, Any]], str]] = {
    "nothing": ([], "exact"),
    "short": ([{"kind": "lost_rows", "rows": 3, "narrow": False, "every": 3}], "exact"),
    "cut": ([{"kind": "short_page", "rows": 5, "every": 4}], "exact"),
    "empty": ([{"kind": "empty_page", "every": 5, "after": 1}], "exact"),
    "repeated": ([{"kind": "repeated_page", "narrow": False, "every": 4, "after": 1}], "exact"),
    "count low": ([{"kind": "count_lie", "delta": -PAGE}], "never wrong"),
    "count high": ([{"kind": "count_lie", "delta": PAGE}], "never wrong"),
    "header low": ([{"kind": "count_lie", "delta": -PAGE, "request": "list"}], "never wrong"),
    "header absent": ([{"kind": "count_absent", "request": "list"}], "exact"),
    "no count": ([{"kind": "count_absent"}, {"kind": "count_refused", "request": "count"}], "unknown"),
}


@pytest.fixture(scope="module")
def instance() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": ROWS}, seed=5).serve() as server:
        yield server


@pytest.fixture
def bench(instance: SimulatorServer, tmp_path: Path) -> Iterator[Workbench]:
    bench = Workbench(
        instance, tmp_path / "data", page_size=PAGE, slice_rows=SLICE, fields=FIELDS, max_retries=8, retry_backoff=0.001
    )
    yield bench
    _give_back(bench)


def _grid() -> Iterator[Any]:
    """3 % and 40 % in turns with all that is wrong; of the others one each, and all of them among the slow tests."""
    for at, hidden in enumerate(HIDDEN):
        for turn, wrong in enumerate(WRONG):
            quick = turn == at or (at < 2 and turn % 2 == at)
            yield pytest.param(hidden, wrong, marks=[] if quick else [pytest.mark.slow])


@pytest.mark.parametrize(("hidden", "wrong"), list(_grid()))
def test_what_is_readable_lands_and_the_rest_is_numbered(bench: Workbench, hidden: str, wrong: str) -> None:
    """Plan and pages under the same conditions: rows are hidden from the probes too."""
    ids = [row["sys_id"] for row in bench.sim.rows("incident")]
    unreadable = HIDDEN[hidden](ids, bench.plan().plan)
    bench.sim.knobs.hidden_rows.append(HiddenRows("incident", sys_ids=frozenset(unreadable)))
    faults, numbered = WRONG[wrong]
    bench.server.faults.add(*({"table": "incident", **fault} for fault in faults))

    plan = bench.plan(new=True).plan
    assert [result.error for result in bench.land(plan) if isinstance(result, Failed)] == []
    totals = reconcile(plan, bench.landing, bench.pull)

    assert bench.ids(plan) == dict.fromkeys(set(ids) - unreadable, 1)
    assert totals.missing == 0
    if numbered == "exact":
        assert (totals.counted, totals.hidden) == (ROWS, len(unreadable))
    elif numbered == "unknown":
        assert (totals.counted, totals.hidden) == (None, None)
    elif wrong == "header low":  # the Aggregate API is right, and takes its place where rows are there to try it on
        assert totals.hidden in (None, len(unreadable))
    elif len(unreadable) < ROWS:  # counts are tried on rows that are shown: these lie, and number nothing
        assert totals.hidden is None
    _adds_up(totals)


def _adds_up(totals: Totals) -> None:
    if totals.counted is not None:
        assert totals.counted + sum(difference.rows for difference in totals.differences) == totals.landed


class Instead:
    """From the n-th list request of rows on (narrow ones not counted), something happens to the account's rights."""

    def __init__(self, bench: Workbench, after: int, deed: Callable[[], None]) -> None:
        self.left, self.deed, self.lock = after, deed, threading.Lock()
        bench.sim.watchers.append(self)

    def __call__(self, asked: Any) -> None:
        if not asked.path.endswith("/table/incident") or asked.params.get("sysparm_fields") == "sys_id":
            return
        with self.lock:
            self.left -= 1
            if self.left == 0:
                self.deed()


def _rows_hidden(bench: Workbench, share: float = 1.0) -> None:
    bench.sim.knobs.hidden_rows.append(HiddenRows("incident", fraction=share))


def _table_denied(bench: Workbench) -> None:
    bench.sim.knobs.denied_tables.add("incident")


def _refused(bench: Workbench) -> None:
    bench.sim.knobs.closed_tables.add("incident")


def _empty(bench: Workbench) -> None:
    bench.server.faults.add(kind="empty_page", table="incident")


def _empty_uncounted(bench: Workbench) -> None:
    bench.server.faults.add(
        {"kind": "empty_page", "table": "incident"},
        {"kind": "count_absent", "table": "incident"},
        {"kind": "count_refused", "table": "incident", "request": "count"},
    )


LOSSES: dict[str, Callable[[Workbench], None]] = {
    "rows are hidden": _rows_hidden,
    "half of the rows are hidden": lambda bench: _rows_hidden(bench, 0.5),
    "the table is denied": _table_denied,
    "requests are refused": _refused,
    "lists are empty": _empty,
    "lists are empty, nothing counts": _empty_uncounted,
}

SLOW_LOSSES = [pytest.param(*case, marks=pytest.mark.slow) for case in ((9, SLICE), (1, 2 * ROWS))]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("after", "slice_rows"), [(1, SLICE), (9, 2 * ROWS), *SLOW_LOSSES])
def test_a_role_lost_in_mid_pull_publishes_nothing(bench: Workbench, loss: str, after: int, slice_rows: int) -> None:
    """A first pull: there is no dataset to compare with. What landed stays, and lands no second time."""
    bench.pull = bench.pull.model_copy(update={"slice_rows": slice_rows, "max_workers": 2})
    plan = bench.plan().plan
    Instead(bench, after, lambda: LOSSES[loss](bench))
    failed = [result.error for result in bench.land(plan) if isinstance(result, Failed)]
    assert failed
    told = [error for error in failed if isinstance(error, ForbiddenError)]
    assert told
    assert all(error.exit_code == 2 for error in told)
    with pytest.raises(PlanIncomplete):
        reconcile(plan, bench.landing, bench.pull)
    assert published(bench.landing) is None

    _give_back(bench)
    assert not [result for result in bench.land(plan) if isinstance(result, Failed)]
    totals = reconcile(plan, bench.landing, bench.pull)
    assert (totals.landed, totals.hidden, totals.missing) == (ROWS, 0, 0)


def _query_rule(bench: Workbench) -> None:
    """A before-query rule: from now on the account is shown, and counts, closed incidents alone."""

    def restrict(asked: Any) -> None:
        if asked.path.endswith("/incident"):
            query, _, order = asked.params.get("sysparm_query", "").partition("ORDERBY")
            terms = "^".join(part for part in (query.rstrip("^"), "state=7") if part)
            asked.params["sysparm_query"] = terms + (f"^ORDERBY{order}" if order else "")

    bench.sim.watchers.append(restrict)


@pytest.mark.parametrize("slice_rows", [SLICE, 2 * ROWS])
def test_a_role_lost_to_a_query_rule_fails_though_nothing_is_hidden(bench: Workbench, slice_rows: int) -> None:
    bench.pull = bench.pull.model_copy(update={"slice_rows": slice_rows, "max_workers": 2})
    plan = bench.plan().plan
    _query_rule(bench)
    failed = [result.error for result in bench.land(plan) if isinstance(result, Failed)]
    assert any(isinstance(error, ForbiddenError) and "no longer sees" in str(error) for error in failed)
    _give_back(bench)
    assert not [result for result in bench.land(plan) if isinstance(result, Failed)]
    assert reconcile(plan, bench.landing, bench.pull).landed == ROWS


def test_a_single_row_that_is_hidden_meanwhile_is_no_lost_role(bench: Workbench) -> None:
    plan = bench.plan().plan
    hidden = frozenset(piece.lo for piece in plan.slices[1:2] if piece.lo)
    bench.sim.knobs.hidden_rows.append(HiddenRows("incident", sys_ids=hidden))
    assert not [result for result in bench.land(plan) if isinstance(result, Failed)]
    totals = reconcile(plan, bench.landing, bench.pull)
    assert (totals.landed, totals.hidden) == (ROWS - 1, 1)
    assert publish(plan, totals, bench.landing, bench.pull).rows == ROWS - 1


def test_rows_that_go_meanwhile_are_published_when_that_is_accepted(tmp_path: Path) -> None:
    """Few rows all gone, or a third of many: deletions, most likely, but the account may have lost a right."""
    for rows, gone in ((3, 3), (300, 100)):
        with Simulator(rows={"incident": rows}, seed=5).serve() as server:
            bench = Workbench(server, tmp_path / str(rows), page_size=PAGE, slice_rows=SLICE, fields=FIELDS)
            plan = bench.plan().plan
            for row in list(bench.sim.rows("incident"))[:: rows // gone]:
                bench.sim.delete("incident", row["sys_id"])
            assert not [result for result in bench.land(plan) if isinstance(result, Failed)]
            totals = reconcile(plan, bench.landing, bench.pull)
            with pytest.raises(PublishRefused, match=f"--accept {plan.plan_id}"):
                publish(plan, totals, bench.landing, bench.pull)
            assert publish(plan, totals, bench.landing, bench.pull, accept=True).rows == rows - gone


def test_a_row_that_comes_does_not_make_up_for_one_that_is_hidden(tmp_path: Path) -> None:
    rows = 3 * PAGE - 9
    with Simulator(rows={"incident": rows}, seed=5).serve() as server:
        bench = Workbench(server, tmp_path / "data", page_size=PAGE, slice_rows=4 * PAGE, fields=FIELDS, max_workers=1)
        ids = [row["sys_id"] for row in bench.sim.rows("incident")]
        bench.sim.knobs.hidden_rows.append(HiddenRows("incident", sys_ids=frozenset({ids[-5]})))
        plan = bench.plan().plan

        def insert() -> None:
            bench.sim.insert("incident", {"sys_id": f"{int(ids[-9], 16) + 1:032x}"})

        Instead(bench, 3, insert)
        assert not [result for result in bench.land(plan) if isinstance(result, Failed)]
        totals = reconcile(plan, bench.landing, bench.pull)
        assert (totals.landed, totals.hidden) == (rows, 1)


def _give_back(bench: Workbench) -> None:
    knobs = bench.sim.knobs
    bench.server.faults.clear()
    bench.sim.watchers.clear()
    knobs.hidden_rows.clear()
    knobs.hidden_fields.clear()
    knobs.denied_tables.clear()
    knobs.closed_tables.clear()


def test_fields_lost_in_mid_pull_are_not_published_until_accepted(bench: Workbench) -> None:
    bench.pull = bench.pull.model_copy(update={"max_workers": 1})
    plan = bench.plan().plan
    Instead(bench, 9, lambda: bench.sim.knobs.hidden_fields.update(incident={"state"}))
    assert not [result for result in bench.land(plan) if isinstance(result, Failed)]
    totals = reconcile(plan, bench.landing, bench.pull)
    assert "field_hidden" in [difference.cause for difference in totals.differences]
    with pytest.raises(PublishRefused, match=f"state.*--accept {plan.plan_id}"):
        publish(plan, totals, bench.landing, bench.pull)
    assert published(bench.landing) is None
    assert publish(plan, totals, bench.landing, bench.pull, accept=True).rows == ROWS

    with pytest.raises(ConfigError, match="state"):
        bench.plan()


def test_a_session_without_its_roles_is_left_for_another(bench: Workbench) -> None:
    """A node that restores a session without its roles answers 403 for a moment: nothing is lost, nothing stops."""
    plan = bench.plan().plan
    bench.server.faults.add(kind="forbidden_403", request="list", fresh=False, after=3, every=6, times=4)
    bench.pull = bench.pull.model_copy(update={"max_workers": 1})
    assert [result.error for result in bench.land(plan) if isinstance(result, Failed)] == []
    totals = reconcile(plan, bench.landing, bench.pull)
    assert (totals.landed, totals.hidden, totals.missing) == (ROWS, 0, 0)


@pytest.mark.parametrize("loss", [one for one in LOSSES if one != "requests are refused"])
def test_an_account_that_suddenly_sees_less_does_not_replace_a_good_dataset(bench: Workbench, loss: str) -> None:
    good = bench.pull_all()
    LOSSES[loss](bench)
    plan = bench.plan(new=True).plan
    assert [result.error for result in bench.land(plan) if isinstance(result, Failed)] == []
    totals = reconcile(plan, bench.landing, bench.pull)
    with pytest.raises(PublishRefused, match=f"rows fell from {ROWS} to .*--accept {plan.plan_id}"):
        publish(plan, totals, bench.landing, bench.pull)
    kept = published(bench.landing)
    assert kept is not None
    assert (kept.plan, kept.rows) == (good.plan, ROWS)
    assert sum(pq.read_metadata(file).num_rows for file in kept.files) == ROWS
    assert publish(plan, totals, bench.landing, bench.pull, accept=True).rows == totals.landed < ROWS


@pytest.mark.parametrize("share", [0.03, 0.4])
def test_hidden_rows_fail_the_pull_that_says_so_with_their_number(bench: Workbench, share: float) -> None:
    bench.sim.knobs.hidden_rows.append(HiddenRows("incident", fraction=share))
    bench.server.faults.add(kind="lost_rows", rows=3, narrow=False, every=3)
    unreadable = _share(share)([row["sys_id"] for row in bench.sim.rows("incident")], bench.plan().plan)
    bench.pull = bench.pull.model_copy(update={"hidden_rows": "fail"})
    with pytest.raises(PublishRefused, match=f"{len(unreadable)} rows of plan .* are hidden"):
        bench.pull_all()
    assert published(bench.landing) is None


@pytest.mark.slow
def test_the_command_says_how_many_are_hidden_and_what_was_lost(bench: Workbench, tmp_path: Path) -> None:
    """Exit code 2 with the number; then a role that is lost in mid-pull; then one that hides all from the start."""
    folder = Folder(tmp_path, variables_of(bench.server))
    settings = f"table: incident, fields: [number, state], page_size: {PAGE}, slice_rows: {SLICE}, retry_backoff: 0.01"
    folder.write(f"pulls: {{incidents: {{{settings}, hidden_rows: fail}}}}")
    _rows_hidden(bench, 0.03)
    number = len(_share(0.03)([row["sys_id"] for row in bench.sim.rows("incident")], bench.plan().plan))
    refused = folder.call("pull", "incidents", "--json")
    assert (refused.code, refused.json["published"], refused.json["hidden"]) == (2, False, number)
    assert f"{number} rows of plan" in refused.err

    _give_back(bench)
    folder.write(f"pulls: {{incidents: {{{settings}}}}}")
    Instead(bench, 6, lambda: _rows_hidden(bench))
    lost = folder.call("pull", "incidents", "--new", "--json")
    assert (lost.code, lost.json["published"]) == (2, False)
    assert "no longer sees" in lost.err
    _give_back(bench)
    done = folder.call("pull", "incidents", "--json")
    assert (done.code, done.json["landed"], done.json["plan"]) == (0, ROWS, lost.json["plan"])

    _table_denied(bench)
    nothing = folder.call("pull", "incidents", "--json")
    assert (nothing.code, nothing.json["published"]) == (2, False)
    assert f"--accept {nothing.json['plan']}" in nothing.err
    assert f"fell from {ROWS} to 0" in nothing.err
    files = folder.call("files", "incidents")
    assert (files.code, sum(pq.read_metadata(name).num_rows for name in files.out.split())) == (0, ROWS)


@pytest.mark.parametrize("wrong", ["no count", pytest.param("nothing", marks=pytest.mark.slow)])
def test_a_long_run_of_hidden_rows_is_walked_past(tmp_path: Path, wrong: str) -> None:
    """10,500 rows in a row, more than one narrow request holds."""
    with Simulator(rows={"incident": 12_000}, seed=3).serve() as server:
        ids = [row["sys_id"] for row in server.sim.rows("incident")]
        server.sim.knobs.hidden_rows.append(HiddenRows("incident", sys_ids=frozenset(ids[700:11_200])))
        bench = Workbench(server, tmp_path / "data", page_size=500, slice_rows=2_000, fields=FIELDS)
        server.faults.add(*({"table": "incident", **fault} for fault in WRONG[wrong][0]))
        plan = bench.plan(new=True).plan
        assert [result.error for result in bench.land(plan) if isinstance(result, Failed)] == []
        totals = reconcile(plan, bench.landing, bench.pull)
        assert bench.ids(plan) == dict.fromkeys({*ids[:700], *ids[11_200:]}, 1)
        assert totals.hidden == (None if wrong == "no count" else 10_500)

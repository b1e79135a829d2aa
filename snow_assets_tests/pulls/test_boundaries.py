"""Boundaries that probes look for among hidden rows, and rows that go between plan and pages: with exact numbers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from snow_assets.pulls import Failed, Plan, Totals, reconcile
from snow_assets.simulator import HiddenRows, Simulator, SimulatorServer
from snow_assets_tests.pulls.conftest import Workbench

ROWS, SLICE, PAGE = 4_000, 1_000, 400  # one chain: a boundary each 1,000 rows
FIELDS = ("sys_id", "number")


@pytest.fixture(scope="module")
def instance() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": ROWS}, seed=23).serve() as server:
        yield server


@pytest.fixture
def bench(instance: SimulatorServer, tmp_path: Path) -> Iterator[Workbench]:
    yield Workbench(instance, tmp_path / "data", page_size=PAGE, slice_rows=SLICE, fields=FIELDS)
    instance.sim.knobs.hidden_rows.clear()


def ids_of(bench: Workbench) -> list[str]:
    return [row["sys_id"] for row in bench.sim.rows("incident")]


def hide(bench: Workbench, sys_ids: Sequence[str]) -> None:
    bench.sim.knobs.hidden_rows.append(HiddenRows("incident", sys_ids=frozenset(sys_ids)))


def must_tile(plan: Plan) -> None:
    assert (plan.slices[0].lo, plan.slices[-1].hi) == (None, None)
    for piece, following in pairwise(plan.slices):
        assert piece.hi == following.lo
        assert piece.offset < following.offset
        assert (piece.lo or "") < (piece.hi or "")


def places(plan: Plan, ids: Sequence[str]) -> list[int]:
    """Where the slices begin, by the rows that are there."""
    return [bisect_left(ids, piece.lo or "") for piece in plan.slices]


def landed(bench: Workbench, plan: Plan) -> Totals:
    assert [result.error for result in bench.land(plan) if isinstance(result, Failed)] == []
    return reconcile(plan, bench.landing, bench.pull)


# By name: the rows that are hidden, and where the slices begin then.
RUNS: dict[str, tuple[range, list[int]]] = {
    "nothing": (range(0), [0, 1_000, 2_000, 3_000]),
    "the row at the probe's place": (range(1_000, 1_001), [0, 1_001, 2_001, 3_001]),
    "the row before it": (range(999, 1_000), [0, 1_000, 2_000, 3_000]),
    "60 rows from there on": (range(1_000, 1_060), [0, 1_060, 2_060, 3_060]),
    "1,500 rows: two slices become one": (range(1_000, 2_500), [0, 2_500, 3_500]),
    "the last boundary, to the end": (range(3_000, ROWS), [0, 1_000, 2_000]),
    "all but the last row": (range(ROWS - 1), [0]),
    "the first row, which the plan begins with": (range(1), [0, 1_001, 2_001, 3_001]),
}


@pytest.mark.parametrize("name", RUNS)
def test_probes_pass_hidden_rows(bench: Workbench, name: str) -> None:
    """The slice before a hidden run is wider by it; no row is between two slices, and the hidden are numbered."""
    run, begin = RUNS[name]
    ids = ids_of(bench)
    hide(bench, [ids[at] for at in run])
    plan = bench.plan(new=True).plan
    must_tile(plan)
    assert places(plan, ids) == begin
    totals = landed(bench, plan)
    assert bench.ids(plan) == dict.fromkeys(set(ids) - {ids[at] for at in run}, 1)
    assert (totals.counted, totals.landed, totals.hidden, totals.missing) == (ROWS, ROWS - len(run), len(run), 0)


@pytest.mark.parametrize("prefix", ["first", "middle", "last"])
def test_a_prefix_that_is_hidden_whole(bench: Workbench, prefix: str) -> None:
    """Four chains, below 4, 8 and c: one of them finds no boundary, and its rows fall to a neighbour."""
    bench.pull = bench.pull.model_copy(update={"slice_rows": 400, "page_size": 200})
    low, high = {"first": ("", "4"), "middle": ("4", "8"), "last": ("c", "g")}[prefix]
    ids = ids_of(bench)
    hidden = {one for one in ids if low <= one < high}
    hide(bench, sorted(hidden))
    plan = bench.plan(new=True).plan
    must_tile(plan)
    assert {piece.lo for piece in plan.slices if piece.lo} <= set(ids) - hidden
    shown = [sum(low <= one < high and one not in hidden for one in ids) for low, high in bounds_of(plan)]
    assert max(shown) <= 600  # a slice, and a small rest of the chain before it
    totals = landed(bench, plan)
    assert bench.ids(plan) == dict.fromkeys(set(ids) - hidden, 1)
    assert (totals.counted, totals.hidden, totals.missing) == (ROWS, len(hidden), 0)


def bounds_of(plan: Plan) -> list[tuple[str, str]]:
    return [(piece.lo or "", piece.hi or "g") for piece in plan.slices]


@pytest.mark.parametrize("around", [range(1), range(-1, 2), range(-120, 120)], ids=["it", "three", "a page more"])
def test_rows_at_every_boundary_go_between_plan_and_pages(own: Workbench, around: range) -> None:
    """The row that a slice begins with need not be there any more: both neighbours end where the plan says."""
    plan = own.plan().plan
    ids = ids_of(own)
    cuts = [ids.index(piece.lo) for piece in plan.slices if piece.lo]
    assert len(cuts) == len(plan.slices) - 1 >= 3
    gone = {ids[cut + at] for cut in cuts for at in around if cut + at < len(ids)}
    for sys_id in gone:
        own.sim.delete("incident", sys_id)
    totals = landed(own, plan)
    assert own.ids(plan) == dict.fromkeys(set(ids) - gone, 1)
    assert (totals.landed, totals.hidden, totals.missing) == (len(ids) - len(gone), 0, 0)
    assert sum(one.rows for one in totals.differences) == -len(gone)


def test_rows_at_every_boundary_are_hidden_between_plan_and_pages(own: Workbench) -> None:
    """As many as 10 % of the witnesses would be a right that was lost; the rows before a boundary are no witnesses."""
    plan = own.plan().plan
    ids = ids_of(own)
    hidden = {ids[ids.index(piece.lo) - 1] for piece in plan.slices if piece.lo}
    hide(own, sorted(hidden))
    totals = landed(own, plan)
    assert own.ids(plan) == dict.fromkeys(set(ids) - hidden, 1)
    assert (totals.counted, totals.hidden, totals.missing) == (len(ids), len(hidden), 0)


def test_rows_appear_on_both_sides_of_every_boundary(own: Workbench) -> None:
    """Just below it and just above it: each lands once, in the slice that its sys_id belongs to."""
    plan = own.plan().plan
    ids = ids_of(own)
    new = {f"{int(piece.lo, 16) + step:032x}" for piece in plan.slices if piece.lo for step in (-1, 1)}
    for sys_id in new:
        own.sim.insert("incident", {"sys_id": sys_id, "number": "INC9"})
    totals = landed(own, plan)
    assert own.ids(plan) == dict.fromkeys({*ids, *new}, 1)
    assert (totals.landed, totals.hidden, totals.missing) == (len(ids) + len(new), 0, 0)

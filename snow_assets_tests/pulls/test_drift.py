"""Rows that stand still land exactly once, whatever others do meanwhile; every difference is explained."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from snow_assets.pulls import Failed, Plan, Totals, reconcile
from snow_assets.pulls.plan import Slice
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.pulls.conftest import Workbench, sys_id_of

ROWS, SLICE, PAGE = 300, 60, 20
FIELDS = ("sys_id", "number", "active", "short_description")
AT = 2  # the slice that things happen to: between others, with a row ``hi``


@dataclass
class Drift:
    """What changed: the rows that did not, and what could be seen of those that did."""

    bench: Workbench
    plan: Plan
    started: dict[str, str]  # sys_id -> short_description, of the rows that matched when the plan was made
    touched: set[str] = field(default_factory=set)
    versions: dict[str, set[str]] = field(default_factory=dict)  # of touched rows: every text that they ever had
    happened: bool = False
    swept: bool = False  # whether the keys of the slice were swept after it happened

    @property
    def slice(self) -> list[str]:
        """The sys_ids of the slice, as planned."""
        piece = self.plan.slices[AT]
        assert piece.lo is not None
        assert piece.hi is not None
        return [one for one in sorted(self.started) if piece.lo <= one < piece.hi]

    def update(self, sys_id: str, **values: str) -> None:
        self._touch(sys_id)
        row = self.bench.sim.update("incident", sys_id, quiet=False, **values)
        self.versions[sys_id].add(row["short_description"])

    def delete(self, sys_id: str) -> None:
        self._touch(sys_id)
        self.bench.sim.delete("incident", sys_id)

    def insert(self, sys_id: str, text: str = "new", active: str = "true") -> None:
        self._touch(sys_id)
        self.versions[sys_id].add(text)
        self.bench.sim.insert(
            "incident", {"sys_id": sys_id, "number": "INC9", "short_description": text, "active": active}
        )

    def _touch(self, sys_id: str) -> None:
        self.touched.add(sys_id)
        known = {self.started[sys_id]} if sys_id in self.started else set()
        self.versions.setdefault(sys_id, known)


def _between(low: str, high: str) -> str:
    """A sys_id between two others."""
    middle = (int(low, 16) + int(high, 16)) // 2
    return f"{middle:032x}"


# Where, by position among the slice's rows: pages hold 20 of them, and most moments are after its second page.
PLACES: dict[str, Callable[[Drift], list[str]]] = {
    "before the slice": lambda drift: sorted(drift.started)[3:6],
    "behind the cursor": lambda drift: drift.slice[5:8],
    "at the cursor": lambda drift: [drift.slice[PAGE - 1], drift.slice[PAGE]],
    "ahead of the cursor": lambda drift: drift.slice[50:53],
    "first of the slice": lambda drift: drift.slice[:1],
    "at hi": lambda drift: [drift.plan.slices[AT].hi or ""],
    "after the slice": lambda drift: sorted(drift.started)[-6:-3],
    "the whole slice": lambda drift: drift.slice,
    "every boundary": lambda drift: [piece.lo for piece in drift.plan.slices if piece.lo],
}


def _insert(drift: Drift, ids: Sequence[str]) -> None:
    every = sorted(drift.started)
    for sys_id in ids:
        drift.insert(_between(every[every.index(sys_id) - 1], sys_id))


def _update(drift: Drift, ids: Sequence[str]) -> None:
    for sys_id in ids:
        drift.update(sys_id, short_description="changed")


def _leave(drift: Drift, ids: Sequence[str]) -> None:
    for sys_id in ids:
        drift.update(sys_id, active="false")


def _enter(drift: Drift, ids: Sequence[str]) -> None:
    """Rows beside these that did not match begin to."""
    every = sorted(drift.started)
    for sys_id in ids:
        new = _between(every[every.index(sys_id) - 1], sys_id)
        drift.insert(new, "entered", active="false")
        drift.update(new, active="true")


def _delete(drift: Drift, ids: Sequence[str]) -> None:
    for sys_id in ids:
        drift.delete(sys_id)


def _again(drift: Drift, ids: Sequence[str]) -> None:
    """Deleted, and inserted under the same sys_id."""
    for sys_id in ids:
        drift.delete(sys_id)
        drift.insert(sys_id, "born again")


DEEDS: dict[str, Callable[[Drift, Sequence[str]], None]] = {
    "insert": _insert,
    "update": _update,
    "leave": _leave,
    "enter": _enter,
    "delete": _delete,
    "again": _again,
}


class At:
    """Does a thing once: before the n-th request that ``fits`` is answered."""

    def __init__(self, bench: Workbench, fits: Callable[[Any], bool], number: int, deed: Callable[[], None]) -> None:
        self.fits, self.left, self.deed, self.lock = fits, number, deed, threading.Lock()
        bench.sim.watchers.insert(0, self)  # what else watches sees the instance as the answer will

    def __call__(self, asked: Any) -> None:
        with self.lock:
            if asked.path.endswith("/table/incident") and self.fits(asked):
                self.left -= 1
                if self.left == 0:
                    self.deed()

    @property
    def done(self) -> bool:
        return self.left <= 0


def _is_narrow(asked: Any) -> bool:
    return bool(asked.params.get("sysparm_fields") == "sys_id")


def _of_slice(drift: Drift, *, narrow: bool) -> Callable[[Any], bool]:
    term = f"sys_id<={drift.plan.slices[AT].hi}"
    return lambda asked: term in asked.params.get("sysparm_query", "") and _is_narrow(asked) is narrow


def _is_repair(asked: Any) -> bool:
    return "sys_idIN" in asked.params.get("sysparm_query", "") and not _is_narrow(asked)


def _between_plan_and_pages(drift: Drift, deed: Callable[[], None]) -> None:
    deed()
    _land(drift)


def _before_a_page(number: int) -> Callable[[Drift, Callable[[], None]], None]:
    def moment(drift: Drift, deed: Callable[[], None]) -> None:
        at = At(drift.bench, _of_slice(drift, narrow=False), number, deed)
        _land(drift)
        assert at.done

    return moment


def _between_a_failed_run_and_its_resume(drift: Drift, deed: Callable[[], None]) -> None:
    middle = drift.slice[30]
    drift.bench.server.faults.add(kind="error_500", sys_id=middle, narrow=False)
    results = drift.bench.land(drift.plan, max_retries=0)
    assert [result.slice for result in results if isinstance(result, Failed)] == [drift.plan.slices[AT]]
    drift.bench.server.faults.clear()
    deed()
    _land(drift)


def _between_pages_and_sweep(drift: Drift, deed: Callable[[], None]) -> None:
    """A page that lost rows silently makes a sweep necessary."""
    _spoil(drift)
    at = At(drift.bench, _of_slice(drift, narrow=True), 1, deed)
    _land(drift)
    assert at.done


def _between_sweep_and_repair(drift: Drift, deed: Callable[[], None]) -> None:
    _spoil(drift)
    at = At(drift.bench, _is_repair, 1, deed)
    _land(drift)
    assert at.done


def _spoil(drift: Drift) -> None:
    drift.bench.server.faults.add(
        kind="lost_rows", rows=6, narrow=False, query=f"sys_id<={drift.plan.slices[AT].hi}", after=1, times=1
    )


MOMENTS: dict[str, Callable[[Drift, Callable[[], None]], None]] = {
    "between plan and pages": _between_plan_and_pages,
    "before the second page": _before_a_page(2),
    "before the last page": _before_a_page(3),
    "between a failed run and its resume": _between_a_failed_run_and_its_resume,
    "between pages and sweep": _between_pages_and_sweep,
    "between sweep and repair": _between_sweep_and_repair,
}


def _land(drift: Drift) -> None:
    assert [result.error for result in drift.bench.land(drift.plan) if isinstance(result, Failed)] == []


@pytest.fixture(scope="module")
def living() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": ROWS}, seed=21).serve() as server:
        yield server


@pytest.fixture
def bench(living: SimulatorServer, tmp_path: Path) -> Iterator[Workbench]:
    """An instance whose rows are as they were for every test, pulled by one thread in order of the slices."""
    before = [dict(row) for row in living.sim.rows("incident")]
    bench = Workbench(
        living,
        tmp_path / "data",
        query="active=true",
        page_size=PAGE,
        slice_rows=SLICE,
        fields=FIELDS,
        max_workers=1,
        max_retries=1,
        retry_backoff=0.001,
        display_value="false",
    )
    for row in before:
        living.sim.update("incident", row["sys_id"], active="true")
    yield bench
    living.faults.clear()
    living.sim.watchers.clear()
    kept = {row["sys_id"]: row for row in before}
    for sys_id in {row["sys_id"] for row in living.sim.rows("incident")} - kept.keys():
        living.sim.delete("incident", sys_id)
    now = {row["sys_id"] for row in living.sim.rows("incident")}
    for sys_id, row in kept.items():
        if sys_id in now:
            living.sim.update("incident", sys_id, short_description=row["short_description"], active="true")
        else:
            living.sim.insert("incident", {**row, "active": "true"})


CASES = [(moment, deed) for moment in MOMENTS for deed in DEEDS]


@pytest.mark.parametrize(("moment", "deed"), CASES)
def test_what_stands_still_lands_once_and_the_rest_is_explained(bench: Workbench, moment: str, deed: str) -> None:
    """Each deed at each moment, at one of the places, in turns; the slow test has them all."""
    place = list(PLACES)[CASES.index((moment, deed)) % len(PLACES)]
    _check(bench, bench.plan().plan, moment, deed, place)


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("moment", "deed"), CASES)
def test_every_place_of_drift(bench: Workbench, moment: str, deed: str, place: str) -> None:
    _check(bench, bench.plan().plan, moment, deed, place)


def _check(bench: Workbench, plan: Plan, moment: str, deed: str, place: str) -> None:
    started = {row["sys_id"]: row["short_description"] for row in bench.sim.rows("incident") if row["active"] == "true"}
    drift = Drift(bench, plan, started)
    places = PLACES[place](drift)

    def happen() -> None:
        DEEDS[deed](drift, places)
        drift.happened = True

    bench.sim.watchers.append(partial(_watch_sweeps, drift))
    MOMENTS[moment](drift, happen)
    totals = reconcile(plan, bench.landing, bench.pull)
    _judge(drift, totals, place)


def _watch_sweeps(drift: Drift, asked: Any) -> None:
    whole = f"sys_id>={drift.plan.slices[AT].lo}" in asked.params.get("sysparm_query", "")
    drift.swept |= drift.happened and whole and _of_slice(drift, narrow=True)(asked)


def _judge(drift: Drift, totals: Totals, place: str) -> None:
    bench, plan = drift.bench, drift.plan
    landed = {sys_id_of(record): record["short_description"] for record in bench.landed_records(plan)}
    assert set(bench.ids(plan).values()) <= {1}, place
    still = {one: text for one, text in drift.started.items() if one not in drift.touched}
    assert still.items() <= landed.items(), place
    for sys_id in landed.keys() - still.keys():
        assert landed[sys_id] in drift.versions[sys_id], place
    assert (totals.missing, totals.duplicates, totals.hidden) == (0, 0, 0), (place, totals.differences)
    assert totals.counted == len(drift.started), place
    assert totals.counted + sum(one.rows for one in totals.differences) == totals.landed == len(landed), place
    now = {row["sys_id"]: row for row in bench.sim.rows("incident")}
    explained = {one.cause: one.rows for one in totals.differences}
    # What landed in the slice and went while it was read is named there, with the right cause and number.
    of_slice = {one for one in landed if _is_within(plan.slices[AT], one)}
    gone = [one for one in of_slice if one not in now]
    left = [one for one in of_slice if one in now and now[one]["active"] != "true"]
    ledger = bench.landing.all_landed(plan)[plan.slices[AT]].ledger
    assert ledger.counted is not None
    if not drift.swept:  # they went behind the cursor, after their count and their sweep: there is no difference
        assert ledger.counted == ledger.landed, place
        assert not any(one.rows for one in ledger.differences), place
        return
    assert (explained.get("deleted", 0), explained.get("left_filter", 0)) == (len(gone), len(left)), place


def _is_within(piece: Slice, sys_id: str) -> bool:
    return (piece.lo or "") <= sys_id < (piece.hi or "~")


def test_changes_between_plan_and_slices_are_explained_as_drift(own: Workbench) -> None:
    plan = own.plan().plan
    ids = [row["sys_id"] for row in own.sim.rows("incident")]
    for sys_id in ids[100:130]:
        own.sim.delete("incident", sys_id)
    created = {own.sim.insert("incident", short_description="new") for _ in range(7)}
    assert not [result for result in own.land(plan) if isinstance(result, Failed)]
    totals = reconcile(plan, own.landing, own.pull)
    assert set(own.ids(plan)) == (set(ids) - set(ids[100:130])) | created
    assert (totals.counted, totals.landed, totals.missing) == (1200, 1177, 0)
    assert [(difference.cause, difference.rows) for difference in totals.differences] == [("drift", -23)]


def test_the_row_of_a_boundary_is_deleted(own: Workbench) -> None:
    plan = own.plan().plan
    boundary = plan.slices[2].lo
    assert boundary is not None
    own.sim.delete("incident", boundary)
    assert not [result for result in own.land(plan) if isinstance(result, Failed)]
    totals = reconcile(plan, own.landing, own.pull)
    assert (totals.landed, totals.missing, totals.hidden) == (1199, 0, 0)
    assert set(own.ids(plan).values()) == {1}


def test_rows_that_change_while_slices_are_read(own: Workbench) -> None:
    own.pull = own.pull.model_copy(update={"query": "active=true"})
    matching = {row["sys_id"] for row in own.sim.rows("incident") if row.get("active") == "true"}
    plan = own.plan().plan
    touched: set[str] = set()
    stop = threading.Event()

    def disturb() -> None:
        chance = random.Random(3)
        pool = sorted(matching)
        for _ in range(100):  # so many that few of all rows go, however slow the machine is
            if stop.wait(0.005):
                return
            sys_id = chance.choice(pool)
            touched.add(sys_id)
            deed = chance.random()
            if deed < 0.3:
                pool.remove(sys_id)
                own.sim.delete("incident", sys_id)
            elif deed < 0.7:
                own.sim.update("incident", sys_id, active="false")
            else:
                own.sim.insert("incident", short_description="new", active="true")

    thread = threading.Thread(target=disturb)
    own.server.faults.add({"kind": "latency", "seconds": 0.05})
    thread.start()
    try:
        results = own.land(plan)
    finally:
        stop.set()
        thread.join()
    assert not [result.error for result in results if isinstance(result, Failed)]
    totals = reconcile(plan, own.landing, own.pull)
    landed = own.ids(plan)
    assert set(landed.values()) == {1}
    assert matching - touched <= set(landed)
    assert totals.missing == 0
    assert totals.counted is not None
    assert totals.counted + sum(difference.rows for difference in totals.differences) == totals.landed

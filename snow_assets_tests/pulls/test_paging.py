"""Pages that are too heavy: their size is learned once for all slices, and from more than one row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from snow_assets.pulls import Failed, Plan, Slice, reconcile
from snow_assets.servicenow.paging import LONGEST_STREAK, STREAK, PageSizes, Place
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.pulls.conftest import Workbench

FIELDS = ("sys_id", "number")
HEAVY = {"kind": "execution_time_500", "request": "list", "narrow": False}


@pytest.fixture(scope="module")
def many() -> Iterator[SimulatorServer]:
    """An instance of 10,000 incidents for tests that only read."""
    with Simulator(rows={"incident": 10_000}, seed=5).serve() as server:
        yield server


@pytest.fixture
def heavy(many: SimulatorServer, tmp_path: Path) -> Iterator[Workbench]:
    """17 slices of 500 to 650 rows, nearly one page each."""
    yield Workbench(many, tmp_path / "data", page_size=500, slice_rows=500, max_workers=4, fields=FIELDS)
    many.faults.clear()


def hits(bench: Workbench) -> int:
    """Answers that said that a page was too much."""
    return sum(rule.hits for rule in bench.server.faults.rules())


def limits(bench: Workbench, since: int, piece: Slice) -> list[int]:
    """What was asked for with each page of a slice."""
    return [
        int(entry.params["sysparm_limit"])
        for entry in list(bench.server.requests)[since:]
        if f"sys_id<={piece.hi}^" in entry.params.get("sysparm_query", "")
        and entry.params.get("sysparm_fields") != "sys_id"
    ]


def assert_all_landed(bench: Workbench, plan: Plan) -> None:
    ids = bench.ids(plan)
    assert set(ids.values()) == {1}
    assert set(ids) == {row["sys_id"] for row in bench.sim.rows("incident")}


def test_pages_that_are_all_too_heavy_are_learned_once_not_by_each_slice(heavy: Workbench) -> None:
    plan = heavy.plan().plan
    assert len(plan.slices) > 15
    heavy.server.faults.add({**HEAVY, "above": 100})
    assert not [result for result in heavy.land(plan) if isinstance(result, Failed)]
    levels = 3  # 501, 250 and 125 rows; 62 are answered
    workers = heavy.pull.max_workers
    tries = 4 + workers  # of 124 rows, each after twice as many pages of 62; there are fewer than 200 of those
    assert levels <= hits(heavy) <= levels * (workers + 1) + tries
    assert_all_landed(heavy, plan)


def test_one_range_learns_by_itself(heavy: Workbench) -> None:
    heavy.server.faults.add({**HEAVY, "above": 100})
    with heavy.client(page_size=500) as client:
        rows = list(client.get_records("incident", fields=list(FIELDS)))
    assert len({row["sys_id"] for row in rows}) == len(rows) == 10_000
    assert hits(heavy) <= 10


def test_a_poison_row_does_not_shrink_the_pages_of_others(heavy: Workbench) -> None:
    heavy.pull = heavy.pull.model_copy(update={"unreadable_rows": "skip"})
    plan = heavy.plan().plan
    poison = sorted(row["sys_id"] for row in heavy.sim.rows("incident"))[5 * 500 + 321]
    heavy.server.faults.add({**HEAVY, "sys_id": poison})
    before = heavy.asked()
    assert not [result for result in heavy.land(plan) if isinstance(result, Failed)]
    others = [piece for piece in plan.slices[:-1] if piece.lo is None or not piece.lo <= poison < (piece.hi or "g")]
    assert len(others) == len(plan.slices) - 2
    assert {limit for piece in others for limit in limits(heavy, before, piece)} == {501}
    assert reconcile(plan, heavy.landing, heavy.pull).missing == 0
    assert set(heavy.ids(plan)) == {row["sys_id"] for row in heavy.sim.rows("incident")} - {poison}


def test_pages_grow_back_when_the_instance_has_recovered(heavy: Workbench) -> None:
    heavy.pull = heavy.pull.model_copy(update={"max_workers": 1})
    plan = heavy.plan().plan
    heavy.server.faults.add({**HEAVY, "above": 100, "times": 6})
    before = heavy.asked()
    assert not [result for result in heavy.land(plan) if isinstance(result, Failed)]
    assert hits(heavy) == 6
    assert limits(heavy, before, plan.slices[1])[0] == 62
    assert limits(heavy, before, plan.slices[-2])[0] >= 248
    assert_all_landed(heavy, plan)


def test_a_range_grows_back_to_whole_pages(heavy: Workbench) -> None:
    heavy.server.faults.add({**HEAVY, "above": 100, "times": 6})
    before = heavy.asked()
    with heavy.client(page_size=500) as client:
        assert sum(1 for _ in client.get_records("incident", fields=list(FIELDS))) == 10_000
    pages = [
        int(entry.params["sysparm_limit"])
        for entry in list(heavy.server.requests)[before:]
        if entry.params.get("sysparm_fields") == ",".join(FIELDS)
    ]
    assert [limit for limit in (62, 124, 248, 496) if pages.count(limit) < STREAK] == [496]
    assert pages[-1] >= 496


def test_a_table_read_by_its_own_key_learns_too(many: SimulatorServer, tmp_path: Path) -> None:
    bench = Workbench(many, tmp_path / "data", page_size=500, key=("number",), fields=("number", "state"))
    plan = bench.plan().plan
    many.faults.add({"kind": "execution_time_500", "asks": "state", "above": 100})
    try:
        assert not [result for result in bench.land(plan) if isinstance(result, Failed)]
        assert hits(bench) <= 10
    finally:
        many.faults.clear()
    assert len({record["number"]["value"] for record in bench.landed_records(plan)}) == 10_000


def learned(sizes: PageSizes, limit: int) -> None:
    """Pages of ``limit`` rows fail in two ranges that are no neighbours."""
    sizes.too_heavy(Place("1", "2", 0), limit)
    sizes.too_heavy(Place("5", "6", 0), limit)


def test_a_size_is_too_large_once_it_failed_at_two_places_that_share_no_row() -> None:
    sizes = PageSizes()
    assert sizes.too_heavy(Place("1", "2", 0), 100) == 50
    assert sizes.limit(100) == 100
    sizes.too_heavy(Place("1", "2", 60), 100)  # overlaps
    sizes.too_heavy(Place("2", "3", 0), 100)  # the first page shows the second range's first row
    sizes.answered(100, 99)
    assert sizes.limit(100) == 100
    sizes.too_heavy(Place("2", "3", 1), 100)
    assert (sizes.limit(100), sizes.limit(30)) == (50, 30)


def test_pages_answered_meanwhile_tell_that_it_was_not_the_size() -> None:
    sizes = PageSizes()
    sizes.too_heavy(Place("1", "2", 0), 100)
    sizes.answered(100, 100)
    sizes.too_heavy(Place("5", "6", 0), 100)
    assert sizes.limit(100) == 100


def test_more_is_tried_by_one_range_and_ever_more_rarely() -> None:
    sizes = PageSizes()
    learned(sizes, 100)
    streak = STREAK
    for _ in range(10):
        for _ in range(streak):
            assert sizes.limit(100) == 50
            sizes.answered(50, 50)
        assert (sizes.limit(100), sizes.limit(100)) == (100, 50)
        assert sizes.too_heavy(Place("7", "8", 0), 100) == 50
        streak = min(2 * streak, LONGEST_STREAK)
    assert streak == LONGEST_STREAK


def test_a_try_that_had_too_few_rows_to_tell_is_made_again() -> None:
    sizes = PageSizes()
    learned(sizes, 100)
    for _ in range(STREAK):
        sizes.answered(50, 50)
    assert sizes.limit(100) == 100
    sizes.answered(100, 20)
    assert sizes.limit(100) == 100
    sizes.answered(100, 100)
    assert (sizes.limit(100), sizes.limit(100)) == (100, 100)

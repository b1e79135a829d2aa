"""Rows that stand still land exactly once, whatever others do meanwhile; every difference is explained."""

from __future__ import annotations

import random
import threading

from snow_assets.pulls import Failed, reconcile
from snow_assets_tests.pulls.conftest import Workbench


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
        while not stop.wait(0.002):
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

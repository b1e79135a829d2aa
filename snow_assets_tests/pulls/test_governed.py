"""What the governor decided, run by run, in the totals and on the receipt's page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import islice

from snow_assets.pulls import Plan, Totals, land_slices, read_totals, reconcile
from snow_assets.pulls.governed import DECISIONS, DRAWN, Governed
from snow_assets_tests.pulls.conftest import Workbench

BUSY = {"kind": "overloaded_429", "table": "incident", "request": "list"}


def kept(bench: Workbench, plan: Plan) -> list[str]:
    return [name for name in bench.landing.store.list(plan.plan_id) if name.startswith("governor-")]


def page(bench: Workbench, totals: Totals) -> str:
    text = bench.landing.store.read(f"{totals.plan}/totals.html").decode()
    HTMLParser().feed(text)
    return text


def test_an_instance_that_refuses_beyond_so_many_is_seen_in_the_totals(own: Workbench) -> None:
    plan = own.plan().plan
    own.server.requests.clear()
    knobs = own.sim.knobs
    knobs.nodes, knobs.node_slots, knobs.node_queue, knobs.latency = 1, 2, 0, 0.02

    own.land(plan, max_retries=20)

    [run] = reconcile(plan, own.landing, own.pull).governor
    assert run.refused_429 == len(own.server.requests.find(status=429))
    assert run.requests == own.asked()
    assert 1 <= run.highest_in_flight <= 16
    assert [limit for _, limit, why in run.steps if why == "status 429"] or not run.refused_429
    written = json.loads(own.landing.store.read(f"{plan.plan_id}/totals.json"))["governor"]
    assert [each["refused_429"] for each in written] == [run.refused_429]
    assert read_totals(own.landing, plan.plan_id) == reconcile(plan, own.landing, own.pull)


def test_refusals_and_pauses_are_drawn_and_named(own: Workbench) -> None:
    plan = own.plan().plan
    own.server.faults.add({"kind": "rate_limited_429", "table": "incident", "request": "list", "times": 1})

    own.land(plan)

    totals = reconcile(plan, own.landing, own.pull)
    [run] = totals.governor
    assert run.refused_429 == 1
    assert run.pauses == 1
    assert run.paused_seconds > 0
    text = page(own, totals)
    assert text.count("<svg") == 1
    assert text.count('class="pause"') == 1
    assert "answers 429: 1, pauses: 1" in text
    assert re.search(r'class="cut"[^>]*><title>[0-9.]+ s, status 429: from \d+ to \d+', text)
    assert {why for _, _, why in run.steps} <= {*DECISIONS, "status 429"}  # nothing of an answer's body


def test_a_pull_that_is_resumed_has_a_chart_for_each_run(own: Workbench) -> None:
    plan = own.plan().plan
    own.land(plan, plan.slices[:3])
    own.land(plan)
    own.land(plan)  # everything is adopted: nothing is asked, nothing is kept

    totals = reconcile(plan, own.landing, own.pull)

    assert len(totals.governor) == len(kept(own, plan)) == 2
    assert totals.governor[0].began < totals.governor[1].began
    assert sum(run.requests for run in totals.governor) == totals.cost["requests"] - plan.cost["requests"]
    assert page(own, totals).count("<svg") == 2


def test_two_runs_of_one_client_are_told_apart(own: Workbench) -> None:
    plan = own.plan().plan
    own.server.faults.add({**BUSY, "times": 1})
    with own.client() as client:
        list(land_slices(plan, plan.slices[:3], own.pull, client, own.landing))
        list(land_slices(plan, plan.slices, own.pull, client, own.landing))

    first, second = reconcile(plan, own.landing, own.pull).governor

    assert (first.refused_429, second.refused_429) == (1, 0)
    assert all(0 <= at <= second.seconds for at, _, _ in second.steps)


def test_a_run_that_fails_or_is_closed_is_kept(own: Workbench) -> None:
    plan = own.plan().plan
    with own.client() as client:
        outcomes = land_slices(plan, plan.slices[:3], own.pull, client, own.landing)  # the others are left to fail
        assert list(islice(outcomes, 1))
        outcomes.close()
    assert len(kept(own, plan)) == 1

    own.server.faults.add({"kind": "error_500", "table": "incident", "request": "list"})
    own.land(plan, max_retries=0)

    assert len(kept(own, plan)) == 2
    own.server.faults.clear()
    own.land(plan)
    assert len(reconcile(plan, own.landing, own.pull).governor) == 3


def test_damaged_and_many_runs_do_not_stop_a_receipt(own: Workbench) -> None:
    plan = own.plan().plan
    own.land(plan)
    [name] = kept(own, plan)
    content = json.loads(own.landing.store.read(f"{plan.plan_id}/{name}"))
    for number in range(DRAWN + 2):
        content["began"] = f"2020-01-01T00:00:{number:02}+00:00"
        own.landing.store.write(f"{plan.plan_id}/governor-{number:08}.json", json.dumps(content).encode())
    own.landing.store.write(f"{plan.plan_id}/governor-torn.json", b'{"began": "20')

    totals = reconcile(plan, own.landing, own.pull)

    assert len(totals.governor) == DRAWN + 3
    assert [bool(run.steps) for run in totals.governor] == [False] * 3 + [True] * DRAWN
    assert page(own, totals).count("<svg") == DRAWN


def test_totals_of_before_are_read(own: Workbench) -> None:
    totals = own.pull_all()
    written = json.loads(totals.to_json())
    assert written.pop("governor")

    assert Totals.from_json(json.dumps(written).encode()).governor == ()
    assert isinstance(Totals.from_json(totals.to_json()).governor[0], Governed)

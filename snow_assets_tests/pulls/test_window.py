"""Delta plans: which window a sync reads, and when it must read everything anew."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from snow_assets.config import PullConfig
from snow_assets.errors import ConfigError, PlanIncomplete
from snow_assets.pulls import Failed, Plan, make_plan, publish, published_chain, published_plan, reconcile
from snow_assets.reader import connect
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets.simulator.knobs import Account
from snow_assets_tests.pulls.conftest import Workbench

NIGHT = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # Europe/Berlin goes from 03:00 back to 02:00 half an hour later
FIELDS = ("sys_id", "number", "state", "short_description")


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": 300}, seed=3, at=NIGHT).serve() as running:
        yield running


def bench_of(server: SimulatorServer, data: Path, **config: Any) -> Workbench:
    return Workbench(server, data, **{"mode": "delta", "fields": FIELDS, **config})


def synced(bench: Workbench) -> Plan:
    """One sync, and its plan."""
    bench.pull_all()
    plan = bench.landing.latest_plan()
    assert plan is not None
    return plan


def touch(bench: Workbench, count: int, **values: str) -> list[str]:
    """Change the first rows; returns their sys_ids."""
    store = bench.sim.store
    sys_ids = list(store.view("incident").ids[:count])
    for sys_id in sys_ids:
        store.update("incident", sys_id, {"short_description": f"changed at {store.clock.timestamp()}", **values})
    return sys_ids


def in_window(bench: Workbench, plan: Plan) -> set[str]:
    """The rows of the instance that a delta must have read."""
    assert plan.since is not None
    since = plan.since.strftime("%Y-%m-%d %H:%M:%S")
    rows = bench.sim.store.rows_of("incident").values()
    return {row["sys_id"] for row in rows if row["sys_class_name"] == "incident" and row["sys_updated_on"] >= since}


def test_the_first_plan_is_a_base_and_the_next_reads_what_changed(server: SimulatorServer, tmp_path: Path) -> None:
    bench = bench_of(server, tmp_path)
    base = synced(bench)
    assert (base.mode, base.is_delta, base.base, base.query) == ("delta", False, "", "")
    assert base.fields == (*FIELDS, "sys_updated_on", "sys_mod_count")
    assert timedelta(seconds=119) < bench.sim.clock.now() - base.as_of < timedelta(seconds=180)
    server.sim.clock.advance(hours=1)
    changed = touch(bench, 7)
    delta = synced(bench)
    since = (base.as_of - timedelta(seconds=900)).strftime("%Y-%m-%d %H:%M:%S")
    assert (delta.is_delta, delta.base, delta.query) == (True, base.plan_id, f"sys_updated_on>={since}")
    assert set(bench.ids(delta)) >= set(changed)
    assert set(bench.ids(delta)) == in_window(bench, delta)


def test_the_window_stands_in_every_group_of_the_query(server: SimulatorServer, tmp_path: Path) -> None:
    bench = bench_of(server, tmp_path, query="active=true^NQpriority=1")
    synced(bench)
    server.sim.clock.advance(hours=1)
    changed = touch(bench, 3, active="true")
    delta = synced(bench)
    assert delta.query.count("sys_updated_on>=") == 2
    assert set(changed) <= set(bench.ids(delta)) <= in_window(bench, delta)


@pytest.mark.parametrize(
    "change",
    [
        {"query": "active=true"},
        {"fields": ("sys_id", "number")},
        {"display_value": "false"},
        {"cursor": "sys_created_on"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_query_field_list_display_mode_or_cursor_starts_a_new_base(
    server: SimulatorServer, tmp_path: Path, change: dict[str, Any]
) -> None:
    first = synced(bench_of(server, tmp_path))
    server.sim.clock.advance(hours=1)
    bench = bench_of(server, tmp_path, **change)
    plan = bench.plan().plan
    assert not plan.is_delta
    assert plan.plan_id > first.plan_id


def test_a_base_can_be_asked_for(server: SimulatorServer, tmp_path: Path) -> None:
    bench = bench_of(server, tmp_path)
    synced(bench)
    with bench.client() as client:
        assert not make_plan(bench.pull, client, bench.landing, base=True).plan.is_delta


def test_an_unfinished_base_that_was_asked_for_goes_on(server: SimulatorServer, tmp_path: Path) -> None:
    """A schedule knows nothing of it, and must not begin a delta in the middle of it."""
    bench = bench_of(server, tmp_path)
    synced(bench)
    with bench.client() as client:
        base = make_plan(bench.pull, client, bench.landing, base=True).plan
    again = bench.plan()
    assert (again.continued, again.plan, again.retired) == (True, base, ())
    assert bench.plan(new=True).plan.is_delta


def test_nothing_is_missed_where_the_clock_was_ahead_and_set_right(server: SimulatorServer, tmp_path: Path) -> None:
    bench = bench_of(server, tmp_path)
    server.sim.clock.advance(days=1)
    synced(bench)
    server.sim.clock.advance(days=-1, minutes=20)
    [changed] = touch(bench, 1)
    moved = server.sim.store.rows_of("incident")[changed]["sys_updated_on"]
    server.sim.clock.advance(hours=1)
    delta = synced(bench)
    assert delta.since is not None
    assert delta.since < delta.as_of
    assert delta.verify
    shown = connect(str(tmp_path)).sql(f"SELECT sys_updated_on FROM incidents WHERE sys_id = '{changed}'")
    assert shown.fetchall() == [(moved,)]


def test_an_unfinished_delta_goes_on_with_its_window(server: SimulatorServer, tmp_path: Path) -> None:
    bench = bench_of(server, tmp_path)
    synced(bench)
    server.sim.clock.advance(hours=1)
    touch(bench, 5)
    first = bench.plan().plan
    server.sim.clock.advance(hours=2)
    again = bench.plan()
    assert again.continued
    assert again.plan == first


def test_a_delta_is_not_published_on_another_base(server: SimulatorServer, tmp_path: Path) -> None:
    bench = bench_of(server, tmp_path)
    synced(bench)
    server.sim.clock.advance(hours=1)
    delta = bench.plan().plan
    assert not any(isinstance(result, Failed) for result in bench.land(delta))
    totals = reconcile(delta, bench.landing, bench.pull)
    full = Workbench(server, tmp_path, mode="full", fields=FIELDS)
    other = full.plan(new=True).plan  # retires the delta; its files are put back as a dead run's would lie there
    full.land(other)
    publish(other, reconcile(other, full.landing, full.pull), full.landing, full.pull)
    with pytest.raises(PlanIncomplete, match="not what is published"):
        publish(_later(delta), _later_totals(totals), bench.landing, bench.pull)


def test_a_delta_is_published_only_when_it_was_swept(server: SimulatorServer, tmp_path: Path) -> None:
    bench = bench_of(server, tmp_path)
    base = synced(bench)
    server.sim.clock.advance(hours=1)
    delta = bench.plan().plan
    bench.land(delta)
    with pytest.raises(PlanIncomplete, match="was not swept"):
        publish(delta, reconcile(delta, bench.landing, bench.pull), bench.landing, bench.pull)
    assert published_plan(bench.landing) == base.plan_id


def _later(plan: Plan) -> Plan:
    from dataclasses import replace

    return replace(plan, plan_id="20991231T000000Z")


def _later_totals(totals: Any) -> Any:
    from dataclasses import replace

    return replace(totals, plan="20991231T000000Z")


@pytest.mark.slow
@pytest.mark.parametrize(
    "zone",
    # West of Greenwich a moment read in the account's zone is a later one.
    ["US/Pacific", *(pytest.param(zone, marks=pytest.mark.slow) for zone in ("Europe/Berlin", "Pacific/Kiritimati"))],
)
def test_nothing_is_missed_where_moments_are_read_in_the_accounts_zone(
    server: SimulatorServer, tmp_path: Path, zone: str
) -> None:
    """Some readers of a literal take it for the account's own time, and on this night that is ambiguous too."""
    account = server.sim.knobs.accounts["admin"]
    server.sim.knobs.accounts["admin"] = Account(account.user_name, account.password, time_zone=zone)
    server.sim.knobs.literal_dates = "account"
    bench = bench_of(server, tmp_path)
    synced(bench)
    for _ in range(4):  # across the change of the clocks
        server.sim.clock.advance(minutes=20)
        changed = touch(bench, 9)
        assert set(changed) <= set(bench.ids(synced(bench)))


def test_a_cursor_that_is_no_moment_is_refused(server: SimulatorServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cursor 'number': is of type string"):
        bench_of(server, tmp_path, cursor="number").plan()


def test_verification_is_due_once_in_a_while(server: SimulatorServer, tmp_path: Path) -> None:
    bench = bench_of(server, tmp_path, verify_every="2h")
    assert not synced(bench).verify
    due = []
    for _ in range(5):
        server.sim.clock.advance(hours=1)
        due.append(synced(bench).verify)
    assert due == [False, True, False, True, False]
    chain = published_chain(bench.landing)
    assert chain is not None
    assert chain.watermark - chain.verified < timedelta(hours=2)


def test_every_delta_verifies_where_that_is_said(server: SimulatorServer, tmp_path: Path) -> None:
    bench = bench_of(server, tmp_path, verify_every=0, query="opened_at>=javascript:gs.daysAgoStart(60)")
    synced(bench)
    assert synced(bench).verify


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"query": "opened_at>=javascript:gs.daysAgoStart(60)"}, "relative date"),
        ({"query": "sys_updated_onRELATIVEGT@hour@ago@1"}, "relative date"),
        ({"query": "active=true^ORcaller_id.active=true"}, "caller_id.active"),
        ({"fields": ("sys_id", "caller_id.email")}, "caller_id.email"),
        ({"display_value": "true"}, "display_value"),
        ({"key": ("number",)}, "key"),
    ],
)
def test_what_a_cursor_cannot_show_is_refused_by_name(config: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        PullConfig.model_validate({"name": "a", "table": "incident", "mode": "delta", **config})
    if "key" not in config:
        PullConfig.model_validate({"name": "a", "table": "incident", "mode": "delta", "verify_every": 0, **config})


def test_more_rows_than_a_page_in_one_second_are_one_delta(server: SimulatorServer, tmp_path: Path) -> None:
    bench = bench_of(server, tmp_path, page_size=20)
    synced(bench)
    server.sim.clock.advance(hours=1)
    moment = server.sim.clock.stored()
    store = server.sim.store
    sys_ids = list(store.view("incident").ids[:150])
    for sys_id in sys_ids:
        store.update("incident", sys_id, {"state": "2", "short_description": moment, "sys_updated_on": moment})
    delta = synced(bench)
    assert set(bench.ids(delta)) >= set(sys_ids)
    assert set(bench.ids(delta)) == in_window(bench, delta)

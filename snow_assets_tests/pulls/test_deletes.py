"""Deletes: found by the log or by keys, each confirmed; rows that are hidden, reclassified or shown short are not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from snow_assets.errors import PublishRefused, SnowError
from snow_assets.simulator import HiddenRows, SimulatorServer
from snow_assets.simulator.knobs import Account
from snow_assets_tests.pulls.sweeping import Deltas, small_instance


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with small_instance().serve() as server:
        yield server


@pytest.fixture
def logged(server: SimulatorServer, tmp_path: Path) -> Deltas:
    return Deltas(server, tmp_path / "data", deletes="audit")


@pytest.fixture
def keyed(server: SimulatorServer, tmp_path: Path) -> Deltas:
    return Deltas(server, tmp_path / "data", deletes="keys")


def test_the_log_tells_what_was_deleted_and_when(logged: Deltas) -> None:
    logged.base()
    deleted, unlogged, undeleted, *_ = logged.ids_of()
    at = logged.sim.clock.now().replace(microsecond=0)
    back = logged.sim.store.find("incident", undeleted)
    assert back is not None
    for sys_id in (deleted, undeleted):
        logged.sim.delete("incident", sys_id)
    logged.sim.delete("incident", unlogged, log=False)
    logged.sim.store.put("incident", back)
    logged.sim.clock.advance(minutes=30)

    found = logged.swept()

    assert logged.marks(found) == {deleted: ("deleted", "audit", "")}
    assert (found.kinds, found.deleted, found.unknown, found.notes) == (("audit",), {"audit": 1}, "", ())
    [moment] = logged.marks_table(found).column("at").to_pylist()
    assert abs(moment - at).total_seconds() <= 1


def test_a_log_that_begins_too_late_says_unknown_and_keys_still_find(server: SimulatorServer, tmp_path: Path) -> None:
    both = Deltas(server, tmp_path / "data", deletes="both")
    both.base()
    lost, logged, *_ = both.ids_of()
    both.sim.delete("incident", lost)
    for row in both.sim.rows("sys_audit_delete"):
        both.sim.delete("sys_audit_delete", row["sys_id"], log=False)
    both.sim.clock.advance(minutes=30)
    both.sim.delete("incident", logged)
    [entry] = both.sim.rows("sys_audit_delete")

    found = both.swept()

    assert found.unknown.startswith(f"deletes are unknown before {entry['sys_created_on']}")
    assert both.marks(found) == {lost: ("deleted", "keys", ""), logged: ("deleted", "audit", "")}


def test_deletes_are_found_where_moments_are_read_in_the_accounts_zone(logged: Deltas) -> None:
    """Also where no row of the table tells of it: nothing was changed, only deleted."""
    knobs = logged.sim.knobs
    account = knobs.accounts["admin"]
    knobs.accounts["admin"] = Account(account.user_name, account.password, time_zone="US/Pacific")
    knobs.literal_dates = "account"
    logged.sim.clock.advance(days=3)  # after the newest row
    logged.base()
    deleted = logged.ids_of()[0]
    logged.sim.delete("incident", deleted)
    assert logged.swept().deleted == {"audit": 1}


def test_a_log_that_cannot_be_read_says_unknown(logged: Deltas) -> None:
    logged.base()
    logged.sim.delete("incident", logged.ids_of()[0])
    knobs = logged.sim.knobs
    for tables in (knobs.denied_tables, knobs.closed_tables, None):
        if tables is not None:
            tables.add("sys_audit_delete")
        else:
            for row in logged.sim.rows("sys_audit_delete"):
                logged.sim.delete("sys_audit_delete", row["sys_id"], log=False)
        found = logged.swept()
        assert found.unknown.startswith("deletes are unknown: the delete log")
        assert found.marks == ""
        if tables is not None:
            tables.clear()


def test_a_row_is_logged_under_its_own_class_and_may_change_it(tmp_path: Path) -> None:
    """Of a parent table: deletes of its descendants are found; a new class among them is only a new version."""
    with small_instance(1, cmdb_ci_server=6, cmdb_ci_linux_server=6).serve() as server:
        pull = Deltas(server, tmp_path / "data", name="cis", table="cmdb_ci", fields=("sys_id", "name"), deletes="both")
        pull.base()
        deleted = pull.ids_of("cmdb_ci_linux_server")[0]
        moved = pull.ids_of("cmdb_ci_server", sys_class_name="cmdb_ci_server")[0]
        pull.sim.delete("cmdb_ci", deleted)
        pull.sim.store.update("cmdb_ci", moved, {"sys_class_name": "cmdb_ci_linux_server"}, quiet=True)
        found = pull.swept()
        assert pull.marks(found) == {deleted: ("deleted", "audit", "")}

        narrow = Deltas(
            server, tmp_path / "data", name="servers", table="cmdb_ci_linux_server", fields=("sys_id",), deletes="keys"
        )
        narrow.base()
        up = narrow.ids_of("cmdb_ci_linux_server")[0]
        narrow.sim.update("cmdb_ci", up, sys_class_name="cmdb_ci_server")
        found = narrow.swept()
        assert narrow.marks(found) == {up: ("reclassified", "keys", "cmdb_ci_server")}


def test_a_reclassified_row_is_not_deleted(keyed: Deltas) -> None:
    keyed.base()
    moved, hidden, deleted, *_ = keyed.ids_of()
    for sys_id in (moved, hidden):
        keyed.sim.update("incident", sys_id, sys_class_name="change_request")
    keyed.sim.delete("incident", deleted)
    keyed.sim.knobs.hidden_rows.append(HiddenRows("task", sys_ids=frozenset({hidden})))
    found = keyed.swept()
    assert keyed.marks(found) == {
        moved: ("reclassified", "keys", "change_request"),
        hidden: ("reclassified", "keys", ""),
        deleted: ("deleted", "keys", ""),
    }
    assert (found.reclassified, found.deleted) == (2, {"keys": 1})


COUNTS: dict[str, list[dict[str, Any]]] = {
    "by header": [],
    "by the Aggregate API": [{"kind": "count_absent", "request": "list"}],
    "not at all": [{"kind": "count_absent", "request": "list"}, {"kind": "count_refused", "request": "count"}],
    "wrongly": [{"kind": "count_lie", "delta": -2}],
}


@pytest.mark.parametrize(
    "ways",
    [
        ("by header", "wrongly"),
        pytest.param(("by the Aggregate API", "not at all"), marks=pytest.mark.slow, id="walked without counts"),
    ],
)
def test_hidden_rows_are_not_deleted_where_the_instance_counts(keyed: Deltas, ways: tuple[str, ...]) -> None:
    keyed.base()
    deleted, *hidden = keyed.ids_of()[:8]
    keyed.sim.delete("incident", deleted)
    keyed.sim.knobs.hidden_rows.append(HiddenRows("incident", sys_ids=frozenset(hidden)))
    for counts in ways:
        keyed.server.faults.clear()
        keyed.server.faults.add(*({"table": "incident", **fault} for fault in COUNTS[counts]))
        found = keyed.swept()
        if counts in ("by header", "by the Aggregate API"):
            assert found.hidden == 7, counts
            assert keyed.marks(found) == {deleted: ("deleted", "keys", "")}, counts
        else:  # then only the share of the rows protects
            assert found.hidden is None, counts
            assert any("does not count rightly" in note for note in found.notes), counts
            assert found.deleted == {"keys": 8}, counts


def test_an_account_that_sees_little_deletes_nothing(keyed: Deltas) -> None:
    """Without right counts, hidden rows look deleted: too many at once are refused, before anything is written."""
    keyed.base()
    plan = keyed.delta()
    keyed.sim.knobs.hidden_rows.append(HiddenRows("incident", sys_ids=frozenset(keyed.ids_of()[:30])))
    keyed.server.faults.add(*COUNTS["wrongly"])
    with pytest.raises(PublishRefused) as refused:
        keyed.sweep(plan)
    assert refused.value.key == "max_deleted"
    assert f"--accept {plan.plan_id}" in refused.value.hint
    assert keyed.landing.beside("marks").list("") == []
    assert "sweep.json" not in keyed.landing.store.list(plan.plan_id)
    assert keyed.sweep(plan, accept=True).deleted == {"keys": 30}


def test_what_the_log_names_is_deleted_however_much_it_is(logged: Deltas) -> None:
    logged.base()
    gone = logged.ids_of()[:60]
    for sys_id in gone:
        logged.sim.delete("incident", sys_id)
    assert logged.swept().deleted == {"audit": 60}


SHORT: dict[str, list[dict[str, Any]]] = {
    "keys are dropped from a page": [{"kind": "lost_rows", "rows": 3, "asks": "sys_mod_count", "times": 2}],
    "pages are cut": [{"kind": "short_page", "rows": 5, "every": 2}],
    "pages are empty": [{"kind": "empty_page", "every": 2}],
    "look-ups show less": [
        {"kind": "lost_rows", "rows": 9, "asks": "sys_mod_count"},
        {"kind": "empty_page", "query": "sys_idIN", "times": 2},
    ],
}


@pytest.mark.parametrize(
    "short", [pytest.param(name, marks=[pytest.mark.slow] if name.startswith("pages") else []) for name in SHORT]
)
def test_a_short_sweep_deletes_nothing_that_is_there(keyed: Deltas, short: str) -> None:
    keyed.base()
    deleted = keyed.ids_of()[5]
    plan = keyed.delta()
    keyed.sim.delete("incident", deleted)
    keyed.server.faults.add(*({"table": "incident", **fault} for fault in SHORT[short]))
    try:
        found = keyed.sweep(plan)
    except SnowError:  # loud, and nothing is marked
        assert keyed.landing.beside("marks").list("") == []
        return
    assert keyed.marks(found).keys() <= {deleted}


def test_a_row_is_gone_only_where_three_sessions_do_not_show_it(logged: Deltas) -> None:
    """Where nothing counts, and the root table shows nothing, that is all that speaks against an empty answer."""
    logged.base()
    undeleted = logged.ids_of()[0]
    row = logged.sim.store.find("incident", undeleted)
    assert row is not None
    logged.sim.delete("incident", undeleted)
    logged.sim.store.put("incident", row)
    plan = logged.delta()
    logged.sim.knobs.denied_tables.add("task")
    uncounted = ({**fault, "table": "incident"} for fault in COUNTS["not at all"])
    logged.server.faults.add(*uncounted, {"kind": "empty_page", "query": undeleted, "times": 2})
    found = logged.sweep(plan)
    assert (found.hidden, found.marks, len(found.notes)) == (None, "", 2)


def test_deletes_off_keeps_rows_and_says_how_many_are_gone(server: SimulatorServer, tmp_path: Path) -> None:
    off = Deltas(server, tmp_path / "data", deletes="off", verify_every=0)
    off.base()
    off.sim.delete("incident", off.ids_of()[0])
    found = off.swept()
    assert (found.gone, found.deleted, found.marks) == (1, {}, "")
    assert any("kept because of deletes: off" in note for note in found.notes)


def test_what_a_verification_finds_beside_the_log_bears_its_name(server: SimulatorServer, tmp_path: Path) -> None:
    logged = Deltas(server, tmp_path / "data", deletes="audit", verify_every=0, query="active=true")
    logged.base()
    unlogged, closed, *_ = logged.ids_of(active="true")
    logged.sim.delete("incident", unlogged, log=False)
    logged.sim.update("incident", closed, active="false")
    found = logged.swept()
    assert logged.marks(found) == {unlogged: ("deleted", "sweep", ""), closed: ("left_filter", "sweep", "")}


def test_a_crash_after_the_marks_ends_with_the_same_sweep(keyed: Deltas, monkeypatch: pytest.MonkeyPatch) -> None:
    keyed.base()
    deleted, quiet, *_ = keyed.ids_of()
    keyed.sim.delete("incident", deleted)
    keyed.sim.store.update("incident", quiet, {"sys_mod_count": "77"}, quiet=True)
    plan = keyed.delta()
    write = type(keyed.landing.store).write

    def dying(store: Any, path: str, content: bytes) -> None:
        if path.endswith("sweep.json"):
            raise KeyboardInterrupt
        write(store, path, content)

    with monkeypatch.context() as patch:
        patch.setattr(type(keyed.landing.store), "write", dying)
        with pytest.raises(KeyboardInterrupt):
            keyed.sweep(plan)
    made = keyed.landing.beside("marks").read(f"{plan.plan_id}.parquet")
    undeleted = keyed.sim.insert("incident", sys_id=deleted)

    found = keyed.sweep(plan)

    assert undeleted == deleted
    assert keyed.landing.beside("marks").read(f"{plan.plan_id}.parquet") == made
    assert (found.deleted, found.changed) == ({"keys": 1}, 1)
    assert keyed.mended(found).keys() == {quiet}


def test_marks_of_a_plan_that_was_never_published_are_forgotten(keyed: Deltas) -> None:
    keyed.base()
    first, second, *_ = keyed.ids_of()
    keyed.sim.delete("incident", first)
    old = keyed.swept()
    keyed.sim.delete("incident", second)
    new = keyed.swept()
    assert keyed.landing.beside("marks").list("") == [f"{new.plan}.parquet"] != [f"{old.plan}.parquet"]
    assert keyed.marks(new).keys() == {first, second}
    [moment, _] = keyed.marks_table(new).column("at").to_pylist()
    assert datetime.now(UTC) < moment <= keyed.sim.clock.now()  # the instance is two hours ahead of us

"""Where a cursor could fail to show a row: full seconds, nights of other clocks, late commits, old versions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from snow_assets.config import PullConfig
from snow_assets.pulls import Landing, Plan
from snow_assets.pulls.sweep import Sweep
from snow_assets.simulator import Knobs, Simulator, SimulatorServer
from snow_assets.simulator.generate_platform import make_platform
from snow_assets.simulator.knobs import Account
from snow_assets.simulator.wire import Asked
from snow_assets_tests.warehouse.replay import follow, mended_by

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIELDS = ("sys_id", "number", "short_description", "active", "sys_updated_on", "sys_mod_count")


class Follower:
    """A pull of ``incident`` that follows an instance whose clock is moved by the test."""

    def __init__(self, server: SimulatorServer, data: Path, **config: Any) -> None:
        self.server = server
        self.sim: Simulator = server.sim
        settings: dict[str, Any] = {"mode": "delta", "retry_backoff": 0.01, "deletes": "audit", "max_workers": 4}
        self.pull = PullConfig(name="followed", table="incident", fields=FIELDS, **{**settings, **config})
        self.landing = Landing.open(str(data), self.pull.name)
        self.location = ""

    def sync(self, **config: Any) -> tuple[Plan, Sweep]:
        """One sync, an hour after the last thing that happened."""
        self.sim.clock.advance(hours=1)
        plan, swept, current = follow(self.server, self.pull.model_copy(update=config), self.landing)
        self.location = current.location
        return plan, swept

    def held(self) -> dict[str, tuple[str, ...]]:
        """What the current rows say, by sys_id."""
        table = DeltaTable(self.location).to_pyarrow_table(filters=[("_state", "=", "live")])
        columns = [pc.struct_field(table.column(name), "value").to_pylist() for name in FIELDS]
        rows = {values[0]: values for values in zip(*columns, strict=True)}
        assert len(rows) == table.num_rows
        return rows

    def true(self) -> dict[str, tuple[str, ...]]:
        """What the instance holds."""
        rows = self.sim.rows("incident")
        return {row["sys_id"]: tuple(row.get(name, "") for name in FIELDS) for row in rows}

    def states(self) -> dict[str, str]:
        """The rows that are not live, and why."""
        table = DeltaTable(self.location).to_pyarrow_table(filters=[("_state", "!=", "live")])
        ids = pc.struct_field(table.column("sys_id"), "value").to_pylist()
        return dict(zip(ids, table.column("_state").to_pylist(), strict=True))


def row(at: int, moment: datetime, **values: str) -> dict[str, str]:
    stamp = moment.strftime("%Y-%m-%d %H:%M:%S")
    return {
        "sys_id": f"{at:08x}{'5' * 24}",
        "number": f"INC{at:07d}",
        "sys_class_name": "incident",
        "short_description": f"row {at}",
        "active": "true",
        "sys_created_on": stamp,
        "sys_updated_on": stamp,
        "sys_mod_count": "0",
        **values,
    }


@contextmanager
def following(
    data: Path, rows: int = 50, *, at: datetime = AT, knobs: Knobs | None = None, **config: Any
) -> Iterator[Follower]:
    """Rows that were made a week before, and are pulled once."""
    tables = {"incident": [row(number, at - timedelta(days=7)) for number in range(rows)]}
    entry = {"tablename": "problem", "sys_created_on": "2025-01-01 00:00:00", "sys_id": "e" * 32}
    tables |= {"sys_audit_delete": [entry], "sys_db_object": make_platform()["sys_db_object"]}
    sim = Simulator(tables=tables, at=at, knobs=knobs)
    sim.clock.stop()
    with sim.serve() as server:
        follower = Follower(server, data, **config)
        follower.sync()
        assert follower.held() == follower.true()
        yield follower


def test_twelve_thousand_rows_of_one_second_all_arrive(tmp_path: Path) -> None:
    with following(tmp_path, 10, page_size=5000, display_value="false") as follower:
        now = follower.sim.clock.now()
        for at in range(12_000):
            follower.sim.restore("incident", row(at, now, short_description="all at once"))
        plan, swept = follower.sync()
        assert plan.is_delta
        assert (mended_by(swept), swept.deleted, swept.left_filter) == (0, {}, 0)
        assert len(follower.held()) == 12_000
        assert follower.held() == follower.true()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("night", "literals"),
    [("2026-10-24 22:00", "utc"), ("2026-10-24 22:00", "account"), ("2026-03-28 22:00", "account")],
)
def test_nothing_is_missed_in_a_night_in_which_the_clocks_change(tmp_path: Path, night: str, literals: Any) -> None:
    account = Account("admin", "admin", time_zone="Europe/Berlin", date_format="dd.MM.yyyy")
    knobs = Knobs(accounts={"admin": account}, literal_dates=literals)
    start = datetime.fromisoformat(night).replace(tzinfo=UTC)
    with following(tmp_path, 40, at=start, knobs=knobs, overlap=60.0, lag=0.0, verify_every=1e9) as follower:
        sim, ids = follower.sim, sorted(follower.true())
        for step in range(4):  # an hour each, across the change
            for at, sys_id in enumerate(ids[step * 10 : step * 10 + 10]):
                sim.update("incident", sys_id, short_description=f"at step {step}")
                sim.clock.advance(minutes=at % 3)
            plan, _ = follower.sync()
            assert plan.is_delta
            assert follower.held() == follower.true()


def test_rows_committed_late_arrive_while_the_overlap_lasts(tmp_path: Path) -> None:
    with following(tmp_path, overlap=900.0, lag=120.0, verify_every=1e9) as follower:
        for at in range(2):
            before = follower.sim.clock.now()  # the next sync is made an hour later
            follower.sync()
            late = before + timedelta(hours=1) - timedelta(seconds=900 + 120 - 1)
            stamp = late.strftime("%Y-%m-%d %H:%M:%S")
            follower.sim.restore("incident", row(at, late, short_description="late", sys_mod_count="1"))
            assert follower.true()[row(at, late)["sys_id"]][4] == stamp
            assert follower.held() != follower.true()
            follower.sync()
            assert follower.held() == follower.true()


@pytest.mark.slow  # the quick ones: of sweeps, and of random lives
def test_what_moves_no_clock_is_found_by_the_next_verification(tmp_path: Path) -> None:
    with following(tmp_path, verify_every=1e9) as follower:
        sim = follower.sim
        first, second, third = sorted(follower.true())[:3]
        old = sim.store.rows_of("incident")[first]
        sim.update("incident", first, short_description="soon undone")
        follower.sync()
        sim.clock.advance(days=1)
        follower.sync()
        sim.restore("incident", old)
        sim.update("incident", second, quiet=True, short_description="by a script", sys_mod_count="7")
        sim.delete("incident", third)
        follower.sync()
        sim.undelete(third)
        _, swept = follower.sync()
        assert mended_by(swept) == 0
        assert follower.held() != follower.true()
        _, swept = follower.sync(verify_every=0.0)
        assert mended_by(swept) == 3
        assert follower.held() == follower.true()


@pytest.mark.parametrize("deletes", ["audit", "keys", pytest.param("both", marks=pytest.mark.slow)])
def test_each_way_finds_what_was_deleted(tmp_path: Path, deletes: str) -> None:
    with following(tmp_path, deletes=deletes, verify_every=1e9) as follower:
        gone = sorted(follower.true())[:4]
        for sys_id in gone:
            follower.sim.delete("incident", sys_id)
        _, swept = follower.sync()
        assert sum(swept.deleted.values()) == 4
        assert follower.held() == follower.true()
        assert follower.states() == dict.fromkeys(gone, "deleted")


def test_a_pruned_log_is_said_to_be_unknown_and_keys_still_find_the_rows(tmp_path: Path) -> None:
    with following(tmp_path / "log", deletes="audit", verify_every=1e9) as by_log:
        sim = by_log.sim
        by_keys = Follower(by_log.server, tmp_path / "keys", deletes="both", verify_every=1e9)
        by_keys.sync()
        lost, found = sorted(by_log.true())[:2]
        sim.clock.advance(hours=2)
        sim.delete("incident", lost)
        sim.clock.advance(days=3)
        sim.delete("incident", found)
        horizon = sim.clock.now()
        assert sim.prune_deletions(horizon) == 2
        _, swept = by_log.sync()
        assert f"unknown before {horizon:%Y-%m-%d %H:%M:%S}" in swept.unknown
        assert by_log.held().keys() - by_log.true().keys() == {lost}
        _, swept = by_keys.sync()
        assert f"unknown before {horizon:%Y-%m-%d %H:%M:%S}" in swept.unknown
        assert by_keys.held() == by_keys.true()
        assert by_keys.states() == dict.fromkeys((lost, found), "deleted")


def test_a_reclassified_row_is_no_deleted_one_and_may_come_back(tmp_path: Path) -> None:
    with following(tmp_path, deletes="keys", verify_every=1e9) as follower:
        one = min(follower.true())
        follower.sim.reclassify("incident", one, "change_request")
        follower.sync()
        assert follower.states() == {one: "reclassified"}
        follower.sim.reclassify("change_request", one, "incident")
        follower.sync()
        assert follower.states() == {}
        assert follower.held() == follower.true()


def test_an_archived_row_is_found_by_its_key(tmp_path: Path) -> None:
    with following(tmp_path, deletes="audit", verify_every=1e9) as follower:
        one = min(follower.true())
        follower.sim.delete("incident", one, log=False)
        follower.sync()
        assert one in follower.held()
        follower.sync(verify_every=0.0)
        assert follower.held() == follower.true()
        assert follower.states() == {one: "deleted"}


def test_a_row_that_is_back_and_changes_behind_the_slices_is_not_missing(tmp_path: Path) -> None:
    with following(tmp_path, deletes="keys", verify_every=1e9) as follower:
        sim, one = follower.sim, min(follower.true())
        sim.delete("incident", one)
        follower.sync()
        sim.undelete(one)

        def watch(asked: Asked) -> None:
            if asked.params.get("sysparm_fields") == "sys_id,sys_updated_on,sys_mod_count":  # the sweep of the keys
                sim.update("incident", one, short_description="changed behind the slices")

        sim.watchers.append(watch)
        follower.sync()
        assert follower.held() == follower.true()

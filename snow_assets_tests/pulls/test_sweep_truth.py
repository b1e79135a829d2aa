"""Random lives of rows, and after every sync the current rows are what the instance has."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from snow_assets.pulls.current import bring_up
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.object_store import ObjectStore
from snow_assets.simulator import Simulator
from snow_assets_tests.pulls.sweeping import Deltas, small_instance

SYNCS = 3
COMPARED = ("sys_id", "active", "short_description", "sys_updated_on", "sys_mod_count")


class Life:
    """Deeds at random, those that no clock shows included."""

    def __init__(self, sim: Simulator, seed: int) -> None:
        self.sim = sim
        self.random = random.Random(seed)
        self.graves: list[dict[str, str]] = []
        self.elsewhere: list[str] = []

    def go_on(self, deeds: int) -> None:
        kinds: list[Callable[[str], None]] = [
            self.change, self.change, self.turn, self.turn, self.restore, self.delete, self.delete_unlogged,
            self.undelete, self.move, self.move_back, self.insert,
        ]  # fmt: skip
        for _ in range(deeds):
            rows = self.sim.rows("incident")
            self.random.choice(kinds)(self.random.choice(rows)["sys_id"])
            self.sim.clock.advance(seconds=self.random.choice((0, 0, 1, 60, 1200)))

    def change(self, sys_id: str) -> None:
        self.sim.update("incident", sys_id, short_description=f"changed {self.random.random()}")

    def turn(self, sys_id: str) -> None:
        row = self.sim.store.find("incident", sys_id)
        assert row is not None
        self.sim.update("incident", sys_id, active="false" if row["active"] == "true" else "true")

    def restore(self, sys_id: str) -> None:
        """From a backup: an older clock, another count."""
        old = {"sys_updated_on": "2020-01-01 00:00:00", "sys_mod_count": str(self.random.randrange(10_000))}
        self.sim.store.update("incident", sys_id, {**old, "short_description": f"restored {old}"}, quiet=True)

    def delete(self, sys_id: str, *, log: bool = True) -> None:
        row = self.sim.store.find("incident", sys_id)
        assert row is not None
        self.graves.append(dict(row))
        self.sim.delete("incident", sys_id, log=log)

    def delete_unlogged(self, sys_id: str) -> None:
        self.delete(sys_id, log=False)

    def undelete(self, _: str) -> None:
        if self.graves:
            self.sim.store.put("incident", self.graves.pop(self.random.randrange(len(self.graves))))

    def move(self, sys_id: str) -> None:
        self.sim.store.update("task", sys_id, {"sys_class_name": "change_request"}, quiet=True)
        self.elsewhere.append(sys_id)

    def move_back(self, _: str) -> None:
        if self.elsewhere:
            self.sim.store.update("task", self.elsewhere.pop(), {"sys_class_name": "incident"}, quiet=True)

    def insert(self, _: str) -> None:
        self.sim.insert("incident", short_description="new", active="true")


def _live(pull: Deltas) -> dict[str, dict[str, Any]]:
    current = bring_up(pull.landing, pull.pull)
    home = Landing(pull.pull.name, pull.landing.beside("current"))
    rows = []
    for file in current.files:
        with home.parquet(file.removeprefix(f"{home.location}/")) as opened:
            rows += opened.read(columns=list(COMPARED)).to_pylist()
    assert len(rows) == current.rows
    return {row["sys_id"]["value"]: {name: row[name]["value"] for name in COMPARED} for row in rows}


@pytest.mark.parametrize(
    ("seed", "query", "deletes"),
    [
        (1, "active=true", "both"),
        pytest.param(2, "", "keys", marks=pytest.mark.slow),
        pytest.param(3, "active=true", "keys", marks=pytest.mark.slow),
        pytest.param(4, "active=true", "audit", marks=pytest.mark.slow),
    ],
)
def test_after_every_sync_the_live_rows_are_the_instance_s(tmp_path: Path, seed: int, query: str, deletes: str) -> None:
    with small_instance().serve() as server:
        pull = Deltas(
            server, tmp_path / "data", query=query, deletes=deletes, verify_every=0, display_value="all", max_deleted=1
        )
        root = tmp_path / "bucket" / "incidents"
        root.mkdir(parents=True)
        pull.landing = Landing("incidents", ObjectStore(root.as_uri()))
        pull.base()
        life = Life(pull.sim, seed)
        for _ in range(SYNCS):
            life.go_on(25)
            pull.publish(pull.delta())
            truth = {
                row["sys_id"]: {name: row.get(name, "") for name in COMPARED}
                for row in pull.sim.rows("incident")
                if not query or row["active"] == "true"
            }
            assert _live(pull) == truth
        found = pull.swept()
        assert (found.missed, found.restored, found.changed, found.marks) == (0, 0, 0, "")

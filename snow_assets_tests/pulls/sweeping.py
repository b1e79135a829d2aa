"""A delta pull against an instance of its own, sync by sync."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from snow_assets.pulls import Failed, Plan, publish, reconcile
from snow_assets.pulls.current import bring_up
from snow_assets.pulls.sweep import Sweep, sweep
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets.simulator.generate import generate
from snow_assets.simulator.store import Row
from snow_assets_tests.pulls.conftest import Workbench

FIELDS = ("sys_id", "number", "active", "short_description")


class Deltas(Workbench):
    """A pull of ``incident`` in mode delta, with short waits; nothing of a sync is published unless it is asked for."""

    def __init__(self, server: SimulatorServer, data: Path, **config: Any) -> None:
        settings = {"fields": FIELDS, "mode": "delta", "retry_backoff": 0.001, "max_workers": 4}
        super().__init__(server, data, **{**settings, **config})

    def base(self) -> Plan:
        """Publish a base, and let two hours pass."""
        plan = self.delta()
        assert not plan.is_delta
        self.publish(plan)
        self.sim.clock.advance(hours=2)
        return plan

    def delta(self, **settings: Any) -> Plan:
        """Plan and land the slices."""
        plan = self.plan(new=True).plan
        assert [result.error for result in self.land(plan, **settings) if isinstance(result, Failed)] == []
        return plan

    def sweep(self, plan: Plan, *, accept: bool = False, **settings: Any) -> Sweep:
        with self.client(**settings) as client:
            return sweep(plan, self.pull, client, self.landing, accept=accept)

    def swept(self, *, accept: bool = False, **settings: Any) -> Sweep:
        """The sweep of a new delta."""
        return self.sweep(self.delta(**settings), accept=accept, **settings)

    def publish(self, plan: Plan) -> None:
        self.sweep(plan)
        publish(plan, reconcile(plan, self.landing, self.pull), self.landing, self.pull)
        bring_up(self.landing, self.pull)

    def publish_marked(self, **config: Any) -> None:
        """Publish a delta of the pull as it would be with other settings."""
        pull = self.pull
        self.pull = pull.model_copy(update=config)
        self.publish(self.delta())
        self.pull = pull
        self.sim.clock.advance(hours=2)

    def marks(self, found: Sweep) -> dict[str, tuple[str, str, str]]:
        """Kind, method and detail by sys_id."""
        if not found.marks:
            return {}
        rows = self.marks_table(found).to_pylist()
        assert len({row["sys_id"] for row in rows}) == len(rows)
        assert {row["plan"] for row in rows} == {found.plan}
        return {row["sys_id"]: (row["kind"], row["method"], row["detail"]) for row in rows}

    def marks_table(self, found: Sweep) -> Any:
        with self.landing.beside("marks").parquet(found.marks) as file:
            return file.read()

    def mended(self, found: Sweep) -> dict[str, dict[str, Any]]:
        """Stored values of the mended rows by sys_id."""
        rows: list[dict[str, Any]] = []
        for file in found.mended:
            table = pq.read_table(Path(self.landing.store.uri(file.path)))
            assert (table.num_rows, self.landing.store.size(file.path)) == (file.rows, file.size)
            rows += table.to_pylist()
        by_id = {row["sys_id"]["value"]: row for row in rows}
        assert len(by_id) == len(rows)
        return {
            sys_id: {name: cell if isinstance(cell, str) else cell["value"] for name, cell in row.items()}
            for sys_id, row in by_id.items()
        }

    def ids_of(self, table: str = "incident", **values: str) -> list[str]:
        """Sys_ids of the rows with these values."""
        rows = self.sim.rows(table)
        return [row["sys_id"] for row in rows if all(row.get(name) == value for name, value in values.items())]


@cache
def _rows(counts: tuple[tuple[str, int], ...]) -> tuple[datetime, dict[str, list[Row]]]:
    now = datetime.now(UTC)
    return now, {table: list(rows) for table, rows in generate(dict(counts), 3, now).items()}


def small_instance(incidents: int = 120, **tables: int) -> Simulator:
    """An instance of its own; rows are generated once."""
    now, rows = _rows((("incident", incidents), *tables.items()))
    return Simulator(tables=rows, at=now)

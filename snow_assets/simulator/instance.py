"""The simulated instance itself: data, clock, settings and how to serve it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from snow_assets.simulator.app import App
from snow_assets.simulator.clock import Clock
from snow_assets.simulator.generate import generate
from snow_assets.simulator.knobs import Knobs
from snow_assets.simulator.request_log import RequestLog
from snow_assets.simulator.server import SimulatorServer
from snow_assets.simulator.shape import Shapes
from snow_assets.simulator.store import Row, Store


class Simulator:
    """A ServiceNow instance in memory.

    Example::

        sim = Simulator(rows={"incident": 5_000}, seed=1)
        with sim.serve() as server:
            requests.get(f"{server.url}/api/now/table/incident", auth=(server.username, server.password))
    """

    def __init__(
        self,
        rows: Mapping[str, int] | None = None,
        seed: int = 1,
        *,
        at: datetime | None = None,
        tables: Mapping[str, Iterable[Row]] | None = None,
        knobs: Knobs | None = None,
    ) -> None:
        """Generate the data: ``rows`` of each table named (the rest in small default numbers).

        ``at`` is the moment that the instance's clock shows (now when None); ``tables`` replaces the generated
        data, real class by real class; ``knobs`` sets how the instance behaves.
        """
        self.clock = Clock(at)
        self.knobs = knobs or Knobs()
        self.requests = RequestLog()
        data = generate(dict(rows or {}), seed, self.clock.now()) if tables is None else tables
        self.store = Store(data, self.clock)
        self.shapes = Shapes(self.store, self.knobs.cache_bytes)

    def serve(self, port: int = 0, host: str = "127.0.0.1") -> SimulatorServer:
        """Listen on loopback, on a free port unless one is named. Close the server, or use it as a context."""
        return SimulatorServer(self, App(self), port, host)

    def rows(self, table: str) -> list[Row]:
        """The stored rows that a query of ``table`` could see, ordered by sys_id."""
        with self.store.lock:
            known = self.store.rows_of(table)
            return [known[one] for one in self.store.view(table).ids]

    def insert(self, table: str, row: Mapping[str, Any] | None = None, **values: str) -> str:
        """Add a row; returns its sys_id. Thread-safe, like all changes."""
        return self.store.insert(table, {**(row or {}), **values})

    def update(self, table: str, sys_id: str, **values: str) -> Row:
        """Change a row (``sys_mod_count`` and ``sys_updated_on`` move). KeyError when there is none."""
        return self.store.update(table, sys_id, values)

    def delete(self, table: str, sys_id: str, *, log: bool = True) -> None:
        """Remove a row; the delete log gets an entry under its real class unless ``log`` is False."""
        self.store.delete(table, sys_id, log=log)

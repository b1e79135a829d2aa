"""The simulated instance itself: data, clock, settings and how to serve it."""

from __future__ import annotations

import random
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snow_assets.simulator import altering
from snow_assets.simulator.app import App
from snow_assets.simulator.clock import Clock
from snow_assets.simulator.event_log import EventLog
from snow_assets.simulator.faults import Faults
from snow_assets.simulator.generate import generate
from snow_assets.simulator.knobs import Knobs
from snow_assets.simulator.oauth import Tokens
from snow_assets.simulator.request_log import RequestLog
from snow_assets.simulator.schema import ColumnDef
from snow_assets.simulator.server import SimulatorServer
from snow_assets.simulator.sessions import Sessions
from snow_assets.simulator.shape import Shapes
from snow_assets.simulator.store import Row, Store
from snow_assets.simulator.wire import Asked


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
        event_log: str | Path | None = None,
        knobs: Knobs | None = None,
    ) -> None:
        """Generate the data: ``rows`` of each table named (the rest in small default numbers).

        ``at`` is the moment that the instance's clock shows (now when None); ``tables`` replaces the generated
        data, real class by real class; ``event_log`` is a CSV of incident versions, replayed up to ``at`` (its end
        when None); ``knobs`` sets how the instance behaves.
        """
        self._log = EventLog(event_log) if event_log is not None else None
        self.clock = Clock(at or (self._log.end if self._log else None))
        self.knobs = knobs or Knobs()
        self.requests = RequestLog()
        self._replayed = self.clock.now()  # the log is applied up to here; the clock itself runs on
        data: Mapping[str, Iterable[Row]]
        if tables is not None:
            data = tables
        elif self._log is not None:
            data = self._log.rows_at(self._replayed, generate(dict(rows), seed, self._replayed) if rows else None)
        else:
            data = generate(dict(rows or {}), seed, self.clock.now())
        self.store = Store(data, self.clock, self.knobs.collation)
        self.shapes = Shapes(self.store, self.knobs.cache_bytes)
        self.faults = Faults()
        self.sessions = Sessions(self.knobs, self.clock)
        self.tokens = Tokens(self.knobs, self.clock)
        self.watchers: list[Callable[[Asked], None]] = []  # called with each request, before it is answered
        self.files: dict[str, bytes] = {}  # of attachments added during the run, by sys_id

    def serve(self, port: int = 0, host: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None) -> SimulatorServer:
        """Listen on loopback, on a free port unless one is named. Close the server, or use it as a context.

        With ``tls``, a context for a server that has its certificate, clients are talked to over https alone.
        """
        stopping = threading.Event()
        return SimulatorServer(self, App(self, stopping), stopping, port, host, tls)

    def move_to(self, moment: datetime) -> int:
        """Set the clock to ``moment``; an event log is replayed up to there. Returns the versions applied.

        Time moves forward only: ValueError for a moment before the instance's present.
        """
        now = self.clock.now()
        until = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if until < now:
            raise ValueError(f"{until} is before {now}")
        changes = self._log.changes_between(self._replayed, until) if self._log else []
        for row in changes:
            self.store.put("incident", row)
        self.clock.set(until)
        self._replayed = until
        return len(changes)

    @contextmanager
    def churn(self, table: str, per_second: float = 10.0, seed: int = 0) -> Iterator[None]:
        """Update rows of ``table`` at random, so many a second, while the block runs."""
        stop, rng = threading.Event(), random.Random(seed)

        def work() -> None:
            while not stop.wait(1 / per_second):
                with self.store.lock:
                    ids = self.store.view(table).ids
                    if ids:
                        self.update(table, rng.choice(ids), sys_updated_by=f"churn {rng.random()}")

        thread = threading.Thread(target=work, name="simulator churn", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def rotate(self, table: str, shards: int = 8) -> int:
        """Drop the oldest of so many shards of a rotated table, as the platform does: at once, and without a log.

        Returns the number of rows that went.
        """
        with self.store.lock:
            rows = sorted(self.rows(table), key=lambda row: (row.get("sys_created_on", ""), row["sys_id"]))
            oldest = rows[: len(rows) // shards]
            for row in oldest:
                self.delete(table, row["sys_id"], log=False)
            return len(oldest)

    def add_column(self, table: str, name: str, type: str = "string", label: str = "", **parts: Any) -> None:  # noqa: A002 - the platform's word
        """Add a column to a table and all that extend it; it is empty in every row. ``parts`` as of ``ColumnDef``.

        A child may have an entry of its own for a column that it inherits. ValueError where the table has it already.
        """
        altering.add(self.store, table, ColumnDef(name, type, label or name, **parts))

    def change_column(self, table: str, name: str, **parts: Any) -> None:
        """Give a column another type, label, reference, ...: parts of ``ColumnDef``. Stored values stay.

        A child that inherits the column can have ``choices`` of its own, nothing else. KeyError where it has none.
        """
        altering.change(self.store, table, name, parts)

    def drop_column(self, table: str, name: str) -> None:
        """Remove a column with its values from the table that defines it. KeyError where it does not."""
        altering.drop(self.store, table, name)

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

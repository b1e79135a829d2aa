"""The simulated instance itself: data, clock, settings and how to serve it."""

from __future__ import annotations

import random
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from snow_assets.simulator import altering, transform_maps, undoing
from snow_assets.simulator.app import App
from snow_assets.simulator.clock import Clock, meanwhile
from snow_assets.simulator.event_log import EventLog, late_by
from snow_assets.simulator.faults import Faults
from snow_assets.simulator.generate import generate
from snow_assets.simulator.import_sets import Imports
from snow_assets.simulator.insert_multiple import Transforms
from snow_assets.simulator.key_index import Indexes
from snow_assets.simulator.knobs import Knobs
from snow_assets.simulator.oauth import Tokens
from snow_assets.simulator.records import Numbers
from snow_assets.simulator.replay import Replay
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
        event_log: str | Path | EventLog | None = None,
        knobs: Knobs | None = None,
    ) -> None:
        """Generate the data: ``rows`` of each table named (the rest in small default numbers).

        ``at`` is the moment that the instance's clock shows (now when None); ``tables`` replaces the generated
        data, real class by real class; ``event_log`` is a CSV of incident versions, replayed up to ``at`` (its end
        when None); ``knobs`` sets how the instance behaves.
        """
        self.knobs = knobs or Knobs()
        log = _log_of(event_log, self.knobs, seed)
        self.clock = Clock(at or (log.end if log else None))
        self.requests = RequestLog()
        begin = self.clock.now()  # the log is applied up to here; the clock itself runs on
        data: Mapping[str, Iterable[Row]]
        if tables is not None:
            data = tables
        elif log is not None:
            data = log.rows_at(begin, generate(dict(rows), seed, begin) if rows else None)
        else:
            data = generate(dict(rows or {}), seed, self.clock.now())
        self.store = Store(data, self.clock, self.knobs.collation)
        self.store.unlogged = lambda table: table in self.knobs.unlogged_deletes
        self.indexes = Indexes(self.store)
        self.numbers = Numbers(self.store)
        self.imports, self.transforms = Imports(self), Transforms(self)
        transform_maps.install(self.store)
        self._replay = Replay(log, self.store, self.clock, log.position(begin) if log else 0)
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
        return self._replay.move_to(moment)

    @property
    def replayed(self) -> int:
        """How many versions of the event log are committed."""
        return self._replay.position

    def advance(self, versions: int = 1, until: datetime | None = None) -> int:
        """Commit the next versions of the event log, those due by ``until``; returns how many there were.

        The clock moves on to the commit where it lies in the future, and not otherwise: versions of one minute may be
        committed with as many readings in between as wanted.
        """
        return self._replay.advance(versions, until)

    def replaying(
        self, until: datetime | None = None, *, versions: int = 1, requests: int = 1
    ) -> AbstractContextManager[None]:
        """Commit the next versions of the event log with each so many requests, while the block runs."""
        return self._replay.every(requests, versions, until, self.watchers)

    def replaying_by_time(self, per_second: float, until: datetime | None = None) -> AbstractContextManager[None]:
        """Commit so many versions of the event log a second, from another thread, while the block runs."""
        return self._replay.timed(per_second, until)

    @contextmanager
    def churn(self, table: str, per_second: float = 10.0, seed: int = 0) -> Iterator[None]:
        """Update rows of ``table`` at random, so many a second, while the block runs."""
        rng = random.Random(seed)

        def work() -> None:
            with self.store.lock:
                ids = self.store.view(table).ids
                if ids:
                    self.update(table, rng.choice(ids), sys_updated_by=f"churn {rng.random()}")

        with meanwhile(work, per_second, "simulator churn"):
            yield

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

    def staging_table(self, table: str, columns: Iterable[str] | Mapping[str, str], label: str = "") -> None:
        """Make a staging table of text columns, by name or as a map of names to labels. ValueError: it is there."""
        transform_maps.add_staging_table(self.store, table, columns, label)

    def transform_map(
        self,
        source: str,
        target: str,
        fields: Mapping[str, str | Mapping[str, Any]],
        *,
        coalesce: Iterable[str] = (),
        name: str = "",
        **settings: Any,
    ) -> str:
        """Make a transform map; returns its sys_id. ValueError names what is wrong, and nothing is made.

        ``fields`` says of each column of ``target`` which column of the staging table ``source`` it takes, or, as a
        map, more of its field map: ``source_field``, ``choice_action``, ``reference_value_field``,
        ``coalesce_case_sensitive``, ``coalesce_empty_fields``. ``coalesce`` names columns of ``target``; ``settings``
        are columns of ``sys_transform_map``: ``order``, ``active``, ``copy_empty_fields``, ...
        """
        return transform_maps.add_map(self.store, source, target, fields, coalesce, name, **settings)

    def finish_imports(self, sets: int | None = None) -> int:
        """Transform so many of the waiting import sets now (all when None), due or not; returns how many were."""
        return self.transforms.finish(sets)

    def rows(self, table: str) -> list[Row]:
        """The stored rows that a query of ``table`` could see, ordered by sys_id."""
        self.transforms.tick()
        with self.store.lock:
            known = self.store.rows_of(table)
            return [known[one] for one in self.store.view(table).ids]

    def insert(self, table: str, row: Mapping[str, Any] | None = None, **values: str) -> str:
        """Add a row; returns its sys_id. Thread-safe, like all changes."""
        return self.store.insert(table, {**(row or {}), **values})

    def update(self, table: str, sys_id: str, *, quiet: bool = False, **values: str) -> Row:
        """Change a row. KeyError when there is none.

        ``sys_mod_count`` and ``sys_updated_on`` move, unless it is done ``quiet``, as a script that sets
        ``autoSysFields(false)`` does it.
        """
        return self.store.update(table, sys_id, values, quiet=quiet)

    def delete(self, table: str, sys_id: str, *, log: bool = True) -> None:
        """Remove a row; the delete log gets an entry under its real class unless ``log`` is False.

        Archiving does the latter, and deleting by a script that runs no workflow.
        """
        self.store.delete(table, sys_id, log=log)

    def undelete(self, sys_id: str) -> Row:
        """Bring a deleted row back as it was, with its old update time and count. KeyError when there is none.

        ``sys_audit`` says ``RECOVERED``; the entry of the delete log stays.
        """
        return undoing.undelete(self.store, sys_id)

    def restore(self, table: str, row: Row) -> None:
        """Put an older version in a row's place, update time and count included; both go back."""
        self.store.put(table, row)

    def reclassify(self, table: str, sys_id: str, into: str) -> Row:
        """Make a row of ``table`` one of the class ``into``, which loses the columns that this does not have.

        KeyError when there is no such row, ValueError when the class is not of the same hierarchy.
        """
        return undoing.reclassify(self.store, table, sys_id, into)

    def prune_deletions(self, before: datetime) -> int:
        """Forget the entries of the delete log from before a moment, as its cleaner does. Returns how many."""
        return undoing.prune_deletions(self.store, before)


def _log_of(event_log: str | Path | EventLog | None, knobs: Knobs, seed: int) -> EventLog | None:
    if event_log is None or isinstance(event_log, EventLog):
        return event_log
    late = late_by(knobs.late_commits, knobs.late_seconds, seed) if knobs.late_commits else None
    return EventLog(event_log, late)

"""An event log applied to a running instance: one version after the other, also while somebody reads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from snow_assets.simulator.clock import Clock, meanwhile
from snow_assets.simulator.event_log import EventLog
from snow_assets.simulator.store import Store
from snow_assets.simulator.wire import Asked


class Replay:
    """Where an instance stands in its log. Each version is one change of one row; thread-safe.

    Versions of an incident that was deleted or reclassified are lost until it is back.
    """

    def __init__(self, log: EventLog | None, store: Store, clock: Clock, position: int) -> None:
        """``store`` holds what was committed before ``position``."""
        self._log = log
        self._store = store
        self._clock = clock
        self._lock = threading.RLock()
        self.position = position

    def move_to(self, moment: datetime) -> int:
        """Commit all that is due by ``moment``, then set the clock. Returns the number of versions.

        Raises ValueError for a moment before the instance's present.
        """
        until = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        with self._lock:
            now = self._clock.now()
            if until < now:
                raise ValueError(f"{until} is before {now}")
            applied = self.advance(None, until)
            self._clock.set(max(until, self._clock.now()))
            return applied

    def advance(self, versions: int | None = 1, until: datetime | None = None) -> int:
        """Commit the next versions (all when None) that are due by ``until``; the clock is moved on to each.

        Returns how many there were.
        """
        if self._log is None:
            return 0
        with self._lock:
            end = self._log.position(until) if until else len(self._log)
            last = end if versions is None else min(end, self.position + versions)
            first = self.position
            while self.position < last:
                self._commit(self._log, self.position)
                self.position += 1
            return max(0, last - first)

    def _commit(self, log: EventLog, position: int) -> None:
        due, row = log.commit(position)
        if due > self._clock.now():
            self._clock.set(due)
        with self._store.lock:
            sys_id = row["sys_id"]
            there = self._store.rows_of("incident").get(sys_id)
            # Nobody updates an incident that is deleted, or is none any more.
            if sys_id not in self._store.graves and (there is None or there["sys_class_name"] == "incident"):
                self._store.put("incident", row)

    @contextmanager
    def every(
        self, requests: int, versions: int, until: datetime | None, watchers: list[Callable[[Asked], None]]
    ) -> Iterator[None]:
        """With each so many requests, before the last of them is answered, commit the next versions."""
        asked = 0

        def watch(_: Asked) -> None:
            nonlocal asked
            with self._lock:
                asked += 1
                if asked % requests == 0:
                    self.advance(versions, until)

        watchers.append(watch)
        try:
            yield
        finally:
            watchers.remove(watch)

    @contextmanager
    def timed(self, per_second: float, until: datetime | None) -> Iterator[None]:
        """Commit so many versions a second, in a thread of its own."""
        with meanwhile(lambda: self.advance(1, until), per_second, "simulator replay"):
            yield

"""The instance's clock: real time, or a chosen moment that moves on with real time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

STORED = "%Y-%m-%d %H:%M:%S"


class Clock:
    """Says what time the instance thinks it is (aware UTC, whole seconds where stored)."""

    def __init__(self, at: datetime | None = None) -> None:
        """Start at ``at`` (aware; naive is read as UTC), or follow the machine's clock when None."""
        self._offset = 0.0
        self._stopped: float | None = None
        if at is not None:
            self.set(at)

    def now(self) -> datetime:
        """The moment on the instance, aware UTC."""
        return datetime.fromtimestamp(self.timestamp(), UTC)

    def timestamp(self) -> float:
        """Seconds since the epoch on the instance."""
        return self._stopped if self._stopped is not None else time.time() + self._offset

    def set(self, at: datetime) -> None:
        """Move to ``at``; time goes on from there, unless it is stopped."""
        aware = at if at.tzinfo else at.replace(tzinfo=UTC)
        if self._stopped is not None:
            self._stopped = aware.timestamp()
        self._offset = aware.timestamp() - time.time()

    def stop(self) -> None:
        """Stand still from now on: only ``set`` and ``advance`` move it. For runs that are to be repeated exactly."""
        self._stopped = self.timestamp()

    def advance(self, **parts: float) -> None:
        """Move forward by ``timedelta(**parts)``, for instance ``advance(hours=2)``."""
        self.set(self.now() + timedelta(**parts))

    def stored(self) -> str:
        """Now, as a date-time column stores it (UTC, one second resolution)."""
        return self.now().strftime(STORED)


def parse_moment(text: str) -> datetime:
    """Read ``2016-05-01``, ``2016-05-01T12:00:00Z`` or ``2016-05-01 12:00:00`` (UTC unless it says otherwise)."""
    moment = datetime.fromisoformat(text.strip())
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@contextmanager
def meanwhile(work: Callable[[], object], per_second: float, name: str) -> Iterator[None]:
    """Do ``work`` so many times a second of real time while the block runs, in a thread of that name."""
    stop = threading.Event()

    def again() -> None:
        while not stop.wait(1 / per_second):
            work()

    thread = threading.Thread(target=again, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()

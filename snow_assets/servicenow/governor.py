"""How many requests of one instance are in flight, and the one pause that holds all of them.

``Ramp`` decides and knows no clock; ``Governor`` makes threads and tasks wait for what it decided.
"""

from __future__ import annotations

import logging
import re
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal

from snow_assets.errors import Cancelled
from snow_assets.servicenow.exchange import Answer
from snow_assets.servicenow.ramp import KEPT, Ramp

_log = logging.getLogger(__name__)
_SEM_WAIT: Final = re.compile(r"sem_wait;dur=([0-9.]+)")


class Governor:
    """Lets as many requests be sent as its ``Ramp`` allows, and none while it is paused. One per instance and process.

    Threads wait in ``acquire``. Whoever waits in another way asks ``admitted`` again whenever a ``listen``er is called.
    """

    def __init__(self, max_workers: int = 16) -> None:
        self._changed = threading.Condition()
        self._listeners: set[Callable[[], None]] = set()
        self._ramp = Ramp(max_workers)
        self._in_flight = 0
        self._highest = 0
        self._paused_until = 0.0
        self._pauses: deque[tuple[float, float, str]] = deque(maxlen=KEPT)  # from, until, why
        self._pause_count = 0
        self._paused_seconds = 0.0
        self._requests = 0
        self._refused = 0
        self._born = time.monotonic()
        self._began = datetime.now(UTC)

    @property
    def pause_kind(self) -> str:
        """Why all wait, or waited last: ``rate_limit`` or ``outage``."""
        return self._pauses[-1][2] if self._pauses else "rate_limit"

    def acquire(self, stop: threading.Event, *, health: bool = False) -> tuple[float, float]:
        """Wait for leave to send. Returns the seconds spent waiting: for a free place, and in a pause.

        ``health``: a request that asks whether the instance is there; it waits for nobody.

        Raises ``Cancelled`` as soon as ``stop`` is set and ``wake`` was called.
        """
        started = time.monotonic()
        paused = 0.0
        with self._changed:
            while (wait := self.admitted(stop, health=health)) is not None:
                asleep = time.monotonic()
                self._changed.wait(wait or None)
                paused += time.monotonic() - asleep if wait else 0.0
        return max(0.0, time.monotonic() - started - paused), paused

    def admitted(self, stop: threading.Event, *, health: bool = False) -> float | None:
        """``None``: the caller may send, and has to call ``release``. Else the seconds left of a pause, 0 in none.

        Raises ``Cancelled`` where ``stop`` is set.
        """
        with self._changed:
            if stop.is_set():
                raise Cancelled("not sent: the run was stopped")
            left = self._paused_until - time.monotonic()
            if not health and left > 0:
                return left
            if not health and self._in_flight >= self._ramp.limit:
                return 0.0
            self._in_flight += 1
            self._highest = max(self._highest, self._in_flight)
            return None

    def listen(self, listener: Callable[[], None]) -> None:
        """``listener`` is called, in any thread, whenever ``admitted`` may say something else; it must not wait."""
        with self._changed:
            self._listeners.add(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        """The inverse of ``listen``."""
        with self._changed:
            self._listeners.discard(listener)

    def release(self, answer: Answer | None) -> None:
        """The request is over; ``answer`` is what came, ``None`` where it was given up."""
        with self._changed:
            now = time.monotonic()
            if answer is not None:
                self._learn(answer, now)
            self._in_flight -= 1
            self._notify()

    def pause(self, seconds: float, why: Literal["rate_limit", "outage"] = "rate_limit") -> None:
        """No request is sent for ``seconds`` from now, by any thread. Pauses overlap; they do not add up."""
        with self._changed:
            now = time.monotonic()
            until = now + seconds
            if until > self._paused_until:
                began = now
                if now < self._paused_until and self._pauses:
                    began = self._pauses.pop()[0]
                else:
                    self._pause_count += 1
                    _log.info("all requests pause for %.1f s: %s", seconds, why)
                self._pauses.append((began, until, why))
                self._paused_seconds += until - max(now, self._paused_until)
                self._paused_until = until
            self._notify()

    def resume(self) -> None:
        """End a pause that an outage caused: the instance is back, or nobody asks any more."""
        with self._changed:
            now = time.monotonic()
            if now < self._paused_until and self.pause_kind == "outage":
                began, until, why = self._pauses.pop()
                self._pauses.append((began, now, why))
                self._paused_seconds -= until - now
                self._paused_until = now
            self._notify()

    def wake(self) -> None:
        """Make all that wait look at their ``stop`` events."""
        with self._changed:
            self._notify()

    def bound(self, max_workers: int) -> None:
        """Never allow more than ``max_workers`` from now on."""
        with self._changed:
            self._ramp.bound(max_workers)

    def snapshot(self) -> dict[str, Any]:
        """What was decided so far, as plain JSON.

        ``steps`` are ``[seconds, limit, why]`` and ``paused`` ``[from, until, why]``, in seconds since ``began``; the
        newest 500 of each are kept.
        """
        with self._changed:
            now = time.monotonic()
            steps = [[round(at - self._born, 3), limit, why] for at, limit, why in self._ramp.history]
            paused = [
                [round(began - self._born, 3), round(min(until, now) - self._born, 3), why]
                for began, until, why in self._pauses
            ]
            return {
                "began": self._began.isoformat(timespec="seconds"),
                "seconds": round(now - self._born, 3),
                "requests": self._requests,
                "refused_429": self._refused,
                "limit": self._ramp.limit,
                "max_workers": self._ramp.max_workers,
                "highest_in_flight": self._highest,
                "cuts": self._ramp.cuts,
                "pauses": self._pause_count,
                "paused_seconds": round(self._paused_seconds - max(0.0, self._paused_until - now), 3),
                "steps": steps,
                "paused": paused,
            }

    def _notify(self) -> None:
        self._changed.notify_all()
        for listener in self._listeners:
            listener()

    def _learn(self, answer: Answer, now: float) -> None:
        started = now - answer.seconds
        self._requests += 1
        self._refused += answer.status == 429
        full_queue = answer.status == 429 and not (
            answer.headers.get("retry-after") or answer.headers.get("x-ratelimit-reset")
        )
        if answer.status == 429 or answer.status >= 500 or answer.fault in ("timeout", "too_slow"):
            why = f"status {answer.status}" if answer.status else answer.fault
            before = self._ramp.limit
            self._ramp.overloaded(now, started=started, full_queue=full_queue, why=why)
            if self._ramp.limit != before:
                _log.info("from %d to %d requests in flight: %s", before, self._ramp.limit, why)
            return
        if answer.status not in (200, 201):
            return
        wait = _SEM_WAIT.search(answer.headers.get("server-timing", ""))
        queued = float(wait[1]) / 1000 if wait else 0.0
        self._ramp.finished(now, work=answer.size, seconds=answer.seconds, queued=queued, in_flight=self._in_flight)


_GOVERNORS: Final[weakref.WeakValueDictionary[str, Governor]] = weakref.WeakValueDictionary()
_GOVERNORS_LOCK: Final = threading.Lock()


def governor_of(url: str, max_workers: int) -> Governor:
    """The governor that every client of ``url`` in this process shares while one lives; the lowest bound holds."""
    with _GOVERNORS_LOCK:
        governor = _GOVERNORS.get(url)
        if governor is None:
            governor = _GOVERNORS[url] = Governor(max_workers)
        governor.bound(max_workers)
        return governor

"""How many requests of one instance are in flight, and the one pause that holds all of them.

``Ramp`` decides and knows no clock; ``Governor`` makes threads wait for what it decided.
"""

from __future__ import annotations

import re
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from snow_assets.errors import Cancelled
from snow_assets.servicenow.exchange import Answer

_SHARE: Final = 0.5  # of what more requests in flight could gain at best, this much must come
_LEAST_RISE: Final = 0.03
_LONGEST_STRIDE: Final = 4
_CROWDED: Final = 0.25  # share of the answer time spent in the instance's queue
_HOLD, _LONGEST_HOLD = 3, 64  # windows between two trials of a level that gained nothing
_CAP_HOLD, _LONGEST_CAP_HOLD = 16, 256  # windows between two trials of a level that met a full queue
_REQUEST_COST: Final = 2000.0  # bytes that a request without a body is worth: probes are work too
_SEM_WAIT: Final = re.compile(r"sem_wait;dur=([0-9.]+)")


@dataclass(slots=True)
class _Window:
    start: float
    count: int = 0
    work: float = 0.0
    peak: int = 0
    in_flight: int = 0  # summed over the answers
    queued: float = 0.0
    seconds: float = 0.0


class Ramp:
    """Decides the limit of requests in flight, one window (as many answers as the limit) at a time.

    It starts at 2 and adds one, then two, then four at a time, as long as work per second rises by half of what it
    could rise at best; where it did not in two windows, it goes back, and tries again ever later. It steps back where
    the instance reports waiting in its own queue. An overload (429, 5xx, a time-out) halves the limit, once for all
    requests that were in flight then, after which it grows back to just below where it failed; a full queue (429
    without a time) makes that level a cap that is tried again ever more rarely.
    """

    def __init__(self, max_workers: int) -> None:
        self.max_workers = max(1, max_workers)
        self.limit = min(2, self.max_workers)
        self.cuts = 0
        self.history: deque[tuple[float, int, str]] = deque(maxlen=500)
        self._cap = self.max_workers
        self._known = 0  # levels up to this one were good before a cut
        self._window: _Window | None = None
        self._base = 0.0
        self._trial: list[float] | None = None  # rates seen at the level that is on trial
        self._from = self.limit  # the level before the trial
        self._stride = 1
        self._hold, self._next_hold = 0, _HOLD
        self._cap_hold = _CAP_HOLD
        self._cut_at = float("-inf")

    def finished(self, now: float, *, work: float, seconds: float, queued: float, in_flight: int) -> None:
        """A request was answered.

        Args:
            now: seconds, of any one clock.
            work: bytes of the body.
            seconds: what the answer took, in all.
            queued: what of them it waited in the instance's queue.
            in_flight: requests under way at that moment, this one included.
        """
        if self._window is None:
            self._window = _Window(now)
            return
        window = self._window
        if now - seconds < window.start:
            return  # sent under the limit before: it tells nothing of this one
        window.count += 1
        window.work += work + _REQUEST_COST
        window.peak = max(window.peak, in_flight)
        window.in_flight += in_flight
        window.queued += queued
        window.seconds += seconds
        if window.count < max(self.limit, 3):
            return
        self._window = _Window(now)
        if window.peak >= self.limit:  # else the threads, not the limit, bounded it: nothing was learned
            # Work of one request per second, times how many there were: steadier than counting answers in a short time.
            rate = window.work / max(window.seconds, 1e-6) * window.in_flight / window.count
            self._judge(now, rate, window.queued > _CROWDED * window.seconds)

    def overloaded(self, now: float, *, started: float, full_queue: bool, why: str) -> None:
        """A request that was sent at ``started`` met an overload."""
        if started <= self._cut_at:
            return
        self._cut_at = now
        self.cuts += 1
        if self.limit >= self._known:  # else it was still growing back: one outage cuts several times
            self._known = max(1, self.limit - 1)
        if full_queue:
            self._cap = self._known = max(1, self.limit - 1)
            self._hold = self._cap_hold
            self._cap_hold = min(2 * self._cap_hold, _LONGEST_CAP_HOLD)
        self._trial = None
        self._stride = 1
        self._move(now, max(1, self.limit // 2), why)

    def bound(self, max_workers: int) -> None:
        """Lower the largest limit to ``max_workers``."""
        self.max_workers = max(1, min(self.max_workers, max_workers))
        self._cap = min(self._cap, self.max_workers)
        self.limit = min(self.limit, self.max_workers)

    def _judge(self, now: float, rate: float, crowded: bool) -> None:
        if self.limit < self._known:
            self._move(now, self.limit + 1, "growing back")
            return
        if crowded and self.limit > 2:
            self._step_back(now, self.limit - 1, "the instance queues")
            return
        if self._trial is not None:
            self._judge_trial(now, rate, self._trial)
            return
        if self._hold > 0:
            self._hold -= 1
            return
        if self._cap < self.max_workers and self.limit >= self._cap:
            self._cap += 1
        self._base = rate
        self._try_more(now)

    def _judge_trial(self, now: float, rate: float, rates: list[float]) -> None:
        rates.append(rate)
        mean = sum(rates) / len(rates)
        most = self.limit / self._from - 1
        if mean >= self._base * (1 + max(_LEAST_RISE, _SHARE * most)):
            self._base = mean
            self._stride = min(2 * self._stride, _LONGEST_STRIDE)
            self._next_hold = _HOLD
            if self.limit >= self._cap:  # it went well at the cap: it is none any more
                self._cap = self.max_workers
            self._try_more(now)
        elif len(rates) >= 2:
            self._step_back(now, self._from, "no gain")

    def _try_more(self, now: float) -> None:
        self._trial = None
        if self.limit < self._cap:
            self._trial = []
            self._from = self.limit
            self._move(now, min(self.limit + self._stride, self._cap), "trial")

    def _step_back(self, now: float, back: int, why: str) -> None:
        self._trial = None
        self._hold, self._next_hold = self._next_hold, min(2 * self._next_hold, _LONGEST_HOLD)
        self._known = 0
        self._stride = 1
        self._move(now, max(1, back), why)

    def _move(self, now: float, limit: int, why: str) -> None:
        self.limit = limit
        self.history.append((now, limit, why))
        self._window = _Window(now)


class Governor:
    """Lets as many threads send as its ``Ramp`` allows, and none while it is paused. One per instance and process."""

    def __init__(self, max_workers: int = 16) -> None:
        self._changed = threading.Condition()
        self._ramp = Ramp(max_workers)
        self._in_flight = 0
        self._highest = 0
        self._paused_until = 0.0
        self._pauses = 0
        self._paused_seconds = 0.0
        self._born = time.monotonic()

    def acquire(self, stop: threading.Event) -> tuple[float, float]:
        """Wait for leave to send. Returns the seconds spent waiting: for a free place, and in a pause.

        Raises ``Cancelled`` as soon as ``stop`` is set and ``wake`` was called.
        """
        started = time.monotonic()
        paused = 0.0
        with self._changed:
            while True:
                if stop.is_set():
                    raise Cancelled("not sent: the run was stopped")
                now = time.monotonic()
                if now < self._paused_until:
                    self._changed.wait(self._paused_until - now)
                    paused += time.monotonic() - now
                elif self._in_flight >= self._ramp.limit:
                    self._changed.wait()
                else:
                    break
            self._in_flight += 1
            self._highest = max(self._highest, self._in_flight)
            return max(0.0, time.monotonic() - started - paused), paused

    def release(self, answer: Answer | None) -> None:
        """The request is over; ``answer`` is what came, ``None`` where it was given up."""
        with self._changed:
            now = time.monotonic()
            if answer is not None:
                self._learn(answer, now)
            self._in_flight -= 1
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """No request is sent for ``seconds`` from now, by any thread. Pauses overlap; they do not add up."""
        with self._changed:
            now = time.monotonic()
            until = now + seconds
            if until > self._paused_until:
                if now >= self._paused_until:
                    self._pauses += 1
                self._paused_seconds += until - max(now, self._paused_until)
                self._paused_until = until
            self._changed.notify_all()

    def wake(self) -> None:
        """Make every waiting thread look at its ``stop`` event."""
        with self._changed:
            self._changed.notify_all()

    def bound(self, max_workers: int) -> None:
        """Never allow more than ``max_workers`` from now on."""
        with self._changed:
            self._ramp.bound(max_workers)

    def snapshot(self) -> dict[str, Any]:
        """What was decided so far, as plain JSON: limits, pauses, and the steps as ``[seconds, limit, why]``."""
        with self._changed:
            steps = [[round(at - self._born, 3), limit, why] for at, limit, why in self._ramp.history]
            return {
                "limit": self._ramp.limit,
                "max_workers": self._ramp.max_workers,
                "highest_in_flight": self._highest,
                "cuts": self._ramp.cuts,
                "pauses": self._pauses,
                "paused_seconds": round(self._paused_seconds, 3),
                "steps": steps,
            }

    def _learn(self, answer: Answer, now: float) -> None:
        started = now - answer.seconds
        full_queue = answer.status == 429 and not (
            answer.headers.get("retry-after") or answer.headers.get("x-ratelimit-reset")
        )
        if answer.status == 429 or answer.status >= 500 or answer.fault in ("timeout", "too_slow"):
            why = f"status {answer.status}" if answer.status else answer.fault
            self._ramp.overloaded(now, started=started, full_queue=full_queue, why=why)
            return
        if answer.status != 200:
            return
        wait = _SEM_WAIT.search(answer.headers.get("server-timing", ""))
        queued = float(wait[1]) / 1000 if wait else 0.0
        self._ramp.finished(
            now, work=len(answer.body), seconds=answer.seconds, queued=queued, in_flight=self._in_flight
        )


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

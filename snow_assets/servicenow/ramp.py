"""How many requests of one instance may be in flight: decided from what their answers tell. It knows no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

_SHARE: Final = 0.5  # of what more requests in flight could gain at best, this much must come
_LEAST_RISE: Final = 0.03
_LONGEST_STRIDE: Final = 4
_CROWDED: Final = 0.25  # share of the answer time spent in the instance's queue
_HOLD, _LONGEST_HOLD = 3, 64  # windows between two trials of a level that gained nothing
_CAP_HOLD, _LONGEST_CAP_HOLD = 16, 256  # windows between two trials of a level that met a full queue
_REQUEST_COST: Final = 2000.0  # bytes that a request without a body is worth: probes are work too
_SLOWER: Final = 1.5  # so many times the first answers' time means that more in flight only wait
_FIRST: Final = 4  # answers of one size that tell what an answer takes
_SMOOTH: Final = 0.2  # weight of the newest answer
KEPT: Final = 500  # steps of its history


@dataclass(slots=True)
class _Window:
    start: float
    count: int = 0
    work: float = 0.0
    peak: int = 0
    in_flight: int = 0  # summed over the answers
    queued: float = 0.0
    seconds: float = 0.0


class _Start:
    """Whether answers take longer than the first ones of about their size did, and wait in the instance's queue."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, float, float]] = {}  # by size: answers, least and present mean seconds
        self._newest: deque[tuple[float, float]] = deque(maxlen=2 * _FIRST)  # when, and what it takes at least
        self.slower = 1.0  # times the first answers' time
        self.crowded = 0.0  # share of the answer time spent in the instance's queue
        self.at_the_top = 0

    def note(self, now: float, work: float, seconds: float, queued: float) -> None:
        size = int(work + _REQUEST_COST).bit_length()
        count, least, mean = self._known.get(size, (0, 0.0, 0.0))
        weight = 1 / (count + 1) if count < _FIRST else _SMOOTH
        mean += (seconds - mean) * weight
        least = max(mean if count < _FIRST else min(least, mean), 1e-6)
        self._known[size] = (count + 1, least, mean)
        self._newest.append((now, least))
        if count >= _FIRST:
            self.slower += (mean / least - self.slower) / 2
        self.crowded += (min(1.0, queued / max(seconds, 1e-6)) - self.crowded) * _SMOOTH

    def of_use(self) -> int:
        """How many were really served at a time, by Little's law: what the newest answers take, per time it took."""
        span = self._newest[-1][0] - self._newest[0][0]
        took = sum(least for _, least in list(self._newest)[1:])
        return max(2, round(took / span)) if span > 0 else 2


class Ramp:
    """Decides the limit of requests in flight.

    It starts at 2 and adds one with every answer, so that it doubles in the time of one answer, until answers take
    half as long again as the first ones did, or wait in the instance's queue. From then on it decides one window (as
    many answers as the limit) at a time: it adds one, then two, then four, as long as work per second rises by half of
    what it could rise at best; where it did not in two windows, it goes back, and tries again ever later. It steps
    back where the instance reports waiting in its own queue. An overload (429, 5xx, a time-out) halves the limit, once
    for all requests that were in flight then, after which it grows back to just below where it failed; a full queue
    (429 without a time) makes that level a cap that is tried again ever more rarely, and a trial that meets one only
    goes back to where it came from.
    """

    def __init__(self, max_workers: int) -> None:
        self.max_workers = max(1, max_workers)
        self.limit = min(2, self.max_workers)
        self.cuts = 0
        self.history: deque[tuple[float, int, str]] = deque(maxlen=KEPT)
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
        self._start: _Start | None = _Start()

    def finished(self, now: float, *, work: float, seconds: float, queued: float, in_flight: int) -> None:
        """A request was answered.

        Args:
            now: seconds, of any one clock.
            work: bytes of the body.
            seconds: what the answer took, in all.
            queued: what of them it waited in the instance's queue.
            in_flight: requests under way at that moment, this one included.
        """
        if self._start is not None:
            self._grow_fast(now, self._start, (work, seconds, queued), in_flight)
            return
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
        self._start = None
        self.cuts += 1
        if self.limit >= self._known:  # else it was still growing back: one outage cuts several times
            self._known = max(1, self.limit - 1)
        if full_queue:
            self._cap = self._known = max(1, self.limit - 1)
            self._hold = self._cap_hold
            self._cap_hold = min(2 * self._cap_hold, _LONGEST_CAP_HOLD)
        back = self._from if full_queue and self._trial is not None else self.limit // 2
        self._trial = None
        self._stride = 1
        self._move(now, max(1, back), why)

    def bound(self, max_workers: int) -> None:
        """Lower the largest limit to ``max_workers``."""
        self.max_workers = max(1, min(self.max_workers, max_workers))
        self._cap = min(self._cap, self.max_workers)
        self.limit = min(self.limit, self.max_workers)

    def _grow_fast(self, now: float, start: _Start, answer: tuple[float, float, float], in_flight: int) -> None:
        """One more with every answer, until more in flight only wait: then back to as many as were of use."""
        if 2 * in_flight <= self.limit:
            return  # the threads, not the limit, bounded it: nothing was learned
        start.note(now, *answer)
        if start.crowded > _CROWDED or start.slower > _SLOWER:
            self._end_of_start(now, min(self.limit, start.of_use()), "answers grow slower")
        elif self.limit < self.max_workers:
            self._move(now, self.limit + 1, "start")
        else:
            start.at_the_top += 1
            if start.at_the_top > 2 * self.limit:
                self._end_of_start(now, self.limit, "start")

    def _end_of_start(self, now: float, limit: int, why: str) -> None:
        self._start = None
        self._hold = _HOLD
        self._move(now, max(1, min(limit, self.max_workers)), why)

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

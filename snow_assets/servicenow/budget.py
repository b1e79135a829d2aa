"""What one run may spend on requests that fail, all its threads together: so that a dead instance ends it in time.

Two bounds, and neither is met by a run that gets on:

* **An instance that is down** (nobody listens, time-outs, 502 to 504, hibernation: the faults with ``outage`` or
  ``unheard``). A request that would fail for such a cause, while nothing else was heard of the instance, stops all
  threads and one small request asks whether the instance is there at all. If it is, the request failed for reasons of
  its own. If not, that probe is repeated after 2 to 4, 4 to 8, 8 to 16 and then 15 to 30 times ``retry_backoff``, and
  all go on when it is answered. After ``patience`` (240 times ``retry_backoff``, at most ``max_wait``) the run ends:

      seconds from the last answer to the end <= patience + 2 * (connect + read)

  With the defaults that is 440 s at worst (every request hangs), and 240 s where connections are refused. An instance
  that was down from the beginning is not waited for: the first request that used up its retries, or timed out, ends
  the run.

* **An instance that is there, and fails whatever it is asked.** Requests that failed are counted over all threads,
  and the count starts again with every page that was accepted. The run ends at

      (max_retries + 1) * (12 + 4 * max_workers) failures in a row

  which is 304 with the defaults: enough for every thread to halve a page down to the one row that fails, and to name
  it. (Waits for a busy instance, 429, are no failures; ``max_wait`` bounds them.)

What landed stays, whichever bound was met.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from snow_assets.errors import Cancelled, SnowError
from snow_assets.servicenow.exchange import Purpose

_log = logging.getLogger(__name__)
_PATIENCE: Final = 240.0  # times retry_backoff
_FIRST_PAUSE, _LONGEST_PAUSE = 4.0, 30.0  # times retry_backoff
_LEVELS, _PER_WORKER = 12, 4
# Small requests that an instance may go on answering while no page comes any more.
_NO_PROGRESS: Final[frozenset[Purpose]] = frozenset({"health", "clock", "count", "tail"})


class RetryBudget:
    """One per client. Thread-safe. ``patience`` is seconds, ``requests`` a number; see the module."""

    def __init__(
        self,
        max_retries: int,
        retry_backoff: float,
        max_wait: float,
        max_workers: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.patience = min(max_wait, _PATIENCE * retry_backoff) if max_retries else 0.0
        self.requests = (max_retries + 1) * (_LEVELS + _PER_WORKER * max_workers)
        self.gave_up: SnowError | None = None
        self._backoff = retry_backoff
        self._clock = clock
        self._lock = threading.Lock()
        self._spent: Counter[str] = Counter()
        self._heard = float("-inf")
        self._trusted = False
        self._down_since: float | None = None
        self._led = False
        self._ended: deque[SnowError] = deque(maxlen=100)

    @property
    def spent(self) -> int:
        """Requests that failed since the last page was accepted."""
        return self._spent.total()

    @property
    def trusted(self) -> bool:
        """Whether the instance ever gave an answer that was accepted."""
        return self._trusted

    def now(self) -> float:
        """Seconds of the budget's clock."""
        return self._clock()

    def accepted(self, purpose: Purpose) -> None:
        """An answer was accepted: the run gets on."""
        with self._lock:
            self._trusted = True
            self._alive()
            if purpose not in _NO_PROGRESS:
                self._spent.clear()
                self.gave_up = None

    def heard(self) -> None:
        """The instance answered something, if not what was asked for."""
        with self._lock:
            self._alive()

    def failed(self, fault: str, seconds: float, *, down: bool) -> bool:
        """A request failed; whether the budget is used up. ``down``: by a fault that a dead instance shows."""
        with self._lock:
            self._spent[fault] += 1
            if not down:
                self._alive()
            elif self._down_since is None:
                self._down_since = self._clock() - seconds
            return self.spent > self.requests

    def silent_since(self, moment: float) -> bool:
        """Whether nothing was heard of the instance after ``moment``."""
        return self._heard <= moment

    def lead(self) -> bool:
        """Whether the caller is the one who asks if the instance is there; then it must call ``led``."""
        with self._lock:
            first, self._led = not self._led, True
            return first

    def led(self) -> None:
        """The caller of ``lead`` is done."""
        self._led = False

    def pause(self, number: int, draw: float) -> float | None:
        """Seconds until probe ``number`` (from 0) of an instance that is down; ``None`` where patience is used up."""
        most = min(_FIRST_PAUSE * 2.0 ** min(number, 16), _LONGEST_PAUSE) * self._backoff
        left = self.patience - self.down_for()
        return min(most * (1 + draw) / 2, left) if left > 0 and most > 0 else None

    @property
    def impatient(self) -> bool:
        """Whether the instance has been silent for so long that somebody should ask if it is there."""
        return self.down_for() >= self.patience / 4

    def down_for(self) -> float:
        """Seconds since the first sign that the instance is down."""
        return 0.0 if self._down_since is None else self._clock() - self._down_since

    def end(self, error: SnowError, before: SnowError | None) -> SnowError:
        """What the caller has to raise to end the run: ``error`` for the first, ``Cancelled`` for the others.

        ``before`` is ``gave_up`` as it was when the caller's request was first sent.
        """
        with self._lock:
            if self.gave_up is before:
                self.gave_up = error
                self._ended.append(error)
                self._spent.clear()
                _log.info("gave up: %s", error)  # whoever asked says it
                return error
        return self.stopped()

    def ended_by(self, error: SnowError) -> bool:
        """Whether the run was given up with ``error``."""
        return any(each is error for each in list(self._ended))

    def stopped(self) -> Cancelled:
        """What others raise once the run gave up."""
        error = Cancelled(f"not asked for, the run was stopped: {self.gave_up}")
        error.__cause__ = self.gave_up
        return error

    def said(self) -> str:
        """The failures since the last accepted page, in words: ``server_error 300, html 4``."""
        with self._lock:
            return ", ".join(f"{name} {number}" for name, number in self._spent.most_common(3))

    def _alive(self) -> None:
        self._heard = self._clock()
        self._down_since = None

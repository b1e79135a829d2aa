"""How many rows a page may have: what the ranges of a run learn from each other about pages that are too heavy.

A page fails for its size, or for one row on it. Only the first is of use to others, so a size is not believed to be too
large before pages of it failed at two places that share no row, with no page that large answered in between.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Final

STREAK: Final = 16  # pages at the ceiling that are answered before more is tried
LONGEST_STREAK: Final = 1024
_KEPT = 64  # failures: more than one for each halving of the largest page


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page began: ``at`` rows into the range ``lo <= sys_id < hi``."""

    lo: str | None
    hi: str | None
    at: int


@dataclass(slots=True)
class PageSizes:
    """The largest page that is worth asking for; ``ceiling`` is ``None`` while nothing is known. Thread-safe.

    After ``STREAK`` answered pages of that size one page, of one range, tries twice as many rows: it raises the
    ceiling, or the next try has to wait for twice as many pages.
    """

    ceiling: int | None = None
    _failures: list[tuple[Place, int]] = field(default_factory=list)
    _answered: int = 0  # pages at the ceiling since the last try
    _streak: int = STREAK
    _trying: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def limit(self, wanted: int) -> int:
        """``wanted`` rows, or as many as are not known to be too many; now and then more, to try it."""
        with self._lock:
            if self.ceiling is None or wanted <= self.ceiling:
                return wanted
            if self._answered < self._streak:
                return self.ceiling
            self._answered = 0
            self._trying = min(wanted, self.ceiling * 2)
            return self._trying

    def too_heavy(self, place: Place, limit: int) -> int:
        """A page of ``limit`` rows failed for its weight: the limit to go on with at this place, at least 1."""
        with self._lock:
            self._answered = 0
            if limit == self._trying:
                self._trying = None
                self._streak = min(self._streak * 2, LONGEST_STREAK)
            sizes = [max(limit, other) for where, other in self._failures if _apart(where, other, place, limit)]
            self._failures = [*self._failures[1 - _KEPT :], (place, limit)]
            if sizes and (self.ceiling is None or min(sizes) <= self.ceiling):
                self.ceiling = max(1, min(sizes) // 2)
            half = max(1, limit // 2)
            return half if self.ceiling is None else min(half, self.ceiling)

    def answered(self, limit: int, rows: int) -> None:
        """A page that was asked for with ``limit`` came with so many rows."""
        with self._lock:
            if self._failures:
                self._failures = [failure for failure in self._failures if failure[1] > rows]
            if self.ceiling is None:
                return
            if rows > self.ceiling:
                self.ceiling, self._answered = limit, 0
                if limit == self._trying:
                    self._trying, self._streak = None, STREAK
            elif limit == self._trying:  # too few rows were left to tell: another page tries
                self._trying, self._answered = None, self._streak
            elif limit == self.ceiling and 2 * rows >= limit:  # rows may be hidden
                self._answered += 1


def _apart(one: Place, limit: int, other: Place, other_limit: int) -> bool:
    """Whether two pages share no row for certain."""
    if (one.lo, one.hi) == (other.lo, other.hi):
        first, rows, second = (one, limit, other) if one.at <= other.at else (other, other_limit, one)
        return second.at - first.at >= rows
    # A range's last page shows the first row of the next one.
    return not (_follows(one, other) or _follows(other, one))


def _follows(place: Place, before: Place) -> bool:
    return place.at == 0 and place.lo is not None and place.lo == before.hi

"""Bulk tools of the generator: whole columns at a time, from a seed, without one random call per cell."""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, repeat
from random import Random

Row = dict[str, str]
Column = Sequence[str] | str
"""A column of cells, or one value for all rows."""

DAY = 86_400
_TABLE = 4096


class Source:
    """Where a generated table's randomness and clock come from.

    Each table has a random stream of its own, so that asking for more rows of one table leaves the others as they
    were. ``now`` is in epoch seconds.
    """

    def __init__(self, seed: int, now: datetime) -> None:
        """``now`` is read as UTC where it has no zone."""
        self._seed = seed
        self.now = int((now if now.tzinfo else now.replace(tzinfo=UTC)).timestamp())

    def dice(self, name: str) -> Dice:
        """The random stream of one table or purpose, the same for the same seed."""
        return Dice(f"{self._seed}/{name}")


class Dice:
    """A seeded source of whole columns."""

    def __init__(self, seed: str) -> None:
        """Equal seeds give equal columns."""
        self.random = Random(seed)

    def sys_ids(self, n: int) -> list[str]:
        """``n`` distinct ids of 32 lower-case hex digits, uniform."""
        text = self.random.randbytes(16 * n).hex()
        return [text[i : i + 32] for i in range(0, 32 * n, 32)]

    def pick(self, values: Sequence[str], n: int, weights: Sequence[float] | None = None) -> list[str]:
        """``n`` of the values, weights being met to about one part in 4,000. The strings are shared, not copied."""
        if weights is not None:
            values = _spread(values, weights)
        size = len(values)
        return [values[v % size] for v in self._numbers("I", n)]

    def maybe(self, values: Sequence[str], n: int, share: float) -> list[str]:
        """As ``pick``, but only ``share`` of the cells are filled; the others are empty."""
        if not values:
            return [""] * n
        filled = self.flags(n, share)
        return [value if flag else "" for value, flag in zip(self.pick(values, n), filled, strict=True)]

    def flags(self, n: int, share: float) -> list[bool]:
        """``n`` booleans, of which about ``share`` are true."""
        limit = int(share * 2**16)
        return [v < limit for v in self._numbers("H", n)]

    def integers(self, n: int, low: int, high: int) -> list[int]:
        """``n`` integers, uniform in [low, high)."""
        span = max(1, high - low)
        return [low + v % span for v in self._numbers("I", n)]

    def skewed(self, n: int, span: int) -> list[int]:
        """``n`` integers in [0, span), small ones far more often (the square of a uniform number)."""
        return [int((v / 2**32) ** 2 * span) for v in self._numbers("I", n)]

    def _numbers(self, code: str, n: int) -> array[int]:
        numbers = array(code)
        numbers.frombytes(self.random.randbytes(numbers.itemsize * n))
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers


def _spread(values: Sequence[str], weights: Sequence[float]) -> list[str]:
    """A lookup table of about 4,000 entries in which each value has its share."""
    total = sum(weights)
    counts = [round(weight / total * _TABLE) for weight in weights]
    return list(chain.from_iterable(repeat(value, count) for value, count in zip(values, counts, strict=True)))


class _Days(dict[int, str]):
    """Days since the epoch to ``YYYY-MM-DD``, made when first asked for."""

    def __missing__(self, number: int) -> str:
        day = self[number] = datetime.fromtimestamp(number * DAY, UTC).strftime("%Y-%m-%d")
        return day


_DAYS = _Days()
_SECONDS = [f" {s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}" for s in range(DAY)]


def stamps(epochs: Iterable[int]) -> list[str]:
    """A column of stored date-times (``YYYY-MM-DD HH:MM:SS``, UTC) from epoch seconds; 0 gives an empty cell."""
    # Two look-ups and one concatenation: a hundred times faster than strftime, which matters for a million cells.
    days, seconds = _DAYS, _SECONDS
    return [days[e // DAY] + seconds[e % DAY] if e else "" for e in epochs]


def dates(epochs: Iterable[int]) -> list[str]:
    """A column of stored dates; 0 gives an empty cell."""
    return [_DAYS[epoch // DAY] if epoch else "" for epoch in epochs]


def named_id(*parts: str) -> str:
    """A sys_id that depends on names alone: the same in every instance, as that of a row of the base system."""
    return hashlib.md5("/".join(parts).encode(), usedforsecurity=False).hexdigest()


def build(columns: Mapping[str, Column], n: int) -> list[Row]:
    """Rows from columns; empty cells are left out of their row."""
    names = tuple(columns)
    cells = [repeat(column, n) if isinstance(column, str) else column for column in columns.values()]
    return [{name: value for name, value in zip(names, row, strict=True) if value} for row in zip(*cells, strict=True)]


def system_columns(
    dice: Dice,
    n: int,
    created: Sequence[int],
    updated: Sequence[int],
    by: Sequence[str],
) -> dict[str, Column]:
    """sys_created_on/by, sys_updated_on/by and sys_mod_count; a row never changed has the count 0."""
    counts = dice.skewed(n, 12)
    changed = [u > c for c, u in zip(created, updated, strict=True)]
    return {
        "sys_created_on": stamps(created),
        "sys_created_by": dice.pick(by, n),
        "sys_updated_on": stamps(updated),
        "sys_updated_by": dice.pick(by, n),
        "sys_mod_count": [str(k + 1) if flag else "0" for k, flag in zip(counts, changed, strict=True)],
    }

"""When tasks were opened, resolved and closed: consistent states and dates around now, with long ties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from snow_assets.simulator.generate_rows import DAY, Dice, Source, stamps


@dataclass(frozen=True, slots=True)
class Life:
    """When each row of a table was opened, resolved, closed and last touched; 0 for never. Epoch seconds."""

    state: list[str]
    opened: list[int]
    resolved: list[int]
    closed: list[int]
    updated: list[int]

    @property
    def n(self) -> int:
        """How many rows."""
        return len(self.state)


@dataclass(frozen=True, slots=True)
class _States:
    """The states of a class and their weights; ``resolved`` and ``closed`` are those with such a date."""

    weights: Mapping[str, float]
    resolved: frozenset[str]
    closed: frozenset[str]


_STATES = {
    "task": _States({"1": 3, "2": 3, "3": 4}, frozenset(), frozenset("3")),
    "incident": _States(
        {"1": 8, "2": 12, "3": 6, "4": 3, "5": 2, "6": 11, "7": 54, "8": 4},
        frozenset("67"),
        frozenset("78"),
    ),
    "problem": _States(
        {"101": 3, "102": 2, "103": 2, "104": 2, "106": 2, "107": 6},
        frozenset({"106", "107"}),
        frozenset({"107"}),
    ),
    "change_request": _States(
        {"-5": 2, "-4": 2, "-3": 1, "-2": 2, "-1": 2, "0": 2, "3": 12, "4": 1},
        frozenset(),
        frozenset("34"),
    ),
    "incident_task": _States({"1": 3, "2": 3, "3": 5, "4": 1}, frozenset(), frozenset("34")),
    "change_task": _States({"-5": 1, "1": 3, "2": 2, "3": 6}, frozenset(), frozenset("3")),
}


def lives(source: Source, dice: Dice, name: str, n: int) -> Life:
    """Open rows are mostly younger than 80 days, closed ones up to three years old."""
    states = _STATES[name]
    state = dice.pick(tuple(states.weights), n, tuple(states.weights.values()))
    done = states.closed | states.resolved
    old, young = dice.integers(n, 2 * DAY, 1000 * DAY), dice.skewed(n, 90 * DAY)
    opened = [source.now - (o if s in done else y + 300) for s, o, y in zip(state, old, young, strict=True)]
    _tie(dice, opened, source.now)
    spent = dice.skewed(n, 30 * 1440)
    room = [source.now - o for o in opened]
    resolved = [o + (600 + k * 60) % r if s in states.resolved else 0
                for s, o, k, r in zip(state, opened, spent, room, strict=True)]  # fmt: skip
    closed = [min((r or o) + 5 * DAY, source.now - k % (2 * DAY)) if s in states.closed else 0
              for s, o, r, k in zip(state, opened, resolved, spent, strict=True)]  # fmt: skip
    closed = [max(c, r, o) if c else 0 for c, r, o in zip(closed, resolved, opened, strict=True)]
    touched = [o + k * 37 % r for o, k, r in zip(opened, spent, room, strict=True)]
    updated = [c or r or t for c, r, t in zip(closed, resolved, touched, strict=True)]
    _mass_update(dice, updated, opened, source.now)
    return Life(state, opened, resolved, closed, updated)


def durations(starts: Sequence[int], ends: Sequence[int], share: float = 1.0) -> tuple[list[str], list[str]]:
    """Elapsed time as a stored duration and as whole seconds; both empty without an end."""
    seconds = [int((e - s) * share) // 60 * 60 if e else 0 for s, e in zip(starts, ends, strict=True)]
    return stamps([s or 0 for s in seconds]), [str(s) if s else "" for s in seconds]


def where_set(flags: Sequence[int], values: Sequence[str]) -> list[str]:
    """The values where the flag is not 0, else empty cells."""
    return [value if flag else "" for flag, value in zip(flags, values, strict=True)]


def _tie(dice: Dice, opened: list[int], now: int) -> None:
    """Bursts of monitoring tickets: one row in eight shares its second with a hundred others and more."""
    bursts = max(1, len(opened) // 4000)
    for i, flag in enumerate(dice.flags(len(opened), 0.125)):
        if flag:
            opened[i] = now - (9 + i % bursts * 7) * DAY


def _mass_update(dice: Dice, updated: list[int], opened: list[int], now: int) -> None:
    """One script touched one row in eight in the same second, three days ago."""
    moment = now - 3 * DAY
    for i, flag in enumerate(dice.flags(len(updated), 0.125)):
        if flag and opened[i] < moment:
            updated[i] = moment

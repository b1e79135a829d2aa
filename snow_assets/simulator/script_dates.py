"""The ``javascript:`` expressions that queries may hold: an allow-list, read by a small parser, never run.

``gs`` date functions think in the zone of the signed-in user and answer in stored UTC; ``gs.getUserID()`` and
``gs.getUserName()`` name that user. Whatever is not listed in ``FUNCTIONS`` is refused, as a guarded instance does.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from snow_assets.simulator.clock import STORED


class ScriptRefusedError(Exception):
    """The expression is not one that a query may hold."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """On whose behalf, and when, an expression is read."""

    now: datetime
    zone: tzinfo
    user_id: str
    user_name: str


_CALL = re.compile(r"^\s*gs\.(\w+)\s*\((.*)\)\s*(?:\.\w+\(\))?\s*;?\s*$", re.DOTALL)
_ARGUMENT = re.compile(r"\s*(?:'([^']*)'|\"([^\"]*)\"|(-?\d+))\s*(?:,|$)")

_UNITS = ("minute", "hour", "day", "week", "month", "quarter", "year")


def evaluate(expression: str, speaker: Speaker) -> str:
    """The stored value that ``gs.daysAgoStart(7)`` and its like stand for. Raises ScriptRefusedError."""
    match = _CALL.match(expression)
    if not match:
        raise ScriptRefusedError(expression)
    function = FUNCTIONS.get(match[1])
    if function is None:
        raise ScriptRefusedError(expression)
    try:
        return function(speaker, *_arguments(match[2]))
    except (TypeError, ValueError, OverflowError) as error:
        raise ScriptRefusedError(expression) from error


def _arguments(text: str) -> list[str]:
    found: list[str] = []
    at = 0
    while text[at:].strip():
        match = _ARGUMENT.match(text, at)
        if not match:
            raise ValueError(text)
        found.append(next(part for part in match.groups() if part is not None))
        at = match.end()
    return found


def to_stored(moment: datetime) -> str:
    """An aware moment as a date-time column stores it."""
    return moment.astimezone(UTC).strftime(STORED)


def in_utc(text: str, zone: tzinfo) -> str:
    """A literal moment of ``zone`` as it is stored; any other text as it is."""
    try:
        return to_stored(datetime.strptime(text, STORED).replace(tzinfo=zone))
    except ValueError:
        return text


def shift(moment: datetime, unit: str, count: int) -> datetime:
    """``moment`` moved by ``count`` units; months, quarters and years keep the day where the month has it."""
    if unit in ("month", "quarter", "year"):
        months = moment.month - 1 + count * {"month": 1, "quarter": 3, "year": 12}[unit]
        year, month = moment.year + months // 12, months % 12 + 1
        return moment.replace(year=year, month=month, day=min(moment.day, calendar.monthrange(year, month)[1]))
    if unit in ("day", "week"):
        return moment + timedelta(days=count * (7 if unit == "week" else 1))
    return moment + timedelta(**{unit + "s": count})


def start_of(moment: datetime, unit: str) -> datetime:
    """The first second of the unit (minute to year) that holds ``moment``; weeks begin on Monday."""
    hour = moment.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    return {
        "minute": lambda: moment.replace(second=0, microsecond=0),
        "hour": lambda: hour,
        "day": lambda: day,
        "week": lambda: day - timedelta(days=day.weekday()),
        "month": lambda: day.replace(day=1),
        "quarter": lambda: day.replace(day=1, month=(day.month - 1) // 3 * 3 + 1),
        "year": lambda: day.replace(day=1, month=1),
    }[unit]()


def end_of(moment: datetime, unit: str) -> datetime:
    """The last second of the unit that holds ``moment``."""
    return shift(start_of(moment, unit), unit, 1) - timedelta(seconds=1)


def _local(speaker: Speaker) -> datetime:
    return speaker.now.astimezone(speaker.zone)


def _ago(unit: str) -> Callable[..., str]:
    def plain(speaker: Speaker, count: str) -> str:
        if unit in ("day", "week"):  # so many times 24 hours, whatever the clocks do meanwhile
            return to_stored(shift(speaker.now, unit, -int(count)))
        return to_stored(shift(_local(speaker), unit, -int(count)))

    return plain


def _ago_edge(unit: str, edge: Callable[[datetime, str], datetime]) -> Callable[..., str]:
    def bounded(speaker: Speaker, count: str) -> str:
        return to_stored(edge(shift(_local(speaker), unit, -int(count)), unit))

    return bounded


def _edge(unit: str, steps: int, edge: Callable[[datetime, str], datetime]) -> Callable[..., str]:
    def bounded(speaker: Speaker) -> str:
        return to_stored(edge(shift(start_of(_local(speaker), unit), unit, steps), unit))

    return bounded


def _date_generate(speaker: Speaker, date: str, time: str = "00:00:00") -> str:
    clock = {"start": "00:00:00", "end": "23:59:59"}.get(time.lower(), time)
    return to_stored(datetime.strptime(f"{date} {clock}", STORED).replace(tzinfo=speaker.zone))


def _functions() -> dict[str, Callable[..., str]]:
    table: dict[str, Callable[..., str]] = {
        "now": lambda who: _local(who).strftime("%Y-%m-%d"),
        "nowDateTime": lambda who: to_stored(who.now),
        "getUserID": lambda who: who.user_id,
        "getUserName": lambda who: who.user_name,
        "dateGenerate": _date_generate,
        "yesterday": lambda who: to_stored(shift(_local(who), "day", -1)),
        "datePart": lambda who, unit, value, operator="EE": f"{unit}@{value}@{operator}",
    }
    for unit in _UNITS:
        table[f"{unit}sAgo"] = _ago(unit)
        table[f"{unit}sAgoStart"] = _ago_edge(unit, start_of)
        table[f"{unit}sAgoEnd"] = _ago_edge(unit, end_of)
    for name, edge in (("beginningOf", start_of), ("endOf", end_of)):
        table |= {f"{name}Today": _edge("day", 0, edge), f"{name}Yesterday": _edge("day", -1, edge)}
        table[f"{name}Tomorrow"] = _edge("day", 1, edge)
        for unit in ("Hour", "Minute", "Week", "Month", "Quarter", "Year"):
            for which, steps in (("This", 0), ("Last", -1), ("Next", 1)):
                table[f"{name}{which}{unit}"] = _edge(unit.lower(), steps, edge)
    return table


FUNCTIONS = _functions()
"""Every ``gs`` function that a query may call."""

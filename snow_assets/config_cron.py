"""Cron schedules, checked without importing a scheduler."""

from __future__ import annotations

import re

_ALIASES = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, start=1)}
_DAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[0-9]+))?")


def check_cron(text: str) -> str:
    """``text`` itself where it is a cron schedule of five fields (or ``@daily`` and the like).

    Raises:
        ValueError: naming the field that cannot be read.
    """
    text = text.strip()
    if text in _ALIASES:
        return text
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError("is not a cron schedule of five fields, such as 0 2 * * *")
    for found, (what, low, high, words) in zip(fields, _FIELDS, strict=True):
        for part in found.lower().split(","):
            if not _is_part(part, low, high, words) and not (what == "day of month" and part == "l"):
                article = "an" if what == "hour" else "a"
                raise ValueError(f"has {article} {what} that is not between {low} and {high}: {found}")
    if not _comes(fields):
        raise ValueError("never comes: none of its months has such a day")
    return text


def _comes(fields: list[str]) -> bool:
    """Whether a day of the month is in one of the months. A weekday besides is an alternative to it."""
    _, _, day, month, weekday = (field.lower() for field in fields)
    if weekday != "*" or any(part.startswith("*") or part == "l" for part in day.split(",")):
        return True
    first = min(_number(re.split("[-/]", part)[0], {}) for part in day.split(","))
    parts = [re.split("[-/]", part) for part in month.split(",")]
    if any(part[0] == "*" or len(part) > 1 for part in parts):
        return True  # several months: a range or step nearly always meets a long one
    return any(first <= _LENGTHS[_number(part[0], _MONTHS) - 1] for part in parts)


def _is_part(part: str, low: int, high: int, words: dict[str, int]) -> bool:
    match = _PART.fullmatch(part)
    if not match or match["step"] == "0":
        return False
    ends = [_number(word, words) for word in (match["first"], match["last"]) if word is not None]
    return all(low <= end <= high for end in ends) and ends == sorted(ends)


def _number(word: str, words: dict[str, int]) -> int:
    return words.get(word, int(word) if word.isdecimal() else -1)

"""The cells of a record, read with ``display_value=all``: what people see of them, and what is stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Final, NamedTuple, TypeAlias

Record: TypeAlias = Mapping[str, Any]
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_LENGTH: Final = len("2026-11-20 10:00:00")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_LATEST_DURATION: Final = 1980  # durations and times of the day are stored as moments after 1970-01-01
_EPOCH_DAYS: Final = 719_163  # of 1970-01-01, as ``date.toordinal`` counts


class Cell(NamedTuple):
    """``label`` is what the instance shows, ``value`` what it stores; each is ``""`` where there is nothing."""

    label: str
    value: str
    is_reference: bool = False

    @property
    def is_moment(self) -> bool:
        """Whether a moment is stored, which is UTC. A duration is not, though it is stored like one."""
        return _is_stored_moment(self.value) and not self.is_duration

    @property
    def is_duration(self) -> bool:
        """Whether it is a duration or a time of the day: stored as a moment, and shown without any year."""
        if not _is_stored_moment(self.value) or not self.label or self.label == self.value:
            return False
        year = int(self.value[:4])
        return 1970 <= year < _LATEST_DURATION and not any(str(year + off) in self.label for off in (-1, 0, 1))

    @property
    def is_flag(self) -> bool:
        """Whether it is a boolean."""
        return self.value in ("true", "false") and self.label in ("", self.value)

    @property
    def iso(self) -> str:
        """A moment as ISO 8601: ``2026-11-20T10:00:00Z``."""
        return f"{self.value[:10]}T{self.value[11:]}Z"

    @property
    def text(self) -> str:
        """What people read: labels, times in UTC, dates as they are stored; ``""`` where there are only codes."""
        if self.is_moment:
            return readable(self.value)
        if self.label and _DATE.fullmatch(self.value):
            return self.value
        return self.plain

    @property
    def plain(self) -> str:
        """What is written in a field that holds words, word for word."""
        return self.label or ("" if self.is_reference else self.value)

    @property
    def is_secret(self) -> bool:
        """Whether it is a password: the instance shows stars, and may store it in clear."""
        return bool(self.label) and not self.label.strip("*")

    @property
    def is_written_down(self) -> bool:
        """Whether something is stored. A journal field shows all its entries and stores nothing; a password, stars."""
        return bool(self.value) and not self.is_secret


def without_secrets(record: Record) -> dict[str, Any]:
    """The record as it came, but of what the instance shows as stars these alone."""
    secret = {
        name: cell.label for name in record if (cell := cell_of(record, name)).is_secret and cell.label != cell.value
    }
    return {name: {**record[name], "value": secret[name]} if name in secret else record[name] for name in record}


def cell_of(record: Record, field: str) -> Cell:
    """The cell of a field, empty where the record has none."""
    given = record.get(field)
    if isinstance(given, dict):
        label, value = given.get("display_value"), given.get("value")
        return Cell("" if label is None else str(label), "" if value is None else str(value), "link" in given)
    return EMPTY if given is None else Cell(str(given), str(given))


def readable(stored: str) -> str:
    """A stored moment for people: ``2026-11-20 10:00 UTC``."""
    return f"{stored[:16]} UTC" if _is_stored_moment(stored) else stored


def _is_stored_moment(value: str) -> bool:
    return len(value) == _LENGTH and bool(_MOMENT.fullmatch(value))


def seconds_of(duration: str) -> int:
    """The seconds of a stored duration."""
    days = date.fromisoformat(duration[:10]).toordinal() - _EPOCH_DAYS
    hours, minutes, seconds = (int(part) for part in duration[11:].split(":"))
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


EMPTY: Final = Cell("", "")

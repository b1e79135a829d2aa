"""Display values: what a stored value looks like to one account (zone, date format, labels, names)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import TypeAlias

from snow_assets.simulator.dictionary import (
    DATE_TIME_TYPES,
    DURATION_TYPES,
    JOURNAL_TYPES,
    PASSWORD_TYPES,
    label_of,
    title_column,
)
from snow_assets.simulator.schema import ColumnDef
from snow_assets.simulator.store import Row, Store

Show: TypeAlias = Callable[[str, Row], str]  # stored value and the row that holds it -> display value

_SYS_ID = re.compile(r"[0-9a-f]{32}")
_DATE_FORMATS = {
    "yyyy-MM-dd": "%Y-%m-%d",
    "dd/MM/yyyy": "%d/%m/%Y",
    "MM-dd-yyyy": "%m-%d-%Y",
    "MM/dd/yyyy": "%m/%d/%Y",
    "dd.MM.yyyy": "%d.%m.%Y",
    "dd-MM-yyyy": "%d-%m-%Y",
}


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks: time zone and date format decide how dates read. Equal viewers see equal texts."""

    zone: tzinfo
    date_format: str = "yyyy-MM-dd"

    @property
    def pattern(self) -> str:
        """How a date is written, in the terms of ``strftime``."""
        return _DATE_FORMATS.get(self.date_format, "%Y-%m-%d")

    def date_time(self, stored: str) -> str:
        """A stored UTC date-time in the viewer's zone and format; text that is none comes back as it is."""
        return date_times(self)(stored)

    def date(self, stored: str) -> str:
        """A pure date in the viewer's format: no zone applies."""
        if self.date_format == "yyyy-MM-dd":
            return stored
        try:
            return datetime.fromisoformat(stored).strftime(self.pattern)
        except ValueError:
            return stored


@cache
def date_times(viewer: Viewer) -> Callable[[str], str]:
    """The function that shows date-times to a viewer. It converts each hour once, where zones differ by hours."""
    hours: dict[str, str] = {}
    pattern = f"{viewer.pattern} %H:"

    def show(stored: str) -> str:
        known = hours.get(stored[:13])
        if known is not None and len(stored) == 19:
            return known + stored[14:]
        try:
            moment = datetime.fromisoformat(stored).replace(tzinfo=UTC).astimezone(viewer.zone)
        except ValueError:
            return stored
        shift = moment.utcoffset()
        if shift is not None and shift.seconds % 3_600 == 0 and len(stored) == 19:
            hours[stored[:13]] = moment.strftime(pattern)
        return moment.strftime(pattern + "%M:%S")

    return show


def shower(column: ColumnDef, store: Store, viewer: Viewer) -> Show:
    """The function that displays a column. Journals read the entries of the row that they are given."""
    kind = column.type
    if kind in JOURNAL_TYPES:
        return _journal(column, store, viewer)
    plain = _plain(column, store, viewer)
    return lambda value, row: plain(value) if value else ""


def remembers(column: ColumnDef) -> bool:
    """Whether the display value depends on the stored one alone and repeats often enough to be worth keeping."""
    return bool(column.choices) or column.type in ("boolean", "reference", "sys_class_name", "integer")


def _plain(column: ColumnDef, store: Store, viewer: Viewer) -> Callable[[str], str]:
    kind = column.type
    if column.choices:
        labels = dict(column.choices)
        return lambda value: labels.get(value, value)
    if kind in DATE_TIME_TYPES:
        return date_times(viewer)
    if kind == "reference" and column.reference:
        return lambda value: _title(store, column, value)
    if kind == "glide_list" and column.reference:
        return lambda value: ", ".join(_member(store, column, one) for one in value.split(","))
    by_type: dict[str, Callable[[str], str]] = {
        "glide_date": viewer.date,
        "glide_time": lambda value: value[-8:],
        "integer": grouped,
        "longint": grouped,
        "currency": money,
        "price": money,
        "sys_class_name": label_of,
        **dict.fromkeys(DURATION_TYPES, duration),
        **dict.fromkeys(PASSWORD_TYPES, lambda value: "********"),
    }
    return by_type.get(kind, str)


def _title(store: Store, column: ColumnDef, value: str) -> str:
    """The name of what a reference points to; "" where a sys_id dangles, the value where it is none (``global``)."""
    row = store.lookup(column.reference, column.reference_key, value)
    if row is not None:
        return row.get(title_column(store.class_of(column.reference, row)), "")
    return "" if _SYS_ID.fullmatch(value) else value


def _member(store: Store, column: ColumnDef, value: str) -> str:
    """A member of a list: a name, or the value itself (an e-mail address, or a dangling sys_id)."""
    row = store.lookup(column.reference, "sys_id", value)
    return row.get(title_column(column.reference), "") if row is not None else value


def grouped(value: str) -> str:
    """An integer with its thousands marked: ``1,234``."""
    try:
        return f"{int(value):,}"
    except ValueError:
        return value


def money(value: str) -> str:
    """An amount of a currency or price column, as a locale with dollars shows it: ``$1,200.00``."""
    try:
        return f"${float(value):,.2f}"
    except ValueError:
        return value


def duration(stored: str) -> str:
    """``1970-01-02 04:46:44`` (the epoch plus the duration) as ``1 Day 4 Hours 46 Minutes``.

    Seconds show only where nothing else does.
    """
    try:
        seconds = int(datetime.fromisoformat(stored).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return stored
    days, rest = divmod(max(0, seconds), 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, 60)
    parts = [(days, "Day"), (hours, "Hour"), (minutes, "Minute")]
    shown = [f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in parts if count]
    return " ".join(shown) or f"{rest} Second{'' if rest == 1 else 's'}"


def _journal(column: ColumnDef, store: Store, viewer: Viewer) -> Show:
    """Newest entry first: ``<date> - <user> (<label>)``, the text, an empty line."""
    labels = {column.name: column.label}
    if column.type == "journal_list":
        labels = {"comments": "Additional comments", "work_notes": "Work notes"}
    names: dict[str, str] = {}

    def show(value: str, row: Row) -> str:
        entries = [entry for entry in store.journal(row["sys_id"]) if entry.get("element") in labels]
        if not entries:
            return ""
        if not names:
            people = store.rows_of("sys_user").values()
            names.update((one.get("user_name", ""), one.get("name", "")) for one in people)
        return "".join(_entry(entry, names, labels, viewer) for entry in reversed(entries))

    return show


def _entry(entry: Row, names: dict[str, str], labels: dict[str, str], viewer: Viewer) -> str:
    who = entry.get("sys_created_by", "")
    when = viewer.date_time(entry.get("sys_created_on", ""))
    return f"{when} - {names.get(who) or who} ({labels[entry['element']]})\n{entry.get('value', '')}\n\n"

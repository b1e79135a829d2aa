"""What comes in, as it is stored: references and choices by value or label, dates of a zone, numbers with commas."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from snow_assets.simulator.access import Access
from snow_assets.simulator.dictionary import DATE_TIME_TYPES, NUMBER_TYPES, has_classes, title_column
from snow_assets.simulator.display import Viewer
from snow_assets.simulator.key_index import Indexes
from snow_assets.simulator.schema import ColumnDef
from snow_assets.simulator.store import Store

SYSTEM = frozenset({"sys_created_on", "sys_created_by", "sys_updated_on", "sys_updated_by", "sys_mod_count"})
SYS_ID = re.compile(r"[0-9a-fA-F]{32}")


class WriteRefusedError(Exception):
    """A value that the instance does not take; the message is the detail of its 403."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """How the values of one request are read. ``display``: they are display values, dates in the account's zone."""

    access: Access
    table: str
    display: bool = False

    def values(self, given: Mapping[str, Any]) -> dict[str, str]:
        """The columns that a body sets, as stored; other names and system columns are ignored.

        Raises WriteRefusedError for what is no choice.
        """
        columns = self.access.store.columns.of(self.table)
        ignored = SYSTEM | {"sys_class_name"} if has_classes(self.table) else SYSTEM
        known = {name: text_of(value) for name, value in given.items() if name in columns and name not in ignored}
        read = {name: self._read(columns[name], value) for name, value in known.items()}
        return {name: value for name, value in read.items() if value is not None}

    def _read(self, column: ColumnDef, value: str) -> str | None:
        if column.choices:
            return self._choice(column, value)
        if not value:
            return ""
        if column.reference and column.type in ("reference", "glide_list"):
            find = self._reference if column.type == "reference" else self._members
            return find(column, value)
        return shown(column, value, self.access.viewer) if self.display else value

    def _choice(self, column: ColumnDef, value: str) -> str | None:
        """None leaves the column as it is: ``""`` clears everything but a choice."""
        values = dict(column.choices)
        if self.display:
            value = next((stored for stored, label in column.choices if label == value), value)
        if value in values or self.access.knobs.unknown_choices == "accept":
            return value
        if not value:
            return None
        raise WriteRefusedError(f"Invalid value '{value}' for choice field '{column.name}'")

    def _reference(self, column: ColumnDef, value: str) -> str:
        """By the other row's key or by its display value; a name that there is not is kept, unless ``display``."""
        found = referred(self.access.store, self.access.sim.indexes, column, value)
        return found if found is not None else ("" if self.display else value)

    def _members(self, column: ColumnDef, value: str) -> str:
        return ",".join(self._reference(column, one.strip()) or one.strip() for one in value.split(","))


def referred(store: Store, indexes: Indexes, column: ColumnDef, value: str, by: str = "") -> str | None:
    """What a reference to ``value`` stores: a key, or the row of that display value (or that ``by``), the first found.

    None where there is none; a sys_id is taken as it is, whether or not it dangles.
    """
    target, key = column.reference, column.reference_key
    if not store.has(target) or SYS_ID.fullmatch(value):
        return value.lower() if SYS_ID.fullmatch(value) else value
    if indexes.first(target, (key,), (value,), (False,)) is not None:
        return value
    found = indexes.first(target, (by or title_column(target),), (value,))
    return None if found is None else store.rows_of(target)[found].get(key, "")


def shown(column: ColumnDef, value: str, viewer: Viewer) -> str:
    """A display value as it is stored."""
    if column.type in DATE_TIME_TYPES:
        moment = parsed(value, f"{viewer.pattern} %H:%M:%S")
        return moment.replace(tzinfo=viewer.zone).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment else value
    if column.type == "glide_date":
        day = parsed(value, viewer.pattern)
        return day.strftime("%Y-%m-%d") if day else value
    return value.replace(",", "") if column.type in NUMBER_TYPES else value


def text_of(value: Any) -> str:
    """A JSON value as the platform stores it: nested ones as Java would print them, ``{a=1}``."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}={text_of(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(text_of(one) for one in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def parsed(text: str, pattern: str) -> datetime | None:
    """A moment written so; None where the text is none."""
    try:
        return datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone is the viewer's, and is added by the caller
    except ValueError:
        return None

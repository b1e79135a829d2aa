"""How a column's values are fetched and compared: numbers as numbers, text without regard to case, dates as text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from snow_assets.simulator.columns import Path
from snow_assets.simulator.dictionary import DATE_TIME_TYPES, NUMBER_TYPES, title_column
from snow_assets.simulator.script_dates import Speaker
from snow_assets.simulator.store import Row, Store

Getter: TypeAlias = Callable[[Row], str]
Value: TypeAlias = str | float

_ID_TYPES = frozenset({"reference", "GUID", "document_id"})  # compared by the collation
_EXACT_TYPES = _ID_TYPES | {"glide_date", "glide_time", "glide_duration", "timer"}


@dataclass(frozen=True, slots=True)
class Scope:
    """What terms are read against."""

    store: Store
    speaker: Speaker
    not_equal_drops_empty: bool = True
    zoned_dates: bool = False  # literal moments are in the speaker's zone, as in the list filter of the UI


@dataclass(frozen=True, slots=True)
class Operand:
    """A column as a term sees it: its stored and display text, and how literals and stored text compare."""

    path: Path
    stored: Getter
    display: Getter
    convert: Callable[[str], Value]

    @property
    def kind(self) -> str:
        """The column's internal type."""
        return self.path.column.type


def operand(path: Path, scope: Scope) -> Operand:
    """Make ready to read a column."""
    stored = getter(path, scope.store)
    column = path.column
    display = stored
    if column.type == "reference" and column.reference:
        title = title_column(column.reference)
        store, target, key = scope.store, column.reference, column.reference_key

        def display(row: Row) -> str:
            found = store.lookup(target, key, stored(row))
            return found.get(title, "") if found is not None else ""

    convert = scope.store.collate if column.type in _ID_TYPES else converter(column.type)
    return Operand(path, stored, display, convert)


def getter(path: Path, store: Store) -> Getter:
    """Read the stored value at the end of a path; "" through an empty or dangling reference."""
    name = path.column.name
    if path.local:
        return lambda row: row.get(name, "")

    def walk(row: Row) -> str:
        current: Row | None = row
        for hop in path.hops:
            value = current.get(hop.name, "") if current is not None else ""
            current = store.lookup(hop.reference, hop.reference_key, value) if value else None
            if current is None:
                return ""
        return current.get(name, "") if current is not None else ""

    return walk


def converter(kind: str) -> Callable[[str], Value]:
    """From text (stored or literal, not empty) to what is compared."""
    if kind in NUMBER_TYPES:
        return _number
    if kind == "boolean":
        return _boolean
    if kind in DATE_TIME_TYPES:
        return _date_time
    if kind in _EXACT_TYPES:
        return str
    return str.lower


def sort_key(operand: Operand) -> Callable[[Row], tuple[bool, Value]]:
    """The key of an ORDERBY: empty values first, references by their display value."""
    if operand.kind == "reference":
        return lambda row: ((text := operand.display(row)) != "", text.lower())
    stored, convert = operand.stored, operand.convert
    return lambda row: (True, convert(text)) if (text := stored(row)) else (False, "")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _boolean(text: str) -> str:
    return {"1": "true", "0": "false"}.get(text, text.lower())


def _date_time(text: str) -> str:
    return text + " 00:00:00" if len(text) == 10 else text

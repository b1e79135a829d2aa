"""One column of one row as the Table API words it: ``"priority":{"display_value":"4 - Low","value":"4"}``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from json.encoder import encode_basestring as quote
from typing import Literal, TypeAlias

from snow_assets.simulator.columns import Path
from snow_assets.simulator.dictionary import DATE_TIME_TYPES, JOURNAL_TYPES
from snow_assets.simulator.display import Show, Viewer, date_times, shower
from snow_assets.simulator.schema import ColumnDef
from snow_assets.simulator.store import Row, Store

Mode: TypeAlias = Literal["true", "false", "all"]
Word: TypeAlias = Callable[[str, Row], str]  # stored value and its row -> the member's text, key included


@dataclass(frozen=True, slots=True)
class Form:
    """What decides how rows are worded. ``base`` is the address that links begin with, version included."""

    table: str
    fields: tuple[str, ...]  # empty: all columns
    mode: Mode
    links: bool
    base: str
    viewer: Viewer
    hidden: frozenset[str] = frozenset()
    hidden_as_empty: bool = False
    null_unset_choices: bool = False


_SAME = frozenset({"string", "GUID", "boolean", "html", "url", "email", "script", "ph_number", "translated_text"})


def wording(name: str, path: Path, form: Form, store: Store) -> Word:
    """The function that words the column ``name``, which ``path`` reaches."""
    column = path.column
    show = shower(column, store, form.viewer)
    if column.type in JOURNAL_TYPES:
        return _journal(name, path, form, show)
    if column.type == "reference" and column.reference:
        return _reference(name, column, form, show)
    key = quote(name) + ":"
    if form.mode == "false":
        return lambda value, row: key + quote(value)
    if form.mode == "true":
        return lambda value, row: key + quote(show(value, row))
    return _both(key, column, form, show)


def _both(key: str, column: ColumnDef, form: Form, show: Show) -> Word:
    head, middle = key + '{"display_value":', ',"value":'
    if column.choices and form.null_unset_choices:
        return lambda value, row: head + (quote(show(value, row)) if value else "null") + middle + quote(value) + "}"
    if column.type in _SAME and not column.choices:

        def same(value: str, row: Row) -> str:
            text = quote(value)
            return head + text + middle + text + "}"

        return same
    if column.type in DATE_TIME_TYPES:
        when = date_times(form.viewer)  # digits: most need no escapes
        return lambda value, row: head + quote(when(value)) + middle + quote(value) + "}" if value else _empty(key)
    return lambda value, row: head + quote(show(value, row)) + middle + quote(value) + "}"


def _empty(key: str) -> str:
    return key + '{"display_value":"","value":""}'


def _journal(name: str, path: Path, form: Form, show: Show) -> Word:
    """Journals have no stored value; what they display is read from their entries, unless reached by a reference."""
    key = quote(name) + ":"
    if form.mode == "false":
        return lambda value, row: key + '""'

    def shown(row: Row) -> str:
        return quote("" if path.hops else show("", row))

    if form.mode == "true":
        return lambda value, row: key + shown(row)
    return lambda value, row: key + '{"display_value":' + shown(row) + ',"value":""}'


def _reference(name: str, column: ColumnDef, form: Form, show: Show) -> Word:
    by_key = f"?{column.reference_key}=" if column.reference_key != "sys_id" else "/"
    address = f"{form.base}/table/{column.reference}{by_key}"
    mode, links, key = form.mode, form.links, quote(name) + ":"

    def word(value: str, row: Row) -> str:
        if not value:
            return _empty(key) if mode == "all" else key + '""'
        parts = {"display_value": show(value, row)} if mode != "false" else {}
        if links:
            parts["link"] = address + value
        if mode != "true":
            parts["value"] = value
        if len(parts) == 1:
            return key + quote(next(iter(parts.values())))
        return key + "{" + ",".join(f'"{part}":{quote(text)}' for part, text in parts.items()) + "}"

    return word

"""Rows as the Table API words them: one JSON text per row, in each of the three display modes.

A ``Shape`` is compiled once for a table, field list, mode and viewer, and remembers the rows that it has rendered.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring as quote
from typing import Literal, TypeAlias

from snow_assets.simulator.dictionary import JOURNAL_TYPES, PASSWORD_TYPES, Path, column_map, resolve_path, root_of
from snow_assets.simulator.display import Viewer, remembers, shower
from snow_assets.simulator.operands import getter
from snow_assets.simulator.store import Row, Store

Mode: TypeAlias = Literal["true", "false", "all"]
Cell: TypeAlias = Callable[[Row], str]

_MAX_SHAPES = 32
_MAX_MEMO = 100_000


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


class Shape:
    """A compiled ``Form``."""

    def __init__(self, form: Form, store: Store) -> None:
        """Compile; names that are no columns are left out."""
        self.touches: set[str] = set()
        self.bytes = 0
        self._form, self._store = form, store
        self._known: dict[str, tuple[Row, bytes]] = {}
        names = form.fields or tuple(column_map(form.table))
        cells = [(name, self._cell(name)) for name in dict.fromkeys(names)]
        self.names = tuple(name for name, cell in cells if cell is not None)
        self._cells = [cell for _, cell in cells if cell is not None]
        template = ",".join(quote(name).replace("%", "%%") + ":%s" for name in self.names)
        self._template = "{" + template + "}"

    def render(self, rows: Sequence[Row]) -> list[bytes]:
        """One JSON object per row, UTF-8."""
        known = self._known
        return [
            hit[1] if (hit := known.get(row["sys_id"])) is not None and hit[0] is row else self._fresh(row)
            for row in rows
        ]

    def _fresh(self, row: Row) -> bytes:
        text = (self._template % tuple([cell(row) for cell in self._cells])).encode("utf-8", "replace")
        self._known[row["sys_id"]] = (row, text)
        self.bytes += len(text) + 150
        return text

    def _cell(self, name: str) -> Cell | None:
        path = resolve_path(self._form.table, name)
        if path is None:
            return None
        if name in self._form.hidden:
            return self._constant() if self._form.hidden_as_empty else None
        for hop in path.hops:
            self.touches.add(root_of(hop.reference))
        column = path.column
        if column.reference and column.type in ("reference", "glide_list"):
            self.touches.add(root_of(column.reference))
        if column.type in JOURNAL_TYPES:
            self.touches |= {"sys_journal_field", "sys_user"}
        make = self._wording(path)
        stored = getter(path, self._store)
        if remembers(column):
            return _memo(make, stored)
        return lambda row: make(stored(row), row)

    def _constant(self) -> Cell:
        text = '{"display_value":"","value":""}' if self._form.mode == "all" else '""'
        return lambda row: text

    def _wording(self, path: Path) -> Callable[[str, Row], str]:
        form, column = self._form, path.column
        show = shower(column, self._store, form.viewer)
        if column.type == "reference" and column.reference:
            return self._reference(path, show)
        blank = column.type in JOURNAL_TYPES
        masked = column.type in PASSWORD_TYPES
        if path.hops and blank:
            show = _nothing
        if form.mode == "true":
            return lambda value, row: quote(show(value, row))
        if form.mode == "false":
            return (lambda value, row: '""') if blank else lambda value, row: quote(value)
        if blank:
            return lambda value, row: '{"display_value":' + quote(show(value, row)) + ',"value":""}'
        if column.choices and form.null_unset_choices:
            return lambda value, row: _pair(quote(show(value, row)) if value else "null", quote(value))
        if column.type in _SAME and not column.choices and not masked:
            return _same
        return lambda value, row: _pair(quote(show(value, row)), quote(value))

    def _reference(self, path: Path, show: Callable[[str, Row], str]) -> Callable[[str, Row], str]:
        form, column = self._form, path.column
        by_key = f"?{column.reference_key}=" if column.reference_key != "sys_id" else "/"
        address = f"{form.base}/table/{column.reference}{by_key}"
        mode, links = form.mode, form.links

        def word(value: str, row: Row) -> str:
            if not value:
                return '{"display_value":"","value":""}' if mode == "all" else '""'
            parts = {"display_value": show(value, row)} if mode != "false" else {}
            if links:
                parts["link"] = address + value
            if mode != "true":
                parts["value"] = value
            if len(parts) == 1:
                return quote(next(iter(parts.values())))
            return "{" + ",".join(f'"{key}":{quote(text)}' for key, text in parts.items()) + "}"

        return word


_SAME = frozenset({"string", "GUID", "boolean", "html", "url", "email", "script", "ph_number", "translated_text"})


def _same(value: str, row: Row) -> str:
    text = quote(value)
    return '{"display_value":' + text + ',"value":' + text + "}"


def _pair(shown: str, value: str) -> str:
    return '{"display_value":' + shown + ',"value":' + value + "}"


def _nothing(value: str, row: Row) -> str:
    return ""


def _memo(make: Callable[[str, Row], str], stored: Callable[[Row], str]) -> Cell:
    known: dict[str, str] = {}

    def cell(row: Row) -> str:
        value = stored(row)
        text = known.get(value)
        if text is None:
            if len(known) > _MAX_MEMO:
                known.clear()
            text = known[value] = make(value, row)
        return text

    return cell


class Shapes:
    """The compiled shapes, forgotten when a row that they show by reference changes, or when they grow too big."""

    def __init__(self, store: Store, max_bytes: int) -> None:
        """Listen to ``store``; keep at most about ``max_bytes`` of rendered rows."""
        self._store, self.max_bytes = store, max_bytes
        self._shapes: OrderedDict[Form, Shape] = OrderedDict()
        self._lock = threading.Lock()
        store.on_change.append(self._forget)

    def get(self, form: Form) -> Shape:
        """The shape of a form."""
        with self._lock:
            shape = self._shapes.get(form)
            if shape is None:
                shape = self._shapes[form] = Shape(form, self._store)
                if len(self._shapes) > _MAX_SHAPES:
                    self._shapes.popitem(last=False)
            self._shapes.move_to_end(form)
            if sum(one.bytes for one in self._shapes.values()) > self.max_bytes:
                self._shapes.clear()
                shape = self._shapes[form] = Shape(form, self._store)
            return shape

    def _forget(self, table: str) -> None:
        root = root_of(table)
        with self._lock:
            for form in [form for form, shape in self._shapes.items() if root in shape.touches]:
                del self._shapes[form]

"""Rows as the Table API words them: one JSON text per row, in each of the three display modes.

A ``Shape`` is compiled once for a ``Form`` (table, field list, mode, viewer), and remembers the rows that it has
rendered. Rows are sparse: an empty column's text is made once, and a full row costs what it holds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring as quote
from typing import TypeAlias

from snow_assets.simulator.columns import Path
from snow_assets.simulator.dictionary import JOURNAL_TYPES, root_of
from snow_assets.simulator.display import remembers
from snow_assets.simulator.operands import getter
from snow_assets.simulator.store import Row, Store
from snow_assets.simulator.wording import Form, Mode, Word, wording

__all__ = ["Form", "Mode", "Shape", "Shapes"]

Cell: TypeAlias = Callable[[Row], str]

_MAX_SHAPES = 32
_MAX_MEMO = 100_000
_NARROW = 30  # columns up to which a row is read by column, not by what it holds


class _Texts(dict[str, str]):
    """The texts of the values of one column, made when first met. For columns whose values repeat."""

    def __init__(self, word: Word) -> None:
        super().__init__()
        self._word = word

    def __missing__(self, value: str) -> str:
        if len(self) > _MAX_MEMO:
            self.clear()
        text = self[value] = self._word(value, _NO_ROW)
        return text


_NO_ROW: Row = {"sys_id": ""}
_Slot: TypeAlias = tuple[int, _Texts | None, Word]  # one of the row's own columns: its place and its texts


class Shape:
    """A compiled ``Form``."""

    def __init__(self, form: Form, store: Store) -> None:
        """Compile; names that are no columns are left out."""
        self.touches: set[str] = set()
        self.bytes = 0
        self.full = False  # no further rows are remembered
        self._form, self._store = form, store
        self.columns = columns = store.columns
        self._rendered: dict[str, tuple[Row, bytes]] = {}
        self._defaults: list[str] = []
        self._slots: dict[str, _Slot] = {}
        self._computed: list[tuple[int, Cell]] = []  # walked paths: not to be found in the row itself
        self._journals: list[tuple[int, Word]] = []
        names: list[str] = []
        for name in dict.fromkeys(form.fields or columns.of(form.table)):
            path = columns.resolve(form.table, name)
            if path is not None and (name not in form.hidden or form.hidden_as_empty):
                self._add(name, path)
                names.append(name)
        self.names = tuple(names)

    def render(self, rows: Sequence[Row]) -> list[bytes]:
        """One JSON object per row, UTF-8."""
        done = self._rendered
        return [
            hit[1] if (hit := done.get(row["sys_id"])) is not None and hit[0] is row else self._fresh(row)
            for row in rows
        ]

    def _fresh(self, row: Row) -> bytes:
        texts = self._defaults.copy()
        slots = self._slots
        if len(slots) <= _NARROW:
            for name, (at, known, word) in slots.items():
                if value := row.get(name):
                    texts[at] = word(value, row) if known is None else known[value]
        else:
            for name, value in row.items():
                if value and (found := slots.get(name)) is not None:
                    at, known, word = found
                    texts[at] = word(value, row) if known is None else known[value]
        for at, cell in self._computed:
            texts[at] = cell(row)
        if self._journals and self._store.journal(row["sys_id"]):
            for at, word in self._journals:
                texts[at] = word("", row)
        text = ("{" + ",".join(texts) + "}").encode("utf-8", "replace")
        if not self.full:
            self._rendered[row["sys_id"]] = (row, text)
            self.bytes += len(text) + 150
        return text

    def _add(self, name: str, path: Path) -> None:
        """Give the column its place."""
        column, at = path.column, len(self._defaults)
        if name in self._form.hidden:
            empty = '{"display_value":"","value":""}' if self._form.mode == "all" else '""'
            self._defaults.append(f"{quote(name)}:{empty}")
            return
        self.touches.update(root_of(hop.reference) for hop in path.hops)
        if column.reference and column.type in ("reference", "glide_list"):
            self.touches.add(root_of(column.reference))
        word = wording(name, path, self._form, self._store)
        if column.type in JOURNAL_TYPES:
            self.touches |= {"sys_journal_field", "sys_user"}
            self._journals.append((at, word))
        elif path.hops:
            stored = getter(path, self._store)
            self._computed.append((at, lambda row: word(stored(row), row)))
        else:
            self._slots[name] = (at, _Texts(word) if remembers(column) else None, word)
        self._defaults.append(word("", _NO_ROW))


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
            if shape is None or shape.columns is not self._store.columns:
                shape = self._shapes[form] = Shape(form, self._store)
            self._shapes.move_to_end(form)
            self._make_room(shape)
            return shape

    def kept(self) -> list[Shape]:
        """The shapes that are remembered, the latest last."""
        with self._lock:
            return list(self._shapes.values())

    def _make_room(self, shape: Shape) -> None:
        """Forget the shapes that were not used for longest; where one alone is too big, it grows no further."""
        total = sum(one.bytes for one in self._shapes.values())
        while len(self._shapes) > 1 and (total > self.max_bytes or len(self._shapes) > _MAX_SHAPES):
            _, oldest = self._shapes.popitem(last=False)
            total -= oldest.bytes
        shape.full = total > self.max_bytes

    def _forget(self, table: str) -> None:
        root = root_of(table)
        with self._lock:
            for form in [form for form, shape in self._shapes.items() if root in shape.touches]:
                del self._shapes[form]

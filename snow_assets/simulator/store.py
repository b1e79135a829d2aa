"""The rows of the instance: by table and sys_id, with sorted keys, cached filters and mutation.

Rows are never changed in place: an update puts a new dict in the old one's place, so whoever holds a row holds one
version of it. A *view* is what a query of a table sees (its rows and those of every class that extends it).
"""

from __future__ import annotations

import hashlib
import threading
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from snow_assets.simulator.clock import Clock
from snow_assets.simulator.collation import COLLATIONS, Collate, CollationName
from snow_assets.simulator.columns import Columns
from snow_assets.simulator.dictionary import (
    exists,
    family,
    has_classes,
    is_view,
    lineage,
    root_of,
    title_column,
)
from snow_assets.simulator.schema import MADE
from snow_assets.simulator.views import VIEWS

Row: TypeAlias = Mapping[str, str]
Predicate: TypeAlias = Callable[[Row], bool]

_MAX_FILTERS = 64
_MAX_ORDERS = 32


@dataclass(slots=True)
class _Filter:
    predicate: Predicate
    ids: list[str]


@dataclass(slots=True)
class View:
    """What a query of ``table`` can see: sorted sys_ids, and results of earlier filters and sorts."""

    table: str
    ids: list[str]
    filters: OrderedDict[Hashable, _Filter] = field(default_factory=OrderedDict)
    orders: OrderedDict[Hashable, tuple[list[str], list[Hashable]]] = field(default_factory=OrderedDict)


class Store:
    """All rows. Guard reads that must agree with each other by ``lock`` (re-entrant)."""

    def __init__(self, tables: Mapping[str, Iterable[Row]], clock: Clock, collation: CollationName = "nocase") -> None:
        """``tables`` maps each real class to its rows of stored values; ``collation`` orders the sys_ids."""
        self.collate: Collate = COLLATIONS[collation]
        self.lock = threading.RLock()
        self.clock = clock
        self.columns = Columns()
        self.generation = 0  # counts mutations
        self.on_change: list[Callable[[str], None]] = []  # called with the class of the row that changed
        self.on_row: list[Callable[[str, str, Row | None], None]] = []  # with its class, sys_id and new version
        self.unlogged: Callable[[str], bool] = lambda table: False  # whether a class's deletions leave no trace
        self.graves: dict[str, tuple[str, Row]] = {}  # deleted rows by sys_id, with their class
        self.made: set[str] = set()  # tables that it was given while it ran
        self._rows: dict[str, dict[str, Row]] = {}
        self._views: dict[str, View] = {}
        self._joined: dict[str, tuple[int, dict[str, Row], View]] = {}  # database views, by generation
        self._journals: dict[str, list[Row]] | None = None
        self._new_ids = 0
        for table, rows in tables.items():
            self._load(table, rows)

    def _load(self, table: str, rows: Iterable[Row]) -> None:
        into = self._rows.setdefault(root_of(table) if exists(table) else table, {})
        if exists(table) and has_classes(table):
            for row in rows:
                named = row.get("sys_class_name") == table
                into[row["sys_id"]] = row if named else {**row, "sys_class_name": table}
        else:
            into.update((row["sys_id"], row) for row in rows)

    # -- reading ------------------------------------------------------------------------------------------------

    def has(self, table: str) -> bool:
        """Whether this instance has the table or view."""
        return table in self.made if table in MADE else exists(table)

    def class_of(self, table: str, row: Row) -> str:
        """The real class of a row found in ``table``."""
        return row["sys_class_name"] if has_classes(table) else table

    def rows_of(self, table: str) -> Mapping[str, Row]:
        """Every row of the table's whole hierarchy by sys_id, in order of insertion."""
        if is_view(table):
            return self._join(table)[1]
        return self._rows.get(root_of(table), {})

    def find(self, table: str, sys_id: str) -> Row | None:
        """The row with this sys_id, if the table or a class that extends it holds one."""
        row = self.rows_of(table).get(sys_id)
        return row if row is not None and self.class_of(table, row) in family(table) else None

    def lookup(self, table: str, key: str, value: str) -> Row | None:
        """The first row whose column ``key`` is ``value``: how references by name are followed."""
        if key == "sys_id":
            return self.rows_of(table).get(value)
        return next((row for row in self.rows_of(table).values() if row.get(key) == value), None)

    def view(self, table: str) -> View:
        """The view of a table, built at first use."""
        with self.lock:
            if is_view(table):
                return self._join(table)[2]
            if table not in self._views:
                rows = self.rows_of(table)
                if has_classes(table):
                    classes = family(table)
                    ids = sorted(
                        (key for key, row in rows.items() if row["sys_class_name"] in classes), key=self.collate
                    )
                else:
                    ids = sorted(rows, key=self.collate)
                self._views[table] = View(table, ids)
            return self._views[table]

    def _join(self, name: str) -> tuple[int, dict[str, Row], View]:
        """The rows of a database view as they are now: joined anew after every change."""
        with self.lock:
            known = self._joined.get(name)
            if known is None or known[0] != self.generation:
                rows = VIEWS[name].join(lambda table: map(self.rows_of(table).__getitem__, self.view(table).ids))
                known = self._joined[name] = (self.generation, rows, View(name, sorted(rows)))
            return known

    def filtered(self, table: str, key: Hashable, predicate: Predicate, *, keep: bool = True) -> list[str]:
        """Sorted sys_ids of the rows that satisfy ``predicate``; remembered under ``key`` and kept up to date.

        ``keep=False`` is for predicates that read more than the row itself: their result holds for one generation.
        """
        with self.lock:
            view = self.view(table)
            kept: Hashable = key if keep else (self.generation, key)
            known = view.filters.get(kept)
            if known is None:
                rows = self.rows_of(table)
                known = _Filter(predicate, [one for one in view.ids if predicate(rows[one])])
                view.filters[kept] = known
                if len(view.filters) > _MAX_FILTERS:
                    view.filters.popitem(last=False)
            view.filters.move_to_end(kept)
            return known.ids

    def journal(self, sys_id: str) -> list[Row]:
        """Journal entries of a record, oldest first."""
        with self.lock:
            if self._journals is None:
                entries: dict[str, list[Row]] = {}
                for row in self.rows_of("sys_journal_field").values():
                    entries.setdefault(row.get("element_id", ""), []).append(row)
                for found in entries.values():
                    found.sort(key=lambda row: (row.get("sys_created_on", ""), row["sys_id"]))
                self._journals = entries
            return self._journals.get(sys_id, [])

    # -- changing -----------------------------------------------------------------------------------------------

    def insert(self, table: str, row: Row, user: str = "admin") -> str:
        """Add a row of class ``table``; system columns that it lacks are filled in. Returns its sys_id."""
        if not self.has(table):
            raise KeyError(table)
        with self.lock:
            now = self.clock.stored()
            system = {
                "sys_created_on": now,
                "sys_updated_on": now,
                "sys_created_by": user,
                "sys_updated_by": user,
                "sys_mod_count": "0",
            }
            new = {**system, **row, "sys_id": row.get("sys_id") or self._new_id()}
            if has_classes(table):
                new["sys_class_name"] = table
            if new["sys_id"] in self.rows_of(table):
                raise ValueError(f"{table} already has a row {new['sys_id']}")
            self._put(table, None, new)
            return new["sys_id"]

    def update(
        self, table: str, sys_id: str, values: Mapping[str, str], user: str = "admin", *, quiet: bool = False
    ) -> Row:
        """Change columns of a row. Nothing is written when nothing changes; ``quiet`` leaves the system columns alone.

        A new ``sys_class_name`` reclassifies the row in place. Raises KeyError when there is no such row.
        """
        with self.lock:
            old = self.find(table, sys_id)
            if old is None:
                raise KeyError(sys_id)
            if all(old.get(name, "") == value for name, value in values.items()):
                return old
            new = {**old, **values}
            if not quiet:
                stamp = {
                    "sys_updated_on": self.clock.stored(),
                    "sys_updated_by": user,
                    "sys_mod_count": str(int(old.get("sys_mod_count") or "0") + 1),
                }
                new.update((name, value) for name, value in stamp.items() if name not in values)
            self._put(self.class_of(table, old), old, new)
            return new

    def delete(self, table: str, sys_id: str, user: str = "admin", *, log: bool = True) -> None:
        """Remove a row; the delete log gets an entry under its real class unless ``log`` is False."""
        with self.lock:
            old = self.find(table, sys_id)
            if old is None:
                raise KeyError(sys_id)
            real = self.class_of(table, old)
            self._put(real, old, None)
            self.graves[sys_id] = (real, old)
            if log and not self.unlogged(real):
                entry = {"tablename": real, "documentkey": sys_id, "user": user}
                self.insert("sys_audit_delete", {**entry, "display_value": old.get(title_column(real), "")}, user)

    def put(self, table: str, row: Row) -> None:
        """Add or replace a row of class ``table`` as it is, system columns included."""
        with self.lock:
            new = {**row, "sys_class_name": table} if has_classes(table) else row
            self._put(table, self.rows_of(table).get(row["sys_id"]), new)

    def alter(self, table: str, columns: Columns) -> None:
        """Let ``columns`` hold from now on, which differ in those of ``table``; rows lose the values of others."""
        with self.lock:
            gone = {one: set(self.columns.of(one)) - set(columns.of(one)) for one in family(table)}
            self.columns = columns
            rows = self._rows.get(root_of(table), {})
            for sys_id, row in rows.items():
                lost = gone.get(self.class_of(table, row), set()) & row.keys()
                if lost:
                    rows[sys_id] = {name: value for name, value in row.items() if name not in lost}
            for view in self._views.values():  # terms that were valid may be none now, or compare otherwise
                view.filters.clear()
                view.orders.clear()
            self.generation += 1

    def _new_id(self) -> str:
        self._new_ids += 1
        return hashlib.md5(f"inserted {self._new_ids}".encode(), usedforsecurity=False).hexdigest()

    def _put(self, table: str, old: Row | None, new: Row | None) -> None:
        """Replace ``old`` by ``new`` (None: absent) in the rows, the views and the remembered filters."""
        rows = self._rows.setdefault(root_of(table), {})
        gone = lineage(self.class_of(table, old)) if old is not None else ()
        come = lineage(self.class_of(table, new)) if new is not None else ()
        if new is not None:
            rows[new["sys_id"]] = new
            self.graves.pop(new["sys_id"], None)
        elif old is not None:
            del rows[old["sys_id"]]
        for name in {*gone, *come}:
            view = self._views.get(name)
            if view is not None:
                _refresh(view, old if name in gone else None, new if name in come else None, self.collate)
        self.generation += 1
        if table == "sys_journal_field":
            self._journals = None
        for listener in self.on_change:
            listener(table)
        changed = new or old
        if changed is not None:
            for hearer in self.on_row:
                hearer(table, changed["sys_id"], new)


def _refresh(view: View, old: Row | None, new: Row | None, collate: Collate) -> None:
    """Bring a view up to date after one row changed."""
    row = new or old
    if row is None:
        return
    view.orders.clear()
    _place(view.ids, row["sys_id"], new is not None, collate)
    for known in view.filters.values():
        _place(known.ids, row["sys_id"], new is not None and known.predicate(new), collate)


def _place(ids: list[str], sys_id: str, present: bool, collate: Collate) -> None:
    at = bisect_left(ids, collate(sys_id), key=collate)
    there = at < len(ids) and ids[at] == sys_id
    if present and not there:
        insort(ids, sys_id, key=collate)
    elif there and not present:
        del ids[at]

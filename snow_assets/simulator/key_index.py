"""Rows by the values of some of their columns, kept up to date: what coalescing and display values are looked up by."""

from __future__ import annotations

from typing import TypeAlias

from snow_assets.simulator.dictionary import family, root_of
from snow_assets.simulator.store import Row, Store

Key: TypeAlias = tuple[str, ...]
Folds: TypeAlias = tuple[bool, ...]  # column by column: whether upper and lower case are the same


class KeyIndex:
    """The sys_ids of the rows of a table by the values of ``columns``."""

    def __init__(self, store: Store, table: str, columns: Key, folds: Folds) -> None:
        """Read the table once; ``heard`` keeps up with its changes."""
        self._table, self._columns, self._folds = table, columns, folds
        self._found: dict[Key, set[str]] = {}
        self._keys: dict[str, Key] = {}
        for sys_id, row in store.rows_of(table).items():
            self.heard(store.class_of(table, row), sys_id, row)

    def first(self, values: Key) -> str | None:
        """The lowest sys_id of the rows with these values; None where there is none."""
        found = self._found.get(self._folded(values))
        return min(found) if found else None

    def heard(self, table: str, sys_id: str, row: Row | None) -> None:
        """Learn of a row's new version."""
        old = self._keys.pop(sys_id, None)
        if old is not None:
            known = self._found[old]
            known.discard(sys_id)
            if not known:
                del self._found[old]
        if row is not None and table in family(self._table):
            key = self._folded(tuple(row.get(name, "") for name in self._columns))
            self._keys[sys_id] = key
            self._found.setdefault(key, set()).add(sys_id)

    def _folded(self, values: Key) -> Key:
        return tuple(value.lower() if fold else value for value, fold in zip(values, self._folds, strict=True))


class Indexes:
    """The indexes of one store, each made when it is first asked for. Guarded by the store's lock."""

    def __init__(self, store: Store) -> None:
        """Listen to ``store``."""
        self._store = store
        self._known: dict[tuple[str, Key, Folds], KeyIndex] = {}
        self._by_root: dict[str, list[KeyIndex]] = {}
        store.on_row.append(self._heard)

    def first(self, table: str, columns: Key, values: Key, folds: Folds | None = None) -> str | None:
        """The lowest sys_id of the rows of ``table`` whose ``columns`` are ``values``, case aside unless said."""
        how = folds or (True,) * len(columns)
        with self._store.lock:
            index = self._known.get((table, columns, how))
            if index is None:
                index = self._known[table, columns, how] = KeyIndex(self._store, table, columns, how)
                self._by_root.setdefault(root_of(table), []).append(index)
            return index.first(values)

    def _heard(self, table: str, sys_id: str, row: Row | None) -> None:
        real = self._store.class_of(table, row) if row is not None else table
        for index in self._by_root.get(root_of(table), ()):
            index.heard(real, sys_id, row)

"""Changing the columns of a running instance: its answers, its dictionary, labels and choices change together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from snow_assets.simulator.dictionary import is_view, make_table
from snow_assets.simulator.generate_platform import choice_entries, column_entry, label_entry, table_entries
from snow_assets.simulator.schema import ColumnDef
from snow_assets.simulator.store import Row, Store

_DESCRIBING = ("sys_dictionary", "sys_documentation", "sys_choice")


def add(store: Store, table: str, column: ColumnDef) -> None:
    """Add a column to a table. Raises ValueError where the table defines it already, or it refers to no table."""
    with store.lock:
        _must_be_a_table(store, table)
        own = store.columns.own(table)
        if any(known.name == column.name for known in own):
            raise ValueError(f"{table} has a column {column.name} already")
        if column.reference and not store.has(column.reference):
            raise ValueError(f"column {column.name} refers to {column.reference}, and there is no such table")
        store.alter(table, store.columns.with_own(table, (*own, column)))
        _describe(store, table, column)


def add_table(store: Store, table: str, label: str, parent: str, columns: tuple[ColumnDef, ...]) -> None:
    """Give the instance a table that extends ``parent``. Raises ValueError where it has one of that name."""
    with store.lock:
        if store.has(table):
            raise ValueError(f"there is a table {table} already")
        make_table(table, label, parent)
        store.made.add(table)
        for kind, row in table_entries(table, label, parent):
            store.put(kind, row)
        store.alter(table, store.columns.with_own(table, columns))
        for column in columns:
            _describe(store, table, column)


def change(store: Store, table: str, name: str, parts: Mapping[str, Any]) -> None:
    """Change parts of a column that the table defines, or the choices of one that it inherits. Raises KeyError."""
    with store.lock:
        _must_be_a_table(store, table)
        own = store.columns.own(table)
        if name not in store.columns.of(table):
            raise KeyError(f"{table}.{name}")
        if not any(known.name == name for known in own):
            if set(parts) != {"choices"}:
                raise ValueError(f"{table} inherits the column {name}: only its choices can be its own")
            store.alter(table, store.columns.with_choices(table, name, parts["choices"]))
            _replace_rows(store, table, name, ("sys_choice",), choice_entries(table, name, parts["choices"]))
            return
        changed = tuple(replace(known, **parts) if known.name == name else known for known in own)
        store.alter(table, store.columns.with_own(table, changed))
        _describe(store, table, next(known for known in changed if known.name == name))


def drop(store: Store, table: str, name: str) -> None:
    """Remove a column, with its values, from the table that defines it. Raises KeyError where it does not."""
    with store.lock:
        _must_be_a_table(store, table)
        own = store.columns.own(table)
        kept = tuple(known for known in own if known.name != name)
        if len(kept) == len(own):
            raise KeyError(f"{table}.{name}")
        store.alter(table, store.columns.with_own(table, kept))
        _replace_rows(store, table, name, _DESCRIBING, ())


def _must_be_a_table(store: Store, table: str) -> None:
    if not store.has(table) or is_view(table):
        raise ValueError(f"there is no table {table}")


def _describe(store: Store, table: str, column: ColumnDef) -> None:
    """Bring the rows that describe a column up to date."""
    for each, rows in (
        ("sys_dictionary", [column_entry(table, column)]),
        ("sys_documentation", [label_entry(table, column)]),
        ("sys_choice", choice_entries(table, column.name, column.choices)),
    ):
        _replace_rows(store, table, column.name, (each,), rows)


def _replace_rows(store: Store, table: str, name: str, described: Iterable[str], rows: Iterable[Row]) -> None:
    """Put ``rows`` in the place of those that describe a column; no delete log is kept of such rows."""
    now = store.clock.stored()
    for each in described:
        old = [row["sys_id"] for row in store.rows_of(each).values()
               if row.get("name") == table and row.get("element") == name
               and row.get("sys_class_name", each) == each]  # fmt: skip
        for sys_id in old:
            store.delete(each, sys_id, log=False)
        for row in rows:
            store.put(each, {**row, "sys_updated_on": now})

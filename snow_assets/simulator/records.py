"""How a record is made or changed from outside: numbers, names, journals, and the fields that must be there.

What tests do to the rows themselves goes past this, straight to the ``Store``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from snow_assets.simulator.dictionary import JOURNAL_TYPES, lineage
from snow_assets.simulator.incoming import WriteRefusedError
from snow_assets.simulator.store import Row, Store

if TYPE_CHECKING:
    from snow_assets.simulator.instance import Simulator

_PREFIXES = {
    "incident": "INC",
    "problem": "PRB",
    "change_request": "CHG",
    "incident_task": "TASK",
    "change_task": "CTASK",
    "sys_import_set": "ISET",
    "sys_import_set_run": "RUN",
    "sys_multi_import_set": "MISET",
}
_FIRST_NUMBER = 10_001


class Numbers:
    """The next number of each table that counts its records: ``INC0010001``. Guarded by the store's lock."""

    def __init__(self, store: Store) -> None:
        """Count on from the rows of ``store``."""
        self._store, self._lock = store, threading.Lock()
        self._next: dict[str, int] = {}

    def take(self, table: str) -> str:
        """A number that no record of the table has; "" where its records have none."""
        prefix = _PREFIXES.get(table)
        if prefix is None:
            return ""
        with self._store.lock, self._lock:
            if table not in self._next:
                texts = (row.get("number", "").removeprefix(prefix) for row in self._store.rows_of(table).values())
                self._next[table] = max((int(text) + 1 for text in texts if text.isdecimal()), default=0)
            number = max(self._next[table], _FIRST_NUMBER)
            self._next[table] = number + 1
            return f"{prefix}{number:07d}"


def insert(sim: Simulator, table: str, values: Mapping[str, str], user: str) -> str:
    """Add a record. Raises WriteRefusedError for a missing field, ValueError for a sys_id that is taken."""
    store = sim.store
    row, entries = _split(store, table, values)
    if not row.get("number") and (number := sim.numbers.take(table)):
        row["number"] = number
    if (
        "sys_domain" in store.columns.of(table) and "sys_import_set" not in row
    ):  # a staged row says only what it was told
        row["sys_domain"] = row.get("sys_domain") or "global"
    _name(table, {}, row)
    with store.lock:
        _demand(sim, table, row)
        sys_id = store.insert(table, row, user)
        _note(store, table, sys_id, entries, user)
    return sys_id


def update(sim: Simulator, table: str, sys_id: str, values: Mapping[str, str], user: str) -> Row:
    """Change a record. Raises KeyError where there is none, WriteRefusedError for a field that may not be empty."""
    store = sim.store
    with store.lock:
        old = store.find(table, sys_id)
        if old is None:
            raise KeyError(sys_id)
        changed, entries = _split(store, table, values)
        _name(table, old, changed)
        _demand(sim, store.class_of(table, old), {**old, **changed})
        row = store.update(table, sys_id, changed, user)
        _note(store, store.class_of(table, row), sys_id, entries, user)
        return row


def _split(store: Store, table: str, values: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The columns proper, and the texts for the journal, whose columns themselves stay empty."""
    columns = store.columns.of(table)
    entries = {name: value for name, value in values.items() if columns[name].type in JOURNAL_TYPES}
    return {name: value for name, value in values.items() if name not in entries}, entries


def _note(store: Store, table: str, sys_id: str, entries: Mapping[str, str], user: str) -> None:
    for element, value in entries.items():
        if value:
            entry = {"name": table, "element": element, "element_id": sys_id, "value": value}
            store.insert("sys_journal_field", entry, user)


def _name(table: str, old: Row, row: dict[str, str]) -> None:
    """The name of a user is made of the others, where it is not written itself."""
    if table == "sys_user" and "name" not in row and ("first_name" in row or "last_name" in row):
        parts = (row.get(each, old.get(each, "")) for each in ("first_name", "last_name"))
        row["name"] = " ".join(part for part in parts if part)


def _demand(sim: Simulator, table: str, row: Row) -> None:
    """The data policies: fields that a record of the table may not lack."""
    rules = sim.knobs.mandatory_fields
    if not rules:
        return
    columns = sim.store.columns.of(table)
    wanted = {name for one in lineage(table) for name in rules.get(one, ())}
    missing = [columns[name].label for name in sorted(wanted) if name in columns and not row.get(name)]
    if missing:
        fields = ", ".join(missing)
        raise WriteRefusedError(f"Data Policy Exception: The following fields are mandatory: {fields}")

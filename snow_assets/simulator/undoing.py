"""What becomes of a row besides being written: undeletion, another class, the end of its entry in the delete log."""

from __future__ import annotations

from datetime import UTC, datetime

from snow_assets.simulator.clock import STORED
from snow_assets.simulator.dictionary import exists, has_classes, root_of
from snow_assets.simulator.store import Row, Store


def undelete(store: Store, sys_id: str) -> Row:
    """Bring a deleted row back as it was. KeyError when none of this sys_id was deleted."""
    with store.lock:
        table, row = store.graves[sys_id]
        store.put(table, row)
        entry = dict.fromkeys(("fieldname", "oldvalue", "newvalue"), "RECOVERED")
        store.insert("sys_audit", {**entry, "tablename": table, "documentkey": sys_id, "user": "admin"})
        return row


def reclassify(store: Store, table: str, sys_id: str, into: str) -> Row:
    """Change a row's class in place: same sys_id, other columns, and its update count moves on."""
    if not exists(into) or not has_classes(into) or root_of(into) != root_of(table):
        raise ValueError(f"a row of {table} cannot become one of {into}")
    with store.lock:
        if store.find(table, sys_id) is None:
            raise KeyError(sys_id)
        row = store.update(table, sys_id, {"sys_class_name": into})
        kept = {name: value for name, value in row.items() if name in store.columns.of(into)}
        store.put(into, kept)
        return kept


def prune_deletions(store: Store, before: datetime) -> int:
    """Forget entries of the delete log that were made before a moment (UTC where it has no zone)."""
    moment = before.astimezone(UTC) if before.tzinfo else before
    text = moment.strftime(STORED)
    with store.lock:
        rows = store.rows_of("sys_audit_delete")
        old = [sys_id for sys_id, row in rows.items() if row.get("sys_created_on", "") < text]
        for sys_id in old:
            store.delete("sys_audit_delete", sys_id, log=False)
        return len(old)

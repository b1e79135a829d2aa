"""Writing through the Table API: insert, update, delete. Enough to change data during a test; no business rules run."""

from __future__ import annotations

import json
from typing import Any

from snow_assets.simulator.access import Access
from snow_assets.simulator.dictionary import exists, has_classes, is_view
from snow_assets.simulator.store import Row
from snow_assets.simulator.tables import NOT_FOUND, Place, shape_for
from snow_assets.simulator.wire import Asked, Reply, failure

_SYSTEM = frozenset(
    {"sys_created_on", "sys_created_by", "sys_updated_on", "sys_updated_by", "sys_mod_count", "sys_class_name"}
)
_DEEDS = {"POST": "Insert", "DELETE": "Delete", "PUT": "Update", "PATCH": "Update"}


def write_row(access: Access, asked: Asked, place: Place, table: str, sys_id: str | None) -> Reply:
    """``POST /table/{t}``, ``PUT`` or ``PATCH /table/{t}/{id}``, ``DELETE /table/{t}/{id}``."""
    if not exists(table):
        return failure(400, f"Invalid table {table}")
    if is_view(table):
        return failure(
            403, "Operation Failed", f"ACL Exception {_DEEDS[asked.method]} Failed due to security constraints"
        )
    if (asked.method == "POST") is (sys_id is not None):
        return failure(405, "Method not supported")
    if asked.method == "DELETE":
        return _delete(access, table, sys_id or "")
    values = _values(access, asked, table)
    if isinstance(values, Reply):
        return values
    return (
        _insert(access, asked, place, table, values)
        if sys_id is None
        else _update(access, asked, place, table, sys_id, values)
    )


def _insert(access: Access, asked: Asked, place: Place, table: str, values: dict[str, str]) -> Reply:
    try:
        sys_id = access.store.insert(table, values, access.account.user_name)
    except ValueError:
        return failure(403, "Operation Failed", "ACL Exception Insert Failed due to security constraints")
    row = access.store.find(table, sys_id)
    reply = _answer(access, asked, place, table, row or {"sys_id": sys_id}, 201)
    reply.headers["Location"] = f"{place.base(access, asked)}/table/{table}/{sys_id}"
    return reply


def _update(access: Access, asked: Asked, place: Place, table: str, sys_id: str, values: dict[str, str]) -> Reply:
    values.pop("sys_id", None)
    try:
        row = access.store.update(table, sys_id, values, access.account.user_name)
    except KeyError:
        return failure(404, *NOT_FOUND)
    return _answer(access, asked, place, table, row, 200)


def _delete(access: Access, table: str, sys_id: str) -> Reply:
    try:
        access.store.delete(table, sys_id, access.account.user_name)
    except KeyError:
        return failure(404, *NOT_FOUND)
    return Reply(204)


def _answer(access: Access, asked: Asked, place: Place, table: str, row: Row, status: int) -> Reply:
    if asked.headers.get("x-no-response-body", "").lower() == "true":
        return Reply(status)
    return Reply(status, b'{"result":' + shape_for(access, asked, place, table).render([row])[0] + b"}")


def _values(access: Access, asked: Asked, table: str) -> dict[str, str] | Reply:
    """The columns that a body sets, as stored text; other names and system columns are ignored."""
    if not asked.headers.get("content-type", "application/json").startswith("application/json"):
        return failure(415, "Unsupported media type")
    try:
        document: Any = json.loads(asked.body or b"{}")
    except ValueError:
        return failure(400, "Exception while reading request", "Cannot decode: java.io.StringReader")
    first = document[0] if isinstance(document, list) and document else document
    if not isinstance(first, dict):
        return failure(400, "Exception while reading request", "Cannot decode: java.io.StringReader")
    known = set(access.store.columns.of(table)) - (_SYSTEM if has_classes(table) else _SYSTEM - {"sys_class_name"})
    return {name: _text(value) for name, value in first.items() if name in known}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)

"""Writing through the Table API: insert, update, delete. No business rules run, but data policies do."""

from __future__ import annotations

import json
from typing import Any

from snow_assets.simulator import records
from snow_assets.simulator.access import Access
from snow_assets.simulator.dictionary import is_view
from snow_assets.simulator.incoming import Incoming, WriteRefusedError
from snow_assets.simulator.store import Row
from snow_assets.simulator.tables import NOT_FOUND, Place, shape_for
from snow_assets.simulator.wire import Asked, Reply, failure

_DEEDS = {"POST": "Insert", "DELETE": "Delete", "PUT": "Update", "PATCH": "Update"}
_UNREADABLE = ("Exception while reading request", "Cannot decode: java.io.StringReader")


def write_row(access: Access, asked: Asked, place: Place, table: str, sys_id: str | None) -> Reply:
    """``POST /table/{t}``, ``PUT`` or ``PATCH /table/{t}/{id}``, ``DELETE /table/{t}/{id}``."""
    reply = refused(access, asked, table) or _written(access, asked, place, table, sys_id)
    reply.kind, reply.table = "write", table
    reply.delivery.delay = access.knobs.latency + access.knobs.latency_of_write
    return reply


def refused(access: Access, asked: Asked, table: str) -> Reply | None:
    """The answer where the table is none that this account may write to, or the body is too large."""
    if not access.store.has(table):
        return failure(400, f"Invalid table {table}")
    if table in access.knobs.closed_tables:
        return failure(403, "User Not Authorized", "Failed API level ACL Validation")
    if is_view(table) or table in access.knobs.read_only_tables:
        return _forbidden(_DEEDS.get(asked.method, "Update"))
    limit = access.knobs.max_content_length
    if len(asked.body) > limit:
        detail = (
            f"Rejected large REST payload with content-length = {len(asked.body)} bytes. Max allowed: {limit} bytes."
        )
        return failure(access.knobs.large_body_status, "Exception while reading request", detail)
    return None


def document_of(asked: Asked) -> Any:
    """The JSON value of a body, or the answer that refuses it."""
    if not asked.headers.get("content-type", "application/json").startswith("application/json"):
        return failure(415, "Unsupported media type")
    try:
        return json.loads(asked.body or b"{}")
    except ValueError:
        return failure(400, *_UNREADABLE)


def first_record(asked: Asked) -> dict[str, Any] | Reply:
    """The record of a body, the first one where it holds a list, or the answer that refuses it."""
    document = document_of(asked)
    first = document[0] if isinstance(document, list) and document else document
    return first if isinstance(first, (dict, Reply)) else failure(400, *_UNREADABLE)


def _written(access: Access, asked: Asked, place: Place, table: str, sys_id: str | None) -> Reply:
    if asked.method not in _DEEDS or (asked.method == "POST") is (sys_id is not None):
        return failure(405, "Method not supported")
    if asked.method == "DELETE":
        return _delete(access, table, sys_id or "")
    given = first_record(asked)
    if isinstance(given, Reply):
        return given
    try:
        values = Incoming(access, table, asked.flag("sysparm_input_display_value")).values(given)
        if sys_id is None:
            return _insert(access, asked, place, table, values)
        return _update(access, asked, place, table, sys_id, values)
    except WriteRefusedError as error:
        return failure(403, "Operation Failed", str(error))


def _insert(access: Access, asked: Asked, place: Place, table: str, values: dict[str, str]) -> Reply:
    try:
        sys_id = records.insert(access.sim, table, values, access.account.user_name)
    except ValueError:
        return _forbidden("Insert")
    row = access.store.find(table, sys_id) or {"sys_id": sys_id}
    # Who may create but not read is told that it failed, although it did not.
    reply = _forbidden("Insert") if access.hides(table, sys_id) else _answer(access, asked, place, table, row, 201)
    if reply.status == 201:
        reply.headers["Location"] = f"{place.base(access, asked)}/table/{table}/{sys_id}"
    reply.ids = [sys_id]
    return reply


def _update(access: Access, asked: Asked, place: Place, table: str, sys_id: str, values: dict[str, str]) -> Reply:
    values.pop("sys_id", None)
    if access.hides(table, sys_id):
        return failure(404, *NOT_FOUND)
    try:
        row = records.update(access.sim, table, sys_id, values, access.account.user_name)
    except KeyError:
        return failure(404, *NOT_FOUND)
    return _answer(access, asked, place, table, row, 200)


def _delete(access: Access, table: str, sys_id: str) -> Reply:
    if access.hides(table, sys_id):
        return failure(404, *NOT_FOUND)
    try:
        access.store.delete(table, sys_id, access.account.user_name)
    except KeyError:
        return failure(404, *NOT_FOUND)
    return Reply(204, ids=[sys_id])


def _answer(access: Access, asked: Asked, place: Place, table: str, row: Row, status: int) -> Reply:
    ids = [row["sys_id"]]
    if asked.headers.get("x-no-response-body", "").lower() == "true":
        return Reply(status, ids=ids)
    shape = shape_for(access, asked, place, table)
    return Reply(status, b'{"result":' + shape.render([row])[0] + b"}", ids=ids, cells=len(shape.names))


def _forbidden(deed: str) -> Reply:
    return failure(403, "Operation Failed", f"ACL Exception {deed} Failed due to security constraints")

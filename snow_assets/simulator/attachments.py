"""The Attachment API: metadata and files (``/api/now/attachment...``)."""

from __future__ import annotations

import json

from snow_assets.simulator.access import Access
from snow_assets.simulator.generate import attachment_bytes
from snow_assets.simulator.query import QueryForbiddenError
from snow_assets.simulator.select import select
from snow_assets.simulator.store import Row
from snow_assets.simulator.tables import NOT_FOUND, UNREADABLE, understood
from snow_assets.simulator.wire import Asked, Reply, failure, json_reply

DEFAULT_LIMIT = 1_000
_TABLE = "sys_attachment"


def list_attachments(access: Access, asked: Asked) -> Reply:
    """``GET /api/now/attachment``: metadata, 1,000 rows unless asked otherwise."""
    try:
        query = understood(access, asked, _TABLE)
    except QueryForbiddenError:
        return failure(403, *UNREADABLE)
    limit, offset = (asked.params.get(name, "") for name in ("sysparm_limit", "sysparm_offset"))
    if not (limit or "1").isdigit() or not (offset or "0").isdigit():
        return failure(400, "Invalid value given for sysparm_limit")
    found = select(_TABLE, query, access.scope, int(offset or 0), int(limit or DEFAULT_LIMIT))
    rows = access.readable(_TABLE, found.rows)
    records = [_encoded(access, asked, row) for row in rows]
    reply = Reply(kind="list", table=_TABLE, records=records, ids=[row["sys_id"] for row in rows])
    reply.headers["X-Total-Count"] = str(found.count)
    return reply


def attachment(access: Access, asked: Asked, sys_id: str) -> Reply:
    """``GET /api/now/attachment/{sys_id}``: metadata of one."""
    row = _find(access, sys_id)
    if row is None:
        return failure(404, *NOT_FOUND)
    return json_reply({"result": _metadata(access, asked, row)}, kind="record", table=_TABLE, ids=[sys_id])


def attachment_file(access: Access, asked: Asked, sys_id: str) -> Reply:
    """``GET /api/now/attachment/{sys_id}/file``: the bytes, with the metadata in a header."""
    row = _find(access, sys_id)
    if row is None:
        return failure(404, *NOT_FOUND)
    kind = row.get("content_type") or "application/octet-stream"
    reply = Reply(
        200, access.files.get(sys_id) or attachment_bytes(sys_id), kind, kind="file", table=_TABLE, ids=[sys_id]
    )
    reply.headers["X-Attachment-Metadata"] = json.dumps(_metadata(access, asked, row))
    return reply


def _find(access: Access, sys_id: str) -> Row | None:
    row = access.store.find(_TABLE, sys_id)
    return None if row is None or access.hides(_TABLE, sys_id) else row


def _metadata(access: Access, asked: Asked, row: Row) -> dict[str, str]:
    base = access.knobs.canonical_url or asked.host
    known = {name: row.get(name, "") for name in access.store.columns.of(_TABLE)}
    return {**known, "download_link": f"{base}/api/now/attachment/{row['sys_id']}/file"}


def _encoded(access: Access, asked: Asked, row: Row) -> bytes:
    return json.dumps(_metadata(access, asked, row), ensure_ascii=False).encode()

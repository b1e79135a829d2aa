"""What happened to the rows: journal entries, attachments with their bytes, audit and deletion records."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from snow_assets.simulator import texts
from snow_assets.simulator.generate_people import SYSTEM_USERS, People
from snow_assets.simulator.generate_rows import (
    DAY,
    Column,
    Row,
    Source,
    build,
    stamps,
    system_columns,
)
from snow_assets.simulator.generate_tasks import TASK_CLASSES

_FILES = (
    ("notes.txt", "text/plain"),
    ("screenshot.png", "image/png"),
    ("Übersicht 概要.csv", "text/csv"),
    ("error log (1).zip", "application/zip"),
    ("empty.txt", "text/plain"),
)
_BASE_TABLE = 800 * DAY  # age from which journal entries name the base table instead of the class
_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


def make_activity(
    source: Source,
    counts: Mapping[str, int],
    people: People,
    tables: Mapping[str, list[Row]],
) -> dict[str, list[Row]]:
    """Rows that point at the rows of ``tables``."""
    tasks = [row for name in TASK_CLASSES for row in tables.get(name, ())]
    owners = [row for name in ("incident", "kb_knowledge", "change_request") for row in tables.get(name, ())[:4000]]
    return {
        "sys_journal_field": _journals(source, counts["sys_journal_field"], people, tasks),
        "sys_attachment": _attachments(source, counts["sys_attachment"], owners),
        "sys_audit": _audits(source, counts["sys_audit"], tables.get("incident", [])),
        "sys_audit_delete": _deletions(source, counts["sys_audit_delete"]),
        "syslog": _logs(source, counts["syslog"]),
        "svc_ci_assoc": _associations(source, counts["svc_ci_assoc"], tables),
    }


def attachment_bytes(sys_id: str) -> bytes:
    """The content of a generated attachment, always the same: up to about 200 kB, now and then empty."""
    kind = _kind(sys_id)
    seed = sys_id.encode()
    match kind:
        case 0:
            return b"Attachment " + seed + b"\n" + "zażółć gęślą jaźń\n".encode() * (int(sys_id[1], 16) + 1)
        case 1:
            return _PIXEL + seed
        case 2:
            return "name;value\r\n".encode("utf-8-sig") + b"".join(b"row %d;%s\r\n" % (i, seed) for i in range(50))
        case 3:
            return zlib.compress(hashlib.shake_256(seed).digest(12_000 * int(sys_id[1], 16) + 1))
        case _:
            return b""


def _kind(sys_id: str) -> int:
    return int(sys_id[0], 16) % 5


def _spots(source: Source, name: str, n: int, size: int) -> list[int]:
    return source.dice(f"{name}/spots").integers(n, 0, size) if size else []


def _journals(source: Source, n: int, people: People, tasks: Sequence[Row]) -> list[Row]:
    """Half of the entries belong to a tenth of the tasks, so that some have long streams."""
    dice = source.dice("sys_journal_field")
    spots = _spots(source, "sys_journal_field", n, len(tasks))
    busy = max(1, len(tasks) // 10)
    owners = [tasks[s % busy * 10 % len(tasks) if i % 2 else s] for i, s in enumerate(spots)]
    elements = dice.pick(("work_notes", "comments"), len(owners), (7, 3))
    written = {element: iter(dice.pick(pool, len(owners))) for element, pool in _POOLS.items()}
    created = [
        _epoch(row["opened_at"], k, source.now)
        for row, k in zip(owners, dice.skewed(len(owners), 5 * DAY), strict=True)
    ]
    columns: dict[str, Column] = {
        "sys_id": dice.sys_ids(len(owners)),
        "name": [
            "task" if moment < source.now - _BASE_TABLE else row["sys_class_name"]
            for moment, row in zip(created, owners, strict=True)
        ],
        "element": elements,
        "element_id": [row["sys_id"] for row in owners],
        "value": [next(written[element]) for element in elements],
        "sys_created_on": stamps(created),
        "sys_created_by": dice.pick([*people.user_names[:400], "admin"], len(owners)),
    }
    return build(columns, len(owners))


_POOLS = {"work_notes": texts.WORK_NOTES, "comments": texts.COMMENTS}


def _epoch(text: str, later: int, now: int) -> int:
    moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    return min(int(moment.timestamp()) + 60 + later, now)


def _attachments(source: Source, n: int, owners: Sequence[Row]) -> list[Row]:
    dice = source.dice("sys_attachment")
    spots = _spots(source, "sys_attachment", n, len(owners))
    rows = [owners[s] for s in spots]
    n = len(rows)
    ids = dice.sys_ids(n)
    files = [_FILES[_kind(sys_id)] for sys_id in ids]
    contents = [attachment_bytes(sys_id) for sys_id in ids]
    created = [source.now - k for k in dice.integers(n, DAY, 300 * DAY)]
    columns: dict[str, Column] = {
        "sys_id": ids,
        "file_name": [name for name, _ in files],
        "content_type": [kind for _, kind in files],
        "table_name": [row["sys_class_name"] for row in rows],
        "table_sys_id": [row["sys_id"] for row in rows],
        "size_bytes": [str(len(content)) for content in contents],
        "size_compressed": [str(len(zlib.compress(content, 1))) for content in contents],
        "hash": [hashlib.sha256(content).hexdigest() for content in contents],
        "compressed": "true",
        "chunk_size_bytes": "700000",
        "state": "available",
    }
    return build(columns | system_columns(dice, n, created, created, SYSTEM_USERS), n)


def _audits(source: Source, n: int, incidents: Sequence[Row]) -> list[Row]:
    dice = source.dice("sys_audit")
    rows = [incidents[s] for s in _spots(source, "sys_audit", n, len(incidents))]
    n = len(rows)
    fields = dice.pick(("state", "assigned_to", "short_description", "priority"), n)
    created = [_epoch(row["opened_at"], k, source.now) for row, k in zip(rows, dice.skewed(n, 5 * DAY), strict=True)]
    columns: dict[str, Column] = {
        "sys_id": dice.sys_ids(n),
        "tablename": "incident",
        "documentkey": [row["sys_id"] for row in rows],
        "fieldname": fields,
        "oldvalue": ["1" if field == "state" else "" for field in fields],
        "newvalue": [row.get(field, "") for row, field in zip(rows, fields, strict=True)],
        "record_checkpoint": [row["sys_mod_count"] for row in rows],
        "user": dice.pick(SYSTEM_USERS, n),
        "sys_created_on": stamps(created),
        "sys_created_by": dice.pick(SYSTEM_USERS, n),
    }
    return build(columns, n)


def _logs(source: Source, n: int) -> list[Row]:
    """Lines of the last eight weeks: the table is rotated weekly over eight shards."""
    dice = source.dice("syslog")
    created = sorted(source.now - k for k in dice.integers(n, 0, 56 * DAY))
    columns: dict[str, Column] = {
        "sys_id": dice.sys_ids(n),
        "level": dice.pick(("0", "1", "2"), n, (8, 3, 1)),
        "message": dice.pick(texts.WORK_NOTES, n),
        "sequence": [f"{at:013x}" for at in range(n)],
        "source": dice.pick(("glide.scheduler", "*** Script", "Transform", "com.glide.ui"), n),
        "sys_created_on": stamps(created),
        "sys_created_by": "system",
    }
    return build(columns, n)


def _associations(source: Source, n: int, tables: Mapping[str, list[Row]]) -> list[Row]:
    """Which item serves which service. The table has no columns but these and sys_id."""
    dice = source.dice("svc_ci_assoc")
    services = [row["sys_id"] for row in tables.get("cmdb_ci_service", ())] or [""]
    items = [row["sys_id"] for row in tables.get("cmdb_ci_linux_server", ())] or [""]
    columns: dict[str, Column] = {
        "sys_id": dice.sys_ids(n),
        "ci_id": dice.pick(items, n),
        "service_id": dice.pick(services, n),
    }
    return build(columns, n)


def _deletions(source: Source, n: int) -> list[Row]:
    """Rows that were deleted in the last 75 days, filed under their real class."""
    dice = source.dice("sys_audit_delete")
    created = [source.now - k for k in dice.integers(n, 3600, 75 * DAY)]
    classes = dice.pick(
        (
            "incident",
            "cmdb_ci_linux_server",
            "cmdb_ci_win_server",
            "cmdb_rel_ci",
            "problem",
        ),
        n,
    )
    keys = dice.sys_ids(n)
    columns: dict[str, Column] = {
        "sys_id": dice.sys_ids(n),
        "tablename": classes,
        "documentkey": keys,
        "display_value": [f"{name} {key[:6]}" for name, key in zip(classes, keys, strict=True)],
        "payload": [f'<record_update><{name} action="DELETE"><sys_id>{key}</sys_id></{name}></record_update>'
                    for name, key in zip(classes, keys, strict=True)],
        "user": dice.pick(SYSTEM_USERS, n),
        "sys_created_on": stamps(created),
        "sys_updated_on": stamps(created),
        "sys_created_by": "system",
        "sys_updated_by": "system",
        "sys_mod_count": "0",
    }  # fmt: skip
    return build(columns, n)

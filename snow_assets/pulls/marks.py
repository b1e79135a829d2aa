"""Marks: which rows went away, one immutable file per plan that noticed any, beside the landing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.pulls.landing import Landing
from snow_assets.pulls.plan import Plan
from snow_assets.pulls.seal import seal, unsealed

MOMENT: Final = pa.timestamp("us", "UTC")
MARKS_SCHEMA: Final = pa.schema([
    ("sys_id", pa.string()),
    ("kind", pa.string()),  # deleted, left_filter, reclassified
    ("method", pa.string()),  # audit, keys, sweep
    ("at", MOMENT),  # audit: as the log says; else when it was noticed, by the instance's clock
    ("plan", pa.string()),
    ("detail", pa.string()),  # the new class
])  # fmt: skip
FOLDER: Final = "marks"


def marks_file(plan_id: str) -> str:
    """The name of a plan's marks."""
    return f"{plan_id}.parquet"


def write_marks(landing: Landing, plan_id: str, tables: Iterable[pa.Table], note: dict[bytes, bytes]) -> str:
    """Write the marks of a plan whole, with ``note`` in the footer; returns where they lie.

    Raises ``FileExistsError`` where the plan has marks.
    """
    store = landing.beside(FOLDER)
    path = marks_file(plan_id)
    scratch = store.scratch(path)
    try:
        with pq.ParquetWriter(scratch, MARKS_SCHEMA, compression="zstd", write_page_checksum=True) as writer:
            for table in tables:
                writer.write_table(table)
            writer.add_key_value_metadata({**note, **unsealed()})
        seal(scratch)
        store.commit(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
    return store.uri(path)


def marks_note(landing: Landing, plan_id: str, key: bytes) -> bytes | None:
    """What the footer of a plan's marks says under ``key``; ``None`` where there are no marks."""
    store = landing.beside(FOLDER)
    if marks_file(plan_id) not in store.list(""):
        return None
    with store.parquet(marks_file(plan_id)) as file:
        return (file.metadata.metadata or {}).get(key)


def forget_marks(landing: Landing, plan: Plan, *, after: str) -> None:
    """Remove the marks of plans that came after the published plan ``after`` and never were; not those of ``plan``."""
    store = landing.beside(FOLDER)
    for name in store.list(""):
        if name > marks_file(after) and name != marks_file(plan.plan_id):
            store.remove(name)

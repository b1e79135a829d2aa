"""The files of a current table: written in even portions, named once, listed for one commit."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any
from uuid import uuid4

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.transaction import AddAction, RemoveAction

from snow_assets.pulls.columns import CELL_TYPE, PLAN_COLUMN, open_writer, repeating_columns
from snow_assets.pulls.gathering import Gathering
from snow_assets.pulls.stores import Store

STATE = "_state"
DELETED_AT, DELETED_BY, LEFT_AT = "_deleted_at", "_deleted_by", "_left_at"
MOMENT = pa.timestamp("us", "UTC")
# What a current file holds besides the fields; the state is in its folder's name.
ADDED = {PLAN_COLUMN: pa.string(), DELETED_AT: MOMENT, DELETED_BY: pa.string(), LEFT_AT: MOMENT}
INTERNAL = (*ADDED, STATE)
FILES = 100  # of a table of some millions of rows: a row that changes costs the rewriting of its file
SMALLEST, LARGEST = 16_384, 131_072  # rows of a file
GROUP_ROWS = 8_192  # of a row group, about
GROUP_BYTES = 8 << 20  # in memory, of a row group that is being gathered


@dataclass(frozen=True, slots=True)
class CurrentFile:
    """A file of the table: ``path`` is relative to it, ``size`` in bytes."""

    path: str
    size: int
    rows: int
    state: str

    def removed(self) -> RemoveAction:
        """What takes it out of the table."""
        return RemoveAction(self.path, True, _now(), self.size, {STATE: self.state})


def files_of(table: DeltaTable | None) -> list[CurrentFile]:
    """The files of a table, by name: names begin with the plan that wrote them."""
    if table is None:
        return []
    actions = pa.table(table.get_add_actions()).to_pylist()
    found = [
        CurrentFile(action["path"], action["size_bytes"], action["num_records"], action["partition"][STATE])
        for action in actions
    ]
    return sorted(found, key=lambda file: file.path)


def rows_per_file(rows: int) -> int:
    """How many rows a whole file holds in a table of so many."""
    return min(LARGEST, max(SMALLEST, rows // FILES))


def file_schema(fields: Sequence[str]) -> pa.Schema:
    """Of a current file with these fields."""
    return pa.schema([*((name, CELL_TYPE) for name in fields), *ADDED.items()])


def conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of ``schema``, null where the table has none of that name."""
    there = set(table.column_names)
    columns = [
        table.column(field.name) if field.name in there else pa.nulls(table.num_rows, field.type) for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def fields_among(names: Iterable[str]) -> tuple[str, ...]:
    """The fields of the pull among a table's columns."""
    return tuple(name for name in names if name not in INTERNAL)


def batches(file: pq.ParquetFile) -> Iterator[tuple[int, pa.Table]]:
    """The rows in portions that bound the memory, each with the position of its first row."""
    meta = file.metadata
    size = sum(meta.row_group(index).total_byte_size for index in range(meta.num_row_groups))
    rows = max(1, min(GROUP_ROWS, GROUP_BYTES * 2 * meta.num_rows // max(1, size)))
    at = 0
    for batch in file.iter_batches(batch_size=rows):
        yield at, pa.Table.from_batches([batch])
        at += batch.num_rows


class FileWriter(Gathering["_OpenFile"]):
    """Rows of one state into files of about ``rows / n`` rows each, with ``n`` as small as ``most`` lets it be.

    ``schema`` is what it takes.
    """

    def __init__(self, store: Store, plan: str, state: str, schema: pa.Schema, rows: int, most: int) -> None:
        super().__init__()
        self._store = store
        self._stem = f"{STATE}={state}/{plan}"
        self._state = state
        self.schema = schema
        self._portion = -(-rows // max(1, -(-rows // most)))
        self._lock = Lock()

    def add(self, table: pa.Table) -> None:
        """Take rows of the schema; from any thread."""
        if not table.num_rows:
            return
        with self._lock:
            self._gather(table, GROUP_ROWS * 3 // 4, GROUP_BYTES)

    def _write(self, group: pa.Table) -> None:
        while group.num_rows:
            if self._file is None:
                path = f"{self._stem}-{uuid4().hex[:12]}.parquet"
                self._file = _OpenFile(self._store, path, group)
            room = self._portion - self._file.rows
            self._file.write(group.slice(0, room))
            group = group.slice(room)
            if self._file.rows >= self._portion:
                self._end_file()

    def _end_file(self) -> None:
        if self._file is not None:
            self.added.append(self._file.close({STATE: self._state}))
            self._file = None


class _OpenFile:
    """A file that is being written, and what is known of its rows."""

    def __init__(self, store: Store, path: str, sample: pa.Table) -> None:
        self.rows = 0
        self._store = store
        self._path = path
        self._ids: list[str] = []
        self._scratch = store.scratch(path)
        fields = [name for name in sample.column_names if name not in ADDED]
        repeating = [*repeating_columns(sample.select(fields)), PLAN_COLUMN, DELETED_BY]
        self._writer = open_writer(self._scratch, sample.schema, repeating)

    def write(self, table: pa.Table) -> None:
        bounds = pc.min_max(pc.struct_field(table.column("sys_id"), "value")).as_py()
        self._ids += [bounds["min"], bounds["max"]] if bounds["min"] is not None else []
        self._writer.write_table(table, row_group_size=2 * GROUP_ROWS)
        self.rows += table.num_rows

    def close(self, partition: Mapping[str, str]) -> AddAction:
        self._writer.close()
        size = self._scratch.stat().st_size
        self._store.commit(self._scratch, self._path)
        stats: dict[str, Any] = {"numRecords": self.rows}
        if self._ids:
            stats["minValues"] = {"sys_id": {"value": min(self._ids)}}
            stats["maxValues"] = {"sys_id": {"value": max(self._ids)}}
        return AddAction(self._path, size, partition, _now(), True, msgspec.json.encode(stats).decode())

    def abandon(self) -> None:
        self._writer.close()
        self._scratch.unlink(missing_ok=True)


def _now() -> int:
    return int(time.time() * 1000)

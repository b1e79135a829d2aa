"""Compaction: the many small files of a delta pull's dataset made few, row by row as they are, in one commit.

Rows are copied in the order in which their plans saw them, a portion at a time. Old versions of the table go on naming
the small files, which stay until ``prune`` finds that no kept version does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.transaction import AddAction, RemoveAction

from snow_assets.config import PullConfig
from snow_assets.errors import ConfigError, LandingError
from snow_assets.pulls.columns import PLAN_COLUMN, arrow_schema, open_writer, repeating_columns
from snow_assets.pulls.current import current
from snow_assets.pulls.current_files import batches, conformed
from snow_assets.pulls.dataset import HOOKS, PREFIX, last_commit, log_of, open_table
from snow_assets.pulls.gathering import Gathering
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.seal import seal, unsealed
from snow_assets.pulls.table_log import TableLog

COMPACTED = "compacted"  # folder in the landing; no plan has such an id
SMALL = 32 << 20  # bytes of a file that is worth rewriting
TARGET = 128 << 20  # bytes at which a new file is ended
FEW = 8  # small files below which nothing is gained
GROUP_ROWS = 65_536
GROUP_BYTES = 16 << 20  # in memory, of a row group that is being gathered


@dataclass(frozen=True, slots=True)
class Compacted:
    """What compaction did: ``files`` became ``into``, of ``rows`` rows; ``before`` and ``after`` are their bytes.

    ``why`` tells why nothing was done, where it was nothing; ``version`` is the table's.
    """

    pull: str
    version: int | None
    files: int = 0
    into: int = 0
    rows: int = 0
    before: int = 0
    after: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    size: int
    rows: int


def compact(landing: Landing, pull: PullConfig) -> Compacted:
    """Make the small files of a delta pull's dataset few. Whoever calls this holds the lease.

    Only files whose plans the current rows have taken in. Every row stays as it is: the same versions, seen by the same
    plans. Raises ``ConfigError`` where the pull is no delta pull, and ``LandingError`` where a file is damaged.
    """
    if pull.mode != "delta":
        hint = "a full pull writes its files anew each time"
        raise ConfigError("is no delta pull: there is nothing to compact", key="pull", value=pull.name, hint=hint)
    table = open_table(landing)
    if table is None:
        return Compacted(pull.name, None, why="nothing is published")
    commit = last_commit(landing, table)
    now = current(landing)
    if commit.get("mode") != "delta" or now is None or now.base != commit.get("base"):
        return Compacted(pull.name, table.version(), why="no current rows of its base were brought up yet")
    _remove_orphans(landing)
    small = _small(table, now.plan)
    if len(small) < FEW:
        return Compacted(pull.name, table.version(), why=f"{len(small)} small files: fewer than {FEW}")
    fields = [field.name for field in table.schema().fields if field.name != PLAN_COLUMN]
    schema = arrow_schema(fields, plan=True)
    with _Writer(landing, table.version() + 1, schema) as writer:
        for file in small:
            _copy(landing, file, writer)
        added = writer.close()
    _must_be_all(landing, small, writer.rows)
    _commit(landing, table, schema, commit, small, added)
    pa.default_memory_pool().release_unused()
    return Compacted(
        pull=pull.name,
        version=table.version(),
        files=len(small),
        into=len(added),
        rows=writer.rows,
        before=sum(file.size for file in small),
        after=sum(action.size for action in added),
    )


def _remove_orphans(landing: Landing) -> None:
    """Files that a dead compaction left: no version names them, and the lease tells that nobody is writing them."""
    landing.store.remove_scratch(COMPACTED)
    names = landing.store.list(COMPACTED)
    if not names:
        return
    log = TableLog(landing)
    named = log.named(log.versions)
    for path in (f"{COMPACTED}/{name}" for name in names):
        if path not in named:
            landing.store.remove(path)


def _small(table: DeltaTable, applied: str) -> list[_File]:
    """Small files whose plans were taken in: those that were compacted before come first, then by plan."""
    actions = pa.table(table.get_add_actions()).to_pylist()
    found = [_File(action["path"], action["size_bytes"], action["num_records"]) for action in actions]
    ripe = [file for file in found if file.size < SMALL and (_is_compacted(file.path) or _folder(file.path) <= applied)]
    return sorted(ripe, key=lambda file: (not _is_compacted(file.path), file.path))


def _is_compacted(path: str) -> bool:
    return _folder(path) == COMPACTED


def _folder(path: str) -> str:
    return path.partition("/")[0]


def _copy(landing: Landing, file: _File, writer: _Writer) -> None:
    """Every row of a file. Pages are held against their checksums while they are read."""
    rows = 0
    hint = f"nothing was changed; bring it back from a backup, or start anew: snow-assets pull {landing.pull} --base"
    with landing.reading(file.path, hint) as source:
        for _, table in batches(source):
            writer.add(_with_plan(table, file.path))
            rows += table.num_rows
    if rows != file.rows:
        raise LandingError("is damaged", key="file", value=landing.store.uri(file.path), hint=hint)


def _with_plan(table: pa.Table, path: str) -> pa.Table:
    if PLAN_COLUMN in table.column_names:
        return table
    return table.append_column(PLAN_COLUMN, pa.array([_folder(path)] * table.num_rows, pa.string()))


def _must_be_all(landing: Landing, small: Sequence[_File], rows: int) -> None:
    if rows != sum(file.rows for file in small):
        raise LandingError("is not what it holds: nothing was compacted", key="data", value=landing.location)


def _commit(
    landing: Landing,
    table: DeltaTable,
    schema: pa.Schema,
    commit: dict[str, str],
    small: Sequence[_File],
    added: Sequence[AddAction],
) -> None:
    """One commit, which bears what the newest one of ours says: the next pull goes on from there."""
    moment = int(time.time() * 1000)
    removed = [RemoveAction(file.path, False, moment, file.size) for file in small]
    metadata = {PREFIX + key: value for key, value in commit.items()}
    properties = CommitProperties(custom_metadata=metadata, max_commit_retries=0)  # of another plan than was read
    with log_of(landing):
        table.create_write_transaction(
            [*removed, *added],
            "append",
            Schema.from_arrow(schema),
            commit_properties=properties,
            post_commithook_properties=HOOKS,
        )
        table.update_incremental()


class _Writer(Gathering["_OpenFile"]):
    """Rows into files of about ``TARGET`` bytes, sealed as landed files are."""

    def __init__(self, landing: Landing, version: int, schema: pa.Schema) -> None:
        super().__init__()
        self.rows = 0
        self._landing = landing
        self._stem = f"{COMPACTED}/{version:020}"
        self._schema = schema

    def add(self, table: pa.Table) -> None:
        """Take rows; columns that the table lacks are null, as in a file that was landed before they came."""
        self.rows += table.num_rows
        self._gather(conformed(table, self._schema), GROUP_ROWS, GROUP_BYTES)

    def _write(self, group: pa.Table) -> None:
        if self._file is None:
            self._file = _OpenFile(self._landing, f"{self._stem}-{len(self.added):05}.parquet", group)
        self._file.write(group)
        if self._file.size >= TARGET:
            self._end_file()

    def _end_file(self) -> None:
        if self._file is not None:
            self.added.append(self._file.close())
            self._file = None


class _OpenFile:
    """A file that is being written, and the bounds of its keys and plans."""

    def __init__(self, landing: Landing, path: str, sample: pa.Table) -> None:
        self._store = landing.store
        self._path = path
        self._rows = 0
        self._bounds: dict[str, list[str]] = {"sys_id": [], PLAN_COLUMN: []}
        self._scratch = self._store.scratch(path)
        repeating = [*repeating_columns(sample.drop_columns([PLAN_COLUMN])), PLAN_COLUMN]
        self._writer = open_writer(self._scratch, sample.schema, repeating)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._scratch.stat().st_size

    def write(self, group: pa.Table) -> None:
        """Write a row group."""
        ids = pc.struct_field(group.column("sys_id"), "value")
        for name, column in (("sys_id", ids), (PLAN_COLUMN, group.column(PLAN_COLUMN))):
            found = pc.min_max(column).as_py()
            self._bounds[name] += [bound for bound in found.values() if bound is not None]
        self._writer.write_table(group)
        self._rows += group.num_rows

    def close(self) -> AddAction:
        """Seal it and make it durable under its name."""
        self._writer.add_key_value_metadata(unsealed())
        self._writer.close()
        seal(self._scratch)
        size = self.size
        self._store.commit(self._scratch, self._path)
        stats: dict[str, Any] = {"numRecords": self._rows}
        for end, pick in (("minValues", min), ("maxValues", max)):
            ids, plans = self._bounds["sys_id"], self._bounds[PLAN_COLUMN]
            stats[end] = {"sys_id": {"value": pick(ids)}} if ids else {}
            stats[end] |= {PLAN_COLUMN: pick(plans)} if plans else {}
        return AddAction(self._path, size, {}, int(time.time() * 1000), False, msgspec.json.encode(stats).decode())

    def abandon(self) -> None:
        """Leave nothing behind."""
        with ExitStack() as stack:
            stack.callback(self._scratch.unlink, missing_ok=True)
            self._writer.close()

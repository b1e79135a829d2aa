"""A table of a database as the target of an import: a set is applied whole, or not at all, and once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import duckdb
import pyarrow as pa

from snow_assets.config_imports import SYSTEM_COLUMNS, ImportConfig
from snow_assets.config_models import nearest
from snow_assets.errors import ConfigError, ImportFailed, TargetRefused
from snow_assets.imports.coalesce import UNCHANGED, Task, moment, plan
from snow_assets.imports.coalesce_blame import Blame
from snow_assets.imports.coalesce_references import Created, references_of, resolve
from snow_assets.imports.coalesce_rows import ROWS_TABLE, load, mapped_types
from snow_assets.imports.contract import CLEARED, MAPPED, Applied, Counters, MappedSet
from snow_assets.imports.targets.writer import DECLARED_TYPES, SYSTEM_TYPES, Database, TableShape, Writer
from snow_assets.pulls.stores import settle
from snow_assets.pulls.workspace import literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SMALL: Final = 1_000_000  # rows up to which a second thread costs a third more work, and saves no time
ROUNDS: Final = 20  # of rows that the database refuses, each after those of the one before are out


class SqlTarget:
    """A `Target`: the table of one import in a `Database`."""

    def __init__(self, config: ImportConfig, database: Database) -> None:
        self.config = config
        self.database = database

    def check(self, fields: pa.Schema) -> None:
        """Make the table where it is missing, and columns that it lacks if it was made here.

        Raises:
            ConfigError: the table is somebody's own, and lacks a field, ``sys_id`` or the declared domain.
        """
        own = {*MAPPED.names, CLEARED}
        kept = pa.schema([field for field in fields if field.name not in own])
        with duckdb.connect() as connection:
            connection.register("fields", kept.empty_table())
            types = {row[0]: row[1] for row in connection.execute("DESCRIBE fields").fetchall()}
        with self.database.writing() as writer:
            self._prepare(writer, types)

    def applied(self, key: str) -> Applied | None:
        """What the ledger beside the table says of an import set."""
        return self.database.remembered(key)

    def apply(self, mapped: MappedSet) -> Applied:
        """Apply a set in one transaction, under the database's write lock.

        Raises:
            ConfigError: as `check`.
            TargetRefused: the database refuses the set; nothing of it is applied.
            TargetBusy: somebody else holds the database.
        """
        with self.database.writing() as writer:
            before = writer.remembered(mapped.key)
            if before and not mapped.reprocess:
                return before
            try:
                return self._apply(writer, mapped)
            except BaseException:
                for path in (mapped.rows, _scratch(mapped)):
                    path.unlink(missing_ok=True)
                raise

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    def _apply(self, writer: Writer, mapped: MappedSet) -> Applied:
        shape = self._prepare(writer, mapped_types(writer.bench, mapped.mapped))
        small = max(mapped.total, shape.rows) <= SMALL
        writer.bench.execute(f"SET threads = {1 if small else writer.threads}")
        domain = self.config.sys_domain if "sys_domain" in shape.columns else None
        now = datetime.now(UTC)
        fields = load(writer.bench, mapped.mapped, shape, self.config.coalesce, list(references_of(self.config)))
        fields, created = resolve(writer, self.config, shape, fields, moment(now))
        task = Task(mapped, self.config.target.table, shape, fields, self.config.coalesce, domain, now)
        self._change(writer, task, created)
        applied = Applied(mapped.attempt, _write_rows(writer.bench, mapped))
        writer.remember(mapped, applied, task.table, self.config.sys_domain)
        return applied

    def _change(self, writer: Writer, task: Task, created: Sequence[Created]) -> None:
        """Write what the rows come to; rows that are refused become errors, and the others are planned anew."""

        def write(new: str = "snow_insert", changed: str = "snow_update") -> None:
            for each in created:
                writer.insert(each.table, each.records)
            _write(writer, task, new, changed)

        for _ in range(ROUNDS):
            plan(writer, task)
            refused = writer.attempt(write)
            if refused is None:
                return
            if not Blame(writer, task, write).mark():
                break
        hint = f"nothing of {task.mapped.key} is applied"
        raise TargetRefused(refused or "", key="table", value=task.table, hint=hint)

    def _prepare(self, writer: Writer, types: Mapping[str, str]) -> TableShape:
        table, declared = self.config.target.table, self.config.target.columns
        wanted = {
            name: DECLARED_TYPES[declared[name]] if name in declared else kind
            for name, kind in types.items()
            if name not in SYSTEM_COLUMNS
        }
        shape = writer.shape(table)
        if shape is None:
            system = dict(SYSTEM_TYPES)
            writer.create(
                table, {"sys_id": system.pop("sys_id"), "sys_domain": system.pop("sys_domain"), **wanted, **system}
            )
        elif missing := {name: kind for name, kind in wanted.items() if name not in shape.columns}:
            if not shape.made:
                self._refuse(shape, next(iter(missing)))
            writer.add_columns(table, missing)
            shape = None
        shape = shape or writer.shape(table)
        assert shape is not None  # noqa: S101 - it was made
        self._check(shape)
        return shape

    def _check(self, shape: TableShape) -> None:
        table, place = self.config.target.table, self.database.place
        if "sys_id" not in shape.columns:
            hint = f"add a column sys_id of text to the table in {place}, filled with unique values"
            raise ConfigError("has no column sys_id", key="table", value=table, hint=hint)
        if self.config.domain and "sys_domain" not in shape.columns:
            hint = f"add a column sys_domain of text to the table in {place}, or take domain out of the import"
            raise ConfigError("has no column sys_domain", key="table", value=table, hint=hint)

    def _refuse(self, shape: TableShape, field: str) -> None:
        near = nearest(field, shape.columns)
        hint = f"did you mean {near}?" if near else f"its columns: {', '.join(shape.columns)}"
        raise ConfigError(f"is no column of the table {self.config.target.table}", key="field", value=field, hint=hint)


def _write(writer: Writer, task: Task, new: str, changed: str) -> None:
    if _count(writer.bench, new):
        writer.insert(task.table, new)
    expected = _count(writer.bench, changed)
    if expected and writer.update(task.table, changed, task.domain) != expected:
        message = "records went away, or to another domain, while they were updated"
        raise ImportFailed(message, key="table", value=task.table)


def _count(bench: duckdb.DuckDBPyConnection, table: str) -> int:
    row = bench.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    return int(row[0]) if row else 0


def _write_rows(bench: duckdb.DuckDBPyConnection, mapped: MappedSet) -> Counters:
    """Write what became of each row, and sync it."""
    mapped.rows.parent.mkdir(parents=True, exist_ok=True)
    scratch = _scratch(mapped)
    bench.execute(f"""
COPY (SELECT w.r AS sys_import_row, coalesce(w.state, s.state) AS sys_import_state,
             CASE WHEN s.state = 'ignored' THEN {literal(UNCHANGED)} ELSE w.note END AS sys_import_state_comment,
             CAST(w.code AS INTEGER) AS sys_row_error, g.sys_id AS sys_target_sys_id
      FROM {ROWS_TABLE} w LEFT JOIN snow_states s USING (r) LEFT JOIN snow_records g USING (k) ORDER BY w.r)
TO {literal(str(scratch))} (FORMAT parquet, COMPRESSION snappy, DICTIONARY_SIZE_LIMIT 1)
""")  # noqa: S608
    settle(scratch, mapped.rows)
    states = bench.execute(
        f"SELECT state, count(*) FROM (SELECT state FROM {ROWS_TABLE} WHERE state IS NOT NULL "  # noqa: S608
        "UNION ALL SELECT state FROM snow_states) GROUP BY ALL"
    ).fetchall()
    counters = Counters.of_states(dict(states))
    if counters.accounted != mapped.total:
        raise ImportFailed(f"{counters.accounted} rows have an outcome", key="import set", value=mapped.key)
    return counters


def _scratch(mapped: MappedSet) -> Path:
    return mapped.rows.with_suffix(".tmp")

"""An import set, mapped: staged Parquet to mapped Parquet, in DuckDB, a stream however many rows there are.

A row's own faults (a value that is not of its type, a choice that there is not, an SQL expression that fails) are the
state of the row. What fails the set raises `TransformFailed`, and nothing is written that counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.config_import_fields import FieldConfig
from snow_assets.config_imports import SYSTEM_COLUMNS, ImportConfig
from snow_assets.config_models import nearest
from snow_assets.errors import ConfigError, TransformFailed
from snow_assets.imports.contract import CLEARED, MAPPED, STAGED
from snow_assets.imports.functions import check_functions
from snow_assets.imports.hooks import run_before, run_start
from snow_assets.imports.mapping_fields import MappedField, fields_of, projection, text_of
from snow_assets.imports.mapping_types import ARROW, WORDS, kind_of, typed
from snow_assets.imports.transform_bench import DROPPED, reason, workbench
from snow_assets.imports.transform_context import SetContext
from snow_assets.imports.transformed import check_selected, select_of, transformed
from snow_assets.pulls.workspace import literal, parquet

_BATCH = 20_000  # rows that hooks see at a time as Python objects
_LEFT = {*STAGED.names, *(set(SYSTEM_COLUMNS) - {"sys_id"})}  # no fields: ours, or kept by the target itself


def map_set(config: ImportConfig, staged: Path, out: Path, context: SetContext) -> int:
    """Map the set in ``staged`` to ``out``, a row for each of its rows, in their order; returns how many.

    Raises:
        ConfigError: a column or an expression of the declaration that is not there or cannot be read.
        TransformFailed: custom code or SQL failed; the message names it and the set.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with workbench() as (connection, folder):
        _view(connection, "staging", staged)
        _check_order(connection, staged)
        relation = "staging"
        if config.transform.sql or config.transform.python:
            _view(connection, "transformed", transformed(connection, config, staged, folder, context))
            relation = "transformed"
        fields = mapped_fields(connection, config, relation)
        select = projection(fields, relation, DROPPED if DROPPED in _columns(connection, relation) else "")
        hooks = config.transform.hooks
        made = folder / "mapped.parquet" if hooks.on_before else out
        run_start(config, context)
        rows = _copied(connection, select, fields, relation, made, context)
        if hooks.on_before:
            _hooked(config, fields, made, out, context)
        return rows


def check_transform(config: ImportConfig, schema: pa.Schema) -> None:
    """Try the transform on no rows of staged columns, before any are staged.

    Raises:
        ConfigError: a function that is not there, SQL that cannot be run, a constant that is not of its type.
    """
    check_functions(config)
    with workbench() as (connection, folder):
        empty = folder / "staging.parquet"
        pq.write_table(schema.empty_table(), empty)
        _view(connection, "staging", empty)
        if config.transform.sql:
            _tried(connection, f"SELECT sys_import_row FROM ({select_of(config)}) LIMIT 0", "transform.sql")  # noqa: S608
            check_selected(connection, config)
        elif not config.transform.python:
            mapped_fields(connection, config, "staging")


def _view(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {parquet(path)}")  # noqa: S608


def _check_order(connection: duckdb.DuckDBPyConnection, staged: Path) -> None:
    """What the others build on: rows of a set lie in the order of the source."""
    statement = """
        SELECT count(*) FROM (SELECT sys_import_row <= lag(sys_import_row) OVER () AS early FROM staging) WHERE early
    """
    found = connection.execute(statement).fetchone()
    if found and found[0]:
        raise TransformFailed("its rows are not in the order of the source", key="import set", value=staged.name)


def mapped_fields(connection: duckdb.DuckDBPyConnection, config: ImportConfig, relation: str) -> list[MappedField]:
    """The fields of the target: declared ones, or the columns of ``relation``."""
    columns = _columns(connection, relation)
    declared, clears = config.transform.fields, not config.coalesce.copy_empty_fields
    if declared is None:
        kept = {name: kind for name, kind in columns.items() if name not in _LEFT and name != DROPPED}
        made = relation == "transformed"  # SQL and Python give types on purpose, a source has those of its format
        types = {name: kind_of(kind) for name, kind in kept.items()} if made else {}
        declared = {name: FieldConfig(source=name) for name in kept}
        return fields_of(declared, {**types, **config.target.columns}, clears=clears)
    for name, field in declared.items():
        _check_source(name, field, columns)
    fields = fields_of(declared, config.target.columns, clears=clears)
    return [_checked(connection, each, relation) for each in fields]


def _columns(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    return {str(name): str(kind) for name, kind, *_ in connection.execute(f"DESCRIBE {relation}").fetchall()}


def _check_source(name: str, field: FieldConfig, columns: dict[str, str]) -> None:
    if field.source is None or field.source in columns:
        return
    close = nearest(field.source, columns)
    hint = f"did you mean {close}?" if close else f"there are: {', '.join(set(columns) - set(STAGED.names))}"
    raise ConfigError("no such column in the source", key=f"transform.fields.{name}", value=field.source, hint=hint)


def _checked(connection: duckdb.DuckDBPyConnection, field: MappedField, relation: str) -> MappedField:
    """The field, tried on no rows: constants must be of its type, and expressions must be ones.

    An expression that DuckDB cannot guard (it is random, or asks another table) fails the set instead of its rows.
    """
    key = f"transform.fields.{field.name}"
    for word in ("value", "default"):
        constant = getattr(field.config, word)
        if constant is None or field.kind == "string":
            continue
        value = typed(f"nullif({literal(text_of(constant))}, '')", field.kind, field.config.format)
        made = _tried(connection, f"SELECT {value}", key)
        if constant != "" and made == [(None,)]:
            raise ConfigError(f"is not {WORDS[field.kind]}", key=f"{key}.{word}", value=constant)
    if field.config.format:
        _tried(connection, f"SELECT try_strptime('', {literal(field.config.format)})", f"{key}.format")
    if not field.config.sql:
        return field
    plain = replace(field, guarded=False)
    _tried(connection, f"SELECT {plain.found} FROM {relation} LIMIT 0", f"{key}.sql")  # noqa: S608
    try:
        connection.execute(f"SELECT {field.found} FROM {relation} LIMIT 0")  # noqa: S608
    except duckdb.Error:
        return plain
    return field


def _tried(connection: duckdb.DuckDBPyConnection, statement: str, key: str) -> list[tuple[object, ...]]:
    try:
        return connection.execute(statement).fetchall()
    except duckdb.Error as error:
        raise ConfigError(f"is not SQL that DuckDB can run: {reason(error)}", key=key) from None


def _copied(
    connection: duckdb.DuckDBPyConnection,
    select: str,
    fields: Sequence[MappedField],
    relation: str,
    out: Path,
    context: SetContext,
) -> int:
    target = f"{literal(str(out))} (FORMAT parquet, COMPRESSION snappy, DICTIONARY_SIZE_LIMIT 1)"
    try:
        written = connection.execute(f"COPY ({select}) TO {target}").fetchone()
    except duckdb.Error as error:
        raise _failure(connection, error, fields, relation, context) from error
    return int(written[0]) if written else 0


def _failure(
    connection: duckdb.DuckDBPyConnection,
    error: duckdb.Error,
    fields: Sequence[MappedField],
    relation: str,
    context: SetContext,
) -> TransformFailed:
    """What to say of it: expressions that are not guarded are tried one by one."""
    for field in fields:
        if not field.config.sql or field.guarded:
            continue
        try:
            connection.execute(f"SELECT count({field.found}) FROM {relation}")  # noqa: S608
        except duckdb.Error as own:
            key = f"transform.fields.{field.name}.sql"
            return TransformFailed(f"fails in the import set {context.set_name}: {reason(own)}", key=key)
    return TransformFailed(f"cannot be mapped: {reason(error)}", key="import set", value=context.set_name)


def _hooked(config: ImportConfig, fields: Sequence[MappedField], made: Path, out: Path, context: SetContext) -> None:
    """Write ``made`` to ``out`` as on_before lets its rows pass."""
    schema = pa.schema([*MAPPED, *_cleared_column(fields), *(pa.field(each.name, ARROW[each.kind]) for each in fields)])
    with pq.ParquetFile(made) as file, pq.ParquetWriter(out, schema, compression="snappy") as writer:
        batches = (pa.Table.from_batches([batch]).cast(schema) for batch in file.iter_batches(_BATCH))
        for table in run_before(config, batches, context):
            writer.write_table(table)


def _cleared_column(fields: Sequence[MappedField]) -> list[pa.Field]:
    return [pa.field(CLEARED, pa.list_(pa.string()))] if any(e.clears and e.kind != "string" for e in fields) else []

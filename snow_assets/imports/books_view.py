"""The books as tables of an in-memory DuckDB: those of `tables`, the rows of import sets, and each staging table.

Rows stay in their Parquet files and are read when a query asks for them. Nothing can be changed through it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Boolean, DateTime, Float, Integer, select
from sqlalchemy.types import TypeEngine

from snow_assets.errors import ConfigError
from snow_assets.imports.contract import ERRORS, ROWS, STAGED
from snow_assets.imports.row_errors import rows_in_error
from snow_assets.imports.tables import METADATA
from snow_assets.imports.workspace import Workspace
from snow_assets.pulls.workspace import file_list, literal, parquet, quoted, workspace

__all__ = ["query", "rows_in_error", "view"]

_PENDING: Final = "pending"
_FILES: Final = pa.schema(
    [
        pa.field("set", pa.string()),
        pa.field("load", pa.string()),
        pa.field("scheduled_import", pa.string()),
        pa.field("load_id", pa.string()),
        pa.field("table_name", pa.string()),
        pa.field("target", pa.string()),
        pa.field("staged", pa.string()),
        pa.field("rows", pa.string()),
    ]
)
# What the platform calls the columns of a row of an import set.
_ROW: Final = """
    f."set" AS sys_import_set, f.scheduled_import, f.load_id, f.table_name, f.target AS sys_target_table,
    r.sys_import_row"""
_OF: Final = "JOIN sys_import_set_file f ON r.sys_import_path ="


def query(workspace: Workspace, sql: str) -> pa.Table:
    """The result of a query over the books.

    Raises ``ConfigError`` where DuckDB refuses the query; the tables are listed in docs/import-books.md.
    """
    with view(workspace) as connection:
        try:
            found: duckdb.DuckDBPyRelation | None = connection.sql(sql)
            return pa.table({}) if found is None else found.to_arrow_table()
        except duckdb.Error as error:
            hint = "SHOW TABLES lists the tables, DESCRIBE <table> their columns"
            raise ConfigError(str(error).splitlines()[0], key="sql", value=sql, hint=hint) from error


@contextmanager
def view(books: Workspace) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that has the books as tables."""
    with workspace() as (connection, _folder):
        tables = _tables(books)
        for name, table in tables.items():
            connection.register(f"books_{name}", table)
            connection.execute(f"CREATE TABLE {quoted(name)} AS FROM {quoted(f'books_{name}')}")
            connection.unregister(f"books_{name}")
        files = _files(books)
        connection.register("import_files", files)
        connection.execute("CREATE TABLE sys_import_set_file AS FROM import_files")
        connection.unregister("import_files")
        connection.execute(f"CREATE VIEW sys_import_set_row AS {_rows(files)}")
        connection.execute(f"CREATE VIEW sys_import_set_row_error AS {_errors(books, files)}")
        for name in sorted(set(files.column("table_name").to_pylist()) - set(tables)):
            connection.execute(f"CREATE VIEW {quoted(name)} AS {_staging(files, name)}")
        yield connection


def _tables(books: Workspace) -> dict[str, pa.Table]:
    """The tables of the books, at one moment."""
    database = books.books.database
    schemas = {name: pa.schema([(each.name, _arrow(each.type)) for each in table.columns])
               for name, table in METADATA.tables.items()}  # fmt: skip
    if not database.is_there:
        return {name: schema.empty_table() for name, schema in schemas.items()}
    with database.read() as connection:
        found = {name: connection.execute(select(table)).mappings().all() for name, table in METADATA.tables.items()}
    return {
        name: pa.Table.from_pylist([dict(row) for row in rows], schema=schemas[name]) for name, rows in found.items()
    }


def _arrow(kind: TypeEngine[Any]) -> pa.DataType:
    if isinstance(kind, Boolean):
        return pa.bool_()
    if isinstance(kind, Integer):
        return pa.int64()
    if isinstance(kind, Float):
        return pa.float64()
    return pa.timestamp("us") if isinstance(kind, DateTime) else pa.string()


def _files(books: Workspace) -> pa.Table:
    """The files of every import set that has them: staged rows, and their outcomes where there are any."""
    found = []
    for load in books.books.loads():
        folder = books.folder(load)
        target = json.loads(load.definition)["target"]["table"]
        for each in books.books.sets(load):
            staged = folder.staged(each.set_no)
            if not staged.exists():
                continue  # no longer kept
            rows = folder.rows(each.set_no, each.run.attempt) if each.run and each.state == "processed" else None
            values = (
                each.number, load.number, load.name, load.load_id, load.table_name, target, str(staged),
                str(rows) if rows is not None and rows.exists() else None,
            )  # fmt: skip
            found.append(dict(zip(_FILES.names, values, strict=True)))
    return pa.Table.from_pylist(found, schema=_FILES)


def _rows(files: pa.Table) -> str:
    """SQL of all rows of import sets with their states."""
    done = [row for row in files.column("rows").to_pylist() if row]
    waiting = [row["staged"] for row in files.to_pylist() if not row["rows"]]
    states = ", ".join(f"r.{name}" for name in ROWS.names[1:])
    none = ", ".join(f"CAST(NULL AS {_sql(ROWS.field(name).type)}) AS {name}" for name in ROWS.names[2:])
    parts = []
    if done:
        parts.append(f"SELECT {_ROW}, {states} FROM {_read(done)} r {_OF} f.rows")  # noqa: S608
    if waiting or not done:
        pending = f"{literal(_PENDING)} AS sys_import_state, {none}"
        source = _read(waiting) if waiting else _nothing(STAGED, "sys_import_path")
        parts.append(f"SELECT {_ROW}, {pending} FROM {source} r {_OF} f.staged")  # noqa: S608
    return " UNION ALL ".join(parts)


def _errors(books: Workspace, files: pa.Table) -> str:
    """SQL of rows that could not be read, and of rows in error."""
    parts = []
    for load in books.books.loads():
        path = books.folder(load).errors
        if path.exists():
            said = f"{literal(load.name)} AS scheduled_import, {literal(load.load_id)} AS load_id"
            own = "NULL AS sys_import_set, " + said + ", CAST(NULL AS BIGINT) AS sys_import_row"
            columns = ", ".join(ERRORS.names)
            parts.append(f"SELECT {own}, {columns} FROM {parquet(path)}")  # noqa: S608
    staged = [row["staged"] for row in files.to_pylist() if row["rows"]]
    if staged:
        parts.append(
            "SELECT w.sys_import_set, w.scheduled_import, w.load_id, w.sys_import_row, s.sys_import_file,"  # noqa: S608
            " s.sys_import_line, w.sys_row_error AS code, w.sys_import_state_comment AS message, NULL AS text"
            f' FROM sys_import_set_row w JOIN sys_import_set_file f ON f."set" = w.sys_import_set'
            f" JOIN {_read(staged)} s ON s.sys_import_path = f.staged"
            " AND s.sys_import_row = w.sys_import_row WHERE w.sys_import_state = 'error'"
        )
    if not parts:
        own = (
            "NULL AS sys_import_set, NULL AS scheduled_import, NULL AS load_id, CAST(NULL AS BIGINT) AS sys_import_row"
        )
        parts.append(f"SELECT {own}, * FROM {_nothing(ERRORS)}")  # noqa: S608
    return " UNION ALL ".join(parts)


def _staging(files: pa.Table, name: str) -> str:
    """SQL of a staging table: the rows of every load that is kept, as they were staged, with what became of them."""
    staged = [row["staged"] for row in files.to_pylist() if row["table_name"] == name]
    own = {*STAGED.names}
    columns = {each for path in staged for each in pq.read_schema(path).names if each not in own}
    ordered = [each for path in staged[:1] for each in pq.read_schema(path).names if each in columns]
    ordered += sorted(columns - set(ordered))
    shown = ", ".join(f"s.{quoted(each)}" for each in [*STAGED.names, *ordered])
    states = ", ".join(f"w.{each}" for each in ROWS.names[1:])
    return (
        f'SELECT f."set" AS sys_import_set, f.load_id, {states}, {shown} FROM {_read(staged)} s'  # noqa: S608
        " JOIN sys_import_set_file f ON f.staged = s.sys_import_path JOIN sys_import_set_row w"
        ' ON w.sys_import_set = f."set" AND w.sys_import_row = s.sys_import_row'
    )


def _read(paths: Iterable[str]) -> str:
    """Rows with ``sys_import_path``, their file: ``filename`` may be a column of the source."""
    files = file_list(list(paths))
    return f"read_parquet({files}, filename = 'sys_import_path', union_by_name = true, hive_partitioning = false)"


def _nothing(schema: pa.Schema, *texts: str) -> str:
    columns = [f"CAST(NULL AS {_sql(field.type)}) AS {field.name}" for field in schema]
    columns += [f"CAST(NULL AS VARCHAR) AS {name}" for name in texts]
    return f"(SELECT {', '.join(columns)} WHERE false)"


def _sql(kind: pa.DataType) -> str:
    return "BIGINT" if pa.types.is_int64(kind) else "INTEGER" if pa.types.is_int32(kind) else "VARCHAR"

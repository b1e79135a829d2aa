"""An import set as custom SQL or Python hands it on: a Parquet file of all its rows, those left out marked."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb

from snow_assets.config_import_fields import check_names
from snow_assets.config_imports import ImportConfig
from snow_assets.errors import ConfigError, TransformFailed
from snow_assets.imports.contract import STAGED
from snow_assets.imports.python_transform import python_transform
from snow_assets.imports.transform_bench import DROPPED, reason
from snow_assets.imports.transform_context import SetContext
from snow_assets.pulls.workspace import literal, parquet

_OWN: Final = {*STAGED.names, DROPPED}  # what a SELECT may hand on of what is ours


def transformed(
    connection: duckdb.DuckDBPyConnection, config: ImportConfig, staged: Path, folder: Path, context: SetContext
) -> Path:
    """Write the file: ``sys_import_row``, the columns of the result, ``sys_import_dropped`` if rows are; in order.

    ``connection`` has the set as the view ``staging``; ``folder`` is for files of this set.
    """
    out = folder / "transformed.parquet"
    if config.transform.python:
        python_transform(config, staged, out, context)
        return out
    made = folder / "selected.parquet"
    try:
        check_selected(connection, config)
        connection.execute(f"COPY ({select_of(config)}) TO {literal(str(made))} (FORMAT parquet)")
    except duckdb.Error as error:
        raise _failed(context, f"fails: {reason(error)}") from error
    connection.execute(f"CREATE VIEW selected AS SELECT * FROM {parquet(made)}")  # noqa: S608
    _check_columns(connection, context)
    if _same_rows(connection):
        return made
    _check_rows(connection, context)
    connection.execute(f"""
        COPY (
            SELECT staging.sys_import_row, selected.sys_import_row IS NULL AS {DROPPED},
                selected.* EXCLUDE (sys_import_row)
            FROM staging LEFT JOIN selected ON staging.sys_import_row = selected.sys_import_row
            ORDER BY staging.sys_import_row
        ) TO {literal(str(out))} (FORMAT parquet)
    """)  # noqa: S608
    return out


def check_selected(connection: duckdb.DuckDBPyConnection, config: ImportConfig) -> None:
    """Raise ``ConfigError`` where two columns of the declared SELECT differ by case only, or are one twice."""
    names = [str(row[0]) for row in connection.execute(f"DESCRIBE ({select_of(config)})").fetchall()]
    try:
        check_names([name for name in names if name not in _OWN])
    except ValueError as error:
        raise ConfigError(str(error), key=f"imports.{config.name}.transform.sql") from None


def select_of(config: ImportConfig) -> str:
    """The declared SELECT, to stand in brackets: a comment may end it, or a semicolon."""
    return f"\n{(config.transform.sql or '').rstrip().rstrip(';')}\n"


def _check_columns(connection: duckdb.DuckDBPyConnection, context: SetContext) -> None:
    columns = {str(row[0]) for row in connection.execute("DESCRIBE selected").fetchall()}
    if "sys_import_row" not in columns:
        raise _failed(context, "does not hand on the column sys_import_row")


def _same_rows(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether these are the rows of the set, in their order: most selects leave them so, and it is quickly seen."""
    other = connection.execute("""
        SELECT count(*) FROM (SELECT sys_import_row AS given FROM selected)
        POSITIONAL JOIN (SELECT sys_import_row AS asked FROM staging) WHERE given IS DISTINCT FROM asked
    """).fetchone()
    return other == (0,)


def _check_rows(connection: duckdb.DuckDBPyConnection, context: SetContext) -> None:
    doubled = connection.execute("""
        SELECT sys_import_row FROM selected GROUP BY ALL HAVING count(*) > 1 ORDER BY 1 LIMIT 1
    """).fetchone()
    if doubled:
        raise _failed(context, f"returns row {doubled[0]} more than once")
    stray = connection.execute("""
        SELECT sys_import_row FROM selected ANTI JOIN staging USING (sys_import_row) LIMIT 1
    """).fetchone()
    if stray:
        raise _failed(context, f"returns row {stray[0]}, which is not in the set")


def _failed(context: SetContext, what: str) -> TransformFailed:
    return TransformFailed(f"{what}, in the import set {context.set_name}", key="transform.sql")

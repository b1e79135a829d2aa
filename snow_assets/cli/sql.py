"""``snow-assets sql``: the published rows as views of a DuckDB in memory."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from snow_assets.cli.app import App, command_options, note, table_lines
from snow_assets.errors import ConfigError

if TYPE_CHECKING:
    import duckdb

SHOWN = 1000  # rows of a table on a terminal


@click.command()
@click.argument("query")
@click.option("--format", "form", type=click.Choice(["table", "csv"]), help="[table on a terminal, else csv]")
@command_options
def sql(app: App, query: str, form: str | None) -> None:
    """Run QUERY (DuckDB's SQL) over the published rows; - reads it from stdin.

    Each published pull is a view with its name and two columns per field: `state`, the value, and `state_display`,
    what users see. The landed structs are in the view NAME_raw: state.value, state.display_value, state.link.
    Of a delta pull, these are the current live rows; NAME_gone has those that went away, with _state, _deleted_at,
    _deleted_by and _left_at, and NAME_versions every version that was seen, with _plan, the plan that saw it.
    """
    import duckdb

    from snow_assets.reader import connect

    text = sys.stdin.read() if query == "-" else query
    if not text.strip(" \t\r\n;"):
        raise ConfigError("is empty", key="query", value=text, hint='such as "select count(*) from NAME"')
    declared = list(app.declared.pulls) if app.declared else []
    connection = connect(app.environment.data_dir, declared)
    try:
        result = connection.execute(text)
        names = [str(column[0]) for column in result.description or ()]
        _print(app, names, result, form or ("table" if sys.stdout.isatty() else "csv"))
    except duckdb.Error as error:
        raise _sql_error(error, connection, app) from None


def _print(app: App, names: Sequence[str], result: duckdb.DuckDBPyConnection, form: str) -> None:
    if app.json:
        app.result({"columns": list(names), "rows": [list(row) for row in result.fetchall()] if names else []})
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        while batch := result.fetchmany(10_000):
            writer.writerows(batch)
    else:
        rows: list[tuple[Any, ...]] = result.fetchmany(SHOWN + 1)
        app.result({}, table_lines(names, _shown(rows[:SHOWN])))
        if len(rows) > SHOWN:
            note(f"the first {SHOWN:,} rows; --format csv prints all")


def _shown(rows: Iterable[Sequence[Any]]) -> Iterable[list[object]]:
    """A null is told from an empty text."""
    return ([("NULL" if cell is None else cell) for cell in row] for row in rows)


def _sql_error(error: duckdb.Error, connection: duckdb.DuckDBPyConnection, app: App) -> ConfigError:
    line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    found = connection.execute(
        "SELECT view_name FROM duckdb_views() WHERE NOT internal AND view_name NOT LIKE '.%' ORDER BY 1"
    ).fetchall()
    views = ", ".join(str(name) for (name,) in found)
    hint = f"views: {views}" if views else f"nothing is published in {app.environment.data_dir}: snow-assets pull NAME"
    return ConfigError(line.strip(), key="sql", hint=hint)

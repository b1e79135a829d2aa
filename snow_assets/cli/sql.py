"""``snow-assets sql``: the published rows as views of a DuckDB in memory."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from snow_assets.cli.app import App, command_options, note, table_lines
from snow_assets.errors import ConfigError

if TYPE_CHECKING:
    import duckdb

SHOWN = 1000  # rows of a table on a terminal
FORMAT = click.option("--format", "form", type=click.Choice(["table", "csv"]), help="[table on a terminal, else csv]")


@click.command()
@click.argument("query")
@FORMAT
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

    text = text_of(query, 'such as "select count(*) from NAME"')
    declared = list(app.declared.pulls) if app.declared else []
    connection = connect(app.environment.data_dir, declared)
    try:
        result = connection.execute(text)
        names = [str(column[0]) for column in result.description or ()]
        print_rows(app, names, _fetched(result), form or ("table" if sys.stdout.isatty() else "csv"))
    except duckdb.Error as error:
        raise _sql_error(error, connection, app) from None


def text_of(query: str, hint: str) -> str:
    """The query that was given, or stands on stdin. Raises ``ConfigError`` where it is empty."""
    text = sys.stdin.read() if query == "-" else query
    if not text.strip(" \t\r\n;"):
        raise ConfigError("is empty", key="query", value=text, hint=hint)
    return text


def print_rows(app: App, names: Sequence[str], rows: Iterable[Sequence[Any]], form: str) -> None:
    """Print the result of a query as JSON, ``csv`` or a ``table``."""
    if app.json:
        app.result({"columns": list(names), "rows": [list(row) for row in rows]})
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
    else:
        first = list(islice(rows, SHOWN + 1))
        app.result({}, table_lines(names, _shown(first[:SHOWN])))
        if len(first) > SHOWN:
            note(f"the first {SHOWN:,} rows; --format csv prints all")


def _fetched(result: duckdb.DuckDBPyConnection) -> Iterator[Sequence[Any]]:
    while result.description and (batch := result.fetchmany(10_000)):
        yield from batch


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

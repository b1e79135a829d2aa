"""``snow-assets imports sql``: the books and the rows of import sets as tables."""

from __future__ import annotations

import sys

import click

from snow_assets.cli.app import App, command_options, imports_option
from snow_assets.cli.sql import FORMAT, print_rows, text_of


@click.command()
@click.argument("query")
@FORMAT
@imports_option
@command_options
def imports_sql(app: App, query: str, form: str | None) -> None:
    """Run QUERY (DuckDB's SQL) over the books of imports; - reads it from stdin. Nothing can be changed through it.

    Tables are called as on the platform: sys_concurrent_import_set, sys_concurrent_import_set_job, sys_import_set,
    sys_import_set_run, sys_import_set_row, sys_import_set_row_error, sys_execution_plan, sys_execution_context,
    sys_import_set_execution, and each staging table by its name. SHOW TABLES lists them.
    """
    import pyarrow as pa

    from snow_assets.imports.books_view import query as run_query

    text = text_of(query, 'such as "select * from sys_import_set_run"')
    with app.imports_workspace() as workspace:
        found: pa.Table = run_query(workspace, text)
    rows = (tuple(row.values()) for batch in found.to_batches() for row in batch.to_pylist())
    print_rows(app, found.column_names, rows, form or ("table" if sys.stdout.isatty() else "csv"))

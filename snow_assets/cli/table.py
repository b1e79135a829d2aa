"""``snow-assets table``: where the Delta table lies, and how to read it."""

from __future__ import annotations

import click

from snow_assets.cli.app import App, command_options, complete_pull


@click.command()
@click.argument("name", shell_complete=complete_pull)
@command_options
def table(app: App, name: str) -> None:
    """Print the location of the Delta table of the pull NAME, and a line each for DuckDB, Polars and pandas.

    The lines read the table's files, so that DuckDB needs no extension, and end in a data frame or relation.
    """
    from snow_assets.reader import data_of, dataset_of

    landing = app.landing(app.known(name))
    dataset = dataset_of(landing)
    location = dataset.location
    files = f"snow_assets.files({name!r}, data={data_of(landing)!r})"
    lines = {
        "duckdb": f"import duckdb, snow_assets; rows = duckdb.read_parquet({files})",
        "polars": f"import polars, snow_assets; rows = polars.scan_parquet({files}).collect()",
        "pandas": f"import pandas, snow_assets; rows = pandas.read_parquet({files})",
    }
    data = {"pull": name, "location": location, "version": dataset.version, "plan": dataset.plan, "rows": dataset.rows}
    app.result({**data, "read": lines}, [location, *(f"{engine + ':':8}{line}" for engine, line in lines.items())])

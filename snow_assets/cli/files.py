"""``snow-assets files``: the Parquet files of a dataset."""

from __future__ import annotations

import click

from snow_assets.cli.app import App, command_options, complete_pull


@click.command()
@click.argument("name", shell_complete=complete_pull)
@command_options
def files(app: App, name: str) -> None:
    """Print the Parquet files that hold the published rows of the pull NAME as they are now, one per line."""
    from snow_assets.reader import dataset_of

    dataset = dataset_of(app.landing(app.known(name)))
    data = {"pull": name, "plan": dataset.plan, "rows": dataset.rows, "files": list(dataset.files)}
    app.result(data, dataset.files)

"""``snow-assets corpus``: the rows of a pull as files for other programs."""

from __future__ import annotations

import os
from dataclasses import asdict

import click

from snow_assets.cli.app import App, command_options, complete_pull


@click.command()
@click.argument("name", shell_complete=complete_pull)
@click.option("--again", is_flag=True, help="Write every file anew, also where the export is there.")
@command_options
def corpus(app: App, name: str, again: bool) -> None:
    """Export the published rows of the pull NAME: one Parquet file, one file of raw records, and a manifest.

    What was exported before is told as it is. Prints where the files are; --json prints the manifest.
    """
    from snow_assets.pulls import lease
    from snow_assets.pulls.corpus import export_corpus, home_of
    from snow_assets.pulls.live import live_rows

    landing = app.landing(app.known(name))
    live_rows(landing)  # nothing is made where nothing is published
    with lease(home_of(landing), f"snow-assets corpus, process {os.getpid()}"):
        found = export_corpus(landing, again=again)
    count = "" if found.counted is None else f", {found.counted:,} counted"
    files = [f"{file.location}" for file in found.files]
    app.result(asdict(found), [f"{found.rows:,} rows of plan {found.plan}{count}", *files])

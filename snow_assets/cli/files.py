"""``snow-assets files``: the Parquet files of a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from snow_assets.cli.app import App, command_options, complete_pull, note
from snow_assets.errors import ConfigError

if TYPE_CHECKING:
    from snow_assets.pulls import Dataset, Landing


@click.command()
@click.argument("name", shell_complete=complete_pull)
@click.option("--all", "everything", is_flag=True, help="Of a delta pull: also files with rows that went away.")
@click.option("--versions", is_flag=True, help="Of a delta pull: the files with every version of a row that was seen.")
@command_options
def files(app: App, name: str, everything: bool, versions: bool) -> None:
    """Print the Parquet files that hold the published rows of the pull NAME as they are now, one per line.

    Of a delta pull, these are the current live rows.
    """
    from snow_assets.reader import dataset_of, gone_files, versions_of

    if everything and versions:
        raise ConfigError("cannot be combined with --versions", key="--all", hint="choose one of them")
    landing = app.landing(app.known(name))
    dataset = versions_of(landing) if versions else dataset_of(landing)
    paths = [*dataset.files, *(gone_files(landing) if everything else ())]
    if not versions:
        note_behind(landing, dataset)
    app.result({"pull": name, "plan": dataset.plan, "rows": dataset.rows, "files": paths}, paths)


def note_behind(landing: Landing, shown: Dataset) -> None:
    """Say so where the current rows are of an older plan than the newest that is published."""
    from snow_assets.reader import behind

    newest = behind(landing, shown)
    if newest:
        note(f"pull {shown.pull}: current rows as of plan {shown.plan}; {newest} is published and not brought up yet")

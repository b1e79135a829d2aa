"""``snow-assets jsonl``: the raw records, key for key."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from snow_assets.cli.app import App, command_options, complete_pull, note
from snow_assets.cli.files import note_behind


@click.command()
@click.argument("name", shell_complete=complete_pull)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write this file, whole or not at all.")
@command_options
def jsonl(app: App, name: str, out: Path | None) -> None:
    """Write the published records of the pull NAME as the API gave them, one JSON object per line.

    Of a delta pull, these are the current live rows.
    To stdout unless --out names a file; only then does --json print an object about it.
    """
    from snow_assets.pulls.records import write_lines

    lines = _lines(app, name)
    if out is None:
        for line in lines:
            sys.stdout.buffer.write(line)
        return
    rows = write_lines(out, lines, key="--out")
    note(f"{rows:,} records")
    app.result({"pull": name, "file": out.absolute(), "rows": rows}, [str(out)])


def _lines(app: App, name: str) -> Iterator[bytes]:
    """Nothing is looked for before the first line is asked for: a wrong --out is told first."""
    from snow_assets.pulls.records import json_lines
    from snow_assets.reader import dataset_of, records_of

    landing = app.landing(app.known(name))
    dataset = dataset_of(landing)
    note_behind(landing, dataset)
    yield from json_lines(records_of(landing, dataset))

"""``snow-assets jsonl``: the raw records, key for key."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from snow_assets.cli.app import App, command_options, complete_pull, note
from snow_assets.cli.files import note_behind
from snow_assets.errors import ConfigError


@click.command()
@click.argument("name", shell_complete=complete_pull)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write this file, whole or not at all.")
@command_options
def jsonl(app: App, name: str, out: Path | None) -> None:
    """Write the published records of the pull NAME as the API gave them, one JSON object per line.

    Of a delta pull, these are the current live rows.
    To stdout unless --out names a file; only then does --json print an object about it.
    """
    lines = _lines(app, name)
    if out is None:
        for line in lines:
            sys.stdout.buffer.write(line)
        return
    rows = _write(out, lines)
    note(f"{rows:,} records")
    app.result({"pull": name, "file": out.absolute(), "rows": rows}, [str(out)])


def _lines(app: App, name: str) -> Iterator[bytes]:
    """Row group by row group, so that memory does not grow with the table."""
    from snow_assets.pulls.records import json_lines, raw_records
    from snow_assets.reader import dataset_of, opened

    landing = app.landing(app.known(name))
    dataset = dataset_of(landing)
    note_behind(landing, dataset)
    display_value = landing.read_plan(dataset.plan).display_value
    for uri in dataset.files:
        with opened(landing, uri) as file:
            yield from json_lines(raw_records(file, display_value))


def _write(out: Path, lines: Iterator[bytes]) -> int:
    """Write ``out`` by a temporary file beside it; returns the number of lines."""
    if not out.parent.is_dir():
        raise ConfigError("is not in a folder that exists", key="--out", value=out, hint=f"mkdir -p {out.parent}")
    scratch = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with scratch.open("wb") as file:
            rows = _copy(lines, file)
        scratch.replace(out)
    finally:
        scratch.unlink(missing_ok=True)
    return rows


def _copy(lines: Iterator[bytes], file: BinaryIO) -> int:
    rows = 0
    for line in lines:
        file.write(line)
        rows += 1
    file.flush()
    os.fsync(file.fileno())
    return rows

"""A real event log replayed, followed by delta pulls, and held against the truth after every sync.

::

    python -m snow_assets_tests.replay --moments 30 --seed 1        # make replay MOMENTS=30 SEED=1
    python -m snow_assets_tests.replay --small --story deletes      # a log that is made up, 1,500 incidents

The log is the incident event log of the UCI data set 498: ``--log``, ``SNOW_EVENT_LOG``, or
``../shared/data/incident_event_log.csv.gz`` beside the project. Prints a line for each sync; exits 1 where one does not
equal the truth, 2 where there is no log.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from snow_assets_tests.warehouse.replay import Line, Story
from snow_assets_tests.warehouse.replay_log import Version, read_log, write_small_log
from snow_assets_tests.warehouse.replay_stories import fateful, plain

REAL = Path(__file__).parents[2] / "shared" / "data" / "incident_event_log.csv.gz"
STORIES: dict[str, Callable[..., Story]] = {"plain": plain, "deletes": fateful}
TITLES = {
    "plain": "The whole table and what is active of it",
    "deletes": "Deletions, undeletions, other classes, quiet changes and late commits",
}
COLUMNS = {
    "pull": 9,
    "moment": 19,
    "kind": 12,
    "window": 8,
    "landed": 6,
    "left": 5,
    "deleted": 7,
    "mended": 6,
    "requests": 8,
    "current": 7,
    "true": 4,
}
WIDTH = sum(COLUMNS.values()) + 2 * len(COLUMNS)
WORDS = frozenset({"pull", "moment", "kind", "true"})  # columns that are no numbers


def real_log() -> Path | None:
    """The real log, where there is one."""
    named = os.environ.get("SNOW_EVENT_LOG")
    path = Path(named) if named else REAL
    return path if path.is_file() else None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m snow_assets_tests.replay", description=__doc__.splitlines()[0])
    parser.add_argument("--log", type=Path, help="the event log, CSV or gzip")
    parser.add_argument("--small", action="store_true", help="a log that is made up by the seed instead")
    parser.add_argument("--moments", type=int, default=30, help="how many deltas follow the base")
    parser.add_argument("--seed", type=int, default=1, help="of the moments and of what happens to rows")
    parser.add_argument("--story", choices=[*STORIES, "all"], default="all")
    given = parser.parse_args(arguments)
    console = Console(width=WIDTH, highlight=False)
    with tempfile.TemporaryDirectory(prefix="replay") as folder:
        log = given.log or real_log()
        if given.small:
            log = Path(folder) / "log.csv.gz"
            write_small_log(log, seed=given.seed)
        if log is None or not log.is_file():
            sys.stderr.write(f"no event log at {log or REAL}: name it with --log or SNOW_EVENT_LOG, or say --small\n")
            return 2
        versions = read_log(log)
        names = STORIES if given.story == "all" else [given.story]
        wrongs = [_tell(name, log, versions, Path(folder) / name, given, console) for name in names]
    return 1 if any(wrongs) else 0


def _tell(
    name: str, log: Path, versions: list[Version], folder: Path, given: argparse.Namespace, console: Console
) -> int:
    """One story, line by line as it is told; returns how many syncs were wrong."""
    console.print(f"\n[bold]{TITLES[name]}[/bold]")
    _print(console, COLUMNS, "bold")
    story = STORIES[name](log, versions, folder, given.seed, given.moments, lambda line: _show(line, console))
    wrong = [line for line in story.lines if line.wrongs]
    for line in wrong:
        console.print(f"[red]{line.pull} at {line.moment:%Y-%m-%d %H:%M:%S}:[/red] {'; '.join(line.wrongs)}")
    console.print(f"{len(story.lines)} syncs, {len(wrong)} of them wrong; at the end, history too was compared")
    return len(wrong)


def _show(line: Line, console: Console) -> None:
    plan = line.plan
    window = "" if plan.since is None else f"{(plan.as_of - plan.since).total_seconds() / 3600:.1f} h"
    cells = (line.pull, f"{line.moment:%Y-%m-%d %H:%M:%S}", line.kind, window, line.landed, line.left, line.deleted,
             line.mended, line.requests, line.rows, "no" if line.wrongs else "yes")  # fmt: skip
    _print(console, cells, "red" if line.wrongs else "")
    if line.unknown:
        console.print(f"          {line.unknown}", style="yellow")


def _print(console: Console, cells: Sequence[object] | dict[str, int], style: str) -> None:
    """A row of the table; each is printed as it comes, so all have the same widths."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, width in COLUMNS.items():
        table.add_column(width=width, no_wrap=True, justify="left" if name in WORDS else "right", style=style)
    table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells))
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())

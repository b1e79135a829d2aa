"""``snow-assets imports run``, ``resume`` and ``reprocess``: on the local Dagster instance."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from snow_assets.cli.app import App, command_options, imports_option, note
from snow_assets.cli.failures import Reported
from snow_assets.cli.imports_data import FIGURES, load_data
from snow_assets.cli.imports_progress import imports_bar
from snow_assets.errors import SnowError

if TYPE_CHECKING:
    from snow_assets.assets.import_local import ImportOutcome, Listener

_TOLD = 5  # rows in error told on a terminal


@click.command()
@click.argument("name")
@click.option("--new", is_flag=True, help="Give up an unfinished load: what it has not transformed is cancelled.")
@click.option("--only", is_flag=True, help="Run this import alone: nothing that follows it starts.")
@imports_option
@command_options
def imports_run(app: App, name: str, new: bool, only: bool) -> None:
    """Load the source of the import NAME, transform its import sets, close the load; then what follows it, in order.

    Exit code 0: every import set is applied, though rows may be in error, which are told; 1: an import set failed, or
    counters do not add up; 2: something must be fixed first.
    """
    from snow_assets.assets.import_local import run_import_here

    settings = _checked(app, name)
    _run(
        app,
        lambda tell: run_import_here(settings, app.environment, name, new=new, only=only, on_progress=tell),
    )


@click.command()
@click.argument("name")
@click.option("--load", "load_id", metavar="ID", help="The load.  [the newest]")
@imports_option
@command_options
def imports_resume(app: App, name: str, load_id: str | None) -> None:
    """Go on with a load of the import NAME where it stopped: import sets that wait, failed or died; then what follows.

    A load that died while it loaded is loaded anew. Exit codes are those of run.
    """
    from snow_assets.assets.import_local import resume_import_here

    settings = _checked(app, name)
    _run(app, lambda tell: resume_import_here(settings, app.environment, name, load_id, on_progress=tell))


@click.command()
@click.argument("name")
@click.option("--load", "load_id", metavar="ID", help="The load.  [the newest]")
@click.option("--set", "set_no", type=click.IntRange(min=1), metavar="N", help="One import set of it.  [all]")
@click.option("--force", is_flag=True, help="Also where a newer load has run: old values are put over its.")
@imports_option
@command_options
def imports_reprocess(app: App, name: str, load_id: str | None, set_no: int | None, force: bool) -> None:
    """Transform a finished load of the import NAME again, from its staged rows: nothing is loaded, nothing follows.

    Exit codes are those of run.
    """
    from snow_assets.assets.import_local import reprocess_import_here

    settings = _checked(app, name)
    _run(
        app,
        lambda tell: [
            reprocess_import_here(settings, app.environment, name, load_id, set_no, force=force, on_progress=tell)
        ],
    )


def _checked(app: App, name: str) -> Any:
    """What can be told before anything is started or written."""
    from snow_assets.cli.home import check_dagster_home

    with app.imports_workspace() as workspace:
        workspace.config(name)
    check_dagster_home(app.environment.dagster_home)
    return app.import_settings


def _run(app: App, work: Callable[[Listener | None], Sequence[ImportOutcome]]) -> None:
    began = time.monotonic()
    with imports_bar() as listener:
        outcomes = work(listener)
    shown = [outcome_data(each) for each in outcomes]
    data: dict[str, Any] = {"imports": shown, "seconds": round(time.monotonic() - began, 1), "retryable": False}
    failed = [each for each in map(error_of, outcomes) if each is not None]
    if failed:
        data |= {"error": failed[0].as_dict(), "retryable": all(each.exit_code == 1 for each in failed)}
    app.result(data, [line for each in shown for line in _lines(each)])
    for outcome in outcomes:
        for line in _complaints(outcome):
            note(line)
    if failed:
        raise Reported(max(each.exit_code for each in failed))


def outcome_data(outcome: ImportOutcome) -> dict[str, Any]:
    """What ``--json`` prints of an import. ``errors`` are the first rows that were refused."""
    data = load_data(outcome.name, outcome.load, outcome.sets)
    error = error_of(outcome)
    data |= {
        "errors": list(outcome.rows),
        "failed": [{"partition": key, "cause": str(each), **each.as_dict()} for key, each in outcome.failed],
        "seconds": outcome.seconds,
        "runs": outcome.runs,
        "retryable": bool(error and error.exit_code == 1),
    }
    if error is not None:
        data["error"] = error.as_dict()
    return data


def error_of(outcome: ImportOutcome) -> SnowError | None:
    """Why the import is not done: what a person must fix, rather than what follows from it."""
    causes = [each for _, each in outcome.failed]
    return max(causes, key=lambda each: each.exit_code, default=outcome.error)


def _lines(data: dict[str, Any]) -> Iterator[str]:
    if data["load"] is None:
        return
    counters, sets = data["counters"], data["import_sets"]
    figures = ", ".join(f"{counters[name]:,} {name}" for name in FIGURES[1:] if counters[name]) or "no rows"
    yield (
        f"{data['import']}: {counters['total']:,} rows of load {data['load']} {data['state']}: {figures}; "
        f"{sets['completed']} of {sets['total']} import sets, {data['seconds']:,.1f} s"
    )


def _complaints(outcome: ImportOutcome) -> Iterator[str]:
    """Every failed import set and its cause, the first rows in error, then the one line."""
    name, error = outcome.name, error_of(outcome)
    for key, each in outcome.failed:
        yield f"import set {key}: {each}"
    if outcome.refused:
        yield f"{name}: {outcome.refused:,} {'row was' if outcome.refused == 1 else 'rows were'} refused"
    for row in outcome.rows[:_TOLD]:
        yield f"{name}: {_place(row)}: {row['message']}"
    if outcome.refused > _TOLD:
        yield f'{name}: see all of them: snow-assets imports sql "from sys_import_set_row_error"'
    if outcome.failed:
        done = sum(1 for each in outcome.sets if each.state == "processed")
        yield (
            f"error: import {name}: {len(outcome.failed)} of {len(outcome.sets)} import sets failed, {done} are applied"
            f" and stay (snow-assets imports resume {name} goes on)"
        )
    elif error is not None:
        yield f"error: import {name}: {error}"


def _place(row: dict[str, Any]) -> str:
    parts = (row["file"], f"line {row['line']}" if row["line"] else "", f"row {row['row']}" if row["row"] else "")
    return ", ".join(str(part) for part in parts if part)

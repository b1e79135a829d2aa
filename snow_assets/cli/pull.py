"""``snow-assets pull``: whole pulls on the local Dagster instance."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snow_assets.cli.app import App, command_options, complete_pull, note
from snow_assets.cli.failures import Reported, as_snow_error
from snow_assets.cli.outcome import cause_of, lines_of, outcome_data
from snow_assets.cli.progress import progress_bar
from snow_assets.errors import (
    Cancelled,
    ConfigError,
    CredentialsError,
    HostError,
    InstanceUnavailable,
    LeaseHeld,
    SnowError,
)

if TYPE_CHECKING:
    from snow_assets.assets.local import PullOutcome
    from snow_assets.config import PullConfig

RUN = "Dagster run"  # in the name of a lease's holder
# What would stop every other pull too.
_FOR_ALL = (CredentialsError, HostError, InstanceUnavailable)


@click.command()
@click.argument("names", nargs=-1, metavar="NAME...", shell_complete=complete_pull)
@click.option("--all", "every", is_flag=True, help="Every declared pull.")
@click.option("--new", is_flag=True, help="Start a new plan, also where an unfinished one could go on.")
@click.option("--base", is_flag=True, help="Read every row of a delta pull anew: a new base.")
@click.option("--accept", metavar="PLAN", help="Publish this plan although its rows fell or more are hidden.")
@command_options
def pull(app: App, names: tuple[str, ...], every: bool, new: bool, base: bool, accept: str | None) -> None:
    """Plan, land, reconcile and publish the pulls NAME..., one after another, on the local Dagster instance.

    A delta pull reads what changed since its last sync, or all of it the first time. An unfinished plan goes on where
    it stopped: what has landed is not asked for again. Exit code 0: complete and published; 1: not finished, run it
    again; 2: something must be fixed first.
    """
    pulls = _chosen(app, names, every)
    _check(app, pulls, new or base, accept)
    results: list[tuple[int, dict[str, Any]]] = []
    for each in pulls:
        code, data, stop = _one(app, each, new, base, accept)
        results.append((code, data))
        if stop:
            break
    if app.json:
        app.result(results[0][1] if len(pulls) == 1 else _several([data for _, data in results]))
    code = max(code for code, _ in results)
    if code:
        raise Reported(code)


def _chosen(app: App, names: tuple[str, ...], every: bool) -> list[PullConfig]:
    if bool(names) == every:
        both = " (not both)" if every else ""
        raise click.UsageError(f"name the pulls, or say --all{both}", ctx=click.get_current_context())
    return [app.settings.pull(name) for name in dict.fromkeys(names)] if names else list(app.settings.pulls.values())


def _check(app: App, pulls: list[PullConfig], new: bool, accept: str | None) -> None:
    """What can be told before anything is started or written."""
    from snow_assets.cli.home import check_dagster_home
    from snow_assets.config import Credentials
    from snow_assets.servicenow.query import EncodedQuery

    app.environment.require_url(app.settings.instance)
    Credentials.from_environment(app.environment)
    check_dagster_home(app.environment.dagster_home)
    for each in pulls:
        with _placed(app, each):
            EncodedQuery.parse(each.query)
        app.landing(each.name).check_writable()
    if accept is not None:
        _check_accept(app, pulls, new, accept)
    with app.client(pulls[0]) as client:
        client.clock()  # one request: does the host answer, does it know us?


def _look_first(app: App, pull: PullConfig) -> None:
    """One request, before the first plan of a pull: a table or a field that is not there starts and writes nothing."""
    from snow_assets.servicenow.exchange import Tally
    from snow_assets.servicenow.honoured import must_be_honoured, must_exist, visible_fields
    from snow_assets.servicenow.query import EncodedQuery

    if app.landing(pull.name).plan_ids():
        return
    query = EncodedQuery.parse(pull.query)
    asked = tuple(dict.fromkeys(("sys_id", *(pull.fields or ()), *query.fields)))
    with _placed(app, pull), app.client(pull) as client:
        visible = client.run(visible_fields(pull.table, asked, client.policy, Tally(), limits=(10,)))
        if visible is not None:  # else only the dictionary can tell: the plan asks it
            must_be_honoured(query, visible, pull.table)
            must_exist(pull.fields or (), visible, pull.table)


@contextmanager
def _placed(app: App, pull: PullConfig) -> Iterator[None]:
    """Let an error about what the pull declares say where that is declared."""
    try:
        yield
    except SnowError as error:
        _place(app, pull, error)
        raise


def _place(app: App, pull: PullConfig, error: SnowError) -> None:
    from snow_assets.config import place_of

    if error.key in ("table", "query", "fields", "key") and error.exit_code != 1:
        place = place_of(app.settings.path, "pulls", pull.name, error.key)
        error.key, error.message = f"pulls.{pull.name}.{error.key}", f"{error.message}, {place}"


def _check_accept(app: App, pulls: list[PullConfig], new: bool, accept: str) -> None:
    """A plan is accepted by its name, so that nobody accepts another than the one that was looked at."""
    if new or len(pulls) != 1:
        hint = "a plan is published as it is: name its pull alone"
        raise ConfigError("goes with one pull, and not with --new or --base", key="--accept", value=accept, hint=hint)
    newest = app.landing(pulls[0].name).latest_plan()
    if newest is None or newest.plan_id != accept:
        hint = f"its newest plan is {newest.plan_id}" if newest else "it has no plan"
        raise ConfigError(f"is not the newest plan of pull {pulls[0].name}", key="--accept", value=accept, hint=hint)


def _one(app: App, pull: PullConfig, new: bool, base: bool, accept: str | None) -> tuple[int, dict[str, Any], bool]:
    """Run one pull and say how it ended; returns its exit code, its JSON, and whether the others must not start."""
    from snow_assets.assets.local import run_pull

    started = time.monotonic()
    try:
        _look_first(app, pull)
        with progress_bar(pull.name) as listener, _stdout_kept(app):
            outcome = run_pull(
                app.settings, app.environment, pull.name, new=new, base=base, accept=accept, on_progress=listener
            )
    except Exception as raised:  # noqa: BLE001 - one pull's failure must not hide the results of the others
        return _failed(app, pull, as_snow_error(raised))
    for each in (*(failure for _, failure in outcome.failed), outcome.error):
        if each is not None:
            app.locate(each, pull.table)
    seconds = round(time.monotonic() - started, 1)
    error = cause_of(outcome)
    data = outcome_data(outcome, app.landing(pull.name), seconds)
    if not app.json:
        app.result({}, lines_of(data) if outcome.published else ())
    for line in _complaints(outcome, data):
        note(line)
    code = error.exit_code if error else 0
    return code, data, isinstance(error, _FOR_ALL)


@contextmanager
def _stdout_kept(app: App) -> Iterator[None]:
    """Keep what dbt says off stdout, which carries the result alone; it is in the run's log, and shown with debug."""
    with ExitStack() as stack:
        debug = app.log_level.lower() == "debug"
        sink = sys.stderr if debug else stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        stack.enter_context(redirect_stdout(sink))
        yield


def _failed(app: App, pull: PullConfig, error: SnowError) -> tuple[int, dict[str, Any], bool]:
    app.locate(error, pull.table)
    _place(app, pull, error)
    if isinstance(error, LeaseHeld):
        where = "see it under Runs in Dagster's UI, or how far it is" if RUN in error.message else "see how far it is"
        error.hint = f"{where}: snow-assets status {pull.name}; pull again when it has ended"
    note(f"error: {error}")
    data = {"pull": pull.name, "published": False, "error": error.as_dict(), "retryable": error.exit_code == 1}
    return error.exit_code, data, isinstance(error, _FOR_ALL)


def _complaints(outcome: PullOutcome, data: dict[str, Any]) -> Iterator[str]:
    """Every failed slice and its cause, then the one line."""
    name, error = outcome.pull, cause_of(outcome)
    causes = [(key, each) for key, each in outcome.failed if not isinstance(each, Cancelled)]
    for key, each in causes:
        yield f"slice {key}: {each}"
    if outcome.failed and (more := len(outcome.plan.slices) - outcome.landed - len(causes)) > 0:
        yield f"{more:,} more {'slice was' if more == 1 else 'slices were'} not asked for, since the run was stopped"
    for difference in data["differences"]:
        if difference["rows"] and difference["cause"] != "not_landed":
            yield f"{name}: {difference['cause']} {difference['rows']:+,}: {difference['evidence']}"
    yield from _of_sweep(name, data["sweep"] or {})
    if data["dbt"]:
        yield f"{name}: published, but dbt failed: {data['dbt']}"
    if error is not None:
        slices = data["slices"]
        if data["failed"]:
            yield (
                f"error: pull {name}: {slices['failed']} of {slices['total']} slices failed, {slices['landed']} have"
                f" landed and are kept; nothing is published (run it again: only what is missing is asked for)"
            )
        else:
            yield f"error: {error}"


def _of_sweep(name: str, found: dict[str, Any]) -> Iterator[str]:
    """What a delta did not know, and what its cursor did not show."""
    mended = {kind: found[kind] for kind in ("missed", "restored", "changed") if found.get(kind)}
    if mended:
        rows = ", ".join(f"{count:,} {kind}" for kind, count in mended.items())
        yield f"{name}: the keys of all rows were compared, and rows mended that the cursor did not show: {rows}"
    for line in (found.get("unknown"), *found.get("notes", ())):
        if line:
            yield f"{name}: {line}"


def _several(results: list[dict[str, Any]]) -> dict[str, Any]:
    """One object for several pulls; ``error`` is the first one's."""
    failed = [data for data in results if data.get("error")]
    whole: dict[str, Any] = {"pulls": results}
    if failed:
        whole |= {"error": failed[0]["error"], "retryable": all(data["retryable"] for data in failed)}
    return whole

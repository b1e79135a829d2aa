"""``snow-assets prune`` and ``snow-assets compact``: what pulls leave behind, kept within bounds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from snow_assets.cli.app import App, command_options, complete_pull, note
from snow_assets.cli.estimate import human_bytes
from snow_assets.cli.failures import Reported
from snow_assets.errors import ConfigError, SnowError

if TYPE_CHECKING:
    import dagster as dg

    from snow_assets.config import PullConfig
    from snow_assets.pulls import Landing
    from snow_assets.pulls.retention import Pruned

SHOWN = 20  # files named in text


@click.command()
@click.argument("name", required=False, shell_complete=complete_pull)
@click.option("--dry-run", is_flag=True, help="List what would go; change nothing.")
@click.option("--keep", metavar="TIME", help="How long old things stay, such as 30d, instead of what the pull says.")
@command_options
def prune(app: App, name: str | None, dry_run: bool, keep: str | None) -> None:
    """Remove what is older than `keep` of the pull NAME, or of every pull that declares it.

    Old plans with their files and partitions, versions of the tables, and what was set aside. What a younger version of
    a table names stays, so that time travel to it goes on working; so does the newest plan.
    """
    pulls = _chosen(app, name, keep)
    shown: list[dict[str, Any]] = []
    errors: list[SnowError] = []
    for pull in pulls:
        try:
            pruned = _prune(app, pull, dry_run)
        except SnowError as error:  # of this pull alone
            note(f"error: {error}")
            errors.append(error)
            shown.append({"pull": pull.name, "error": error.as_dict()})
        else:
            shown.append(asdict(pruned) | {"before": pruned.before.isoformat()})
            if not app.json:
                app.result({}, _lines(pruned))
    if app.json:
        data: dict[str, Any] = shown[0] if name else {"pulls": shown}
        if errors:
            data |= {"error": errors[0].as_dict(), "retryable": all(e.exit_code == 1 for e in errors)}
        app.result(data)
    if errors:
        raise Reported(max(e.exit_code for e in errors))


@click.command()
@click.argument("name", shell_complete=complete_pull)
@command_options
def compact(app: App, name: str) -> None:
    """Make the many small files of the delta pull NAME few; every row stays as it is.

    Older versions of its table go on naming the small files, until `prune` finds that no kept version does.
    """
    from snow_assets.pulls.compaction import compact as compact_files

    pull = app.settings.pull(name)
    landing = app.landing(name)
    with _held(landing, "compact"):
        found = compact_files(landing, pull)
    line = f"{name}: nothing to do: {found.why}"
    if not found.why:
        sizes = f"{human_bytes(found.before)} are now {human_bytes(found.after)}"
        line = f"{name}: {found.files:,} files became {found.into:,}, with {found.rows:,} rows; {sizes}"
    app.result(asdict(found), [line])


def _chosen(app: App, name: str | None, keep: str | None) -> list[PullConfig]:
    """The pull, or all that declare it, with ``--keep`` in the place of what they declare."""
    seconds = None if keep is None else _seconds(keep)
    every = app.settings.pulls.values()
    chosen = [app.settings.pull(name)] if name else [pull for pull in every if pull.keep is not None]
    if chosen and seconds is not None:
        return [pull.model_copy(update={"keep": seconds}) for pull in chosen]
    if not chosen or chosen[0].keep is None:
        hint = "set keep: 30d in pulls.yaml, or say NAME --keep 30d"
        value = name or app.settings.path
        raise ConfigError("keeps everything: there is no keep", key="pull" if name else "pulls", value=value, hint=hint)
    return chosen


def _seconds(keep: str) -> float:
    from snow_assets.config_models import parse_duration

    try:
        seconds = parse_duration(keep)
    except ValueError as error:
        raise ConfigError(str(error), key="--keep", value=keep, hint="such as 30d or 12h") from None
    if not isinstance(seconds, float) or seconds <= 0:
        raise ConfigError("is not more than nothing", key="--keep", value=keep, hint="such as 30d or 12h")
    return seconds


def _prune(app: App, pull: PullConfig, dry_run: bool) -> Pruned:
    from snow_assets.assets.maintenance import prune_pull

    landing = app.landing(pull.name)
    now = datetime.now(UTC)
    if dry_run:
        return prune_pull(None, landing, pull, now, dry_run=True)
    with _held(landing, "prune"), _instance(app) as instance:
        return prune_pull(instance, landing, pull, now)


@contextmanager
def _held(landing: Landing, what: str) -> Iterator[None]:
    from snow_assets.pulls import lease

    with lease(landing, f"snow-assets {what}, process {os.getpid()}"):
        yield


@contextmanager
def _instance(app: App) -> Iterator[dg.DagsterInstance | None]:
    """The Dagster instance where there is one; none is made for this."""
    from snow_assets.assets.local import local_instance

    with ExitStack() as stack:
        there = (app.environment.dagster_home / "dagster.yaml").exists()
        yield stack.enter_context(local_instance(app.environment)) if there else None


def _lines(pruned: Pruned) -> Iterator[str]:
    verb = "would go" if pruned.dry_run else "gone"
    if pruned.nothing:
        yield f"{pruned.pull}: nothing is older than {pruned.before:%Y-%m-%d %H:%M:%SZ} and of no use"
    else:
        yield (
            f"{pruned.pull}: {verb}: plans {len(pruned.plans)}, versions {len(pruned.versions)}, files"
            f" {len(pruned.files):,} ({human_bytes(pruned.size)});"
            f" what is of use after {pruned.before:%Y-%m-%d %H:%M:%SZ} stays"
        )
    yield from (f"  plan {plan_id}" for plan_id in pruned.plans)
    yield from (f"  {path}" for path in pruned.files[:SHOWN])
    if len(pruned.files) > SHOWN:
        yield f"  and {len(pruned.files) - SHOWN} more files (--json names them all)"
    yield from (f"  stays: {line}" for line in pruned.stays)

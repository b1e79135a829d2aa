"""``snow-assets simulate``: an instance on loopback, in the foreground."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from snow_assets.cli.app import App, command_options, note
from snow_assets.errors import ConfigError

if TYPE_CHECKING:
    from snow_assets.simulator import Simulator

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1.  [a free one]")
@click.option("--rows", multiple=True, metavar="TABLE=N", help="Rows of a table; may be given again.")
@click.option("--event-log", type=FILE, help="CSV of incident versions, plain or gzip, replayed up to --at.")
@click.option("--at", metavar="TIME", help="What the instance's clock shows, such as 2016-05-01T12:00:00 (UTC).")
@click.option("--faults", type=FILE, help="Fault rules to start with, YAML or JSON.")
@click.option("--seed", type=int, default=1, help="Of the generated rows.  [1]")
@command_options
def simulate(
    app: App,
    port: int,
    rows: tuple[str, ...],
    event_log: Path | None,
    at: str | None,
    faults: Path | None,
    seed: int,
) -> None:
    """Run an embedded ServiceNow instance until a signal comes, and print how to reach it.

    The three lines on stdout are what .env needs. Faults can be added and cleared while it runs, over HTTP at
    /simulator/faults.
    """
    sim = _instance(rows, event_log, at, faults, seed)
    try:
        server = sim.serve(port)
    except OSError as error:
        raise ConfigError(error.strerror or "cannot be used", key="--port", value=port, hint="or 0") from None
    with server:
        data = {"url": server.url, "username": server.username, "password": server.password}
        variables = zip(("SNOW_INSTANCE_URL", "SNOW_USERNAME", "SNOW_PASSWORD"), data.values(), strict=True)
        app.result(data, [f"{name}={value}" for name, value in variables])
        note("stop it with Ctrl-C")
        threading.Event().wait()


def _instance(
    rows: tuple[str, ...], event_log: Path | None, at: str | None, faults: Path | None, seed: int
) -> Simulator:
    from snow_assets.simulator import Simulator

    try:
        sim = Simulator(dict(map(_count, rows)), seed, at=_moment(at), event_log=event_log)
    except ValueError as error:
        raise ConfigError(str(error), key="--event-log" if event_log else "--rows") from None
    if faults:
        try:
            sim.faults.load(faults)
        except (ValueError, UnicodeDecodeError) as error:
            raise ConfigError(str(error), key="--faults", value=faults) from None
    return sim


def _count(text: str) -> tuple[str, int]:
    table, _, number = text.partition("=")
    if not table or not number.isdecimal():
        raise ConfigError("is not TABLE=N", key="--rows", value=text, hint="such as incident=20000")
    return table, int(number)


def _moment(text: str | None) -> datetime | None:
    from snow_assets.simulator.clock import parse_moment

    try:
        return parse_moment(text) if text else None
    except ValueError:
        raise ConfigError("is not a time", key="--at", value=text, hint="such as 2016-05-01T12:00:00") from None

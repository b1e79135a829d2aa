"""``snow-assets simulate``: an instance on loopback, in the foreground."""

from __future__ import annotations

import ssl
import threading
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from snow_assets.cli.app import App, command_options, note
from snow_assets.errors import ConfigError

if TYPE_CHECKING:
    from snow_assets.simulator import Simulator

LONGEST = 300  # characters of what the simulator says of a wrong file
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1.  [a free one]")
@click.option("--rows", multiple=True, metavar="TABLE=N", help="Rows of a table; may be given again.")
@click.option("--event-log", type=FILE, help="CSV of incident versions, plain or gzip, replayed up to --at.")
@click.option("--at", metavar="TIME", help="What the instance's clock shows, such as 2016-05-01T12:00:00 (UTC).")
@click.option("--faults", type=FILE, help="Fault rules to start with, YAML or JSON.")
@click.option("--seed", type=int, default=1, help="Of the generated rows.  [1]")
@click.option("--tls-cert", type=FILE, help="Serve https with this certificate (PEM); clients need its ca_bundle.")
@click.option("--tls-key", type=FILE, help="Its private key (PEM), where it is in a file of its own.")
@command_options
def simulate(
    app: App,
    port: int,
    rows: tuple[str, ...],
    event_log: Path | None,
    at: str | None,
    faults: Path | None,
    seed: int,
    tls_cert: Path | None,
    tls_key: Path | None,
) -> None:
    """Run an embedded ServiceNow instance until a signal comes, and print how to reach it.

    The three lines on stdout are what .env needs. Faults can be added and cleared while it runs, over HTTP at
    /simulator/faults.
    """
    tls = _tls(tls_cert, tls_key)
    sim = _instance(rows, event_log, at, faults, seed)
    try:
        server = sim.serve(port, tls=tls)
    except OSError as error:
        raise ConfigError(
            error.strerror or "cannot be used", key="--port", value=port, hint="0 takes a free one"
        ) from None
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
        key, value = ("--event-log", event_log) if event_log else ("--rows", " ".join(rows))
        message = _short(error).removeprefix(f"{event_log}: ")
        raise ConfigError(message, key=key, value=value, hint="see docs/simulator.md") from None
    if faults:
        try:
            sim.faults.load(faults)
        except (ValueError, UnicodeDecodeError) as error:
            raise ConfigError(_short(error), key="--faults", value=faults, hint="see docs/simulator.md") from None
    return sim


def _short(error: Exception) -> str:
    """One line; whatever is known of tables and kinds of fault would fill a screen."""
    text = " ".join(str(error).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def _tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        if key is None:
            return None
        raise ConfigError("is not given, but --tls-key is", key="--tls-cert", hint="give both, or neither")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password="")  # never asked for
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or "is unreadable"
        if isinstance(error, ssl.SSLError):
            reason = "there is no certificate with its key in it"
        hint = "name PEM files: the certificate, and its key without a password"
        raise ConfigError(f"cannot be used: {reason}", key="--tls-cert", value=certificate, hint=hint) from None
    return context


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

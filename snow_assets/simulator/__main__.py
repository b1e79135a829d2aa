"""``python -m snow_assets.simulator --port N --rows incident=1000``: an instance in the foreground."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

from snow_assets.simulator.clock import parse_moment
from snow_assets.simulator.instance import Simulator


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        at = parse_moment(options.at) if options.at else None
        sim = Simulator(dict(options.rows), options.seed, at=at, event_log=options.event_log)
        if options.faults:
            sim.faults.load(options.faults)
        serving = sim.serve(options.port)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    with serving as server:
        sys.stdout.write(f"{server.url} {server.username} {server.password}\n")
        sys.stdout.flush()
        done = threading.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: done.set())
        done.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("snow_assets.simulator", description="A ServiceNow instance on loopback.")
    parser.add_argument("--port", type=int, default=0, help="port; a free one when left out")
    parser.add_argument(
        "--rows", action="append", default=[], type=_count, metavar="TABLE=N", help="rows of a table; may be repeated"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the generator")
    parser.add_argument("--at", default="", metavar="TIME", help="what the instance's clock shows at the start (UTC)")
    parser.add_argument("--event-log", metavar="FILE", help="CSV of incident versions, replayed up to --at")
    parser.add_argument("--faults", metavar="FILE", help="fault rules to start with, YAML or JSON")
    return parser


def _count(text: str) -> tuple[str, int]:
    table, _, number = text.partition("=")
    if not table or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not TABLE=N")
    return table, int(number)


if __name__ == "__main__":
    raise SystemExit(main())

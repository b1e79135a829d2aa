"""For all tests."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from snow_assets.simulator import instance
from snow_assets.simulator.generate import generate
from snow_assets.simulator.generate_rows import Row

# A job in the background of a shell is started with SIGINT ignored, and programs that it starts inherit that: then the
# commands under test would ignore it, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The machine's own certificates and proxies must not shine through; tests that mean them set them.
for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
    os.environ.pop(name, None)

Tables = dict[str, list[Row]]

_GENERATED: dict[tuple[object, ...], Tables] = {}
_KEPT = 10_000  # rows asked for: larger instances are made anew each time, not kept in memory


def generate_once(rows: Mapping[str, int], seed: int, now: datetime) -> Tables:
    """What ``generate`` gives, made once per process: it depends on its arguments alone, and takes a quarter second.

    Each caller gets rows of its own. "Now" means the first "now" of this hour; another moment means that moment.
    """
    if sum(rows.values()) > _KEPT:
        return generate(rows, seed, now)
    is_now = abs(datetime.now(UTC) - now.replace(tzinfo=now.tzinfo or UTC)) < timedelta(seconds=10)
    moment = now.replace(minute=0, second=0, microsecond=0) if is_now else now
    key = (tuple(sorted(rows.items())), seed, is_now, moment)
    if key not in _GENERATED:
        _GENERATED[key] = generate(rows, seed, now)
    return {table: [dict(row) for row in made] for table, made in _GENERATED[key].items()}


@pytest.fixture(scope="session", autouse=True)
def _instances_are_generated_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instance, "generate", generate_once)
        yield


_connect = sqlite3.dbapi2.connect
_read_migrations = ScriptDirectory.from_config


def _connect_without_sync(*arguments: Any, **options: Any) -> sqlite3.Connection:
    connection: sqlite3.Connection = _connect(*arguments, **options)
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA synchronous = OFF")
    return connection


_migrations: dict[str | None, ScriptDirectory] = {}


def _read_once(config: Config) -> ScriptDirectory:
    location = config.get_main_option("script_location")
    if location not in _migrations:
        _migrations[location] = _read_migrations(config)
    return _migrations[location]


@pytest.fixture(scope="session", autouse=True)
def _records_of_dagster_are_made_quickly() -> Iterator[None]:
    """Databases that live for one test are not forced to the disk; migrations that each is stamped with are read once.

    Of this process alone: commands in processes of their own, those that are killed among them, do as users' do.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3.dbapi2, "connect", _connect_without_sync)
        patch.setattr(ScriptDirectory, "from_config", _read_once)
        yield


_HOLD = """
import sys
from snow_assets.pulls import Landing, lease
for line in sys.stdin:
    with lease(Landing.open(*line.rstrip("\\n").split("\\t")), "snow-assets pull, process 1"):
        print("held", flush=True)
        sys.stdin.readline()
    print("free", flush=True)
"""

Hold = Callable[[Path | str, str], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def another_process() -> Iterator[Hold]:
    """Holds the lease of a pull, by data folder and name, while a block runs: "snow-assets pull, process 1"."""
    command = [sys.executable, "-c", _HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        told, tell = process.stdout, process.stdin

        def say(line: str, expect: str) -> None:
            tell.write(f"{line}\n")
            tell.flush()
            assert told.readline() == f"{expect}\n"

        @contextmanager
        def hold(data: Path | str, pull: str) -> Iterator[None]:
            say(f"{data}\t{pull}", "held")
            try:
                yield
            finally:
                say("", "free")

        yield hold
        tell.close()

"""For all tests."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
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

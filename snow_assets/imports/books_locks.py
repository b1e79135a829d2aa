"""Who works on what: locks that the system frees when their holder dies.

Where the books are SQLite, they are lock files beside the staging; where they are PostgreSQL, sessions of it, so that
several machines see each other.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from sqlalchemy import Connection, text

from snow_assets.imports.books_database import Database

PROBE_SECONDS: Final = 1.0  # whoever asks has the lock for an instant; whoever works, for longer
_PAUSE: Final = 0.05
_held: set[str] = set()  # of this process: a lock is its holder's alone, among threads too
_guard = threading.Lock()


class Held(Exception):
    """Somebody alive has the lock."""


@contextmanager
def hold(database: Database, path: Path) -> Iterator[None]:
    """Hold the lock that ``path`` names while the block runs. Raises ``Held`` where somebody else has it."""
    name = str(path)
    with _guard:
        if name in _held:
            raise Held(name)
        _held.add(name)
    try:
        with _session(database, path) if database.is_postgresql else _file(path):
            yield
    finally:
        with _guard:
            _held.discard(name)


def is_held(database: Database, path: Path) -> bool:
    """Whether somebody alive has the lock right now."""
    if not database.is_postgresql and not path.exists():
        return False
    try:
        with hold(database, path):
            return False
    except Held:
        return True


@contextmanager
def _file(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=PROBE_SECONDS)
    except Timeout:
        raise Held(str(path)) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _session(database: Database, path: Path) -> Iterator[None]:
    # Machines may have the folder at different places: the import, the load and the set are what counts.
    digest = hashlib.sha256(path.relative_to(database.folder).as_posix().encode()).digest()
    key = {"key": int.from_bytes(digest[:8], signed=True)}
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        _wait(connection, key, path)
        try:
            yield
        finally:
            if not connection.invalidated:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)


def _wait(connection: Connection, key: dict[str, int], path: Path) -> None:
    deadline = time.monotonic() + PROBE_SECONDS
    while not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), key).scalar():
        if time.monotonic() > deadline:
            raise Held(str(path))
        time.sleep(_PAUSE)

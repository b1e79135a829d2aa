"""The database of the books: SQLite or PostgreSQL. One writes at a time on both: "am I the last?" has one answer."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, insert, make_url, text, update
from sqlalchemy.exc import SQLAlchemyError

from snow_assets.errors import ConfigError, InstanceUnavailable
from snow_assets.extras import need
from snow_assets.imports.tables import METADATA, NUMBERS

WAIT: Final = 120.0  # seconds for another writer, whose transactions last some milliseconds
WRITERS: Final = 0x534E4F57  # the advisory lock of whoever writes to the books in PostgreSQL
_DIGITS: Final = 7
_PAUSE: Final = 0.01  # seconds
_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class Database:
    """Connections to the books. Safe for threads; a process that forks opens its own."""

    def __init__(self, url: str | None, file: Path) -> None:
        self._url = url
        self._file = file
        self._engine: Engine | None = None
        self._opening = threading.Lock()

    @property
    def is_postgresql(self) -> bool:
        """Whether several machines may share them."""
        return self._url is not None

    @property
    def folder(self) -> Path:
        """Of all imports: locks are named from there."""
        return self._file.parent

    @property
    def place(self) -> str:
        """Where they are, without a password."""
        return "SNOW_IMPORTS_DATABASE" if self._url else str(self._file)

    @property
    def is_there(self) -> bool:
        """False where nothing was ever written: reading then makes no file."""
        return self._url is not None or self._engine is not None or self._file.exists()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: one moment of the books.

        Raises:
            ConfigError: the database is not there, or not ours to use.
        """
        with self._told(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes. It waits for the one before: what it reads is what holds when it commits."""
        with self._told(), self._writing(self.engine) as connection:
            yield connection

    @property
    def engine(self) -> Engine:
        """Opened, and its tables made, when it is needed first."""
        with self._opening:
            if self._engine is None:
                self._engine = self._open()
            return self._engine

    def close(self) -> None:
        """Let go of the connections."""
        with self._opening:
            if self._engine is not None:
                self._engine.dispose()
            self._engine = None

    def _open(self) -> Engine:
        with self._told():
            engine = self._postgresql() if self._url else self._sqlite()
            with self._writing(engine) as connection:
                METADATA.create_all(connection)
        return engine

    @contextmanager
    def _writing(self, engine: Engine) -> Iterator[Connection]:
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            if self.is_postgresql:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITERS})
            yield connection

    def _postgresql(self) -> Engine:
        need("psycopg2", "postgres")
        url = make_url(self._url or "").set(drivername="postgresql+psycopg2")
        return create_engine(url, max_overflow=-1, pool_pre_ping=True)

    def _sqlite(self) -> Engine:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self.place, error.strerror or "cannot be created") from error
        engine = create_engine(f"sqlite:///{self._file}", max_overflow=-1, connect_args={"timeout": WAIT})
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        return engine

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the database says, as an error of ours; never the URL."""
        try:
            yield
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
            if self.is_postgresql and _is_lost(error):
                raise InstanceUnavailable(
                    f"the books cannot be reached: {reason}", key=self.place, hint="see that PostgreSQL is up"
                ) from None
            raise _unusable(self.place, reason) from error


def _is_lost(error: SQLAlchemyError) -> bool:
    return bool(getattr(error, "connection_invalidated", False)) or type(error).__name__ == "OperationalError"


def _unusable(place: str, reason: str) -> ConfigError:
    hint = "choose another folder with SNOW_IMPORTS_DIR, or another database with SNOW_IMPORTS_DATABASE"
    return ConfigError(f"the books of imports cannot be used: {reason}", key="books", value=place, hint=hint)


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we begin transactions ourselves
    deadline = time.monotonic() + WAIT
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:  # another process is at it: SQLite does not wait here
            if time.monotonic() > deadline or error.sqlite_errorcode & 0xFF not in _BUSY:
                raise
            time.sleep(_PAUSE)


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def now() -> datetime:
    """UTC, as the books keep it."""
    return datetime.now(UTC).replace(tzinfo=None)


def number(connection: Connection, prefix: str) -> str:
    """The next number with this prefix, such as ``ISET0000001``. Inside a transaction that writes."""
    mine = NUMBERS.c.prefix == prefix
    raised = update(NUMBERS).where(mine).values(number=NUMBERS.c.number + 1).returning(NUMBERS.c.number)
    found = connection.execute(raised).scalar()
    if found is None:
        found = 1
        connection.execute(insert(NUMBERS).values(prefix=prefix, number=found))
    return f"{prefix}{found:0{_DIGITS}d}"


def process_name() -> str:
    """Who works, where nobody says: the process."""
    return f"process {os.getpid()}"

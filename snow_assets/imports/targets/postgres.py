"""A PostgreSQL database as a target. Processes and machines write it at the same time, and a key is inserted once.

A set is one transaction. With ``synchronize_inserts`` it holds the advisory lock of its table from before it looks for
its keys until it is committed. Without, it locks the rows that it finds, in the order of their sys_ids, and takes the
advisory lock only where keys are missing; then it looks for those once more. Sets that were dealt by key take it at
the end: to see, before they commit, that nobody else inserted their keys; else they begin again, with the lock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from snow_assets.imports.contract import Applied, MappedSet
from snow_assets.imports.sql_target import SqlTarget
from snow_assets.imports.targets.postgres_link import Link, TryAgain
from snow_assets.imports.targets.postgres_writer import PostgresWriter, ledger_entry
from snow_assets.pulls.workspace import workspace

if TYPE_CHECKING:
    import pyarrow as pa

    from snow_assets.config_environment import Environment
    from snow_assets.config_imports import ImportConfig

MEMORY = "384MB"  # of the bench of each set that is applied, before it spills


def open_postgres(config: ImportConfig, environment: Environment) -> PostgresTarget:
    """The target of an import in PostgreSQL; nothing is connected yet.

    Raises:
        ConfigError: the variable with the URL is not set, or holds no URL of a PostgreSQL database.
    """
    link = Link.of(environment, config.target.postgresql or "", f"snow-assets import {config.name}"[:63])
    return PostgresTarget(config, link)


class PostgresTarget(SqlTarget):
    """A table of a PostgreSQL database. What a lost connection leaves open is decided by the ledger."""

    def __init__(self, config: ImportConfig, link: Link) -> None:
        self._link = link
        self._database = PostgresDatabase(config, link)
        super().__init__(config, self._database)

    def check(self, fields: pa.Schema) -> None:
        """As every target; see `SqlTarget`."""
        self._link.again(lambda: super(PostgresTarget, self).check(fields))
        self._link.again(self._database.index)

    def applied(self, key: str) -> Applied | None:
        """What the ledger beside the table says of an import set."""
        return self._link.again(lambda: self._database.remembered(key))

    def apply(self, mapped: MappedSet) -> Applied:
        """Apply a set in one transaction; see `SqlTarget`. It is tried again where its connection is lost.

        Raises:
            InstanceUnavailable: the connection was lost too often.
        """
        tried = False

        def act() -> Applied:
            nonlocal tried
            before = self._database.remembered(mapped.key) if tried and mapped.reprocess else None
            tried = True
            if before and before.attempt == mapped.attempt:
                return before
            return super(PostgresTarget, self).apply(mapped)

        with self._database.hoping():
            return self._link.again(act)


class PostgresDatabase:
    """A `Database`. ``place`` is the variable that holds its URL."""

    def __init__(self, config: ImportConfig, link: Link) -> None:
        self.place = link.place
        self._config = config
        self._link = link
        self._thread = threading.local()

    @contextmanager
    def writing(self) -> Iterator[PostgresWriter]:
        """A transaction; see `Database`.

        Raises:
            TryAgain: it is gone, or nobody knows whether it was committed.
        """
        with workspace(MEMORY) as (bench, _), self._link.transaction() as connection:
            writer = PostgresWriter(bench, connection, self._config, self.place)
            writer.collided = self._collided
            writer.hopeful = getattr(self._thread, "hopeful", False)
            if self._config.synchronize_inserts and self._config.coalesce.fields and not writer.hopeful:
                writer.lock(self._config.target.table)
            yield writer
            if not writer.is_alone():
                self._thread.hopeful = False
                raise TryAgain("others inserted the same keys")

    @contextmanager
    def hoping(self) -> Iterator[None]:
        """In this thread, the first row that somebody else inserted before us is a reason to look for it again.

        Sets that were dealt by key have keys of their own, as a rule: they work side by side, and take the lock
        only to see that it is so.
        """
        self._thread.left = 1
        self._thread.hopeful = self._config.partition.method == "key"
        try:
            yield
        finally:
            self._thread.left, self._thread.hopeful = 0, False

    def _collided(self, words: str) -> None:
        if getattr(self._thread, "left", 0):
            self._thread.left -= 1
            raise TryAgain(words)

    def remembered(self, key: str) -> Applied | None:
        """The ledger's entry; it waits for nobody."""
        with self._link.transaction() as connection, connection.cursor() as cursor:
            return ledger_entry(cursor, self._config.target.db_schema, self.place, key)

    def index(self) -> None:
        """Make the index by which keys are found, where the table was made here."""
        if self._config.coalesce.fields:
            with self.writing() as writer:
                writer.index(self._config.target.table)

    def close(self) -> None:
        """Let go of connections."""
        self._link.close()

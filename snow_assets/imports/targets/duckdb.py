"""A DuckDB file as a target. One process writes it at a time, behind a lock file beside it.

The file is open only while import sets are applied, and stays open from one to the next while others wait for it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import duckdb
from filelock import FileLock, Timeout

from snow_assets.errors import TargetBusy, TargetRefused
from snow_assets.imports.contract import Applied, Counters, MappedSet
from snow_assets.imports.targets.writer import (
    LEDGER,
    LEDGER_COLUMNS,
    MADE,
    KeyColumn,
    Match,
    TableColumn,
    TableShape,
    fold,
    within,
)
from snow_assets.pulls.workspace import literal, quoted

if TYPE_CHECKING:
    from snow_assets.config_environment import Environment
    from snow_assets.config_imports import ImportConfig

FILE: Final = "targets.duckdb"
LOCK_WAIT = 600.0  # seconds for runs of ours that apply their sets
FILE_WAIT = 60.0  # seconds for programs that know nothing of the lock file
MEMORY: Final = "600MB"  # before DuckDB spills beside the file
SMALLER: Final = "deal the rows to smaller import sets, such as partition: {size: 100000}, and load anew with --new"
_SETTINGS: Final = (
    f"SET memory_limit = '{MEMORY}'",
    "SET preserve_insertion_order = false",
    "SET TimeZone = 'UTC'",
    "SET enable_progress_bar = false",
    "SET wal_autocheckpoint = '256MB'",  # a checkpoint for each set costs more than the set
)
_HELD: Final = ("Could not set lock", "different configuration", "already attached")


def open_duckdb(config: ImportConfig, environment: Environment) -> DuckDbFile:
    """The file that the import names, relative to the working folder, or ``targets.duckdb`` in the data folder."""
    if config.target.duckdb:
        return DuckDbFile(environment.cwd / Path(config.target.duckdb).expanduser())
    return DuckDbFile(environment.imports_dir.parent / FILE)


class DuckDbFile:
    """A `Database`. ``path`` and its folder are made with the first write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = str(path)
        self._mutex = threading.Lock()  # of the threads of this process
        self._file_lock = FileLock(f"{path}.lock", thread_local=False)
        self._waiting = 0
        self._count = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None

    @contextmanager
    def writing(self) -> Iterator[DuckDbWriter]:
        """Hold the file and open it; see `Database`."""
        with self._turn():
            writer = DuckDbWriter(self._opened(), self.place)
            try:
                yield writer
                writer.commit()
            except duckdb.Error as error:
                self._let_go()
                hint = SMALLER if isinstance(error, duckdb.OutOfMemoryException) else ""
                raise TargetRefused(first_line(error), key="target", value=self.place, hint=hint) from error
            except BaseException:
                self._let_go()  # what is not committed is gone with the connection
                raise

    def remembered(self, key: str) -> Applied | None:
        """What the ledger says of a set; it waits for whoever writes."""
        if not self.path.exists():
            return None
        with self.writing() as writer:
            return writer.remembered(key)

    def close(self) -> None:
        """Let go of the file."""
        with self._mutex:
            self._let_go()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._count:
            self._waiting += 1
        self._mutex.acquire()
        with self._count:
            self._waiting -= 1
        try:
            yield
        finally:
            if not self._waiting:
                self._let_go()
            self._mutex.release()

    def _opened(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._file_lock.acquire(timeout=LOCK_WAIT)
            except Timeout:
                hint = "another import writes it; run it again later"
                raise TargetBusy("is locked", key="target", value=self.place, hint=hint) from None
            try:
                self._connection = _connect(self.path)
            except BaseException:
                self._file_lock.release()
                raise
        return self._connection

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(duckdb.Error):
                connection.close()
            self._file_lock.release()


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    deadline = time.monotonic() + FILE_WAIT
    while True:
        try:
            connection = duckdb.connect(str(path))
            break
        except duckdb.Error as error:
            if not any(words in str(error) for words in _HELD):
                raise TargetRefused(first_line(error), key="target", value=path) from error
            if time.monotonic() > deadline:
                hint = f"close the program that has it open ({first_line(error)}), then run it again"
                raise TargetBusy("is open elsewhere", key="target", value=path, hint=hint) from error
        time.sleep(0.1)
    for setting in _SETTINGS:
        connection.execute(setting)
    return connection


def first_line(error: Exception) -> str:
    """What a database says, on one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


class DuckDbWriter:
    """A `Writer` whose bench is the file itself."""

    def __init__(self, bench: duckdb.DuckDBPyConnection, place: str) -> None:
        self.bench = bench
        self.threads = os.cpu_count() or 1
        self.place = place
        self._begun = False
        row = bench.execute("SELECT current_database()").fetchone()
        self._catalog = str(row[0]) if row else ""

    def shape(self, table: str) -> TableShape | None:
        """The columns of a table, by DuckDB's catalog."""
        query = (
            "SELECT column_name, data_type, is_nullable FROM duckdb_columns() WHERE database_name = ? "
            "AND schema_name = 'main' AND lower(table_name) = lower(?) ORDER BY column_index"
        )
        found = self.bench.execute(query, [self._catalog, table]).fetchall()
        if not found:
            return None
        made = (
            "SELECT comment, estimated_size FROM duckdb_tables() "
            "WHERE database_name = ? AND lower(table_name) = lower(?)"
        )
        note = self.bench.execute(made, [self._catalog, table]).fetchone()
        columns = {name: TableColumn(name, kind, nullable) for name, kind, nullable in found}
        return TableShape(columns, made=note is not None and note[0] == MADE, rows=note[1] if note else 0)

    def create(self, table: str, columns: Mapping[str, str]) -> None:
        """Make a table. Its sys_ids are unique by what the engine inserts: DuckDB keeps an index whole in memory."""
        self._make(table, columns, " NOT NULL", "sys_id")
        self.bench.execute(f"COMMENT ON TABLE {self._named(table)} IS {literal(MADE)}")

    def add_columns(self, table: str, columns: Mapping[str, str]) -> None:
        """Add columns."""
        for name, kind in columns.items():
            self.bench.execute(f"ALTER TABLE {self._named(table)} ADD COLUMN {quoted(name)} {kind}")

    def match(self, match: Match) -> None:
        """Join the keys with the table."""
        keys = [_normal(each) for each in match.key_columns]
        same = "IS NOT DISTINCT FROM" if match.nulls else "="
        joined = " AND ".join(f"{key} {same} w.key_{at}" for at, key in enumerate(keys, 1))
        columns = "".join(f", t.{quoted(name)}" for name in match.columns if name != "sys_id")
        self.bench.execute(
            f"CREATE OR REPLACE TEMP TABLE {match.into} AS SELECT w.snow_k, t.sys_id{columns} "  # noqa: S608
            f"FROM {match.keys} w JOIN {self._named(match.table)} t ON {joined} WHERE {within('t', match.domain)}"
        )
        # Rarely is there more than one, and a window over all that was found costs more than the rest.
        self.bench.execute(
            f"DELETE FROM {match.into} WHERE rowid IN (SELECT rowid FROM {match.into} SEMI JOIN (SELECT snow_k "  # noqa: S608
            f"FROM {match.into} GROUP BY snow_k HAVING count(*) > 1) USING (snow_k) "
            "QUALIFY row_number() OVER (PARTITION BY snow_k ORDER BY sys_id) > 1)"
        )

    def insert(self, table: str, records: str) -> int:
        """Insert the records."""
        return self._count(f"INSERT INTO {self._named(table)} BY NAME SELECT * FROM {records}")  # noqa: S608

    def update(self, table: str, records: str, domain: str | None) -> int:
        """Set the records' columns."""
        described = self.bench.execute(f"SELECT * FROM {records} LIMIT 0").description or ()  # noqa: S608
        names = [quoted(column[0]) for column in described if column[0] != "sys_id"]
        return self._count(
            f"UPDATE {self._named(table)} AS t SET {', '.join(f'{name} = w.{name}' for name in names)} "  # noqa: S608
            f"FROM {records} w WHERE t.sys_id = w.sys_id AND {within('t', domain)}"
        )

    def attempt(self, act: Callable[[], None]) -> str | None:
        """Act in a transaction, which stays open where it succeeds."""
        self.bench.execute("BEGIN")
        self._begun = True
        try:
            act()
        except (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException) as error:
            self.undo()
            return first_line(error)
        return None

    def undo(self) -> None:
        """Roll back; the bench's tables stay."""
        self.bench.execute("ROLLBACK")
        self._begun = False

    def commit(self) -> None:
        """Commit what was attempted."""
        if self._begun:
            self.bench.execute("COMMIT")
        self._begun = False

    def remembered(self, key: str) -> Applied | None:
        """The ledger's entry."""
        if self.shape(LEDGER) is None:
            return None
        query = (
            f"SELECT attempt, total, inserts, updates, ignored, skipped, errors FROM {self._named(LEDGER)} "  # noqa: S608
            "WHERE set_key = ?"
        )
        row = self.bench.execute(query, [key]).fetchone()
        return Applied(row[0], Counters(*row[1:])) if row else None

    def remember(self, mapped: MappedSet, applied: Applied, table: str, domain: str) -> None:
        """Write the ledger's entry."""
        if self.shape(LEDGER) is None:
            self._make(LEDGER, LEDGER_COLUMNS, " PRIMARY KEY", "set_key")
        values = (
            mapped.key, applied.attempt, table, domain, *applied.counters.as_dict().values(),
            datetime.now(UTC).replace(tzinfo=None),
        )  # fmt: skip
        marks = ", ".join("?" * len(values))
        self.bench.execute(f"INSERT OR REPLACE INTO {self._named(LEDGER)} VALUES ({marks})", values)  # noqa: S608

    def _make(self, table: str, columns: Mapping[str, str], constraint: str, key: str) -> None:
        made = [f"{quoted(name)} {kind}{constraint if name == key else ''}" for name, kind in columns.items()]
        self.bench.execute(f"CREATE TABLE {self._named(table)} ({', '.join(made)})")

    def _named(self, table: str) -> str:
        return f"{quoted(self._catalog)}.main.{quoted(table)}"

    def _count(self, statement: str) -> int:
        row = self.bench.execute(statement).fetchone()
        return int(row[0]) if row else 0


def _normal(key: KeyColumn) -> str:
    column = f"t.{quoted(key.name)}"
    if not key.text:
        return column
    return f"nullif({fold(column) if key.folded else column}, '')"

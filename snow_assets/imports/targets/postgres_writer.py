"""One transaction that writes to PostgreSQL: rows go there and back by COPY, and are joined there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import duckdb
import pyarrow as pa

from snow_assets.config_imports import ImportConfig
from snow_assets.errors import TargetBusy
from snow_assets.extras import need
from snow_assets.imports.contract import Applied, Counters, MappedSet
from snow_assets.imports.targets.postgres_copy import get, put
from snow_assets.imports.targets.postgres_link import first_line
from snow_assets.imports.targets.postgres_tables import (
    ServerTable,
    Tables,
    advisory_lock,
    make_fold,
    server_type,
    set_lock,
)
from snow_assets.imports.targets.writer import LEDGER, LEDGER_COLUMNS, KeyColumn, Match, TableShape, within
from snow_assets.pulls.workspace import THREADS, quoted

_BATCH: Final = 16_384  # rows that are text at a time
_REFUSALS: Final = ("22", "23", "44", "P0", "54")  # of a row: its values, constraints, triggers, limits
_UNIQUE: Final = "23505"
_HOLDERS: Final = (
    "SELECT a.pid, a.usename, a.application_name, a.client_addr, a.state, "
    "now()::timestamp(0) - a.xact_start::timestamp(0) FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
    "WHERE l.granted AND l.locktype = 'advisory' AND "
    "l.objsubid = 1 AND (l.classid::bigint << 32 | l.objid::bigint) = %s LIMIT 1"
)


class PostgresWriter:
    """A `Writer`."""

    def __init__(self, bench: duckdb.DuckDBPyConnection, connection: Any, config: ImportConfig, place: str) -> None:
        self.bench = bench
        self.threads = THREADS
        self.collided: Callable[[str], None] = lambda _: None  # may raise, where a unique index was faster
        self._connection = connection
        self._cursor = connection.cursor()
        self._config = config
        self._place = place
        self._tables = Tables(self._cursor, config.target.db_schema, place)
        self._errors = need("psycopg2", "postgres").Error
        self.hopeful = False  # look for keys without the lock, and for others' rows with them before the commit
        self._unsure: list[tuple[str, str]] = []
        self._locked: set[int] = set()
        self._folds: dict[str | None, str] = {}
        self._saved = False
        self._made = 0

    def lock(self, table: str) -> bool:
        """Take the advisory lock of a table, until the end of the transaction; False where it is held already.

        Raises:
            TargetBusy: somebody else, who is named, holds it for too long.
        """
        found = self._tables.find(table)
        number = advisory_lock(found.schema if found else self._tables.schema, table)
        if number in self._locked:
            return False
        self._take(number, table)
        self._locked.add(number)
        return True

    def shape(self, table: str) -> TableShape | None:
        """The table's columns."""
        found = self._tables.find(table)
        return found.shape if found else None

    def create(self, table: str, columns: Mapping[str, str]) -> None:
        """Make a table, unless somebody else was faster."""
        self.lock(table)
        found = self._tables.find(table)
        if found is None:
            self._tables.make(table, columns, "sys_id")
        elif missing := {name: kind for name, kind in columns.items() if name not in found.columns}:
            self.add_columns(table, missing)

    def add_columns(self, table: str, columns: Mapping[str, str]) -> None:
        """Add columns."""
        self.lock(table)
        self._tables.add(table, columns)

    def index(self, table: str) -> None:
        """Index the key that rows are found by. A table that was not made here is its owner's to index."""
        found = self._tables.find(table)
        coalesce = self._config.coalesce
        if found is None or not found.made or coalesce.fields == ("sys_id",):
            return
        if any(name not in found.columns for name in coalesce.fields):
            return
        self.lock(table)
        keys = [
            KeyColumn(name, found.columns[name].is_text, found.columns[name].is_text and not coalesce.case_sensitive)
            for name in coalesce.fields
        ]
        if any(key.folded for key in keys):
            self._folds[found.schema] = make_fold(self._cursor, found.schema)
        self._tables.index(found, [f"({self._expression(found, key, '')})" for key in keys])

    def match(self, match: Match) -> None:
        """Find the rows with the keys, lock them, and fetch what they hold."""
        table = self._tables.named(match.table)
        hopeful = self.hopeful and match.table == self._config.target.table
        found = [self._matched(match, table, f"SELECT * FROM {match.keys}", hopeful)]  # noqa: S608
        if not hopeful and found[0].num_rows < self._count(match.keys) and self.lock(match.table):
            # Others may have inserted some of them until we had the lock; from here on nobody can.
            self._keep("snow_first", found)
            rest = f"SELECT * FROM {match.keys} WHERE snow_k NOT IN (SELECT snow_k FROM snow_first)"  # noqa: S608
            found.append(self._matched(match, table, rest))
        self._keep(match.into, found)

    def is_alone(self) -> bool:
        """Whether nobody inserted a key that we looked for without the lock; from here on nobody can, until the end."""
        for table, doubles in self._unsure:
            self.lock(table)
            self._execute(f"SELECT EXISTS ({doubles})")
            if self._cursor.fetchone()[0]:
                return False
        return True

    def insert(self, table: str, records: str) -> int:
        """Copy the records into the table."""
        query = f"SELECT * FROM {records}"  # noqa: S608
        return put(self._cursor, self._tables.named(table).sql, self._names(query), self._rows(query))

    def update(self, table: str, records: str, domain: str | None) -> int:
        """Copy the records beside the table, and set its rows from there."""
        found = self._tables.named(table)
        query = f"SELECT * FROM {records}"  # noqa: S608
        names = self._names(query)
        wanted = self._temporary()
        self._execute(
            f"CREATE TEMP TABLE {wanted} ON COMMIT DROP AS SELECT {', '.join(names)} FROM {found.sql} WITH NO DATA"  # noqa: S608
        )
        put(self._cursor, wanted, names, self._rows(query))
        self._execute(f"ANALYZE {wanted} (sys_id)")
        changes = ", ".join(f"{name} = w.{name}" for name in names if name != '"sys_id"')
        self._execute(
            f"UPDATE {found.sql} AS t SET {changes} FROM {wanted} w WHERE t.sys_id = w.sys_id "  # noqa: S608
            f"AND {within('t', domain)}"
        )
        return int(self._cursor.rowcount)

    def attempt(self, act: Callable[[], None]) -> str | None:
        """Act behind a savepoint, which stays where it succeeds."""
        if self._saved:
            self._execute("RELEASE SAVEPOINT snow_attempt")
        self._execute("SAVEPOINT snow_attempt")
        self._saved = True
        try:
            act()
            self._execute("SET CONSTRAINTS ALL IMMEDIATE")
        except self._errors as error:
            code = error.pgcode or ""
            if self._connection.closed or not code.startswith(_REFUSALS):
                raise
            words = first_line(error)
            self.undo()
            if code == _UNIQUE:
                self.collided(words)
            return words
        return None

    def undo(self) -> None:
        """Go back to before the last attempt."""
        self._execute("ROLLBACK TO SAVEPOINT snow_attempt")

    def remembered(self, key: str) -> Applied | None:
        """The ledger's entry; a lost transaction of ours that the server still commits is waited for."""
        self._take(set_lock(key), key)
        return ledger_entry(self._cursor, self._config.target.db_schema, self._place, key)

    def remember(self, mapped: MappedSet, applied: Applied, table: str, domain: str) -> None:
        """Write the ledger's entry."""
        if self._tables.find(LEDGER) is None:
            self.lock(LEDGER)
        if self._tables.find(LEDGER) is None:
            self._tables.make(LEDGER, LEDGER_COLUMNS, "set_key")
        moment = datetime.now(UTC).replace(tzinfo=None)
        counters = applied.counters.as_dict().values()
        marks = ", ".join(["%s"] * len(LEDGER_COLUMNS))
        again = ", ".join(f"{name} = excluded.{name}" for name in LEDGER_COLUMNS)
        self._execute(
            f"INSERT INTO {self._tables.named(LEDGER).sql} ({', '.join(LEDGER_COLUMNS)}) VALUES ({marks}) "  # noqa: S608
            f"ON CONFLICT (set_key) DO UPDATE SET {again}",
            (mapped.key, applied.attempt, table, domain, *counters, moment),
        )

    def _take(self, number: int, name: str) -> None:
        self._execute("SAVEPOINT snow_lock")
        try:
            self._execute("SELECT pg_advisory_xact_lock(%s)", (number,))
        except self._errors as error:
            if error.pgcode != "55P03":
                raise
            self._execute("ROLLBACK TO SAVEPOINT snow_lock")
            self._execute(_HOLDERS, (number,))
            raise TargetBusy(
                f"{first_line(error)}: {_holder(self._cursor.fetchone())}", key=self._place, value=name,
                hint="run it again when that is done; lock_timeout says how long is waited",
            ) from None  # fmt: skip
        self._execute("RELEASE SAVEPOINT snow_lock")

    def _matched(self, match: Match, table: ServerTable, query: str, hopeful: bool = False) -> pa.Table:
        """The rows of the keys that the query of the bench gives."""
        keys, found = self._temporary(), self._temporary()
        described = self.bench.execute(f"DESCRIBE {query}").fetchall()
        columns = ", ".join(f"{quoted(name)} {server_type(kind)}" for name, kind, *_ in described)
        self._execute(f"CREATE TEMP TABLE {keys} ({columns}) ON COMMIT DROP")
        put(self._cursor, keys, self._names(query), self._rows(query))
        self._execute(f"ANALYZE {keys}")
        sys_id = table.columns["sys_id"]
        first = f'min(t.sys_id::text COLLATE "C")::{"varchar" if sys_id.is_text else sys_id.kind}'
        joins = [
            f"FROM {keys} w JOIN {table.sql} t ON {joined} WHERE {within('t', match.domain)}"
            for joined in self._joins(match, table, query)
        ]
        queries = [f"SELECT w.snow_k, {first} AS sys_id {join} GROUP BY w.snow_k" for join in joins]
        if hopeful:
            new = f"NOT EXISTS (SELECT FROM {found} f WHERE f.snow_k = w.snow_k)"
            doubles = [f"SELECT w.snow_k {join} AND {new} GROUP BY w.snow_k HAVING count(*) > 1" for join in joins]
            self._unsure += [(match.table, each) for each in doubles]
        self._execute(f"CREATE TEMP TABLE {found} ON COMMIT DROP AS {' UNION ALL '.join(queries)}")
        self._execute(f"ANALYZE {found}")
        wanted = ["sys_id", *(name for name in match.columns if name != "sys_id")]
        values = ", ".join(table.columns[name].value("t") for name in wanted)
        return get(
            self._cursor,
            f"SELECT f.snow_k, {values} FROM {found} f JOIN {table.sql} t ON t.sys_id = f.sys_id "  # noqa: S608
            "ORDER BY t.sys_id FOR NO KEY UPDATE OF t",
            self._arrow(table, wanted),
        )

    def _joins(self, match: Match, table: ServerTable, query: str) -> list[str]:
        """A condition for each set of key columns that are null: what is null is not compared, but looked for."""
        tests = ", ".join(f"key_{at} IS NULL" for at in range(1, len(match.key_columns) + 1))
        patterns = self.bench.execute(f"SELECT DISTINCT {tests} FROM ({query})").fetchall() if match.nulls else []  # noqa: S608
        return [
            " AND ".join(
                self._same(table, key, f"w.key_{at}", is_null)
                for at, (key, is_null) in enumerate(zip(match.key_columns, pattern, strict=True), 1)
            )
            for pattern in patterns or [(False,) * len(match.key_columns)]
        ]

    def _same(self, table: ServerTable, key: KeyColumn, value: str, is_null: bool) -> str:
        if not is_null:
            written = f"{self._fold(table)}({value})" if key.folded else value
            return f"{self._expression(table, key, 't.')} = {written}"
        name = f"t.{quoted(key.name)}"
        empty = f"({name} IS NULL OR {name}::text = '')" if key.text else f"{name} IS NULL"
        return f"{value} IS NULL AND {empty}"

    def _expression(self, table: ServerTable, key: KeyColumn, alias: str) -> str:
        """What a key is compared with, and what is indexed."""
        name = f"{alias}{quoted(key.name)}"
        if key.text and not table.columns[key.name].is_text:
            name = f"{name}::text"
        return f'({self._fold(table)}({name}) COLLATE "C")' if key.folded else name

    def _fold(self, table: ServerTable) -> str:
        """The function of the index, where it can be; else one that goes with the session."""
        schema = table.schema if table.made else None
        if schema not in self._folds:
            self._folds[schema] = make_fold(self._cursor, schema)
        return self._folds[schema]

    def _arrow(self, table: ServerTable, names: Sequence[str]) -> pa.Schema:
        columns = ", ".join(f"NULL::{table.columns[name].column.type} AS {quoted(name)}" for name in names)
        empty: pa.Table = self.bench.sql(f"SELECT 0::BIGINT AS snow_k, {columns} LIMIT 0").to_arrow_table()
        return empty.schema

    def _keep(self, name: str, tables: Sequence[pa.Table]) -> None:
        self.bench.register("snow_fetched", pa.concat_tables(tables))
        self.bench.execute(
            f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT DISTINCT ON (snow_k) * FROM snow_fetched"  # noqa: S608
        )
        self.bench.unregister("snow_fetched")

    def _rows(self, query: str) -> pa.RecordBatchReader:
        return self.bench.sql(query).to_arrow_reader(_BATCH)

    def _names(self, query: str) -> list[str]:
        return [quoted(row[0]) for row in self.bench.execute(f"DESCRIBE {query}").fetchall()]

    def _count(self, table: str) -> int:
        [row] = self.bench.execute(f"SELECT count(*) FROM {table}").fetchall()  # noqa: S608
        return int(row[0])

    def _temporary(self) -> str:
        self._made += 1
        return f"pg_temp.snow_temporary_{self._made}"

    def _execute(self, statement: str, values: Sequence[object] | None = None) -> None:
        self._cursor.execute(statement, values)


def ledger_entry(cursor: Any, schema: str | None, place: str, key: str) -> Applied | None:
    """What the ledger says of an import set."""
    ledger = Tables(cursor, schema, place).find(LEDGER)
    if ledger is None:
        return None
    cursor.execute(
        f"SELECT attempt, total, inserts, updates, ignored, skipped, errors FROM {ledger.sql} WHERE set_key = %s",  # noqa: S608
        (key,),
    )
    row = cursor.fetchone()
    return Applied(row[0], Counters(*row[1:])) if row else None


def _holder(row: tuple[Any, ...] | None) -> str:
    if row is None:
        return "nobody holds it any more"
    pid, user, application, address, state, since = row
    return f"held by process {pid} ({application or 'unnamed'}, {user} from {address or 'here'}, {state}, for {since})"

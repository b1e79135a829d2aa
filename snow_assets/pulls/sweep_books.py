"""What is known held against what was swept, on keys alone, in a workbench that spills.

A row's version is its cursor and ``sys_mod_count``, as texts. Only differences leave the books, in batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from snow_assets.pulls.columns import HALVES
from snow_assets.pulls.marks import MARKS_SCHEMA
from snow_assets.pulls.workspace import literal

KEYS: Final = ("sys_id", "cursor", "mods")
BATCH_ROWS: Final = 65_536
MARKED: Final = ("deleted", "left_filter", "reclassified")
"""Verdicts that are written down. The others: ``hidden``, ``gone`` (not to be marked), ``stays``, ``mend``."""

# Moments without a zone, in UTC: DuckDB hands such on as they are.
_VERDICTS = pa.schema([pa.field("at", pa.timestamp("us")) if one.name == "at" else one for one in MARKS_SCHEMA])
_TABLES = """
CREATE TABLE live (sys_id VARCHAR, cursor VARCHAR, mods VARCHAR);
CREATE TABLE landed (sys_id VARCHAR, cursor VARCHAR, mods VARCHAR);
CREATE TABLE gone (sys_id VARCHAR);
CREATE TABLE swept (sys_id VARCHAR, cursor VARCHAR, mods VARCHAR);
CREATE TABLE logged (sys_id VARCHAR, moment VARCHAR);
CREATE TABLE candidates (sys_id VARCHAR, cursor VARCHAR, mods VARCHAR, logged VARCHAR);
CREATE TABLE verdicts (sys_id VARCHAR, kind VARCHAR, method VARCHAR, moment TIMESTAMP, plan VARCHAR, detail VARCHAR);
CREATE TABLE mending (sys_id VARCHAR, why VARCHAR);
CREATE VIEW known AS SELECT * FROM landed UNION ALL SELECT l.* FROM live l ANTI JOIN landed USING (sys_id);
CREATE VIEW lost AS SELECT g.sys_id FROM gone g ANTI JOIN landed USING (sys_id);
"""


class Books:
    """Rows known live (``live``, overlaid by what the plan ``landed``), known to be gone, swept, and logged as deleted.

    Rows come in first; then candidates and rows to mend are told apart; then verdicts are noted.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, cursor: str) -> None:
        self._connection = connection
        self._fields = dict(zip(KEYS, ("sys_id", cursor, "sys_mod_count"), strict=True))
        connection.execute(_TABLES)

    # -- what is known and seen ---------------------------------------------------------------------------------

    def add(self, into: str, files: Iterable[pq.ParquetFile], *, wanted: bool = False) -> None:
        """Add the keys of landed files to ``live``, ``landed``, ``gone`` or ``swept``; ``wanted``: see ``want``."""
        names = "sys_id" if into == "gone" else ", ".join(KEYS)
        where = " SEMI JOIN wanted USING (sys_id)" if wanted else ""
        for file in files:
            there = [name for name in self._fields.values() if name in file.schema_arrow.names]
            for batch in file.iter_batches(BATCH_ROWS, columns=there):
                keys = {key: _texts(batch, field) for key, field in self._fields.items()}
                self._insert(into, f"{names} FROM given{where}", pa.table(keys))

    def add_logged(self, files: Iterable[pq.ParquetFile]) -> int:
        """Add entries of the delete log; returns how many of them do not say of which row they are."""
        nameless = 0
        for file in files:
            for batch in file.iter_batches(BATCH_ROWS, columns=["documentkey", "sys_created_on"]):
                entries = pa.table({"sys_id": _texts(batch, "documentkey"), "moment": _texts(batch, "sys_created_on")})
                nameless += entries.filter(pc.equal(entries.column("sys_id"), "")).num_rows
                self._insert("logged", "sys_id, max(moment) FROM given WHERE sys_id <> '' GROUP BY sys_id", entries)
        return nameless

    def want(self) -> int:
        """Ask only for rows that were swept or logged from now on; returns how many these are."""
        self._connection.execute(
            "CREATE OR REPLACE TABLE wanted AS SELECT sys_id FROM swept UNION SELECT sys_id FROM logged"
        )
        return self.number("SELECT count(*) FROM wanted")

    # -- what follows -------------------------------------------------------------------------------------------

    def left_candidates(self) -> None:
        """Known live, seen in the window without the pull's query, and not landed by it."""
        self._candidates("live SEMI JOIN swept USING (sys_id) ANTI JOIN landed USING (sys_id)")

    def absent_candidates(self) -> None:
        """Known live, and not among the keys of all that matches."""
        self._candidates("known ANTI JOIN swept USING (sys_id)")

    def logged_candidates(self) -> None:
        """Known live, and deleted by the log."""
        self._candidates("known SEMI JOIN logged USING (sys_id)")

    def _candidates(self, rows: str) -> None:
        self._connection.execute(f"""INSERT INTO candidates
            WITH found AS (SELECT * FROM {rows}),
                 log AS (SELECT sys_id, max(moment) AS moment FROM logged GROUP BY sys_id)
            SELECT f.sys_id, f.cursor, f.mods, log.moment
            FROM found f LEFT JOIN log USING (sys_id) ANTI JOIN candidates c USING (sys_id)""")  # noqa: S608

    def find_differences(self, next_since: str) -> int:
        """Rows of the sweep that are unknown, or known otherwise, and that no later window shows, are to be mended.

        So are those that are known to be gone: one that was there all the time, and was changed after the slices were
        read, is not to be missing until the next delta.
        ``next_since`` is where the next window begins, as stored; ``""`` where cursors cannot be compared with it.
        Returns how many differ and lie in that window: the next delta brings them.
        """
        self._connection.execute("""CREATE TABLE differing AS
            SELECT s.sys_id, s.cursor, CASE WHEN k.sys_id IS NOT NULL THEN 'changed'
                WHEN g.sys_id IS NOT NULL THEN 'restored' ELSE 'missed' END AS why
            FROM swept s LEFT JOIN known k ON k.sys_id = s.sys_id LEFT JOIN lost g ON g.sys_id = s.sys_id
            WHERE k.sys_id IS NULL OR (k.cursor, k.mods) IS DISTINCT FROM (s.cursor, s.mods)""")
        later = f"cursor >= {literal(next_since)} AND why <> 'restored'" if next_since else "false"
        self._connection.execute(f"INSERT INTO mending SELECT sys_id, why FROM differing WHERE NOT ({later})")  # noqa: S608
        return self.number(f"SELECT count(*) FROM differing WHERE {later}")  # noqa: S608

    def candidates(self, batch: int) -> Iterator[list[tuple[str, str, str, str | None]]]:
        """Sys_id, cursor and sys_mod_count as known, and the log's moment, of every candidate."""
        yield from self._pages("SELECT sys_id, cursor, mods, logged FROM candidates", batch)

    def judge(self, verdicts: Sequence[tuple[str, str, str, datetime, str, str]]) -> None:
        """Note verdicts: sys_id, kind, method, at, plan, detail."""
        if verdicts:
            columns = [list(column) for column in zip(*verdicts, strict=True)]
            self._insert("verdicts", "* FROM given", pa.table(columns, schema=_VERDICTS))

    def settle(self) -> None:
        """Rows that stay and that no later window shows are mended as well; none that is marked is."""
        self._connection.execute("""INSERT INTO mending SELECT sys_id, 'changed' FROM verdicts
            ANTI JOIN mending USING (sys_id) WHERE kind = 'mend'""")
        self._connection.execute(
            f"DELETE FROM mending WHERE sys_id IN (SELECT sys_id FROM verdicts WHERE kind IN {MARKED})"  # noqa: S608
        )

    def mending(self, batch: int) -> Iterator[list[tuple[str, str]]]:
        """Sys_ids of the rows to mend, in order, and why."""
        yield from self._pages("SELECT sys_id, why FROM mending", batch)

    def marks(self) -> Iterator[pa.Table]:
        """The verdicts that are to be written down, by sys_id."""
        query = f"SELECT * FROM verdicts WHERE kind IN {MARKED}"  # noqa: S608
        for page in self._pages(query, BATCH_ROWS):
            yield pa.table([list(column) for column in zip(*page, strict=True)], schema=_VERDICTS).cast(MARKS_SCHEMA)

    def verdicts(self) -> dict[tuple[str, str], int]:
        """Numbers of verdicts by kind and method."""
        found = self._connection.execute("SELECT kind, method, count(*) FROM verdicts GROUP BY ALL").fetchall()
        return {(kind, method): number for kind, method, number in found}

    def sample(self, rows: int) -> list[str]:
        """Some rows that were just seen."""
        query = "SELECT sys_id FROM swept UNION SELECT sys_id FROM landed ORDER BY hash(sys_id) LIMIT ?"
        return [sys_id for (sys_id,) in self._connection.execute(query, [rows]).fetchall()]

    def number(self, query: str) -> int:
        """The one number that a query gives."""
        [(number,)] = self._connection.execute(query).fetchall()
        return int(number)

    def _pages(self, query: str, batch: int) -> Iterator[list[Any]]:
        """Rows by sys_id, page by page: other statements may run between two of them."""
        last = ""
        while True:
            paged = f"SELECT * FROM ({query}) WHERE sys_id > ? ORDER BY sys_id LIMIT ?"  # noqa: S608
            page = self._connection.execute(paged, [last, batch]).fetchall()
            if not page:
                return
            yield page
            last = page[-1][0]

    def _insert(self, into: str, chosen: str, given: pa.Table) -> None:
        self._connection.register("given", given)
        self._connection.execute(f"INSERT INTO {into} SELECT {chosen}")
        self._connection.unregister("given")


def _texts(batch: pa.RecordBatch, name: str) -> pa.Array:
    """What a field says, stored value first; empty where it is not there."""
    if name not in batch.schema.names:
        return pa.array([""] * batch.num_rows, pa.string())
    column = batch.column(name)
    display, value, _ = (pc.struct_field(column, [index]) for index in range(len(HALVES)))
    return pc.coalesce(pc.if_else(pc.equal(value, ""), None, value), display, "")

"""Which version of each row is the newest, and where it lies: worked out on keys alone, in a workbench that spills.

Versions are numbered by file and by their position in it. What a version or a mark says of a row replaces what was
known of it; of several, the one of the later plan counts, and in one plan a mark, which was made after its slices.
"""

from __future__ import annotations

from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from snow_assets.errors import LandingError
from snow_assets.pulls.columns import PLAN_COLUMN
from snow_assets.pulls.current_files import rows_per_file
from snow_assets.pulls.workspace import literal

LIVE: Final = "live"
KINDS: Final = ("left_filter", "reclassified", "deleted")  # of marks, weakest first, where one plan made several
SAMPLED = 4096  # cursors of changed rows from which the cuts between older and newer ones are told
KEYS = 65_536  # looked at at a time
_SHOWN = ("state", "deleted_at", "deleted_by", "left_at")  # what is said of a row besides its fields

_TABLES = """
CREATE TABLE held (
    file INTEGER, pos BIGINT, stays BOOLEAN, state VARCHAR, deleted_at BIGINT, deleted_by VARCHAR, left_at BIGINT
);
CREATE TABLE versions (id VARCHAR, plan VARCHAR, cursor VARCHAR, mods BIGINT, file INTEGER, pos BIGINT);
CREATE TABLE marks (id VARCHAR, plan VARCHAR, kind VARCHAR, method VARCHAR, moment BIGINT);
"""
_NEWEST = """
CREATE TABLE newest AS SELECT id, plan, cursor, file, pos FROM versions
QUALIFY row_number() OVER (PARTITION BY id ORDER BY plan DESC, cursor DESC, mods DESC, file DESC, pos DESC) = 1
"""
_MARKED = """
CREATE TABLE marked AS
SELECT id, arg_max(kind, nr) AS kind, arg_max(moment, nr) FILTER (kind = 'deleted') AS deleted_at,
       arg_max(method, nr) FILTER (kind = 'deleted') AS deleted_by,
       arg_max(moment, nr) FILTER (kind <> 'deleted') AS left_at
FROM (SELECT m.*, row_number() OVER (
          ORDER BY m.plan, list_position(['left_filter', 'reclassified', 'deleted'], m.kind), m.moment, m.method) AS nr
      FROM marks m LEFT JOIN newest n USING (id) WHERE n.plan IS NULL OR m.plan >= n.plan)
GROUP BY id
"""
_SETTLED = """
CREATE TABLE settled AS
SELECT coalesce(n.id, m.id) AS id, n.cursor, n.file, n.pos, coalesce(m.kind, 'live') AS state,
       CASE WHEN m.kind = 'deleted' THEN m.deleted_at END AS deleted_at,
       CASE WHEN m.kind = 'deleted' THEN m.deleted_by END AS deleted_by, m.left_at
FROM newest n FULL JOIN marked m ON n.id = m.id
"""


class Keys:
    """The keys of what is new. Add versions and marks, ``settle`` once, then ask."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._cuts: list[str] = []
        self.portion = 0  # rows of a whole file, once it is settled
        connection.execute(_TABLES)

    def add_versions(self, number: int, file: pq.ParquetFile, cursor: str, plan: str, after: str) -> None:
        """The keys of file ``number``, those of plans after ``after``; ``plan`` is the file's where no column tells."""
        wanted = dict.fromkeys(("sys_id", cursor, "sys_mod_count", PLAN_COLUMN))
        there = [name for name in wanted if name in file.schema_arrow.names]
        at = 0
        for batch in file.iter_batches(batch_size=KEYS, columns=there):
            table = pa.Table.from_batches([batch])
            rows = table.num_rows
            keys = pa.table({
                "id": ids_of(table),
                "plan": table.column(PLAN_COLUMN) if PLAN_COLUMN in there else pa.array([plan] * rows, pa.string()),
                "cursor": _text(table, cursor),
                "mods": _text(table, "sys_mod_count"),
                "pos": pa.array(range(at, at + rows), pa.int64()),
            })  # fmt: skip
            self._insert(
                "versions",
                f"id, plan, coalesce(cursor, ''), coalesce(try_cast(mods AS BIGINT), -1), {number}, pos",
                keys.filter(pc.greater(keys.column("plan"), after)),
            )
            at += rows

    def add_marks(self, table: pa.Table, source: str) -> None:
        """The marks of one plan. Raises ``LandingError`` where they are of a kind that nobody knows."""
        unknown = set(table.column("kind").unique().to_pylist()) - set(KINDS)
        if unknown:
            raise LandingError(f"has marks of an unknown kind: {sorted(map(str, unknown))}", key="file", value=source)
        at = table.column("at").cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        marks = table.set_column(table.column_names.index("at"), "moment", at)
        self._insert("marks", "sys_id, plan, kind, method, moment", marks)

    def settle(self, known: int, parts: int) -> dict[tuple[str, int], int]:
        """Decide. Returns the number of changed rows whose version is new, by state and part; ``known`` rows there are.

        Live rows are cut into parts by their cursor where they fill more than a file: the older half, the older half
        of what is left, and so on, so that what changes often lies apart from what does not.
        """
        dropped = [f"DROP TABLE {name}" for name in ("versions", "marks", "newest", "marked")]
        for statement in (_NEWEST, _MARKED, _SETTLED, *dropped):
            self._connection.execute(statement)
        live = self._number("SELECT count(*) FROM settled WHERE file IS NOT NULL AND state = 'live'")
        self.portion = rows_per_file(max(known, live))
        self._cuts = self._halved(live, parts)
        query = f"SELECT state, {self._part()}, count(*) FROM settled WHERE file IS NOT NULL GROUP BY ALL"  # noqa: S608
        return {(state, part): count for state, part, count in self._connection.execute(query).fetchall()}

    def changed(self, number: int) -> pa.Table:
        """Of file ``number``: positions of the newest versions, with part, state and what is said of each, in order."""
        query = (
            f"SELECT pos, {self._part()} AS part, {', '.join(_SHOWN)} FROM settled WHERE file = {number} ORDER BY pos"  # noqa: S608
        )
        return self._table(query)

    def add_current(self, number: int, ids: pa.ChunkedArray) -> int:
        """Look through the sys_ids of current file ``number``; returns how many of its rows are to be replaced."""
        rows = pa.table({"id": ids, "pos": pa.array(range(len(ids)), pa.int64())})
        columns = ", ".join(_SHOWN)
        self._insert("held", f"{number}, g.pos, s.file IS NULL, {columns}", rows, "g JOIN settled s USING (id)")
        return self._number(f"SELECT count(*) FROM held WHERE file = {number}")  # noqa: S608

    def staying(self) -> dict[str, int]:
        """The number of current rows that were only marked, by their new state."""
        query = "SELECT state, count(*) FROM held WHERE stays GROUP BY state"
        return dict(self._connection.execute(query).fetchall())

    def held(self, number: int) -> pa.Table:
        """Of current file ``number``: positions of rows that are replaced or, where they ``stay``, marked, in order."""
        query = f"SELECT pos, stays, 0 AS part, {', '.join(_SHOWN)} FROM held WHERE file = {number} ORDER BY pos"  # noqa: S608
        return self._table(query)

    def _insert(self, into: str, columns: str, rows: pa.Table, also: str = "") -> None:
        self._connection.register("given", rows)
        self._connection.execute(f"INSERT INTO {into} SELECT {columns} FROM given {also}")  # noqa: S608
        self._connection.unregister("given")

    def _table(self, query: str) -> pa.Table:
        """From any thread."""
        with self._connection.cursor() as own:
            return own.sql(query).to_arrow_table()

    def _number(self, query: str) -> int:
        [(number,)] = self._connection.execute(query).fetchall()
        return int(number)

    def _halved(self, rows: int, parts: int) -> list[str]:
        """Cursors at one half, three quarters, ... of the changed rows, as long as what is newer fills a file."""
        if rows <= self.portion:
            return []
        query = f"""SELECT cursor FROM (SELECT cursor FROM settled WHERE file IS NOT NULL AND state = 'live')
            USING SAMPLE reservoir({SAMPLED} ROWS) REPEATABLE (1)"""  # noqa: S608
        sample = sorted(cursor for (cursor,) in self._connection.execute(query).fetchall())
        shares = [1 - 0.5**part for part in range(1, parts) if rows * 0.5**part >= self.portion / 2]
        return sorted({sample[int(share * len(sample))] for share in shares})

    def _part(self) -> str:
        newer = [f"(coalesce(cursor, '') >= {literal(cut)})::INTEGER" for cut in self._cuts]
        return f"CASE WHEN state = 'live' THEN {' + '.join(newer) or '0'} ELSE 0 END"


def ids_of(table: pa.Table) -> pa.ChunkedArray:
    """The sys_ids of landed rows; an empty value names no row, as the decoder has it."""
    return _text(table, "sys_id")


def _text(table: pa.Table, name: str) -> pa.ChunkedArray:
    """What a field says, stored value first; nulls where the table has no such field."""
    if name not in table.column_names:
        return pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    value, display = (pc.struct_field(table.column(name), half) for half in ("value", "display_value"))
    return pc.coalesce(pc.if_else(pc.equal(value, ""), None, value), display)

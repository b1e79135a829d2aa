"""Tables of PostgreSQL: what they are, and how they are made. Identifiers are quoted, always."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from snow_assets.errors import ConfigError
from snow_assets.imports.targets.writer import MADE, TableColumn, TableShape, case_table
from snow_assets.pulls.workspace import literal, quoted

LONGEST: Final = 63  # bytes of a name; the server cuts what is longer, without an error
_TEXTS: Final = ("text", "varchar", "bpchar", "name", "citext")
# Types of PostgreSQL, and what their values are in the bench. Every other type is text there.
_BENCH: Final[Mapping[str, str]] = {
    "int2": "SMALLINT",
    "int4": "INTEGER",
    "int8": "BIGINT",
    "float4": "FLOAT",
    "float8": "DOUBLE",
    "bool": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP",
}
_SERVER: Final[Mapping[str, str]] = {"DOUBLE": "double precision", "FLOAT": "real", "VARCHAR": "varchar"}
_NO_TABLE: Final = {
    "v": "a view",
    "m": "a materialised view",
    "f": "a foreign table",
    "S": "a sequence",
    "i": "an index",
}
_COLUMNS: Final = (
    "SELECT a.attname, t.typname, a.atttypmod, NOT a.attnotnull FROM pg_attribute a "
    "JOIN pg_type t ON t.oid = a.atttypid "
    "WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum"
)
_TABLE: Final = (
    "SELECT c.oid, n.nspname, c.relkind, obj_description(c.oid, 'pg_class') FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)"
)


@dataclass(frozen=True)
class ServerColumn:
    """A column as the server has it: ``kind`` is the bare name of its type."""

    name: str
    kind: str
    modifier: int
    nullable: bool

    @property
    def column(self) -> TableColumn:
        """The column, as the engine knows it."""
        length = self.modifier - 4 if self.kind in ("varchar", "bpchar") and self.modifier > 4 else None
        return TableColumn(self.name, self._bench, self.nullable, length)

    @property
    def is_text(self) -> bool:
        """Whether texts are compared as they are."""
        return self.kind in _TEXTS

    @property
    def _bench(self) -> str:
        if self.kind != "numeric":
            return _BENCH.get(self.kind, "VARCHAR")
        precision, scale = self._decimal
        return f"DECIMAL({precision}, {scale})"

    @property
    def _decimal(self) -> tuple[int, int]:
        precision, scale = (self.modifier - 4) >> 16, ((self.modifier - 4) & 0x7FF ^ 1024) - 1024
        return (precision, scale) if self.modifier > 4 and 0 <= scale <= precision <= 38 else (38, 9)

    def value(self, alias: str) -> str:
        """SQL for the column's value as the bench can hold it: what it cannot is null there."""
        name = f"{alias}.{quoted(self.name)}"
        if self.kind in ("date", "timestamp", "timestamptz"):
            return f"CASE WHEN {name} BETWEEN '0001-01-01' AND '9999-12-31 23:59:59.999999' THEN {name}{self._zone} END"
        if self.kind == "numeric":
            precision, scale = self._decimal
            return f"CASE WHEN abs({name}) < 1e{precision - scale} THEN {name}::numeric({precision}, {scale}) END"
        return name if self.kind in _BENCH else f"{name}::text"

    @property
    def _zone(self) -> str:
        return "::timestamp" if self.kind == "timestamptz" else ""  # of a session in UTC


@dataclass(frozen=True)
class ServerTable:
    """A table as it is. ``sql`` names it; ``schema`` is where it lies, whether or not somebody said so."""

    sql: str
    schema: str
    name: str
    columns: Mapping[str, ServerColumn]
    made: bool

    @property
    def shape(self) -> TableShape:
        """The table, as the engine knows it."""
        return TableShape({name: each.column for name, each in self.columns.items()}, self.made)


class Tables:
    """The tables of one transaction. ``schema``: where they are declared to be; None: where the search path says."""

    def __init__(self, cursor: Any, schema: str | None, place: str) -> None:
        self._cursor = cursor
        self._place = place
        self._found: dict[str, ServerTable] = {}
        self.schema = schema or self._current()
        self._path = quoted(schema) + "." if schema else ""

    def find(self, table: str) -> ServerTable | None:
        """The table, or None.

        Raises:
            ConfigError: it is something else than a table.
        """
        if table not in self._found:
            self._cursor.execute(_TABLE, (self._path + quoted(_name(table)),))
            row = self._cursor.fetchone()
            if row is None:
                return None
            oid, schema, kind, note = row
            if kind not in "rp":
                what = _NO_TABLE.get(kind, "something else")
                raise ConfigError(f"is {what}, not a table", key=f"{self._place}: target.table", value=table)
            self._cursor.execute(_COLUMNS, (oid,))
            columns = {each[0]: ServerColumn(*each) for each in self._cursor.fetchall()}
            self._found[table] = ServerTable(f"{quoted(schema)}.{quoted(table)}", schema, table, columns, note == MADE)
        return self._found[table]

    def named(self, table: str) -> ServerTable:
        """The table, which is there."""
        found = self.find(table)
        if found is None:
            raise ConfigError("is not there", key=f"{self._place}: target.table", value=table)
        return found

    def make(self, table: str, columns: Mapping[str, str], key: str) -> None:
        """Make a table with these columns (types of DuckDB)."""
        made = [f"{_column(name, kind)}{' PRIMARY KEY' if name == key else ''}" for name, kind in columns.items()]
        sql = f"{quoted(self.schema)}.{quoted(_name(table))}"
        self._cursor.execute(f"CREATE TABLE {sql} ({', '.join(made)})")
        self._cursor.execute(f"COMMENT ON TABLE {sql} IS {literal(MADE)}")

    def add(self, table: str, columns: Mapping[str, str]) -> None:
        """Add columns, where they are not there."""
        added = ", ".join(f"ADD COLUMN IF NOT EXISTS {_column(name, kind)}" for name, kind in columns.items())
        self._cursor.execute(f"ALTER TABLE {self.named(table).sql} {added}")
        del self._found[table]

    def index(self, table: ServerTable, expressions: Sequence[str]) -> None:
        """Make an index, where it is not there."""
        listed = ", ".join(expressions)
        name = f"snow_key_{_short(table.name + listed)}"
        self._cursor.execute(f"CREATE INDEX IF NOT EXISTS {quoted(name)} ON {table.sql} ({listed})")

    def _current(self) -> str:
        self._cursor.execute("SELECT current_schema()")
        [found] = self._cursor.fetchone()
        if found is None:
            hint = "create one, or name another with target.schema"
            raise ConfigError("the search path has no schema that exists", key=self._place, hint=hint)
        return str(found)


def advisory_lock(schema: str, table: str) -> int:
    """The number of the lock of a table: the first 8 bytes of SHA-256 of ``snow_assets:<schema>.<table>``, signed."""
    return _number(f"{schema}.{table}")


def set_lock(key: str) -> int:
    """The number of the lock of an import set, by its key in the ledger."""
    return _number(f"set {key}")


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(f"snow_assets:{text}".encode()).digest()[:8], "big", signed=True)


def make_fold(cursor: Any, schema: str | None) -> str:
    """The function that lowers texts as the bench does, in ``schema`` or of the session; SQL that names it.

    The server's own ``lower`` goes by locale, or by another version of Unicode: what differs is translated first.
    """
    capital, small = case_table()
    cursor.execute("SELECT EXISTS (SELECT FROM pg_collation WHERE collname = 'pg_c_utf8'), version()")
    is_unicode, version = cursor.fetchone()
    name = f"snow_fold_{_short(version + capital)}"
    function = f"{quoted(schema) if schema else 'pg_temp'}.{name}"
    cursor.execute("SELECT to_regprocedure(%s)", (f"{function}(text)",))
    if cursor.fetchone()[0] is not None:
        return function
    collation = '"pg_c_utf8"' if is_unicode else '"C"'
    cursor.execute(
        "SELECT coalesce(string_agg(c, '' ORDER BY c), ''), coalesce(string_agg(s, '' ORDER BY c), '') "  # noqa: S608
        "FROM unnest(string_to_array(%s, NULL), string_to_array(%s, NULL)) AS t(c, s) "
        f"WHERE lower(c COLLATE {collation}) <> s",
        (capital, small),
    )
    differ, instead = cursor.fetchone()
    # Not STRICT: that would keep the server from writing it out where it is used.
    cursor.execute(
        f"CREATE FUNCTION {function}(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $fold$ SELECT CASE "
        f"WHEN octet_length($1) = char_length($1) THEN lower($1 COLLATE {collation}) "
        f"ELSE lower(translate($1, {literal(differ)}, {literal(instead)}) COLLATE {collation}) END $fold$"
    )
    return function


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _column(name: str, kind: str) -> str:
    return f"{quoted(_name(name))} {server_type(kind)}"


def server_type(kind: str) -> str:
    """A type of DuckDB, as PostgreSQL calls it."""
    return _SERVER.get(kind, kind)


def _name(name: str) -> str:
    if len(name.encode()) > LONGEST:
        raise ConfigError(f"is longer than PostgreSQL allows ({LONGEST} bytes)", key="name", value=name)
    return name

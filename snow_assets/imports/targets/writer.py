"""What a database must be able to do to be a target: `Database` and `Writer`, behind `snow_assets.imports.sql_target`.

All thinking is done in the writer's ``bench``, a DuckDB connection (DuckDB's own target: the very file that is
written). What the engine hands over, and what it gets back, are temporary tables of the bench, by name:

``keys``     ``snow_k`` BIGINT, unique; ``key_1``, ``key_2``, ...: normalised values, null where empty
``matched``  ``snow_k``; ``sys_id`` VARCHAR; the columns asked for, as the table has them; a row for each key found
``records``  any columns of the table, by their names; ``sys_id`` is always there

A writer's bench changes nothing by itself: an engine's tables are made outside transactions, and outlive one that is
rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Final, Protocol

import duckdb

from snow_assets.config_import_fields import ColumnType
from snow_assets.imports.contract import Applied, MappedSet
from snow_assets.pulls.workspace import literal

LEDGER: Final = "snow_import_ledger"
# Of the ledger, in DuckDB's types; ``set_key`` is MappedSet.key and the table's primary key.
LEDGER_COLUMNS: Final[Mapping[str, str]] = {
    "set_key": "VARCHAR",
    "attempt": "VARCHAR",
    "table_name": "VARCHAR",
    "sys_domain": "VARCHAR",
    **dict.fromkeys(("total", "inserts", "updates", "ignored", "skipped", "errors"), "BIGINT"),
    "applied_at": "TIMESTAMP",  # UTC
}
# Of the columns that a made table keeps by itself. ``sys_id`` is unique.
SYSTEM_TYPES: Final[Mapping[str, str]] = {
    "sys_id": "VARCHAR",
    "sys_domain": "VARCHAR",
    "sys_created_on": "TIMESTAMP",  # UTC, whole seconds
    "sys_updated_on": "TIMESTAMP",
    "sys_mod_count": "BIGINT",
}
DECLARED_TYPES: Final[Mapping[ColumnType, str]] = {
    "string": "VARCHAR",
    "integer": "BIGINT",
    "decimal": "DECIMAL(38, 9)",
    "float": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "datetime": "TIMESTAMP",
}
MADE: Final = "made by snow_assets"  # the comment of a table that was made here, and may be given columns


@dataclass(frozen=True)
class TableColumn:
    """A column of a table. ``type`` is the type of DuckDB that its values have in the bench."""

    name: str
    type: str
    nullable: bool = True
    length: int | None = None  # characters that fit, where that is bounded


@dataclass(frozen=True)
class TableShape:
    """A table as it is. ``made``: by us, so that columns may be added. ``rows``: about so many can the bench read."""

    columns: Mapping[str, TableColumn]
    made: bool = False
    rows: int = 0


@dataclass(frozen=True)
class KeyColumn:
    """A column of the table that ``key_<n>`` is compared with.

    ``text``: an empty text and null are one, and both match a null key. ``folded``: a text that is compared by its
    lower case, as `fold` writes it.
    """

    name: str
    text: bool = False
    folded: bool = False


@dataclass(frozen=True)
class Match:
    """What to look up: of the rows with a key's values the first, which is the one with the lowest ``sys_id``.

    ``domain``: only rows of it, among which those of ``global`` may have no domain written; None: any row.
    """

    table: str
    keys: str  # a table of the bench
    key_columns: Sequence[KeyColumn]
    columns: Sequence[str]  # wanted besides sys_id
    domain: str | None
    into: str  # the table of the bench to be made
    nulls: bool = False  # whether some keys are null: a writer may save itself the trouble


class Writer(Protocol):
    """A database whose write lock is held. Errors of the database pass through, except in ``attempt``."""

    bench: duckdb.DuckDBPyConnection
    threads: int  # that the bench may use where there is much to do

    def shape(self, table: str) -> TableShape | None:
        """The table's columns in their order; None: there is no such table."""

    def create(self, table: str, columns: Mapping[str, str]) -> None:
        """Make a table with these columns (types of DuckDB), ``sys_id`` its key, marked as ``MADE``."""

    def add_columns(self, table: str, columns: Mapping[str, str]) -> None:
        """Add columns that may be null."""

    def match(self, match: Match) -> None:
        """Make the table ``match.into``. Rows that are found stay as they are until the end (FOR UPDATE)."""

    def insert(self, table: str, records: str) -> int:
        """Insert the records; returns their number."""

    def update(self, table: str, records: str, domain: str | None) -> int:
        """Set the columns of the rows with the records' sys_ids, within the domain; returns how many were there."""

    def attempt(self, act: Callable[[], None]) -> str | None:
        """Run ``act``, which writes; where the database refuses, undo it whole and return the database's own words.

        Deferred constraints are checked here, too. Words hold no more than their first line.
        """

    def undo(self) -> None:
        """Undo the last ``attempt`` that succeeded."""

    def remembered(self, key: str) -> Applied | None:
        """The ledger's entry of an import set."""

    def remember(self, mapped: MappedSet, applied: Applied, table: str, domain: str) -> None:
        """Write the ledger's entry of the set, in place of one that is there."""


class Database(Protocol):
    """Where a target lies. Safe for threads."""

    place: str  # what it is called in messages: no secrets

    def writing(self) -> AbstractContextManager[Writer]:
        """Take the write lock and begin; commit at the end, or roll back where an exception passes.

        Raises:
            TargetBusy: somebody else holds the database for too long.
        """

    def remembered(self, key: str) -> Applied | None:
        """As `Writer.remembered`, without the write lock where the database allows it."""

    def close(self) -> None:
        """Let go of connections."""


def fold(expression: str) -> str:
    """The normalised form of a text, as an expression of DuckDB: each character by its own lower case."""
    return f"lower({expression})"


@cache
def case_table() -> tuple[str, str]:
    """Characters beyond ASCII that `fold` changes, and what it makes of each: the arguments of ``translate``.

    For databases whose ``lower`` goes by locale. A text of ASCII alone needs only ``lower``.
    """
    surrogates = "CASE WHEN i BETWEEN 55296 AND 57343 THEN 128 ELSE i END"  # they are no characters
    query = (
        "SELECT string_agg(c, '' ORDER BY c), string_agg(lower(c), '' ORDER BY c) FROM (SELECT DISTINCT "  # noqa: S608
        f"chr(({surrogates})::INTEGER) AS c FROM range(128, 1114112) AS t(i)) WHERE lower(c) <> c"
    )
    with duckdb.connect() as connection:
        row = connection.execute(query).fetchone()
    return (row[0], row[1]) if row else ("", "")


def within(alias: str, domain: str | None) -> str:
    """SQL that is true for rows of the domain. Those without one are of ``global``."""
    if domain is None:
        return "true"
    written = f"{alias}.sys_domain"
    if domain == "global":
        written = f"coalesce(nullif({written}, ''), 'global')"
    return f"{written} = {literal(domain)}"

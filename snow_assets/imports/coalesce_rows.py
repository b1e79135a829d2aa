"""The rows of an import set in the bench: each field in the type that the target has for it.

An empty text is null. A field some row of which says that it is to be emptied (`_cleared`) holds structs ``{v}``
instead of bare values: null leaves the record's field as it is, and ``{v: null}`` empties it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from snow_assets.config_imports import CoalesceConfig
from snow_assets.imports.contract import CLEARED, INVALID_TARGET, MAPPED
from snow_assets.imports.mapping_types import kind_of, typed
from snow_assets.imports.targets.writer import TableShape
from snow_assets.pulls.workspace import literal, quoted

ROWS_TABLE: Final = "snow_rows"  # r, state, note, code and f0, f1, ...
TEXT: Final = "VARCHAR"
SHOWN: Final = 80  # characters of a value in a comment
_FLOATS: Final = ("FLOAT", "DOUBLE")


@dataclass(frozen=True)
class Field:
    """A field of the target. ``column`` is its column in the bench, ``type`` the type of its values there."""

    name: str
    column: str
    type: str
    full: bool = True  # every row says what it is to be
    wrapped: bool = False  # some row empties it: structs

    @property
    def text(self) -> bool:
        """Whether it is text."""
        return self.type == TEXT

    def value(self, column: str) -> str:
        """SQL of the value to be stored, from what the bench holds in ``column``."""
        return f"{column}.v" if self.wrapped else column


def mapped_types(bench: duckdb.DuckDBPyConnection, path: Path) -> dict[str, str]:
    """The fields in a mapped file, with their types."""
    rows = bench.execute(f"DESCRIBE SELECT * FROM read_parquet({literal(str(path))})").fetchall()  # noqa: S608
    own = {*MAPPED.names, CLEARED}
    return {name: kind for name, kind, *_ in rows if name not in own}


def load(
    bench: duckdb.DuckDBPyConnection, path: Path, shape: TableShape, coalesce: CoalesceConfig, texts: Sequence[str]
) -> list[Field]:
    """Read the mapped file into `ROWS_TABLE`; rows with a value that its column cannot hold become errors.

    ``texts`` are fields that stay text for now: what they refer to is looked up.
    """
    types = mapped_types(bench, path)
    source = f"read_parquet({literal(str(path))})"
    columns = {row[0] for row in bench.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}  # noqa: S608
    clears = {name: _cleared(name, types[name], columns, coalesce) for name in types}
    wrapped, full = _counted(bench, source, types, clears)
    if coalesce.copy_empty_fields:
        full = set(types)
    fields = [
        Field(name, f"f{at}", TEXT if name in texts else shape.columns[name].type, name in full, name in wrapped)
        for at, name in enumerate(types)
    ]
    values = {field.name: _converted(field.name, types[field.name], field.type) for field in fields}
    kept = ", ".join(f"{_wrapped(values[field.name], clears[field.name], field)} AS {field.column}" for field in fields)
    told = [
        _complaint(field, types[field.name], values[field.name], clears[field.name])
        for field in fields
        if types[field.name] != field.type and field.type != TEXT
    ]
    bench.execute(
        f"CREATE OR REPLACE TEMP TABLE {ROWS_TABLE} AS SELECT sys_import_row AS r, sys_import_state AS state, "  # noqa: S608
        f"sys_import_state_comment AS note, sys_row_error AS code{', ' if kept else ''}{kept} FROM {source}"
    )
    for complaint in told:
        bench.execute(
            f"UPDATE {ROWS_TABLE} SET state = 'error', note = bad.said, code = {INVALID_TARGET} FROM "  # noqa: S608
            f"(SELECT sys_import_row, {complaint} AS said FROM {source} WHERE sys_import_state IS NULL) bad "
            f"WHERE r = bad.sys_import_row AND bad.said IS NOT NULL AND {ROWS_TABLE}.state IS NULL"
        )
    return fields


def mark(bench: duckdb.DuckDBPyConnection, query: str, state: str, code: int | None) -> int:
    """Give rows that are to be applied a state of their own; ``query`` has ``r`` and ``note``. Returns how many."""
    row = bench.execute(
        f"UPDATE {ROWS_TABLE} SET state = {literal(state)}, note = marked.note, code = {code or 'NULL'} "  # noqa: S608
        f"FROM ({query}) marked WHERE {ROWS_TABLE}.r = marked.r AND {ROWS_TABLE}.state IS NULL"
    ).fetchone()
    return int(row[0]) if row else 0


def _cleared(name: str, kind: str, columns: set[str], coalesce: CoalesceConfig) -> str:
    """SQL that is true where the field is to be emptied, or ``""``."""
    if coalesce.copy_empty_fields:
        return ""
    if kind == TEXT:
        return f"{quoted(name)} = 'NULL'"
    return f"list_contains({CLEARED}, {literal(name)})" if CLEARED in columns else ""


def _counted(
    bench: duckdb.DuckDBPyConnection, source: str, types: Mapping[str, str], clears: Mapping[str, str]
) -> tuple[set[str], set[str]]:
    """The fields that some row empties, and those that no row leaves empty."""
    if not types:
        return set(), set()
    counts = ", ".join(f"count_if({clears[name] or 'false'}), count({_base(name, types[name])})" for name in types)
    row = bench.execute(f"SELECT count(*), {counts} FROM {source} WHERE sys_import_state IS NULL").fetchone()  # noqa: S608
    assert row is not None  # noqa: S101 - an aggregate has a row
    names = list(types)
    wrapped = {name for name, count in zip(names, row[1::2], strict=True) if count}
    return wrapped, {name for name, count in zip(names, row[2::2], strict=True) if count == row[0]} - wrapped


def _base(name: str, kind: str) -> str:
    return f"nullif({quoted(name)}, '')" if kind == TEXT else quoted(name)


def _converted(name: str, kind: str, wanted: str) -> str:
    """SQL of a mapped value in the type of its column; null where it does not fit unchanged."""
    base = _base(name, kind)
    if kind == wanted:
        return base
    if wanted == TEXT:
        return f"CAST({base} AS {TEXT})"
    if kind == TEXT:
        return f"TRY_CAST({typed(base, kind_of(wanted))} AS {wanted})"
    value = f"TRY_CAST({base} AS {wanted})"
    if wanted in _FLOATS:
        return value
    return f"CASE WHEN TRY_CAST({value} AS {kind}) = {base} THEN {value} END"  # nothing is rounded


def _wrapped(value: str, cleared: str, field: Field) -> str:
    if not field.wrapped:
        return value
    return (
        f"CASE WHEN {cleared} THEN {{'v': CAST(NULL AS {field.type})}} "
        f"WHEN {value} IS NOT NULL THEN {{'v': {value}}} END"
    )


def _complaint(field: Field, kind: str, value: str, cleared: str) -> str:
    base = _base(field.name, kind)
    spared = f" AND NOT coalesce({cleared}, false)" if cleared else ""
    shown = f"left(CAST({base} AS {TEXT}), {SHOWN})"
    said = f"{literal(field.name + ': ')} || {shown} || {literal(f' does not fit into a column of type {field.type}')}"
    return f"CASE WHEN {base} IS NOT NULL AND {value} IS NULL{spared} THEN {said} END"

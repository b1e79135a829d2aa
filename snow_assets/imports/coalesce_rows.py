"""The rows of an import set in the bench: each field in the type that the target has for it.

An empty text is null. A field some row of which says that it is to be emptied (`_cleared`) holds structs ``{v}``
instead of bare values: null leaves the record's field as it is, and ``{v: null}`` empties it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import duckdb

from snow_assets.config_imports import CoalesceConfig
from snow_assets.imports.contract import CLEARED, INVALID_TARGET, MAPPED
from snow_assets.imports.mapping_types import kind_of, typed
from snow_assets.imports.targets.writer import TableShape
from snow_assets.pulls.workspace import literal, parquet, quoted

ROWS_TABLE: Final = "snow_rows"  # r, state, note, code, f0, f1, ... and h, a hash of them
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
    rows = bench.execute(f"DESCRIBE SELECT * FROM {parquet(path)}").fetchall()  # noqa: S608
    own = {*MAPPED.names, CLEARED}
    return {name: kind for name, kind, *_ in rows if name not in own}


def load(
    bench: duckdb.DuckDBPyConnection, path: Path, shape: TableShape, coalesce: CoalesceConfig, texts: Sequence[str]
) -> list[Field]:
    """Read the mapped file into `ROWS_TABLE`; rows with a value that its column cannot hold become errors.

    ``texts`` are fields that stay text for now: what they refer to is looked up.
    """
    types = mapped_types(bench, path)
    source = parquet(path)
    columns = {row[0] for row in bench.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}  # noqa: S608
    clears = {name: _cleared(name, types[name], columns, coalesce) for name in types}
    plain = [
        Field(name, f"f{at}", TEXT if name in texts else shape.columns[name].type) for at, name in enumerate(types)
    ]
    _read(bench, source, plain, types, clears)
    wrapped, full = _counted(bench, source, plain, types, clears)
    if coalesce.copy_empty_fields:
        full = set(types)
    fields = [replace(field, full=field.name in full, wrapped=field.name in wrapped) for field in plain]
    if wrapped:
        _read(bench, source, fields, types, clears)
    for field in fields:
        if field.type not in (types[field.name], TEXT):
            complaint = _complaint(field, types[field.name], clears[field.name])
            bench.execute(
                f"UPDATE {ROWS_TABLE} SET state = 'error', note = bad.said, code = {INVALID_TARGET} FROM "  # noqa: S608
                f"(SELECT sys_import_row, {complaint} AS said FROM {source} WHERE sys_import_state IS NULL) bad "
                f"WHERE r = bad.sys_import_row AND bad.said IS NOT NULL AND {ROWS_TABLE}.state IS NULL"
            )
    return fields


def _read(
    bench: duckdb.DuckDBPyConnection,
    source: str,
    fields: Sequence[Field],
    types: Mapping[str, str],
    clears: Mapping[str, str],
) -> None:
    values = [
        _wrapped(_converted(field.name, types[field.name], field.type), clears[field.name], field) for field in fields
    ]
    kept = "".join(f", {value} AS {field.column}" for field, value in zip(fields, values, strict=True))
    bench.execute(
        f"CREATE OR REPLACE TEMP TABLE {ROWS_TABLE} AS SELECT sys_import_row AS r, sys_import_state AS state, "  # noqa: S608
        f"sys_import_state_comment AS note, sys_row_error AS code{kept}, {hashed(fields)} AS h FROM {source}"
    )


def hashed(fields: Sequence[Field]) -> str:
    """SQL of a number that differs only where values do, of those that an update may change."""
    return f"hash({', '.join(field.column for field in fields if field.name != 'sys_id') or '0'})"


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
    bench: duckdb.DuckDBPyConnection,
    source: str,
    fields: Sequence[Field],
    types: Mapping[str, str],
    clears: Mapping[str, str],
) -> tuple[set[str], set[str]]:
    """The fields that some row empties, and those that no row leaves empty."""
    if not fields:
        return set(), set()
    names = [field.name for field in fields]
    if any(clears[name] and types[name] != TEXT for name in names) or any(
        types[field.name] == TEXT != field.type for field in fields
    ):
        counts = [f"count_if({clears[name] or 'false'}), count({_base(name, types[name])})" for name in names]
        counted = f"{source} WHERE sys_import_state IS NULL"
    else:  # as read before, which is quicker than the file
        empties = {field.name: f"{field.column} = 'NULL'" if clears[field.name] else "false" for field in fields}
        counts = [f"count_if({empties[field.name]}), count({field.column})" for field in fields]
        counted = f"{ROWS_TABLE} WHERE state IS NULL"
    row = bench.execute(f"SELECT count(*), {', '.join(counts)} FROM {counted}").fetchone()  # noqa: S608
    assert row is not None  # noqa: S101 - an aggregate has a row
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


def _complaint(field: Field, kind: str, cleared: str) -> str:
    base, value = _base(field.name, kind), _converted(field.name, kind, field.type)
    spared = f" AND NOT coalesce({cleared}, false)" if cleared else ""
    shown = f"left(CAST({base} AS {TEXT}), {SHOWN})"
    said = f"{literal(field.name + ': ')} || {shown} || {literal(f' does not fit into a column of type {field.type}')}"
    return f"CASE WHEN {base} IS NOT NULL AND {value} IS NULL{spared} THEN {said} END"

"""To which import set a row goes: in turn, by its key, or so many to each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.config_imports import ImportConfig
from snow_assets.config_models import nearest
from snow_assets.errors import ConfigError
from snow_assets.imports.functions import load_function, said
from snow_assets.imports.hashing import xxh64

Sets = np.ndarray[Any, np.dtype[np.int64]]


class Deal(Protocol):
    """Deals rows: the set, from 1, of each row of a batch."""

    def __call__(self, rows: pa.Table, first: int) -> Sets:
        """``first`` is the number of the first row of the batch, from 1 over the whole load."""
        ...


def dealer(config: ImportConfig) -> Deal:
    """How the rows of this import are dealt.

    Dealing raises ``ConfigError`` for a column, expression or function that is not there or fails.
    """
    partition, sets = config.partition, config.import_sets
    if partition.size is not None:
        return _by_size(partition.size)
    key = partition.key
    if key is None:
        return _in_turn(sets)
    if key.column is not None:
        return _by_key(_column(key.column), sets)
    if key.sql is not None:
        return _by_key(_expression(key.sql), sets)
    return _by_key(_function(key.python or "", config.name), sets)


def _in_turn(sets: int) -> Deal:
    def deal(rows: pa.Table, first: int) -> Sets:
        return np.arange(first - 1, first - 1 + rows.num_rows, dtype=np.int64) % sets + 1

    return deal


def _by_size(size: int) -> Deal:
    def deal(rows: pa.Table, first: int) -> Sets:
        return np.arange(first - 1, first - 1 + rows.num_rows, dtype=np.int64) // size + 1

    return deal


def _by_key(keys: Callable[[pa.Table], pa.Array], sets: int) -> Deal:
    def deal(rows: pa.Table, first: int) -> Sets:  # noqa: ARG001 - a key does not care
        texts = pc.cast(keys(rows), pa.large_binary())
        # XXH64 has a published definition: the same text goes to the same set in every version and on every machine.
        found: Sets = (xxh64(texts) % np.uint64(sets)).astype(np.int64) + 1
        return found

    return deal


def _text(keys: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Keys as text without its case, since coalesce does not tell case apart; no value and an empty one are one key."""
    one = keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys
    return pc.utf8_lower(pc.fill_null(pc.cast(one, pa.large_string()), ""))


def _column(name: str) -> Callable[[pa.Table], pa.Array]:
    def keys(rows: pa.Table) -> pa.Array:
        if name not in rows.column_names:
            hint = nearest(name, rows.column_names) or f"its columns are {', '.join(rows.column_names[3:])}"
            raise ConfigError("is no column of the source", key="partition.key", value=name, hint=hint)
        try:
            return _text(rows.column(name))
        except pa.ArrowException as error:
            hint = "take an SQL expression that gives text"
            raise ConfigError(f"cannot be a key: {error}", key="partition.key", value=name, hint=hint) from error

    return keys


def _expression(sql: str) -> Callable[[pa.Table], pa.Array]:
    connection = duckdb.connect(config={"threads": 1})

    def keys(rows: pa.Table) -> pa.Array:
        try:
            connection.register("staging", rows)
            found = _selected(connection, f"SELECT sys_import_row, CAST((\n{sql}\n) AS VARCHAR) AS key FROM staging")  # noqa: S608
        except duckdb.Error as error:
            hint = "write an expression of each row over the columns of the source, no aggregate"
            reason = "gives no key for each row" if "GROUP BY" in str(error) else str(error).splitlines()[0]
            raise ConfigError(reason, key="partition.key.sql", value=sql, hint=hint) from error
        if found.num_rows != rows.num_rows:
            hint = "write an expression of each row"
            raise ConfigError("gives no key for each row", key="partition.key.sql", value=sql, hint=hint)
        if found.column(0) != rows.column("sys_import_row"):  # a window or a subquery may leave them in another order
            found = found.sort_by("sys_import_row")
        return _text(found.column(1))

    return keys


def _selected(connection: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    found: pa.Table = connection.sql(query).to_arrow_table()
    return found


def _function(name: str, import_name: str) -> Callable[[pa.Table], pa.Array]:
    function = load_function(name, f"imports.{import_name}.partition.key.python")

    def keys(rows: pa.Table) -> pa.Array:
        found = [_key(function, name, row) for row in rows.to_pylist()]
        try:
            return _text(pa.array(found, pa.large_string()))
        except UnicodeEncodeError as error:
            raise ConfigError("returns half a surrogate pair", key="partition.key.python", value=name) from error

    return keys


def _key(function: Callable[..., Any], name: str, row: dict[str, Any]) -> str | None:
    try:
        key = function(row)
    except Exception as error:
        reason = f"raises in row {row['sys_import_row']}: {said(error)}"
        hint = "a key function takes a row as a dictionary and returns its key"
        raise ConfigError(reason, key="partition.key.python", value=name, hint=hint) from error
    if all(getattr(type(key), each) is getattr(object, each) for each in ("__str__", "__repr__")):
        hint = "its text would be its address: return a text, a number or a tuple of such"
        raise ConfigError(f"returns a {type(key).__name__}", key="partition.key.python", value=name, hint=hint)
    return None if key is None else str(key)

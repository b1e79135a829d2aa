"""Which Arrow types the values of a query get, and the values in them.

What a database declares is taken (PostgreSQL, by the numbers of its types); else the rows that come first decide.
Anything without a type of its own here (an undeclared ``numeric``, JSON, arrays, intervals) is text, without a loss.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime, time
from typing import Any, Final

import pyarrow as pa

from snow_assets.errors import SourceError

_MOMENT: Final = pa.timestamp("us", "UTC")
_POSTGRESQL: Final[dict[int, pa.DataType]] = {
    16: pa.bool_(),
    17: pa.binary(),
    20: pa.int64(),
    21: pa.int64(),
    23: pa.int64(),
    26: pa.int64(),
    700: pa.float64(),
    701: pa.float64(),
    1082: pa.date32(),
    1083: pa.time64("us"),
    1114: pa.timestamp("us"),
    1184: _MOMENT,
}
_NUMERIC: Final = 1700
_PRECISION: Final = 38  # digits of a decimal
_PYTHON: Final[tuple[tuple[type, pa.DataType], ...]] = (  # a datetime is a date, and True is 1: those come first
    (bool, pa.bool_()),
    (int, pa.int64()),
    (float, pa.float64()),
    (date, pa.date32()),
    (time, pa.time64("us")),
    (bytes, pa.binary()),
    (memoryview, pa.binary()),
)


def types_of(dialect: str, described: Sequence[Sequence[Any]], rows: Sequence[Sequence[Any]]) -> list[pa.DataType]:
    """A type for each column: ``described`` is the cursor's description, ``rows`` are the first ones."""
    if dialect == "postgresql":
        return [_declared(column) for column in described]
    values = zip(*rows, strict=True) if rows else [()] * len(described)
    return [_found([value for value in column if value is not None]) for column in values]


def _declared(column: Sequence[Any]) -> pa.DataType:
    code, precision, scale = column[1], column[4], column[5]
    if code == _NUMERIC and precision and scale is not None and 0 <= scale <= precision <= _PRECISION:
        return pa.decimal128(precision, scale)
    return _POSTGRESQL.get(code, pa.string())


def _found(values: Sequence[Any]) -> pa.DataType:
    kinds = {type(value) for value in values}
    if kinds == {int, float}:
        return pa.float64()
    if kinds == {datetime}:
        aware = {value.tzinfo is not None for value in values}
        return pa.string() if len(aware) > 1 else _MOMENT if True in aware else pa.timestamp("us")
    if len(kinds) != 1:
        return pa.string()
    [kind] = kinds
    if kind is int and not all(-(2**63) <= value < 2**63 for value in values):
        return pa.string()
    return next((arrow for python, arrow in _PYTHON if kind is python), pa.string())


def arrow_columns(rows: Sequence[Sequence[Any]], schema: pa.Schema, before: int) -> pa.Table:
    """Rows in their types; ``before`` rows came earlier. Raises ``SourceError`` for a value of another type."""
    if not rows:
        return schema.empty_table()
    columns = zip(*rows, strict=True)
    return pa.Table.from_arrays(
        [_column(values, field, before) for values, field in zip(columns, schema, strict=True)], schema=schema
    )


def _column(values: Sequence[Any], field: pa.Field, before: int) -> pa.Array:
    text = pa.types.is_string(field.type)
    try:
        return pa.array([_text(value) for value in values] if text else values, field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        pass
    for number, value in enumerate(values, before + 1):
        try:
            pa.array([value], field.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            message = f"row {number} holds a {type(value).__name__} where rows before it hold {field.type}"
            hint = f"cast it in the query, such as CAST({field.name} AS text)"
            raise SourceError(message, key="source.sql", value=field.name, hint=hint) from None
    raise AssertionError(f"{field.name}: no value is wrong by itself")


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return str(value)

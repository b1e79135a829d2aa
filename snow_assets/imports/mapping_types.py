"""Values as text, checked and converted by DuckDB: what is not of its type becomes null, and nothing is rounded.

Datetimes are UTC without a zone; an offset in the text is taken into account. Decimals have up to 9 digits after the
point and 38 in all.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from snow_assets.config_import_fields import ColumnType
from snow_assets.pulls.workspace import literal

DECIMALS: Final = 9
ARROW: Final[dict[ColumnType, pa.DataType]] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "decimal": pa.decimal128(38, DECIMALS),
    "float": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "datetime": pa.timestamp("us"),
}
WORDS: Final[dict[ColumnType, str]] = {
    "string": "text",
    "integer": "an integer of 64 bits",
    "decimal": f"a decimal number with up to {DECIMALS} digits after its point",
    "float": "a number",
    "boolean": "true or false",
    "date": "a date, such as 2026-11-21",
    "datetime": "a date and time, such as 2026-11-21 14:30:00",
}
_TRUE, _FALSE = "('true', '1', 'yes')", "('false', '0', 'no')"
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?"
_DAYS = "{0} >= DATE '0001-01-01' AND {0} < DATE '10000-01-01'"  # others are no dates of Python
_SHAPES: Final[dict[str, str]] = {
    "integer": r"[+-]?[0-9]+(?:\.0*)?",
    "decimal": rf"[+-]?(?:[0-9]+(?:\.[0-9]{{0,{DECIMALS}}}0*)?|\.[0-9]{{1,{DECIMALS}}}0*)",
    "float": r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?",
    "date": rf"{_DATE}(?:[ T]00:00(?::00(?:\.0+)?)?)?",
    "datetime": rf"{_DATE}(?:[ T]{_CLOCK})?",
}
_ZONED: Final = rf"{_DATE}[ T]{_CLOCK}(?:Z|[+-][0-9]{{2}}(?::?[0-9]{{2}})?)"


def typed(text: str, kind: ColumnType, form: str | None = None) -> str:
    """SQL for the value of the SQL expression ``text`` (VARCHAR) as ``kind``; null where it is not one.

    ``form`` is a strptime format for dates and datetimes.
    """
    if kind == "string":
        return text
    bare = f"trim({text}, e' \\t\\r\\n\\f')"  # costs more than all the rest: only where there are spaces around
    if kind == "boolean":
        return f"CASE {_truth(text)} {_truth(bare)} END"
    if form and kind in ("date", "datetime"):
        return _within(f"CAST({_utc(f'try_strptime({bare}, {literal(form)})', form)} AS {_SQL[kind]})", kind)
    return f"CASE {_cases(text, kind)} {_cases(bare, kind)} END"


def _truth(text: str) -> str:
    return f"WHEN lower({text}) IN {_TRUE} THEN true WHEN lower({text}) IN {_FALSE} THEN false"


def _cases(text: str, kind: ColumnType) -> str:
    """What to make of a text in one of the shapes of its type."""
    cases = {_SHAPES[kind]: f"TRY_CAST({text} AS {_SQL[kind]})"}
    if kind == "datetime":  # a cast to TIMESTAMP leaves the offset unheeded
        cases[_ZONED] = f"timezone('UTC', TRY_CAST({text} AS TIMESTAMPTZ))"
    return " ".join(
        f"WHEN regexp_full_match({text}, {literal(shape)}) THEN {_within(value, kind)}"
        for shape, value in cases.items()
    )


_SQL: Final[dict[str, str]] = {
    "integer": "BIGINT",
    "decimal": f"DECIMAL(38, {DECIMALS})",
    "float": "DOUBLE",
    "date": "DATE",
    "datetime": "TIMESTAMP",
}


def _utc(parsed: str, form: str) -> str:
    return f"timezone('UTC', {parsed})" if "%z" in form or "%Z" in form else parsed


def _within(value: str, kind: ColumnType) -> str:
    if kind == "float":
        return f"CASE WHEN isfinite({value}) THEN {value} END"
    if kind in ("date", "datetime"):
        return f"CASE WHEN {_DAYS.format(value)} THEN {value} END"
    return value


def kind_of(sql_type: str) -> ColumnType:
    """The nearest of our types for a type of DuckDB."""
    name = sql_type.upper().split("(")[0].split(" ")[0]
    if name in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT") or name.startswith("U"):
        return "integer" if name not in ("UUID", "UNION") else "string"
    if name.startswith("TIMESTAMP"):
        return "datetime"
    named: dict[str, ColumnType] = {
        "DECIMAL": "decimal",
        "FLOAT": "float",
        "DOUBLE": "float",
        "BOOLEAN": "boolean",
        "DATE": "date",
    }
    return "string" if sql_type.endswith("]") else named.get(name, "string")

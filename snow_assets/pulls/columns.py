"""From typed records to Arrow columns, without loss, and the digest of rows.

A column is ``struct<display_value: string, value: string, link: string>`` in every display mode. A half that the API
did not send is null; a field that it left out of a record is a null struct.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash
from msgspec import UNSET

from snow_assets.servicenow.decoding import Cell, StructDecoder
from snow_assets.servicenow.exchange import DisplayValue

HALVES = ("display_value", "value", "link")
CELL_TYPE = pa.struct([pa.field(half, pa.string()) for half in HALVES])
REPEATING = 0.4  # distinct values per row below which a dictionary pays
_ENCODER = msgspec.json.Encoder()
_DIGEST_RANGE = 1 << 128


PLAN_COLUMN = "_plan"  # of delta pulls: the plan that saw this version of the row


def arrow_schema(fields: Sequence[str], *, plan: bool = False) -> pa.Schema:
    """One struct column per field, in order; ``plan`` adds the text column ``_plan``, see ``PLAN_COLUMN``."""
    columns = [pa.field(name, CELL_TYPE) for name in fields]
    return pa.schema([*columns, pa.field(PLAN_COLUMN, pa.string())] if plan else columns)


def to_table(
    records: Sequence[Any], decoder: StructDecoder, display_value: DisplayValue, schema: pa.Schema
) -> pa.Table:
    """Records of ``decoder`` as a table of ``schema``."""
    half = 0 if display_value == "true" else 1
    columns = [_column(list(map(attrgetter(name), records)), half) for name in decoder.attributes.values()]
    return pa.Table.from_arrays(columns, schema=schema)


def _column(cells: list[Any], half: int) -> pa.StructArray:
    """One column; ``half`` is where a plain string goes."""
    if set(map(type, cells)) == {Cell}:
        # Comprehensions, not attrgetter: the interpreter specialises this attribute access (a fifth of the time).
        halves = [
            _strings([cell.display_value for cell in cells]),
            _strings([cell.value for cell in cells]),
            _strings([cell.link for cell in cells]),
        ]
        return pa.StructArray.from_arrays(halves, fields=list(CELL_TYPE))
    mixed = [_halves(cell, half) for cell in cells]
    halves = [_strings([cell[at] for cell in mixed]) for at in range(len(HALVES))]
    mask = pa.array([cell is UNSET for cell in cells], pa.bool_())
    return pa.StructArray.from_arrays(halves, fields=list(CELL_TYPE), mask=mask)


def _strings(values: list[str | None]) -> pa.Array:
    if values.count(None) == len(values):
        return pa.nulls(len(values), pa.string())
    return pa.array(values, pa.string())


def _halves(cell: Any, half: int) -> tuple[str | None, str | None, str | None]:
    if type(cell) is Cell:
        return cell.display_value, cell.value, cell.link
    if cell is UNSET or cell is None:
        return None, None, None
    return (cell, None, None) if half == 0 else (None, cell, None)


def holds_record(table: pa.Table, at: int, record: Any, decoder: StructDecoder, display_value: DisplayValue) -> bool:
    """Whether row ``at`` of a table of one chunk is this record, half by half."""
    half = 0 if display_value == "true" else 1
    cells = [getattr(record, decoder.attributes[name]) for name in table.column_names]
    row = [column.chunk(0)[at].as_py() for column in table.columns]
    expected = [None if cell is UNSET else dict(zip(HALVES, _halves(cell, half), strict=True)) for cell in cells]
    return row == expected


def repeating_columns(table: pa.Table) -> list[str]:
    """The Parquet leaf paths of a page whose values repeat: there a dictionary saves space, elsewhere it costs time."""
    paths = []
    for name in table.column_names:
        column = table.column(name)
        for index, half in enumerate(HALVES):
            distinct = pc.count_distinct(pc.struct_field(column, [index]), mode="all").as_py()
            if distinct <= max(1, REPEATING * table.num_rows):
                paths.append(f"{name}.{half}")
    return paths


def open_writer(path: Path, schema: pa.Schema, dictionary: Sequence[str]) -> pq.ParquetWriter:
    """A writer of rows as they lie in a landing; ``dictionary`` names the columns whose values repeat."""
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=list(dictionary) or False,
        write_statistics=True,
        write_page_checksum=True,
    )


class RowDigest:
    """An order-independent digest of rows: the sum, modulo 2**128, of each row's XXH3-128.

    A row is hashed as the JSON object that the API sent for it, fields in the plan's order, halves in the order
    ``display_value``, ``value``, ``link``; what is null or was not sent is left out of a field's object. Equal digests
    of equally many rows mean the same rows, in any order and however they were cut into slices.
    """

    def __init__(self, total: int = 0) -> None:
        self.total = total

    def add_records(self, records: Iterable[Any]) -> None:
        """Add typed records."""
        total = self.total
        for record in records:
            total += xxhash.xxh3_128_intdigest(_ENCODER.encode(record))
        self.total = total % _DIGEST_RANGE

    def add(self, other: str) -> None:
        """Add another digest, in hex."""
        self.total = (self.total + int(other, 16)) % _DIGEST_RANGE

    def hex(self) -> str:
        """32 hex digits."""
        return f"{self.total:032x}"

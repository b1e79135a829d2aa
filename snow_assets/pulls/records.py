"""From a landed file back to the records that the API gave, key for key."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.errors import ConfigError
from snow_assets.pulls.columns import HALVES, RowDigest
from snow_assets.servicenow.exchange import DisplayValue

Record = dict[str, Any]


def raw_records(file: pq.ParquetFile, display_value: DisplayValue) -> Iterator[Record]:
    """The records of a landed file, in order, row group by row group."""
    for index in range(file.num_row_groups):
        yield from table_records(file.read_row_group(index), display_value)


def table_records(table: pa.Table, display_value: DisplayValue) -> Iterator[Record]:
    """The records of a table: its struct columns. Others are ours, and no field of the record."""
    names = [field.name for field in table.schema if pa.types.is_struct(field.type)]
    columns = [_cells(table.column(name), display_value) for name in names]
    for cells in zip(*columns, strict=True):
        yield {name: cell for name, cell in zip(names, cells, strict=True) if cell is not _LEFT_OUT}


def json_lines(records: Iterable[Record]) -> Iterator[bytes]:
    """One JSON object per line, ending in a newline."""
    encode = msgspec.json.Encoder().encode
    for record in records:
        yield encode(record) + b"\n"


def write_lines(out: Path, lines: Iterable[bytes], key: str = "path") -> int:
    """Write the file ``out`` whole or not at all; returns the number of lines. Raises ``ConfigError``, naming ``key``.

    A temporary file beside it is written and synced, and takes its place.
    """
    if not out.parent.is_dir():
        raise ConfigError("is not in a folder that exists", key=key, value=out, hint=f"mkdir -p {out.parent}")
    scratch = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    rows = 0
    try:
        with scratch.open("wb") as file:
            for line in lines:
                file.write(line)
                rows += 1
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(out)
    finally:
        scratch.unlink(missing_ok=True)
    return rows


def digest_of(files: Iterable[pq.ParquetFile], display_value: DisplayValue) -> str:
    """The digest of landed rows, computed from their files: equals the receipt's."""
    digest = RowDigest()
    for file in files:
        digest.add_records(without_nulls(record) for record in raw_records(file, display_value))
    return digest.hex()


_LEFT_OUT: Any = object()


def _cells(column: pa.ChunkedArray, display_value: DisplayValue) -> list[Any]:
    combined = column.combine_chunks()
    display, value, link = (combined.field(half).to_pylist() for half in HALVES)
    valid: Sequence[bool] = combined.is_valid().to_pylist()
    rebuild = _REBUILD[display_value]
    return [
        rebuild(*halves) if there else _LEFT_OUT for there, *halves in zip(valid, display, value, link, strict=True)
    ]


def _from_all(display: str | None, value: str | None, link: str | None) -> Any:
    cell = {"display_value": display, "value": value}
    return cell if link is None else {"display_value": display, "link": link, "value": value}


def _from_true(display: str | None, _value: str | None, link: str | None) -> Any:
    return display if link is None else {"display_value": display, "link": link}


def _from_false(_display: str | None, value: str | None, link: str | None) -> Any:
    return value if link is None else {"link": link, "value": value}


_REBUILD = {"all": _from_all, "true": _from_true, "false": _from_false}


def without_nulls(record: Record) -> Record:
    """A record as the digest sees it: null halves left out, halves in the order of the columns."""
    return {
        name: {half: cell[half] for half in HALVES if cell.get(half) is not None} if isinstance(cell, dict) else cell
        for name, cell in record.items()
    }

"""The rows of many files in the order of a key, in bounded memory: dealt into portions on the disk, each then sorted.

A sort of whole rows in an engine holds more of them than its limit allows once rows are wide; here the memory is that
of one portion, whatever the files hold.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from snow_assets.pulls.columns import arrow_schema
from snow_assets.pulls.current_files import batches, conformed
from snow_assets.pulls.live import parquet_at, values_of

PORTION_BYTES: Final = 32 << 20  # in memory, about
MOST_PORTIONS: Final = 400  # files open at once
_SAMPLE: Final = 20_000  # keys by which the portions are cut


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in no order. ``tables`` reads those columns of ``schema`` that it is given; ``keys`` are texts or cells."""

    schema: pa.Schema
    keys: Sequence[str]
    tables: Callable[[pa.Schema], Iterator[pa.Table]]


def write_ordered(files: Sequence[str], fields: Sequence[str], keys: Sequence[str], rows: int, target: Path) -> int:
    """Write the rows of ``files`` (paths or URLs) to the Parquet file ``target``, by ``keys``; returns how many.

    Columns are ``fields``, null where a file has none of that name. ``rows`` is about how many there are. Raises
    ``LandingError`` where a file is gone or damaged.
    """
    return write_in_order(Rows(arrow_schema(fields), keys, partial(_tables, files)), rows, target)


def write_in_order(found: Rows, rows: int, target: Path) -> int:
    """Write rows, of which there are about ``rows``, to the Parquet file ``target``; returns how many."""
    with (
        tempfile.TemporaryDirectory(prefix="snow_assets-") as folder,
        pq.ParquetWriter(target, found.schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        written = 0
        for portion in _portions(found, rows, Path(folder)):
            table = portion.take(pc.sort_indices(_keys(portion, found.keys)))
            writer.write_table(table, row_group_size=_group_rows(table))
            written += table.num_rows
        return written


def _portions(found: Rows, rows: int, folder: Path) -> Iterator[pa.Table]:
    """The rows in portions, of which each has lower keys than the next; in no order within."""
    bounds = _bounds(found, rows)
    paths = [folder / f"{number}.arrow" for number in range(len(bounds) + 1)]
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with ExitStack() as stack:
        writers = [stack.enter_context(pa.ipc.new_stream(str(path), found.schema, options=options)) for path in paths]
        for table in found.tables(found.schema):
            for number, part in _dealt(table, found.keys, bounds):
                writers[number].write_table(part)
    for path in paths:
        with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as reader:
            yield reader.read_all()
        path.unlink()
        pa.default_memory_pool().release_unused()


def _bounds(found: Rows, rows: int) -> list[str]:
    """The first keys of all portions but the first, from a sample of the keys."""
    first = next(iter(found.tables(found.schema)), None)
    size = 0 if first is None else rows * first.nbytes // max(1, first.num_rows)
    count = min(-(-size // PORTION_BYTES), MOST_PORTIONS)
    if count < 2:
        return []
    step, sample, seen = max(1, rows // _SAMPLE), list[str](), 0
    for table in found.tables(pa.schema([found.schema.field(key) for key in found.keys])):
        keys = _keys(table, found.keys)
        sample += keys.take(pa.array(range(-seen % step, len(keys), step), pa.int64())).to_pylist()
        seen += len(keys)
    sample.sort()
    return sorted({sample[len(sample) * number // count] for number in range(1, count)})


def _tables(files: Iterable[str], schema: pa.Schema) -> Iterator[pa.Table]:
    for uri in files:
        with parquet_at(uri) as file:
            for _, table in batches(file):
                yield conformed(table, schema)


def _dealt(table: pa.Table, keys: Sequence[str], bounds: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
    """The rows of a table by portion."""
    if not bounds:
        yield 0, table
        return
    found: dict[int, list[int]] = {}
    for at, key in enumerate(_keys(table, keys).to_pylist()):
        found.setdefault(bisect_right(bounds, key), []).append(at)
    for number, rows in found.items():
        yield number, table if len(rows) == table.num_rows else table.take(pa.array(rows))


def _keys(table: pa.Table, keys: Sequence[str]) -> Any:
    """The key of each row as one text."""
    columns = [table.column(key).combine_chunks() for key in keys]
    parts = [pc.fill_null(values_of(each) if pa.types.is_struct(each.type) else each, "") for each in columns]
    return parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, "\0")


def _group_rows(table: pa.Table) -> int:
    """Rows of a row group of about 8 MB, so that readers need little memory, too."""
    bytes_of_all = max(1, int(table.nbytes))
    return max(1, min(8_192, (8 << 20) * int(table.num_rows) // bytes_of_all))

"""Rows of a source into the files of import sets: numbered, dealt, sealed. Memory does not grow with the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.errors import ConfigError
from snow_assets.imports.contract import STAGED
from snow_assets.imports.home import LoadFolder
from snow_assets.imports.partition import Deal
from snow_assets.pulls.stores import LocalStore

_ROW, _FILE = STAGED.names[:2]
BUFFER: Final = 64 << 20  # bytes of rows that wait in memory, over all sets
Sealed = Callable[[int, int], None]  # an import set is staged: its number and its rows


class StagedRows:
    """The rows of a source with their numbers, and the sets that they go to. The first batch is read at once.

    So what is wrong with the declaration is known before anything is written.
    """

    def __init__(self, batches: Iterable[pa.Table], deal: Deal) -> None:
        self._deal = deal
        self._batches = (batch for batch in batches if batch.num_rows or batch.num_columns)
        self._first = next(self._batches, None)
        self.schema = STAGED if self._first is None else _schema(self._first)
        self._dealt = None if self._first is None else self._numbered(self._first, 1)

    def __iter__(self) -> Iterator[tuple[pa.Table, Any]]:
        if self._first is None or self._dealt is None:
            return
        yield self._dealt
        rows = self._first.num_rows
        for batch in self._batches:
            yield self._numbered(batch, rows + 1)
            rows += batch.num_rows

    def _numbered(self, batch: pa.Table, first: int) -> tuple[pa.Table, Any]:
        numbers = pa.array(np.arange(first, first + batch.num_rows, dtype=np.int64))
        rows = pa.Table.from_arrays([numbers, *batch.columns], names=[STAGED.names[0], *batch.column_names])
        try:
            rows = rows.cast(self.schema)
        except (pa.ArrowException, ValueError) as error:
            hint = "declare the source so that all of its rows have the same columns"
            raise ConfigError(f"its columns change at row {first}: {error}", key="source", hint=hint) from error
        return rows, self._deal(rows, first)


def _schema(batch: pa.Table) -> pa.Schema:
    own = [batch.schema.field(index) for index in range(batch.num_columns)]
    names = [STAGED.names[0], *batch.column_names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        hint = "rename it in the source; sys_import_row, sys_import_file and sys_import_line are kept by the import"
        raise ConfigError("is a column of the source twice", key="source", value=twice[0], hint=hint)
    return pa.schema([STAGED.field(0), *own])


class SetFiles:
    """The files of a load's import sets while they are written. A file is there when its set is sealed, and whole."""

    def __init__(self, folder: LoadFolder, schema: pa.Schema, *, size: int | None, sealed: Sealed) -> None:
        self._folder = folder
        self._store = LocalStore(folder.path)
        self._schema = schema
        self._size = size
        self._sealed = sealed
        self._open: dict[int, _SetFile] = {}
        self._buffered = 0
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._open.values():
            each.abandon()

    def add(self, rows: pa.Table, sets: Any) -> None:
        """Append rows to their sets, in their order. With a size, sets that are full are sealed."""
        if not rows.num_rows:
            return
        order = np.argsort(sets, kind="stable")
        dealt = sets[order]
        taken = rows.take(pa.array(order)) if np.any(order[1:] < order[:-1]) else rows
        numbers, starts = np.unique(dealt, return_index=True)
        for number, start, end in zip(numbers, starts, [*starts[1:], len(dealt)], strict=True):
            file = self._file(int(number))
            file.append(taken.slice(start, end - start))
            if file.rows == self._size:
                self._seal(int(number))  # at once: a batch may be many sets, and each that is open is an open file
        self.rows += rows.num_rows
        self._buffered += taken.nbytes
        if self._buffered > BUFFER:
            self._flush()

    def seal(self) -> None:
        """Seal the sets that are open, by number. A load without rows has one set, which is empty."""
        if not self.rows:
            self._file(1)
        for number in sorted(self._open):
            self._seal(number)

    def _file(self, number: int) -> _SetFile:
        if number not in self._open:
            path = self._folder.staged(number)
            self._open[number] = _SetFile(self._store.scratch(self._relative(path)), self._schema)
        return self._open[number]

    def _seal(self, number: int) -> None:
        file = self._open[number]
        file.close()
        self._store.replace(file.scratch, self._relative(self._folder.staged(number)))
        del self._open[number]
        self._sealed(number, file.rows)

    def _flush(self) -> None:
        for each in self._open.values():
            each.flush()
        self._buffered = 0

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._folder.path).as_posix()


class _SetFile:
    """One import set, on its way to the disk."""

    def __init__(self, scratch: Path, schema: pa.Schema) -> None:
        self.scratch = scratch
        self.rows = 0
        self._waiting: list[pa.Table] = []
        # Dictionaries and statistics of the source's columns cost twice what the rest of the writing does.
        self._writer = pq.ParquetWriter(
            scratch, schema, compression="zstd", use_dictionary=[_FILE], write_statistics=[_ROW]
        )

    def append(self, rows: pa.Table) -> None:
        self._waiting.append(rows)
        self.rows += rows.num_rows

    def flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting))
            self._waiting = []

    def close(self) -> None:
        self.flush()
        self._writer.close()

    def abandon(self) -> None:
        self._waiting = []
        self._writer.close()
        self.scratch.unlink(missing_ok=True)


def write_errors(folder: LoadFolder, rejected: pa.Table) -> None:
    """Keep the rows of the source that could not be read."""
    if not rejected.num_rows:
        return
    store = LocalStore(folder.path)
    scratch = store.scratch(folder.errors.name)
    try:
        pq.write_table(rejected, scratch, compression="zstd")
        store.replace(scratch, folder.errors.name)
    finally:
        scratch.unlink(missing_ok=True)


def discard(folder: LoadFolder) -> None:
    """Remove what a load staged; nothing where there is nothing."""
    LocalStore(folder.path.parent).remove_folder(folder.path.name)

"""What every source is: columns, batches of rows in their order, and what could not be read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from snow_assets.config_import_source import SourceConfig
from snow_assets.errors import SourceError
from snow_assets.imports.contract import STAGED
from snow_assets.imports.sources.files import version
from snow_assets.imports.sources.rejects import Bad, Rejects

Batches: TypeAlias = Generator[pa.Table, None, None]
PLACE = (STAGED.field("sys_import_file"), STAGED.field("sys_import_line"))


class Source(ABC):
    """Where the rows of an import come from. To be closed; read once."""

    columns: tuple[str, ...]
    files: tuple[str, ...] = ()

    def __init__(self, config: SourceConfig) -> None:
        self._config = config
        self._rejects = Rejects(config.bad_rows)
        self._running: Batches | None = None

    def batches(self) -> Iterator[pa.Table]:
        """The rows in the order of the source: ``sys_import_file``, ``sys_import_line``, and then ``columns``.

        One batch at least, which may be empty; each is read while the one before is used. Raises ``SourceError`` where
        it cannot be read on, and for a bad row where ``bad_rows`` is ``fail``.
        """
        self._running = self._some()
        return self._running

    def _some(self) -> Batches:
        empty = True
        for batch in _ahead(self._batches()):
            empty = False
            yield batch
        if empty:
            yield with_place(self.schema.empty_table(), None, None)

    @abstractmethod
    def _batches(self) -> Batches: ...

    @property
    def schema(self) -> pa.Schema:
        """The types of ``columns``: text."""
        return pa.schema([(name, pa.string()) for name in self.columns])

    def rejected(self) -> pa.Table:
        """The rows that could not be read (`contract.ERRORS`), known after the batches: the first of them."""
        return self._rejects.table()

    @property
    def rejected_rows(self) -> int:
        """How many they are."""
        return self._rejects.count

    def close(self) -> None:
        """Stop reading, and let go of what is open."""
        if self._running is not None:
            self._running.close()


class FileSource(Source):
    """Files, one after the other."""

    def __init__(self, config: SourceConfig, paths: dict[str, Path]) -> None:
        super().__init__(config)
        self._paths = paths
        self._versions = {name: version(name, path) for name, path in paths.items()}
        self.files = tuple(paths)

    def _batches(self) -> Batches:
        for name, path in self._paths.items():
            self._check_same(name, path)
            yield from self._batches_of(name, path)
            self._check_same(name, path)

    @abstractmethod
    def _batches_of(self, name: str, path: Path) -> Batches: ...

    def _check_same(self, name: str, path: Path) -> None:
        """Its header was read when the source was opened; of a file that is still written, a row may be half there."""
        if version(name, path) != self._versions[name]:
            hint = "import it again when its writer is done"
            raise SourceError("was changed while it was read", key="source", value=name, hint=hint)

    def _reject(self, name: str, bad: Iterable[Bad]) -> None:
        for each in bad:
            self._rejects.add(name, each)


def _ahead(items: Batches) -> Batches:
    """The batches; a thread makes the next one meanwhile."""
    with closing(items), ThreadPoolExecutor(1, thread_name_prefix="source") as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def with_place(table: pa.Table, file: str | None, lines: pa.Array | None) -> pa.Table:
    """Rows with the file and the lines that they stand in, before their own columns."""
    files = pa.repeat(pa.scalar(file, pa.string()), table.num_rows)
    numbers = pa.nulls(table.num_rows, pa.int64()) if lines is None else lines
    return pa.Table.from_arrays([files, numbers, *table.columns], schema=pa.schema([*PLACE, *table.schema]))

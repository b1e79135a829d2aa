"""What every source is: columns, batches of rows in their order, and what could not be read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from snow_assets.config_import_source import SourceConfig
from snow_assets.imports.contract import STAGED
from snow_assets.imports.sources.rejects import Bad, Rejects

PLACE = (STAGED.field("sys_import_file"), STAGED.field("sys_import_line"))


class Source(ABC):
    """Where the rows of an import come from. To be closed; read once."""

    columns: tuple[str, ...]
    files: tuple[str, ...] = ()

    def __init__(self, config: SourceConfig) -> None:
        self._config = config
        self._rejects = Rejects(config.bad_rows)

    @abstractmethod
    def batches(self) -> Iterator[pa.Table]:
        """The rows in the order of the source: ``sys_import_file``, ``sys_import_line``, and then ``columns``.

        Raises ``SourceError`` where it cannot be read on, and for a bad row where ``bad_rows`` is ``fail``.
        """

    def rejected(self) -> pa.Table:
        """The rows that could not be read (`contract.ERRORS`), known after the batches: the first of them."""
        return self._rejects.table()

    @property
    def rejected_rows(self) -> int:
        """How many they are."""
        return self._rejects.count

    def close(self) -> None:  # noqa: B027
        """Let go of what is open."""


class FileSource(Source):
    """Files, one after the other."""

    def __init__(self, config: SourceConfig, paths: dict[str, Path]) -> None:
        super().__init__(config)
        self._paths = paths
        self.files = tuple(paths)

    def batches(self) -> Iterator[pa.Table]:
        """The rows of the first file, of the second, ..."""
        for name, path in self._paths.items():
            yield from self._batches_of(name, path)

    @abstractmethod
    def _batches_of(self, name: str, path: Path) -> Iterator[pa.Table]: ...

    def _reject(self, name: str, bad: Iterable[Bad]) -> None:
        for each in bad:
            self._rejects.add(name, each)


def with_place(table: pa.Table, file: str | None, lines: pa.Array | None) -> pa.Table:
    """Rows with the file and the lines that they stand in, before their own columns."""
    files = pa.repeat(pa.scalar(file, pa.string()), table.num_rows)
    numbers = pa.nulls(table.num_rows, pa.int64()) if lines is None else lines
    return pa.Table.from_arrays([files, numbers, *table.columns], schema=pa.schema([*PLACE, *table.schema]))

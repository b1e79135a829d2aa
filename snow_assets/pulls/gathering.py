"""Rows that come in small portions, gathered into row groups and written to one file after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import pyarrow as pa
from deltalake.transaction import AddAction


class OpenFile(Protocol):
    """A file that is being written."""

    def abandon(self) -> None:
        """Leave nothing of it behind."""
        ...


File = TypeVar("File", bound=OpenFile)


class Gathering(ABC, Generic[File]):
    """The frame of a writer; files that are whole are listed in ``added``.

    A context manager: what is not whole when it fails vanishes.
    """

    def __init__(self) -> None:
        self.added: list[AddAction] = []
        self._gathered: list[pa.Table] = []
        self._file: File | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.abandon()

    def close(self) -> list[AddAction]:
        """Make the last file whole; returns what was added."""
        self._flush()
        self._end_file()
        return self.added

    def _gather(self, table: pa.Table, rows: int, size: int) -> None:
        """Keep a portion, and write what was gathered once that is so many rows or bytes."""
        self._gathered.append(table)
        if sum(part.num_rows for part in self._gathered) >= rows or sum(part.nbytes for part in self._gathered) >= size:
            self._flush()

    def _flush(self) -> None:
        if not self._gathered:
            return
        group = pa.concat_tables(self._gathered).combine_chunks()
        self._gathered = []
        self._write(group)

    @abstractmethod
    def _write(self, group: pa.Table) -> None:
        """Write a row group to the file in hand, a new one where there is none."""

    @abstractmethod
    def _end_file(self) -> None:
        """Make the file in hand whole, where there is one."""

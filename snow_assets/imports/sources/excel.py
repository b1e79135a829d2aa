"""Rows of Excel workbooks, as the text that a person reads there: ISO dates, whole numbers without a point."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import ParseError

import pyarrow as pa

from snow_assets.config import Environment
from snow_assets.config_import_source import SourceConfig
from snow_assets.config_models import nearest
from snow_assets.errors import ConfigError, SourceError
from snow_assets.extras import need
from snow_assets.imports.sources.base import Batches, FileSource, with_place
from snow_assets.imports.sources.files import check_columns, files_of, named, opening, reading, same_columns
from snow_assets.imports.sources.rejects import Bad

BATCH: Final = 4_096  # rows
_ASIDE: Final = re.compile(r'"[^"]*"|\\.|\[(?!h+\]|s+\])[^\]]*\]')  # of a format: texts, colours, [$-en-US]
_PLAIN: Final = 1e16  # numbers beyond it have no whole digits left


class ExcelSource(FileSource):
    """All rows of one sheet of some workbooks. The first row that is not empty holds the names of the columns.

    A formula's value is the one that was saved with it. Empty cells are null; empty rows are passed over.
    """

    def __init__(self, config: SourceConfig, environment: Environment) -> None:
        super().__init__(config, files_of("excel", config.excel or (), environment))
        self._openpyxl = need("openpyxl", "excel")
        self._headers = {name: self._header(name, path) for name, path in self._paths.items()}
        same_columns(self._headers)
        self.columns = tuple(next(iter(self._headers.values())))

    def _header(self, name: str, path: Path) -> list[str]:
        with opening("excel", name):
            number, cells = next(self._rows(name, path), (0, ()))
        if not number:
            raise ConfigError("is empty", key="source.excel", value=name, hint="it has not even a header")
        header = named([_text(cell) or "" for cell in cells])
        check_columns(header, f"{name}, row {number}")
        return header

    def _batches_of(self, name: str, path: Path) -> Batches:
        lines: list[int] = []
        rows: list[list[str | None]] = []
        with reading(name):
            found = self._rows(name, path)
            next(found)
            for number, cells in found:
                wrong = _wrong(cells, self._headers[name])
                if wrong:
                    self._reject(name, [Bad(number, wrong, ", ".join(_text(cell) or "" for cell in cells))])
                    continue
                lines.append(number)
                rows.append([_text(cell) for cell in cells])
                if len(rows) == BATCH:
                    yield self._table(name, lines, rows)
                    lines, rows = [], []
        if rows:
            yield self._table(name, lines, rows)

    def _rows(self, name: str, path: Path) -> Iterator[tuple[int, Sequence[Any]]]:
        """The rows that are not empty, without the empty cells at their ends, numbered as in the sheet."""
        try:
            book = self._openpyxl.load_workbook(path, read_only=True, data_only=True)
        except (zipfile.BadZipFile, KeyError, ValueError, self._openpyxl.utils.exceptions.InvalidFileException):
            hint = "it is no .xlsx or .xlsm file, or needs a password"
            raise ConfigError("is no workbook that can be read", key="source.excel", value=name, hint=hint) from None
        try:
            sheet = self._sheet(book, name)
            sheet.reset_dimensions()  # what a file says of its size is not always true
            for number, row in enumerate(sheet.iter_rows(), 1):
                cells = _trimmed(row)
                if cells:
                    yield number, cells
        except (zipfile.BadZipFile, zlib.error, EOFError, ParseError) as error:
            raise SourceError("cannot be read: its data are damaged", key="source", value=name) from error
        finally:
            book.close()

    def _sheet(self, book: Any, name: str) -> Any:
        sheets = {sheet.title: sheet for sheet in book.worksheets}
        wanted = self._config.sheet
        if wanted is None and sheets:
            return next(iter(sheets.values()))
        if wanted not in sheets:
            close = nearest(wanted or "", sheets)
            hint = f"did you mean {close}?" if close else f"there are: {', '.join(sheets)}"
            raise ConfigError(f"{name} has no such sheet", key="source.sheet", value=wanted or "", hint=hint)
        return sheets[wanted]

    def _table(self, name: str, lines: list[int], rows: list[list[str | None]]) -> pa.Table:
        header = self._headers[name]
        columns = {
            column: pa.array([row[place] if place < len(row) else None for row in rows], pa.string())
            for place, column in enumerate(header)
        }
        return with_place(pa.table(columns).select(self.columns), name, pa.array(lines, pa.int64()))


def _trimmed(row: Sequence[Any]) -> Sequence[Any]:
    end = len(row)
    while end and row[end - 1].value in (None, ""):
        end -= 1
    return row[:end]


def _wrong(cells: Sequence[Any], header: Sequence[str]) -> str:
    """What is wrong with a row, or ``""``."""
    if len(cells) > len(header):
        return f"has {len(cells)} values, not {len(header)}"
    for cell, column in zip(cells, header, strict=False):
        if cell.value is not None and cell.data_type == "e":
            return f"column {column} holds the error {cell.value}"
    return ""


def _text(cell: Any) -> str | None:
    """A cell's value as text, None where it is empty."""
    value = cell.value
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, datetime):
        return _moment(value, str(cell.number_format))
    if isinstance(value, date | time):
        return value.isoformat()
    return _duration(value) if isinstance(value, timedelta) else str(value)


def _number(value: float) -> str:
    """A number in the 15 digits that Excel shows and keeps."""
    if abs(value) >= _PLAIN or (value and abs(value) < 1 / _PLAIN):
        return repr(value)
    return format(Decimal(f"{value:.15g}"), "f")


def _moment(value: datetime, shown: str) -> str:
    """``2026-11-21``, or with ``10:20:30`` where the cell shows a time, too."""
    has_time = any(letter in _ASIDE.sub("", shown.lower()) for letter in "hs")
    if not has_time and value.time() == time():
        return value.date().isoformat()
    return value.isoformat(" ", "auto" if value.microsecond else "seconds")


def _duration(value: timedelta) -> str:
    seconds = round(value.total_seconds())
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

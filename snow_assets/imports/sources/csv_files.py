"""Rows of CSV files, as text: values exactly as they stand there, each row with its file and line."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from snow_assets.config import Environment
from snow_assets.config_import_source import SourceConfig
from snow_assets.errors import ConfigError
from snow_assets.imports.sources.base import Batches, FileSource, with_place
from snow_assets.imports.sources.csv_records import UNDECODABLE, Dialect, Records, of_parts, records
from snow_assets.imports.sources.files import check_columns, files_of, named, same_columns
from snow_assets.imports.sources.rejects import Bad
from snow_assets.imports.sources.text import check_beginning, check_encoding, utf8_chunks

_HEAD: Final = 64 << 10  # bytes in which a header is looked for first
_MORE: Final = 8  # bytes of a block beyond its text


class CsvSource(FileSource):
    """All rows of some CSV files, which have the same columns in any order. Values are text, never null."""

    def __init__(self, config: SourceConfig, environment: Environment) -> None:
        super().__init__(config, files_of("csv", config.csv or (), environment))
        self._encoding = check_encoding(config.encoding)
        self._dialect = _dialect(config)
        self._headers: dict[str, list[str]] = {}
        for name, path in self._paths.items():
            check_beginning(path, name, config.encoding, "csv")
            self._headers[name] = self._header(name, path)
        same_columns(self._headers)
        self.columns = tuple(next(iter(self._headers.values())))

    def _header(self, name: str, path: Path) -> list[str]:
        for found in records(utf8_chunks(path, name, self._encoding, _HEAD), self._dialect):
            if not len(found.lines) and not found.bad:
                continue
            first = found.lines[0].as_py() if len(found.lines) else None
            if found.bad and (first is None or found.bad[0].line < first):
                raise ConfigError(f"{found.bad[0].message} (line {found.bad[0].line})", key="source.csv", value=name)
            header = named(self._values(found.data[: found.ends[0].as_py()]))
            if any("\0" in column for column in header):
                hint = "perhaps source.encoding is another: utf-16-le, utf-16-be"
                raise ConfigError("its header has NUL characters", key="source.csv", value=name, hint=hint)
            check_columns(header, f"{name}, line {first}")
            return header
        raise ConfigError("has no header", key="source.csv", value=name, hint="its lines are empty")

    def _values(self, header: bytes) -> list[str]:
        """The names in a header: read as a row of text, whatever they look like."""
        read = pa_csv.ReadOptions(column_names=None, use_threads=False, block_size=len(header) + _MORE)
        return list(pa_csv.read_csv(_whole(header), read, self._parse()).column_names)

    def _parse(self) -> pa_csv.ParseOptions:
        delimiter, quote = self._dialect.delimiter.decode(), self._dialect.quote.decode()
        return pa_csv.ParseOptions(delimiter=delimiter, quote_char=quote, newlines_in_values=True)

    def _batches_of(self, name: str, path: Path) -> Batches:
        header = self._headers[name]
        waiting = True  # for the header
        for found in records(utf8_chunks(path, name, self._encoding), self._dialect):
            self._reject(name, found.bad)
            rows = found
            if waiting and len(found.lines):
                start = found.ends[0].as_py()
                ends = pc.subtract(found.ends[1:], start)
                rows, waiting = Records(found.data[start:], found.lines[1:], ends), False
            if len(rows.lines):
                yield from self._table(name, header, rows)

    def _table(self, name: str, header: Sequence[str], rows: Records) -> Iterator[pa.Table]:
        wrong: list[pa_csv.InvalidRow] = []
        try:
            table = self._read(header, rows.data, wrong)
        except pa.ArrowInvalid:
            rows = self._decodable(name, rows)
            if not len(rows.lines):
                return
            wrong = []
            table = self._read(header, rows.data, wrong)
        lines = rows.lines
        if wrong:
            numbers = [row.number - 1 for row in wrong]
            message = [f"has {row.actual_columns} values, not {row.expected_columns}" for row in wrong]
            at = lines.take(pa.array(numbers, pa.int64())).to_pylist()
            self._reject(name, map(Bad, at, message, map(rows.text, numbers)))
            keep = pa.array(range(len(lines)), pa.int64())
            lines = lines.filter(pc.invert(pc.is_in(keep, pa.array(numbers, pa.int64()))))
        if len(lines) != table.num_rows:
            raise AssertionError(f"{name}: {table.num_rows} rows were read in {len(lines)} records")
        yield with_place(table, name, lines)

    def _read(self, header: Sequence[str], data: bytes, wrong: list[pa_csv.InvalidRow]) -> pa.Table:
        def note(row: pa_csv.InvalidRow) -> str:
            wrong.append(row)
            return "skip"

        parse = self._parse()
        parse.invalid_row_handler = note
        read = pa_csv.ReadOptions(column_names=list(header), use_threads=False, block_size=len(data) + _MORE)
        convert = pa_csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()),
            strings_can_be_null=False,
            include_columns=list(self.columns),
        )
        return pa_csv.read_csv(_whole(data), read, parse, convert)

    def _decodable(self, name: str, rows: Records) -> Records:
        good, lines = [], []
        start = 0
        for line, end in zip(rows.lines.to_pylist(), rows.ends.to_pylist(), strict=True):
            text = rows.data[start:end]
            start = end
            try:
                text.decode("utf-8")
            except UnicodeDecodeError:
                self._reject(name, [Bad(line, UNDECODABLE, text.strip(b"\r\n"))])
            else:
                good.append(text)
                lines.append(line)
        return of_parts(good, lines, [])


def _whole(data: bytes) -> pa.BufferReader:
    """For Arrow, which takes a mark like that of a file's beginning away from each piece."""
    return pa.BufferReader(BOM_UTF8 + data if data.startswith(BOM_UTF8) else data)


def _dialect(config: SourceConfig) -> Dialect:
    for key, value in (("delimiter", config.delimiter), ("quote", config.quote)):
        if not value.isascii() or value.isalnum() or value in "\r\n\0":
            raise ConfigError("must be one ASCII character, no letter or digit", key=f"source.{key}", value=value)
    if config.delimiter == config.quote:
        raise ConfigError("is the quote, too", key="source.delimiter", value=config.delimiter)
    return Dialect(config.delimiter.encode(), config.quote.encode())

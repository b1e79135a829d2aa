"""Rows of files with a JSON object in each line, as text: numbers and nested values as they are written there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa

from snow_assets.config import Environment
from snow_assets.config_import_source import SourceConfig
from snow_assets.errors import ConfigError, SourceError
from snow_assets.imports.sources.base import Batches, FileSource, with_place
from snow_assets.imports.sources.csv_records import MAX_RECORD, UNDECODABLE
from snow_assets.imports.sources.files import check_columns, files_of
from snow_assets.imports.sources.rejects import Bad
from snow_assets.imports.sources.text import check_beginning, check_encoding, utf8_chunks

BATCH: Final = 16_384  # rows
_DECODE: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_TEXT: Final = msgspec.json.Decoder(str).decode


class JsonLinesSource(FileSource):
    """All records of some files. The columns are the keys of all lines, which are read once before the rows are.

    A text is the text; what is nested, and a number, is the JSON that stands there; null and a missing key are null.
    """

    def __init__(self, config: SourceConfig, environment: Environment) -> None:
        super().__init__(config, files_of("jsonl", config.jsonl or (), environment))
        self._encoding = check_encoding(config.encoding)
        found: dict[str, None] = {}
        for name, path in self._paths.items():
            if path.stat().st_size:
                check_beginning(path, name, config.encoding, "jsonl")
            for _, record in self._records(name, path):
                if not record.keys() <= found.keys():
                    found.update(dict.fromkeys(record))
            check_columns(list(found), name)
        if not found:
            message = "holds no record, so nobody knows its columns"
            raise ConfigError(message, key="source.jsonl", value=", ".join(config.jsonl or ()))
        self.columns = tuple(found)

    def _batches_of(self, name: str, path: Path) -> Batches:
        lines: list[int] = []
        values: dict[str, list[str | None]] = {column: [] for column in self.columns}
        for line, record in self._records(name, path, report=True):
            try:
                row = {column: _text(raw) for column, raw in record.items()}
            except (UnicodeDecodeError, msgspec.DecodeError):
                self._reject(name, [Bad(line, UNDECODABLE, str(list(record)))])
                continue
            if not row.keys() <= values.keys():
                raise SourceError("was changed while it was read", key="source.jsonl", value=name)
            lines.append(line)
            for column, column_values in values.items():
                column_values.append(row.get(column))
            if len(lines) == BATCH:
                yield _table(name, lines, values)
                lines, values = [], {column: [] for column in self.columns}
        if lines:
            yield _table(name, lines, values)

    def _records(self, name: str, path: Path, *, report: bool = False) -> Iterator[tuple[int, dict[str, msgspec.Raw]]]:
        """Each line's object. What is none is a bad row, which is told when the rows are read."""
        for line, text in _lines(name, utf8_chunks(path, name, self._encoding)):
            if not text.strip():
                continue
            try:
                yield line, _DECODE(text)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if report:
                    self._reject(name, [Bad(line, f"is no JSON object: {error}", text)])


def _lines(name: str, chunks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    rest, number = b"", 0
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for number, text in enumerate(whole, number + 1):  # noqa: B020
            yield number, text
        if len(rest) > MAX_RECORD:
            message = f"line {number + 1} is longer than {MAX_RECORD >> 20} MiB"
            raise SourceError(message, key="source.jsonl", value=name, hint="a record is a line")
    yield number + 1, rest


def _text(raw: msgspec.Raw) -> str | None:
    found = bytes(raw)
    if found[:1] == b'"':
        return _TEXT(found)
    return None if found == b"null" else found.decode("utf-8")


def _table(name: str, lines: list[int], values: dict[str, list[str | None]]) -> pa.Table:
    rows = pa.table({column: pa.array(each, pa.string()) for column, each in values.items()})
    return with_place(rows, name, pa.array(lines, pa.int64()))

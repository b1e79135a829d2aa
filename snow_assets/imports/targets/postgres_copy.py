"""COPY between PostgreSQL and Arrow, as CSV: an empty text is quoted, null is not, in both directions."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv as pa_csv

_BLOCK: Final = 1 << 20  # bytes that psycopg2 asks for at a time
_WRITE: Final = pa_csv.WriteOptions(include_header=False)
_FORMAT: Final = "(FORMAT csv, ENCODING 'UTF8')"


def put(cursor: Any, table: str, columns: Sequence[str], rows: pa.RecordBatchReader) -> int:
    """Copy rows into a table; ``table`` and ``columns`` are SQL. Returns their number."""
    cursor.copy_expert(f"COPY {table} ({', '.join(columns)}) FROM STDIN {_FORMAT}", _Lines(rows), size=_BLOCK)
    return int(cursor.rowcount)


def get(cursor: Any, query: str, schema: pa.Schema) -> pa.Table:
    """The rows of a query, whose columns are those of the schema, in its order."""
    text = io.BytesIO()
    cursor.copy_expert(f"COPY ({query}) TO STDOUT {_FORMAT}", text, size=_BLOCK)
    if not text.tell():
        return schema.empty_table()
    text.seek(0)
    return pa_csv.read_csv(
        text,
        read_options=pa_csv.ReadOptions(column_names=schema.names, use_threads=False),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pa_csv.ConvertOptions(
            column_types=schema,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )


class _Lines:
    """A file for psycopg2 to read, made while it is read: no more than one batch of rows is text at a time."""

    def __init__(self, rows: pa.RecordBatchReader) -> None:
        self._texts = _texts(rows)
        self._text: pa.Buffer | None = None
        self._at = 0

    def read(self, size: int) -> bytes:
        """The next bytes; none at the end."""
        while self._text is None or self._at >= self._text.size:
            self._text, self._at = next(self._texts, None), 0
            if self._text is None:
                return b""
        found: bytes = self._text.slice(self._at, min(size, self._text.size - self._at)).to_pybytes()
        self._at += len(found)
        return found


def _texts(rows: pa.RecordBatchReader) -> Iterator[pa.Buffer]:
    for batch in rows:
        text = pa.BufferOutputStream()
        pa_csv.write_csv(batch, text, _WRITE)
        yield text.getvalue()

"""Documents as rows of a Parquet file, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.documents.document import Document
from snow_assets.pulls.landing import Landing

SCHEMA: Final = pa.schema(
    [
        ("id", pa.string()),
        ("sys_id", pa.string()),
        ("number", pa.string()),
        ("table", pa.string()),
        ("url", pa.string()),
        ("page_content", pa.string()),
        ("metadata", pa.string()),  # JSON
        ("content_hash", pa.string()),
        ("updated_at", pa.timestamp("us", "UTC")),
    ]
)
UPDATED: Final = "sys_updated_on"
_GROUP_BYTES: Final = 8 << 20
_GROUP_ROWS: Final = 2_048
_BATCH: Final = 16_384  # ids and hashes in hand at once


def row_of(document: Document) -> dict[str, Any]:
    """A document as a row of ``SCHEMA``."""
    metadata = document.metadata
    return {
        "id": document.id,
        **{name: metadata.get(name) for name in ("sys_id", "number", "table", "url")},
        "page_content": document.page_content,
        "metadata": msgspec.json.encode(metadata, order="deterministic").decode(),
        "content_hash": document.content_hash,
        "updated_at": _moment(metadata.get(UPDATED)),
    }


def document_of(row: dict[str, Any]) -> Document:
    """The document of a row."""
    return Document(row["page_content"], msgspec.json.decode(row["metadata"]))


def write_loose(documents: Iterable[Document], path: Path) -> int:
    """Write documents as they come, some at a time; returns how many."""
    gathered: list[dict[str, Any]] = []
    size = rows = 0
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for document in documents:
            row = row_of(document)
            gathered.append(row)
            size += len(row["page_content"]) + len(row["metadata"])
            if len(gathered) >= _GROUP_ROWS or size >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_pylist(gathered, schema=SCHEMA))
                rows, gathered, size = rows + len(gathered), [], 0
        writer.write_table(pa.Table.from_pylist(gathered, schema=SCHEMA))
    return rows + len(gathered)


def loose_tables(path: Path, schema: pa.Schema) -> Iterator[pa.Table]:
    """Columns of what ``write_loose`` wrote, row group by row group."""
    with pq.ParquetFile(path) as file:
        for index in range(file.num_row_groups):
            yield file.read_row_group(index, columns=schema.names)


def rows_of(file: pq.ParquetFile) -> Iterator[dict[str, Any]]:
    """The rows of a file, in order, row group by row group."""
    for index in range(file.num_row_groups):
        yield from file.read_row_group(index).to_pylist()


def hashes(home: Landing, name: str) -> Iterator[tuple[str, str]]:
    """Ids and content hashes of a file of documents, in order."""
    with home.reading(name, "export the documents again") as file:
        for batch in file.iter_batches(batch_size=_BATCH, columns=["id", "content_hash"]):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None

"""Reading what was exported: the documents of a pull, and what an index that holds an older export has to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.config import Environment
from snow_assets.documents.changes import Change, Kind, added_up, compare
from snow_assets.documents.document import Document
from snow_assets.documents.export import Export, Step, home_of, read_export
from snow_assets.documents.table import document_of, hashes, rows_of
from snow_assets.errors import ConfigError
from snow_assets.pulls.landing import Landing

_BATCH = 4_096


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """What to do with a document: ``added`` or ``changed``, to ``document``; or ``deleted``, which has none."""

    id: str
    change: Kind
    document: Document | None
    content_hash: str | None
    previous_hash: str | None


class DocumentChanges:
    """An iterator of ``DocumentChange``, by id. ``export`` is where they lead: ask for the changes since it next."""

    def __init__(self, export: Export, since: str | None, found: Iterator[DocumentChange]) -> None:
        self.export = export.export
        self.since = since
        self._found = found

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> DocumentChange:
        return next(self._found)


def read_documents(pull: str, *, data: str | None = None) -> Iterator[Document]:
    """The documents of the newest export of ``pull``, by id; some at a time.

    ``data`` is the folder or URL of the landings; ``SNOW_DATA_DIR`` (``data``) when left out. Raises ``ConfigError``
    where nothing was exported, and ``LandingError`` where a file is gone or damaged.
    """
    landing = _landing(pull, data)
    return read_documents_of(landing, newest(landing))


def documents_changes(
    pull: str, since: str | None = None, *, known: Mapping[str, str] | None = None, data: str | None = None
) -> DocumentChanges:
    """What an index of the documents of ``pull`` has to do to be as the newest export.

    ``since`` is the export that the index holds (``20261120T020000Z-1``, or the plan alone, for its first export);
    every document is ``added`` without it. An index that knows the content hash of each of its documents can give
    them by id instead, as ``known``. Whoever asks twice is told the same, and missed exports are made up for: whatever
    differed in one of them is told, ``deleted`` also of documents that the index never had. An index that did not get
    through its first changes begins empty again.

    Raises ``ConfigError`` where nothing was exported, or where ``since`` is not known any more: then index everything
    anew. Raises ``LandingError`` where a file is gone or damaged.
    """
    landing = _landing(pull, data)
    return changes_since(landing, newest(landing), since, known)


def newest(landing: Landing) -> Export:
    """The newest export. Raises ``ConfigError`` where there is none."""
    export = read_export(landing)
    if export is None:
        hint = f"run: snow-assets documents {landing.pull}"
        raise ConfigError("no documents were exported", key="pull", value=landing.pull, hint=hint)
    return export


def changes_since(
    landing: Landing, export: Export, since: str | None, known: Mapping[str, str] | None = None
) -> DocumentChanges:
    """The changes from ``since``, or from what is ``known``, to ``export``, the newest; see ``documents_changes``."""
    home = home_of(landing)
    if known is not None:
        found = compare(sorted(known.items()), hashes(home, export.files[0].name))
    elif since is None:
        found = compare((), hashes(home, export.files[0].name))
    else:
        steps = _steps(export, since)
        found = added_up(_batches(home, step.changes.name) for step in steps)
    return DocumentChanges(export, since, _with_documents(home, export, found))


def _landing(pull: str, data: str | None) -> Landing:
    return Landing.open(data or Environment.load().data_dir, pull)


def _steps(export: Export, since: str) -> tuple[Step, ...]:
    """What came after the export ``since``."""
    wanted = since if "-" in since else f"{since}-1"
    for at, step in enumerate(export.history):
        if step.previous == wanted:
            return export.history[at:]
    if wanted == export.export:
        return ()
    raise ConfigError(
        f"is not an export of pull {export.pull} whose changes are kept",
        key="since",
        value=since,
        hint=f"index every document anew, then ask for what changed since {export.export}",
    )


def _batches(home: Landing, name: str) -> Iterator[pa.RecordBatch]:
    with home.reading(name, "index every document anew") as file:
        yield from file.iter_batches(batch_size=_BATCH)


def read_documents_of(landing: Landing, export: Export) -> Iterator[Document]:
    """The documents of an export, by id; some at a time."""
    with _reading(home_of(landing), export) as file:
        for row in rows_of(file):
            yield document_of(row)


def _reading(home: Landing, export: Export) -> Any:
    return home.reading(export.files[0].name, f"run: snow-assets documents {export.pull} --again")


def _with_documents(home: Landing, export: Export, found: Iterable[Change]) -> Iterator[DocumentChange]:
    """The changes with their documents. Row groups without any of them are not read."""
    with _reading(home, export) as file:
        rows = _Rows(file)
        for each in found:
            document = document_of(rows.at(each.id)) if each.content_hash is not None else None
            yield DocumentChange(each.id, each.change, document, each.content_hash, each.previous_hash)


class _Rows:
    """The rows of a file that is in order, asked for in order."""

    def __init__(self, file: pq.ParquetFile) -> None:
        self._file = file
        self._group = -1
        self._rows: dict[str, dict[str, Any]] = {}

    def at(self, id_: str) -> dict[str, Any]:
        """The row of an id that is there."""
        while id_ not in self._rows:
            self._group += 1
            statistics = self._file.metadata.row_group(self._group).column(0).statistics
            if statistics is None or not statistics.has_min_max or statistics.max >= id_:
                self._rows = {row["id"]: row for row in self._file.read_row_group(self._group).to_pylist()}
        return self._rows[id_]

"""What a pull has published, as a source of documents: the same documents as the instance gives of the same rows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.config import Environment
from snow_assets.documents import journals
from snow_assets.documents.cells import Record, cell_of
from snow_assets.documents.cmdb import RelationGraph
from snow_assets.documents.journals import Entry, entry_of
from snow_assets.documents.wanted import Ask, Published, Wanted, ids_of
from snow_assets.errors import ConfigError
from snow_assets.pulls.current_files import fields_among
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.live import ID, Live, live_rows, parquet_at
from snow_assets.pulls.ordered import write_ordered
from snow_assets.pulls.plan import Plan
from snow_assets.pulls.records import table_records
from snow_assets.servicenow.core import CURSOR, check_ending
from snow_assets.servicenow.records import Report
from snow_assets.servicenow.since import STORED, must_be_aware

__all__ = ["Published", "PublishedSource"]
_BATCH: Final = 1_000  # rows in hand at once
_ENTRY_ORDER: Final = ("element_id", "sys_created_on", ID)


class _Dataset:
    """The rows of a pull and the plan they are of. Raises ``ConfigError`` where nothing is published."""

    def __init__(self, name: str, data: str) -> None:
        landing = Landing.open(data, name)
        self.live: Live = live_rows(landing)
        self.plan: Plan = landing.read_plan(self.live.plan)
        self.fields = fields_among(self.live.fields)

    def must_be_of(self, table: str, fields: Sequence[str], *modes: str) -> None:
        """Raise ``ConfigError`` where it is of another table, lacks a field, or lacks half of what the cells have."""
        name, plan = self.live.pull, self.plan
        missing = ", ".join(field for field in fields if field not in self.fields)
        for wrong, hint in (
            (plan.table != table and f"is of table {plan.table}, not of {table}", f"name a pull of {table}"),
            (missing and f"does not land {missing}", "name it in the pull's fields, and pull again"),
            (plan.display_value not in modes and f"is pulled with display_value: {plan.display_value}",
             f"documents need display_value: {modes[0]}; set it in the pull, and pull again"),
        ):  # fmt: skip
            if wrong:
                raise ConfigError(wrong, key="pull", value=name, hint=hint)

    def ordered(self, fields: Sequence[str], keys: Sequence[str], path: Path) -> Iterator[Record]:
        """The rows in the order of ``keys``, by way of a file."""
        write_ordered(self.live.files, fields, keys, self.live.rows, path)
        with pq.ParquetFile(path) as file:
            yield from self._records(file, fields)

    def records(self, fields: Sequence[str]) -> Iterator[Record]:
        """The rows as they lie."""
        for uri in self.live.files:
            with parquet_at(uri) as file:
                yield from self._records(file, fields)

    def _records(self, file: pq.ParquetFile, fields: Sequence[str]) -> Iterator[Record]:
        there = set(file.schema_arrow.names)
        for batch in file.iter_batches(_BATCH, columns=[name for name in fields if name in there]):
            yield from table_records(pa.Table.from_batches([batch]), self.plan.display_value)


class PublishedSource:
    """Reads the rows that are published now. For one reading: the entries of journals come along with the rows."""

    chunk = 500
    ahead = 1  # entries come in the order of the rows

    def __init__(self, published: Published, *, joined: bool) -> None:
        data = published.data or Environment.load().data_dir
        self._data, self._published, self._joined = data, published, joined
        self._dataset = _Dataset(published.name, data)
        self._entries: Iterator[tuple[str, list[Entry]]] = iter(())
        self._ahead: tuple[str, list[Entry]] | None = None
        self._graph: RelationGraph | None = None
        self.entries = journals.Readings()
        self._journals = _Dataset(self._named("journals"), data) if joined else None
        if self._journals is not None:
            self._journals.must_be_of(journals.TABLE, journals.FIELDS, "all", "false")
        self.url = str(self._dataset.plan.identity.get("instance", ""))

    def records(self, wanted: Wanted, _workers: int | None) -> PublishedRows:
        """The rows; by sys_id where journals are told. Raises ``ConfigError`` for what cannot be read of them."""
        if wanted.query:
            hint = "declare it in the pull; here, since and limit choose rows"
            raise ConfigError("the rows are published already", key="query", value=wanted.query, hint=hint)
        needed = [name for name in wanted.fields if name not in wanted.may_lack]
        check_ending(wanted.limit, wanted.on_incomplete)
        since = wanted.since
        if since is not None:
            must_be_aware(since)
            needed.append(CURSOR)
        self._dataset.must_be_of(wanted.table, needed, "all")
        return PublishedRows(self._dataset, wanted, self._rows(wanted))

    def answer(self, ask: Ask) -> Mapping[str, Any]:
        """What was asked for, by sys_id."""
        if ask.kind == "journals":
            return {sys_id: self._entries_of(sys_id, ask.about) for sys_id in ids_of(ask)}
        if self._graph is None:
            self._graph = RelationGraph.from_published(self._named("relations"), self._data)
        return {sys_id: self._graph.relations_of(sys_id) for sys_id in ids_of(ask)}

    def _rows(self, wanted: Wanted) -> Generator[Record, None, None]:
        fields = [name for name in wanted.fields or self._dataset.fields if name in self._dataset.fields]
        read = fields if wanted.since is None else list(dict.fromkeys((*fields, CURSOR)))
        keep = _later(wanted.since)
        with tempfile.TemporaryDirectory(prefix="snow_assets-") as folder:
            if self._journals is None:
                rows = self._dataset.records(read)
            else:
                ordered = self._journals.ordered((ID, *journals.FIELDS), _ENTRY_ORDER, Path(folder) / "entries.parquet")
                self._entries = _grouped(ordered)
                self._ahead = next(self._entries, None)  # opened while the folder is there
                rows = self._dataset.ordered(read, (ID,), Path(folder) / "rows.parquet")
            for row in islice(filter(keep, rows), wanted.limit):
                yield row if len(read) == len(fields) else {name: row[name] for name in fields if name in row}

    def _entries_of(self, sys_id: str, elements: Sequence[str]) -> list[Entry]:
        """The entries of a record, which come in the same order as the records do."""
        while self._ahead is None or self._ahead[0] < sys_id:
            self._ahead = next(self._entries, None)
            if self._ahead is None:
                return []
        if self._ahead[0] != sys_id:
            return []
        return [entry for entry in self._ahead[1] if entry.element in elements]

    def _named(self, what: str) -> str:
        """The pull of journals or relations. Raises ``ConfigError`` where none is named."""
        name: str | None = getattr(self._published, what)
        if name is None:
            hint = f"Published({self._published.name!r}, {what}='the pull of them')"
            raise ConfigError("no published pull of them is named", key=what, hint=hint)
        return name


class PublishedRows:
    """Published rows that come one by one, and how far they came."""

    def __init__(self, dataset: _Dataset, wanted: Wanted, rows: Generator[Record, None, None]) -> None:
        self._dataset, self._wanted, self._rows = dataset, wanted, rows
        self._started = time.monotonic()
        self._delivered = 0
        self._ended = "running"

    @property
    def report(self) -> Report:
        """How far it came. What is published was counted when it was pulled; ``hidden`` is unknown here."""
        since = self._wanted.since
        return Report(
            table=self._dataset.plan.table,
            query=self._dataset.plan.base_query,
            since=None if since is None else since.isoformat(),
            counted=self._dataset.live.rows if since is None else None,
            delivered=self._delivered,
            hidden=None,
            missing=0,
            differences=(),
            failed=(),
            ended=self._ended,
            requests=0,
            retries=0,
            seconds=round(time.monotonic() - self._started, 3),
        )

    def __iter__(self) -> Iterator[Record]:
        for row in self._rows:
            self._delivered += 1
            yield row
        self._ended = "limit" if self._delivered == self._wanted.limit else "complete"

    def close(self) -> None:
        """Stop, and remove what was sorted on the way."""
        self._ended = "closed" if self._ended == "running" else self._ended
        self._rows.close()


def _later(since: datetime | None) -> Callable[[Record], bool]:
    """Whether a row was updated at ``since`` or after it."""
    if since is None:
        return lambda _: True
    first = since.astimezone(UTC).replace(microsecond=0).strftime(STORED)
    return lambda row: cell_of(row, CURSOR).value >= first


def _grouped(records: Iterator[Record]) -> Iterator[tuple[str, list[Entry]]]:
    """The entries of one record after the other."""
    for sys_id, pairs in groupby(map(entry_of, records), key=itemgetter(0)):
        yield sys_id, [entry for _, entry in pairs]

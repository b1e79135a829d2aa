"""Documents of one table's records, from an instance or from what a pull has published."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import aclosing, closing
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, Unpack

from snow_assets.documents import journals
from snow_assets.documents.ahead import AHEAD, aanswered, abatches, answered, batches
from snow_assets.documents.cells import Record, cell_of, without_secrets
from snow_assets.documents.content import Content
from snow_assets.documents.document import Document
from snow_assets.documents.metadata import metadata_of
from snow_assets.documents.recipes import BASE, Recipe
from snow_assets.documents.sources import AsyncSource, ClientSource
from snow_assets.documents.streams import AsyncDocuments, Documents, in_a_thread
from snow_assets.documents.wanted import Added, Ask, LazyReading, Published, Reading, Source, Stream, Wanted
from snow_assets.errors import ConfigError
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.core import ClientCore, checked_fields, checked_name
from snow_assets.servicenow.honoured import must_exist

if TYPE_CHECKING:
    from snow_assets.servicenow.aio import AsyncClient
    from snow_assets.servicenow.aio_streams import AsyncRecords

Connection: TypeAlias = "Client | AsyncClient | Published"


class Options(TypedDict, total=False):
    """What every loader can be told; see ``Loader``."""

    include_journals: bool
    expand_references: bool
    include_raw: bool
    content_template: str | None


class Loader:
    """Documents of the records of one table.

    ::

        with Client("https://acme.service-now.com", username="u", password="p") as client:
            for document in IncidentLoader(client, "active=true").lazy_load():
                index.upsert(document.id, document.page_content, document.metadata)

    Records are read with labels and stored values both. ``metadata`` holds JSON values by name: ``sys_id``,
    ``number``, ``table``, ``url``, and each field that was read and holds something; see ``metadata_of``.

    Args:
        connection: a ``Client``; an ``AsyncClient``, for the methods that begin with ``a``; or ``Published``.
        query: encoded query of the records. (Of what is published there is none but its own.)
        fields: names, also through references (``caller_id.email``); a field that the table lacks is a
            ``ConfigError``. Without any, those of the table's recipe that the table has.
        include_journals: tell the entries of comments and work notes, oldest first, below the record.
        expand_references: metadata have, beside each label, the sys_id or code behind it.
        include_raw: metadata have the record as it came, under ``raw``; of passwords the stars alone.
        content_template: Jinja2 instead of the recipe. A field's name is what people read of it, ``value.<field>`` what
            is stored, ``sys_id`` the record's, ``journals`` the entries.

    Raises ``ConfigError`` for what cannot work. The methods raise ``SnowError``.
    """

    recipe: Recipe | None = None

    def __init__(
        self, connection: Connection, query: str = "", fields: Sequence[str] | None = None, **options: Unpack[Options]
    ) -> None:
        if self.recipe is None:
            raise ConfigError("reads no table of its own", key="loader", value=type(self).__name__, hint="TableLoader")
        _must_be_a_connection(connection)
        for unknown in options.keys() - Options.__annotations__.keys():
            raise ConfigError("is no option of a loader", key=type(self).__name__, value=unknown)
        self._connection = connection
        self._query = query
        self._recipe = self.recipe
        shown = self._recipe.showing(checked_fields(fields)) if fields else self._recipe
        self._content = Content(shown, options.get("content_template"))
        named = tuple(checked_name(name, "content_template") for name in self._content.named)
        self._must_have: tuple[str, ...] = (*(fields or ()), *named)
        self._fields = self._fields_of(fields, named)
        self._include_journals = options.get("include_journals", False)
        self._expand_references = options.get("expand_references", True)
        self._include_raw = options.get("include_raw", False)

    @property
    def table(self) -> str:
        """The table that is read."""
        return self._recipe.table

    def load(self, **options: Unpack[Reading]) -> list[Document]:
        """All documents, in the order of their sys_ids."""
        return list(self.lazy_load(**options))

    def lazy_load(self, **options: Unpack[LazyReading]) -> Documents:
        """The documents one by one, as their pages come, in the order of their sys_ids.

        Args:
            since: aware; only records that were updated at that moment or after it.
            limit: the most documents.
            on_incomplete: ``warn`` goes on where a range cannot be read; the report names it.
        """
        return self._read(self._source("alazy_load"), None, options)

    def load_since(self, since: datetime) -> list[Document]:
        """Documents of the records that were updated at ``since``, which is aware, or after it."""
        return list(self.lazy_load(since=since))

    def concurrent_load(self, max_workers: int | None = None, **options: Unpack[LazyReading]) -> list[Document]:
        """All documents, read by ``max_workers`` threads (the client's own number), in no order."""
        return list(self.concurrent_lazy_load(max_workers, **options))

    def concurrent_lazy_load(self, max_workers: int | None = None, **options: Unpack[LazyReading]) -> Documents:
        """Like ``lazy_load``, by threads, in the order in which pages come. Closing stops them."""
        source = self._source("aconcurrent_lazy_load")
        workers = self._workers if max_workers is None else max_workers
        return self._read(source, workers, options)

    async def aload(self, **options: Unpack[Reading]) -> list[Document]:
        """All documents. Of an ``AsyncClient`` in no order; else in that of their sys_ids, read by a thread."""
        return [document async for document in self.alazy_load(**options)]

    def alazy_load(self, **options: Unpack[LazyReading]) -> AsyncDocuments:
        """``lazy_load`` for ``async for``. An ``AsyncClient`` reads pages side by side, in order of arrival."""
        return self._aread(None, options)

    async def aload_since(self, since: datetime) -> list[Document]:
        """Documents of the records that were updated at ``since``, which is aware, or after it."""
        return [document async for document in self.alazy_load(since=since)]

    async def aconcurrent_load(self, max_workers: int | None = None, **options: Unpack[LazyReading]) -> list[Document]:
        """All documents, read side by side, in no order."""
        found = self.aconcurrent_lazy_load(max_workers, **options)
        return [document async for document in found]

    def aconcurrent_lazy_load(self, max_workers: int | None = None, **options: Unpack[LazyReading]) -> AsyncDocuments:
        """Like ``alazy_load``, side by side whatever the connection, in the order in which pages come."""
        return self._aread(self._workers if max_workers is None else max_workers, options)

    @property
    def _workers(self) -> int:
        return self._connection.max_workers if isinstance(self._connection, ClientCore) else 1

    def _source(self, twin: str) -> Source:
        """What is read without asyncio."""
        if isinstance(self._connection, Published):
            from snow_assets.documents.published import PublishedSource  # noqa: PLC0415 - Arrow takes long to load

            return PublishedSource(self._connection, joined=self._include_journals)
        if isinstance(self._connection, Client):
            return ClientSource(self._connection)
        raise ConfigError("reads under asyncio only", key="connection", value="AsyncClient", hint=f"use {twin}")

    def _wanted(self, options: LazyReading) -> Wanted:
        may_lack = frozenset(self._fields).difference(self._must_have)
        return Wanted(self.table, self._query, self._fields, may_lack, **options)

    def _read(self, source: Source, workers: int | None, options: LazyReading) -> Documents:
        stream = source.records(self._wanted(options), workers)
        ahead = 1 if workers is None or self._batch == 1 else source.ahead
        return Documents(lambda: source.entries.told(stream.report), self._made(stream, source, ahead))

    def _made(self, stream: Stream, source: Source, ahead: int) -> Generator[Document, None, None]:
        def answer(batch: list[Record]) -> Added:
            return {ask.kind: source.answer(ask) for ask in self._asks(batch)}

        try:
            with closing(answered(batches(stream, self._batch), answer, ahead)) as found:
                for batch, added in found:
                    yield from self._documents(batch, added, source.url)
            source.entries.end()
        finally:
            stream.close()

    def _aread(self, workers: int | None, options: LazyReading) -> AsyncDocuments:
        if isinstance(self._connection, Client | Published):
            source = self._source("")
            return in_a_thread(self._read(source, workers, options), source.chunk)
        asked = AsyncSource(self._connection)
        stream = asked.records(self._wanted(options), workers)
        return AsyncDocuments(lambda: asked.entries.told(stream.report), self._amade(stream, asked))

    async def _amade(self, stream: AsyncRecords, source: AsyncSource) -> AsyncGenerator[Document, None]:
        async def answer(batch: list[dict[str, Any]]) -> Added:
            return {ask.kind: await source.answer(ask) for ask in self._asks(batch)}

        ahead = 1 if self._batch == 1 else AHEAD
        try:
            async with aclosing(aanswered(abatches(stream, self._batch), answer, ahead)) as found:
                async for batch, added in found:
                    for document in self._documents(batch, added, source.url):
                        yield document
            source.entries.end()
        finally:
            await stream.aclose()

    @property
    def _batch(self) -> int:
        """Records that are held until what belongs to them has come."""
        return journals.BATCH if self._include_journals else 1

    def _asks(self, batch: Sequence[Record]) -> Iterator[Ask]:
        """What belongs to these records and lies elsewhere."""
        if self._include_journals:
            yield Ask("journals", batch, self._recipe.journals)

    def _documents(self, batch: Sequence[Record], added: Added, url: str) -> Iterator[Document]:
        for record in batch:
            sys_id = cell_of(record, "sys_id").value
            self._check(record)
            metadata = metadata_of(record, self._recipe, url, expand_references=self._expand_references)
            if self._include_raw:
                metadata["raw"] = without_secrets(record)
            below = tuple(self._below(sys_id, added, metadata))
            lines = journals.lines_of(added.get("journals", {}), sys_id)
            yield Document(self._content.of(record, lines, below), metadata)

    def _below(self, sys_id: str, added: Added, metadata: dict[str, Any]) -> Iterator[str]:  # noqa: ARG002
        """Blocks that come below the record, noted in its metadata too: for loaders of some tables."""
        yield from ()

    def _check(self, record: Record) -> None:
        """Fields that were named and not asked for by name must be there."""
        if not self._fields:
            must_exist(self._must_have, record, self.table)

    def _fields_of(self, fields: Sequence[str] | None, named: Sequence[str]) -> tuple[str, ...]:
        """What is asked for; empty for everything."""
        asked = (*checked_fields(fields), *BASE) if fields else self._recipe.fields
        return tuple(dict.fromkeys((*asked, *named))) if asked else ()


def _must_be_a_connection(connection: object) -> None:
    if not isinstance(connection, ClientCore | Published):
        hint = "give a Client, an AsyncClient or Published(...)"
        raise ConfigError("nothing can be read from it", key="connection", value=type(connection).__name__, hint=hint)

"""Records as documents of LlamaIndex: one reader over any of our loaders, and a named class for each table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Unpack

from snow_assets.documents import document, loaders
from snow_assets.documents.adapted import Adapted, AsyncAdapted
from snow_assets.documents.loader import Connection, Loader
from snow_assets.documents.wanted import LazyReading, Reading
from snow_assets.extras import need

need("llama_index.core", "llamaindex")

from llama_index.core.readers.base import BaseReader  # noqa: E402 - what is missing is told first
from llama_index.core.schema import Document  # noqa: E402

# What stands before each chunk: whose it is. The rest is in the text, once, or is there to filter by.
_EMBEDDED = ("sys_class_name", "number", "name", "title", "file_name", "short_description")
_TOLD = (*_EMBEDDED, "state", "sys_updated_on", "url")
# Bytes of it at most: a splitter takes them off the size of a chunk, and fails where nothing is left.
_BEFORE_A_CHUNK = 600


class ServiceNowReader(BaseReader):
    """LlamaIndex's reader over one of our loaders: ``ServiceNowReader(IncidentLoader(client, "active=true"))``.

    What it reads, it reads as that loader does: whole, or with an error. The ``a…`` methods do the same without
    blocking the event loop.

    Nodes have all metadata. Before each chunk, models are told the class, number, name or title, state, last update and
    url of its record; embeddings the first three. Other keys are excluded, unless ``excluded_llm_metadata_keys`` and
    ``excluded_embed_metadata_keys`` say which are.
    """

    def __init__(
        self,
        loader: Loader,
        *,
        excluded_llm_metadata_keys: Sequence[str] | None = None,
        excluded_embed_metadata_keys: Sequence[str] | None = None,
    ) -> None:
        self.loader = loader
        self._excluded_llm = excluded_llm_metadata_keys
        self._excluded_embed = excluded_embed_metadata_keys

    def lazy_load_data(self, **options: Unpack[LazyReading]) -> Adapted[Document]:
        """Documents one at a time, in the order of ``sys_id``."""
        return Adapted(self.loader.lazy_load(**options), self._document)

    def load_data(self, **options: Unpack[Reading]) -> list[Document]:
        """All documents."""
        return list(self.lazy_load_data(**options))

    def load_data_since(self, since: datetime, **options: Unpack[Reading]) -> list[Document]:
        """Documents of records that were updated at ``since``, an aware moment, or later."""
        return list(self.lazy_load_data(since=since, **options))

    def concurrent_lazy_load_data(
        self, max_workers: int | None = None, **options: Unpack[LazyReading]
    ) -> Adapted[Document]:
        """Documents as they arrive, read by many threads."""
        return Adapted(self.loader.concurrent_lazy_load(max_workers, **options), self._document)

    def concurrent_load_data(self, max_workers: int | None = None, **options: Unpack[LazyReading]) -> list[Document]:
        """All documents, read by many threads."""
        return list(self.concurrent_lazy_load_data(max_workers, **options))

    # The base class promises a coroutine that gives a plain iterator, which would block; readers that read
    # asynchronously return an asynchronous iterator instead.
    def alazy_load_data(self, **options: Unpack[LazyReading]) -> AsyncAdapted[Document]:  # type: ignore[override]
        """Documents one at a time: ``async for document in reader.alazy_load_data()``."""
        return AsyncAdapted(self.loader.alazy_load(**options), self._document)

    async def aload_data(self, **options: Unpack[Reading]) -> list[Document]:
        """All documents."""
        return [each async for each in self.alazy_load_data(**options)]

    async def aload_data_since(self, since: datetime, **options: Unpack[Reading]) -> list[Document]:
        """Documents of records that were updated at ``since``, an aware moment, or later."""
        return [each async for each in self.alazy_load_data(since=since, **options)]

    def aconcurrent_lazy_load_data(
        self, max_workers: int | None = None, **options: Unpack[LazyReading]
    ) -> AsyncAdapted[Document]:
        """Documents as they arrive, by many requests at once."""
        return AsyncAdapted(self.loader.aconcurrent_lazy_load(max_workers, **options), self._document)

    async def aconcurrent_load_data(
        self, max_workers: int | None = None, **options: Unpack[LazyReading]
    ) -> list[Document]:
        """All documents, by many requests at once."""
        return [each async for each in self.aconcurrent_lazy_load_data(max_workers, **options)]

    def _document(self, ours: document.Document) -> Document:
        llm, embed = self._excluded_llm, self._excluded_embed
        return Document(
            id_=ours.id,
            text=ours.page_content,
            metadata=_ordered(ours.metadata, _TOLD),
            excluded_llm_metadata_keys=list(_excluded(ours.metadata, _TOLD) if llm is None else llm),
            excluded_embed_metadata_keys=list(_excluded(ours.metadata, _EMBEDDED) if embed is None else embed),
        )


def _excluded(metadata: Mapping[str, Any], shown: Sequence[str]) -> list[str]:
    left, kept = _BEFORE_A_CHUNK, set()
    for key in shown:
        size = len(f"{key}: {metadata.get(key)}\n".encode())
        if key in metadata and size <= left:
            kept.add(key)
            left -= size
    return [key for key in metadata if key not in kept]


def _ordered(metadata: Mapping[str, Any], first: Sequence[str] = ()) -> dict[str, Any]:
    """The same for equal metadata, down to what is nested: LlamaIndex's hash goes by the order of keys, too."""
    keys = (*(key for key in first if key in metadata), *sorted(metadata.keys() - set(first)))
    return {key: _in_order(metadata[key]) for key in keys}


def _in_order(value: Any) -> Any:
    if isinstance(value, list):
        return [_in_order(each) for each in value]
    return _ordered(value) if isinstance(value, dict) else value


class _Named(ServiceNowReader):
    """Takes what its loader takes, a connection and the loader's options, and the two lists of excluded keys."""

    loader_class: ClassVar[type[Loader]]

    def __init__(
        self,
        connection: Connection,
        *arguments: Any,
        excluded_llm_metadata_keys: Sequence[str] | None = None,
        excluded_embed_metadata_keys: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            self.loader_class(connection, *arguments, **options),
            excluded_llm_metadata_keys=excluded_llm_metadata_keys,
            excluded_embed_metadata_keys=excluded_embed_metadata_keys,
        )


class ServiceNowIncidentReader(_Named):
    """Incidents; see ``IncidentLoader``."""

    loader_class = loaders.IncidentLoader


class ServiceNowKBReader(_Named):
    """Knowledge articles; see ``KnowledgeBaseLoader``."""

    loader_class = loaders.KnowledgeBaseLoader


class ServiceNowCMDBReader(_Named):
    """Configuration items; see ``CMDBLoader``."""

    loader_class = loaders.CMDBLoader


class ServiceNowChangeReader(_Named):
    """Change requests; see ``ChangeLoader``."""

    loader_class = loaders.ChangeLoader


class ServiceNowProblemReader(_Named):
    """Problems; see ``ProblemLoader``."""

    loader_class = loaders.ProblemLoader


class ServiceNowCatalogReader(_Named):
    """Catalog items; see ``CatalogLoader``."""

    loader_class = loaders.CatalogLoader


class ServiceNowAttachmentReader(_Named):
    """What is known of attachments; see ``AttachmentLoader``."""

    loader_class = loaders.AttachmentLoader


class ServiceNowJournalReader(_Named):
    """Comments and work notes, each a document; see ``JournalLoader``."""

    loader_class = loaders.JournalLoader


class ServiceNowRelationshipReader(_Named):
    """Relations between configuration items; see ``RelationshipLoader``."""

    loader_class = loaders.RelationshipLoader


class ServiceNowTableReader(_Named):
    """Records of any table: ``ServiceNowTableReader(client, "sc_task")``; see ``TableLoader``."""

    loader_class = loaders.TableLoader

"""Records as documents of LangChain: one loader over any of ours, and a named class for each table."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Unpack

from snow_assets.documents import document, loaders
from snow_assets.documents.adapted import Adapted, AsyncAdapted
from snow_assets.documents.loader import Connection, Loader
from snow_assets.documents.wanted import LazyReading, Reading
from snow_assets.extras import need

need("langchain_core", "langchain")

from langchain_core.document_loaders import BaseLoader  # noqa: E402 - what is missing is told first
from langchain_core.documents import Document  # noqa: E402


def as_document(ours: document.Document) -> Document:
    """The same document for LangChain.

    Metadata have ``source`` besides: the record's url, by which LangChain groups and cites. A field of the record of
    that name is ``field_source``.
    """
    metadata = dict(ours.metadata)
    if "source" in metadata:
        metadata["field_source"] = metadata["source"]
    metadata["source"] = metadata.get("url") or ours.id
    return Document(id=ours.id, page_content=ours.page_content, metadata=metadata)


class ServiceNowLoader(BaseLoader):
    """LangChain's loader over one of ours: ``ServiceNowLoader(IncidentLoader(client, "active=true"))``.

    What it reads, it reads as that loader does: whole, or with an error. The ``a…`` methods do the same without
    blocking the event loop.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def lazy_load(self, **options: Unpack[LazyReading]) -> Adapted[Document]:
        """Documents one at a time, in the order of ``sys_id``."""
        return Adapted(self.loader.lazy_load(**options), as_document)

    def load(self, **options: Unpack[Reading]) -> list[Document]:
        """All documents."""
        return list(self.lazy_load(**options))

    def load_since(self, since: datetime, **options: Unpack[Reading]) -> list[Document]:
        """Documents of records that were updated at ``since``, an aware moment, or later."""
        return list(self.lazy_load(since=since, **options))

    def concurrent_lazy_load(self, max_workers: int | None = None, **options: Unpack[LazyReading]) -> Adapted[Document]:
        """Documents as they arrive, read by many threads."""
        return Adapted(self.loader.concurrent_lazy_load(max_workers, **options), as_document)

    def concurrent_load(self, max_workers: int | None = None, **options: Unpack[LazyReading]) -> list[Document]:
        """All documents, read by many threads."""
        return list(self.concurrent_lazy_load(max_workers, **options))

    def alazy_load(self, **options: Unpack[LazyReading]) -> AsyncAdapted[Document]:
        """Documents one at a time."""
        return AsyncAdapted(self.loader.alazy_load(**options), as_document)

    async def aload(self, **options: Unpack[Reading]) -> list[Document]:
        """All documents."""
        return [each async for each in self.alazy_load(**options)]

    async def aload_since(self, since: datetime, **options: Unpack[Reading]) -> list[Document]:
        """Documents of records that were updated at ``since``, an aware moment, or later."""
        return [each async for each in self.alazy_load(since=since, **options)]

    def aconcurrent_lazy_load(
        self, max_workers: int | None = None, **options: Unpack[LazyReading]
    ) -> AsyncAdapted[Document]:
        """Documents as they arrive, by many requests at once."""
        return AsyncAdapted(self.loader.aconcurrent_lazy_load(max_workers, **options), as_document)

    async def aconcurrent_load(self, max_workers: int | None = None, **options: Unpack[LazyReading]) -> list[Document]:
        """All documents, by many requests at once."""
        return [each async for each in self.aconcurrent_lazy_load(max_workers, **options)]


class _Named(ServiceNowLoader):
    """Takes what its loader takes: a connection, then the loader's options."""

    loader_class: ClassVar[type[Loader]]

    def __init__(self, connection: Connection, *arguments: Any, **options: Any) -> None:
        super().__init__(self.loader_class(connection, *arguments, **options))


class ServiceNowIncidentLoader(_Named):
    """Incidents; see ``IncidentLoader``."""

    loader_class = loaders.IncidentLoader


class ServiceNowKBLoader(_Named):
    """Knowledge articles; see ``KnowledgeBaseLoader``."""

    loader_class = loaders.KnowledgeBaseLoader


class ServiceNowCMDBLoader(_Named):
    """Configuration items; see ``CMDBLoader``."""

    loader_class = loaders.CMDBLoader


class ServiceNowChangeLoader(_Named):
    """Change requests; see ``ChangeLoader``."""

    loader_class = loaders.ChangeLoader


class ServiceNowProblemLoader(_Named):
    """Problems; see ``ProblemLoader``."""

    loader_class = loaders.ProblemLoader


class ServiceNowCatalogLoader(_Named):
    """Catalog items; see ``CatalogLoader``."""

    loader_class = loaders.CatalogLoader


class ServiceNowAttachmentLoader(_Named):
    """What is known of attachments; see ``AttachmentLoader``."""

    loader_class = loaders.AttachmentLoader


class ServiceNowJournalLoader(_Named):
    """Comments and work notes, each a document; see ``JournalLoader``."""

    loader_class = loaders.JournalLoader


class ServiceNowRelationshipLoader(_Named):
    """Relations between configuration items; see ``RelationshipLoader``."""

    loader_class = loaders.RelationshipLoader


class ServiceNowTableLoader(_Named):
    """Records of any table: ``ServiceNowTableLoader(client, "sc_task")``; see ``TableLoader``."""

    loader_class = loaders.TableLoader

"""ServiceNow tables as Dagster assets: planned, sliced by sys_id, proven, and published as Delta Lake tables.

The parts: ``snow_assets.servicenow`` (a client for one instance), ``snow_assets.pulls`` (plan, slices, totals and
dataset), ``snow_assets.assets`` (their Dagster face), ``snow_assets.cli`` (the command ``snow-assets``) and
``snow_assets.simulator`` (an instance on loopback). ``snow_assets.read("incidents")`` gives what a pull has published
as an Arrow table,
``snow_assets.files("incidents")`` its Parquet files.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snow_assets.config import Credentials
    from snow_assets.documents.cmdb.graph import RelationGraph
    from snow_assets.documents.declared import write_documents
    from snow_assets.documents.document import Document
    from snow_assets.documents.exported import documents_changes, read_documents
    from snow_assets.documents.loaders import (
        AttachmentLoader,
        CatalogLoader,
        ChangeLoader,
        CMDBLoader,
        IncidentLoader,
        JournalLoader,
        KnowledgeBaseLoader,
        ProblemLoader,
        RelationshipLoader,
        TableLoader,
    )
    from snow_assets.documents.published import Published
    from snow_assets.pulls.library import lazy_pull_to, pull_to
    from snow_assets.reader import files, read
    from snow_assets.servicenow.aio import AsyncClient
    from snow_assets.servicenow.client import Client
    from snow_assets.servicenow.records import IncompleteWarning, Report

    __version__: str

__all__ = [
    "AsyncClient",
    "AttachmentLoader",
    "CMDBLoader",
    "CatalogLoader",
    "ChangeLoader",
    "Client",
    "Credentials",
    "Document",
    "IncidentLoader",
    "IncompleteWarning",
    "JournalLoader",
    "KnowledgeBaseLoader",
    "ProblemLoader",
    "Published",
    "RelationGraph",
    "RelationshipLoader",
    "Report",
    "TableLoader",
    "__version__",
    "documents_changes",
    "files",
    "lazy_pull_to",
    "pull_to",
    "read",
    "read_documents",
    "write_documents",
]

_WHERE = {
    "AsyncClient": "snow_assets.servicenow.aio",
    "AttachmentLoader": "snow_assets.documents.loaders",
    "CMDBLoader": "snow_assets.documents.loaders",
    "CatalogLoader": "snow_assets.documents.loaders",
    "ChangeLoader": "snow_assets.documents.loaders",
    "Client": "snow_assets.servicenow.client",
    "Credentials": "snow_assets.config",
    "Document": "snow_assets.documents.document",
    "IncidentLoader": "snow_assets.documents.loaders",
    "IncompleteWarning": "snow_assets.servicenow.records",
    "JournalLoader": "snow_assets.documents.loaders",
    "KnowledgeBaseLoader": "snow_assets.documents.loaders",
    "ProblemLoader": "snow_assets.documents.loaders",
    "Published": "snow_assets.documents.published",
    "RelationGraph": "snow_assets.documents.cmdb.graph",
    "RelationshipLoader": "snow_assets.documents.loaders",
    "Report": "snow_assets.servicenow.records",
    "TableLoader": "snow_assets.documents.loaders",
    "documents_changes": "snow_assets.documents.exported",
    "files": "snow_assets.reader",
    "lazy_pull_to": "snow_assets.pulls.library",
    "pull_to": "snow_assets.pulls.library",
    "read": "snow_assets.reader",
    "read_documents": "snow_assets.documents.exported",
    "write_documents": "snow_assets.documents.declared",
}
"""The module of each public name. It is imported when the name is asked for, so that a part does not import all."""


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    if name == "__version__":
        return _version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - costs 20 ms

    try:
        return version("snow_assets")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"

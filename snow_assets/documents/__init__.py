"""Records as documents: loaders, one adapter per framework, the graph of configuration items. No Dagster here."""

from __future__ import annotations

from snow_assets.documents.document import Document

__all__ = ["Document"]

"""A document: what a record says, readable, and what it is, typed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class Document:
    """``page_content`` is text for people and models. ``metadata`` holds JSON values by name.

    Among the metadata are always ``sys_id``, ``table`` and ``url``; see the loaders for the rest.
    """

    page_content: str
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """``<table>/<sys_id>``: the same whenever the record is read."""
        return f"{self.metadata['table']}/{self.metadata['sys_id']}"

    @property
    def content_hash(self) -> str:
        """SHA-256, in hex, of text and metadata: equal for equal documents, whatever read them."""
        content = msgspec.json.encode([self.page_content, self.metadata], order="deterministic")
        return hashlib.sha256(content).hexdigest()

"""What a pull has published, as a source of documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from snow_assets.documents.wanted import Ask, Stream, Wanted


@dataclass(frozen=True, slots=True)
class Published:
    """The dataset of the pull ``name`` below ``data`` (``SNOW_DATA_DIR`` where left out), as it is when it is read.

    ``journals`` is the pull of sys_journal_field whose entries belong to its records.
    """

    name: str
    data: str | None = None
    journals: str | None = None


class PublishedSource:
    """Reads the rows that are published now."""

    def __init__(self, published: Published, query: str, *, joined: bool) -> None:
        self._published, self._query, self._joined = published, query, joined
        self.url = ""
        self.chunk = 100

    def records(self, wanted: Wanted, workers: int | None) -> Stream:
        """The rows, by sys_id."""
        raise NotImplementedError

    def answer(self, ask: Ask) -> Mapping[str, Any]:
        """What was asked for, by sys_id."""
        raise NotImplementedError

"""What the adapters share: a loader's documents as another library's, one at a time, and how far they came."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Generic, Self, TypedDict, TypeVar

from snow_assets.documents.document import Document
from snow_assets.documents.streams import AsyncDocuments, Documents
from snow_assets.servicenow.records import OnIncomplete, Report

T = TypeVar("T")


class Reading(TypedDict, total=False):
    """Options of a reading. ``limit``: the most documents. ``on_incomplete``: ``raise``, or ``warn`` and go on."""

    limit: int | None
    on_incomplete: OnIncomplete


class LazyReading(Reading, total=False):
    """Besides: ``since``, an aware moment; only records that were updated at it or after it."""

    since: datetime | None


class Adapted(Generic[T]):
    """An iterator over documents of another kind. Close it, or use it in ``with``, to stop early."""

    def __init__(self, documents: Documents, convert: Callable[[Document], T]) -> None:
        self._documents = documents
        self._convert = convert

    @property
    def report(self) -> Report:
        """How far the reading came; see ``Report``."""
        return self._documents.report

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        return self._convert(next(self._documents))

    def close(self) -> None:
        """Stop: nothing is asked for any more."""
        self._documents.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncAdapted(Generic[T]):
    """``Adapted`` for ``async for``. Close it with ``await ....aclose()``, or use it in ``async with``."""

    def __init__(self, documents: AsyncDocuments, convert: Callable[[Document], T]) -> None:
        self._documents = documents
        self._convert = convert

    @property
    def report(self) -> Report:
        """How far the reading came; see ``Report``."""
        return self._documents.report

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        return self._convert(await anext(self._documents))

    async def aclose(self) -> None:
        """Stop: nothing is asked for any more."""
        await self._documents.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

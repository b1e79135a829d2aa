"""What the adapters share: a loader's documents as another library's, one at a time, and how far they came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Self, TypeVar

from snow_assets.documents.document import Document
from snow_assets.documents.streams import AsyncDocuments, Documents
from snow_assets.servicenow.closing import AsyncClosing, Closing
from snow_assets.servicenow.records import Report

T = TypeVar("T")


class Adapted(Closing, Generic[T]):
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


class AsyncAdapted(AsyncClosing, Generic[T]):
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

"""Documents that come one by one and know how far they came; a reading in a thread, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Self

from snow_assets.documents.document import Document
from snow_assets.servicenow.closing import AsyncClosing, Closing
from snow_assets.servicenow.records import Report


class _Told:
    """How far the documents of a reading came: never further than its records."""

    def __init__(self, report: Callable[[], Report]) -> None:
        self._report = report
        self._delivered = 0
        self._ended = "running"

    @property
    def report(self) -> Report:
        """How far it came, now or at the end. ``delivered`` counts documents."""
        found = self._report()
        ended = found.ended if self._ended == "as its records" else self._ended
        return replace(found, delivered=self._delivered, ended=ended)

    def _end(self, ended: str) -> None:
        if self._ended == "running":
            self._ended = ended


class Documents(_Told, Closing):
    """An iterator over documents. Close it, or use it in ``with``, to stop early.

    It ends without an error only where every readable record that matches was given once, or at ``limit``, or, with
    ``on_incomplete="warn"``, after an ``IncompleteWarning``. ``report`` may be looked at at any time.
    """

    def __init__(self, report: Callable[[], Report], made: Generator[Document, None, None]) -> None:
        super().__init__(report)
        self._made = made

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Document:
        try:
            document = next(self._made)
        except StopIteration:
            self._end("as its records")
            raise
        except BaseException:
            self._end("failed")
            raise
        self._delivered += 1
        return document

    def close(self) -> None:
        """Stop: nothing is asked for any more."""
        self._end("closed")
        self._made.close()


class AsyncDocuments(_Told, AsyncClosing):
    """``Documents`` for ``async for``. Close it with ``await ....aclose()``, or use it in ``async with``."""

    def __init__(self, report: Callable[[], Report], made: AsyncGenerator[Document, None]) -> None:
        super().__init__(report)
        self._made = made

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Document:
        try:
            document = await anext(self._made)
        except StopAsyncIteration:
            self._end("as its records")
            raise
        except BaseException:
            self._end("failed")
            raise
        self._delivered += 1
        return document

    async def aclose(self) -> None:
        """Stop: nothing is asked for any more."""
        self._end("closed")
        await self._made.aclose()


def in_a_thread(documents: Documents, chunk: int) -> AsyncDocuments:
    """The documents, read by a thread of its own, ``chunk`` at a time; the event loop never waits for it.

    Closing stops the thread as soon as what it has asked for has come.
    """
    return AsyncDocuments(lambda: documents.report, _threaded(documents, chunk))


async def _threaded(documents: Documents, chunk: int) -> AsyncGenerator[Document, None]:
    loop = asyncio.get_running_loop()
    crew = ThreadPoolExecutor(1, thread_name_prefix="documents")
    try:
        error: Exception | None = None
        while error is None:
            found, error = await loop.run_in_executor(crew, _taken, documents, chunk)
            if not found:
                break
            for document in found:
                yield document
        if error is not None:
            raise error
    finally:
        closed = loop.run_in_executor(crew, documents.close)
        crew.shutdown(wait=False)
        await closed


def _taken(documents: Documents, chunk: int) -> tuple[list[Document], Exception | None]:
    """Up to so many documents, and the error that came after them."""
    found: list[Document] = []
    try:
        found.extend(islice(documents, chunk))
    except Exception as error:  # noqa: BLE001  # raised by whoever awaits, once the documents before it were given
        return found, error
    return found, None

"""What belongs to the records of a batch is read while the next ones come; the order stays."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from itertools import islice
from typing import Final, TypeVar

T = TypeVar("T")
A = TypeVar("A")
AHEAD: Final = 4  # batches whose answers are under way at once


def batches(records: Iterable[T], size: int) -> Generator[list[T], None, None]:
    """Records, ``size`` at a time."""
    remaining = iter(records)
    while batch := list(islice(remaining, size)):
        yield batch


async def abatches(records: AsyncIterator[T], size: int) -> AsyncGenerator[list[T], None]:
    """Records, ``size`` at a time."""
    batch: list[T] = []
    async for record in records:
        batch.append(record)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def answered(found: Iterable[T], answer: Callable[[T], A], ahead: int) -> Generator[tuple[T, A], None, None]:
    """Each batch with its answer; up to ``ahead`` answers are under way, in threads where that is more than one.

    When the generator is closed, those that are under way end first, and no other begins.
    """
    if ahead == 1:
        for batch in found:
            yield batch, answer(batch)
        return
    waiting: deque[tuple[T, Future[A]]] = deque()
    with ThreadPoolExecutor(ahead, thread_name_prefix="answers") as crew:
        try:
            for batch in found:
                waiting.append((batch, crew.submit(answer, batch)))
                while waiting and (len(waiting) == ahead or waiting[0][1].done()):
                    first, answering = waiting.popleft()
                    yield first, answering.result()
            for first, answering in waiting:
                yield first, answering.result()
        finally:
            for _, answering in waiting:
                answering.cancel()


async def aanswered(
    found: AsyncGenerator[T, None], answer: Callable[[T], Awaitable[A]], ahead: int
) -> AsyncGenerator[tuple[T, A], None]:
    """``answered``, in tasks; closing cancels them."""
    waiting: deque[tuple[T, asyncio.Future[A]]] = deque()
    try:
        async with aclosing(found):
            async for batch in found:
                waiting.append((batch, asyncio.ensure_future(answer(batch))))
                while waiting and (len(waiting) == ahead or waiting[0][1].done()):
                    first, answering = waiting.popleft()
                    yield first, await answering
            while waiting:
                first, answering = waiting.popleft()
                yield first, await answering
    finally:
        for _, answering in waiting:
            answering.cancel()
        await asyncio.gather(*(answering for _, answering in waiting), return_exceptions=True)

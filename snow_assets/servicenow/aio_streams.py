"""All rows of a query as an async iterator, in one task or in many; the twin of ``streams``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final, Self

from snow_assets.servicenow.aio_driver import AsyncDriver, Pages
from snow_assets.servicenow.boundaries import Chain, KeyRange, find_chain
from snow_assets.servicenow.closing import AsyncClosing
from snow_assets.servicenow.proof import RangeProof
from snow_assets.servicenow.ranges import Outline, Seen, outline
from snow_assets.servicenow.reading import Reading
from snow_assets.servicenow.records import Figures, Question, Record, Report, warn_incomplete
from snow_assets.servicenow.telling import Delivery, Portion, costing

_STOPS: Final = (GeneratorExit, asyncio.CancelledError)


class AsyncRecords(AsyncClosing):
    """An async iterator over records that knows how far it came; the twin of ``Records``.

    Close it (``await aclose()``), or use it in ``async with``, to stop early: when that returns, nothing is under way.
    One that is merely dropped is closed by the event loop, a moment later.
    """

    # One generator, and none around it: a loop that ends closes all of them at once, and one within another fails.
    def __init__(self, figures: Figures, question: Question, pages: AsyncGenerator[list[Record], None]) -> None:
        self._figures = figures
        self._delivery = Delivery(figures, question, _STOPS)
        self._pages = pages
        self._page: Iterator[Record] = iter(())

    @property
    def report(self) -> Report:
        """The figures so far; see ``Report``."""
        return self._figures.report()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record:
        while (record := next(self._page, None)) is None:
            await self._turn()
        return record

    async def aclose(self) -> None:
        """Stop: no request is sent any more."""
        self._page = iter(())
        await self._pages.aclose()
        self._figures.close("closed")  # also where it never began

    async def _turn(self) -> None:
        """The next page. Raises ``StopAsyncIteration`` where none is wanted or left, and what its reading raises."""
        if self._figures.ended != "running":
            raise StopAsyncIteration
        self._page = iter(())  # it is not held while the next one is waited for
        try:
            await asyncio.sleep(0)  # pages that wait already would keep other tasks from their turn
            page = None if self._delivery.over else await anext(self._pages, None)
        except BaseException as error:
            await self._pages.aclose()
            self._delivery.ended(error)
            raise
        if page is not None:
            self._page = self._delivery.records(page)
            return
        self._delivery.ended(None)
        await self._pages.aclose()
        if self._figures.ended == "incomplete":
            warn_incomplete(self._figures.report())
        raise StopAsyncIteration


def in_order(driver: AsyncDriver, question: Question, seen: Seen) -> AsyncRecords:
    """As its namesake of ``streams``, one request at a time."""
    figures = Figures(question)
    return AsyncRecords(figures, question, _in_order(driver, question, figures, seen))


def as_completed(driver: AsyncDriver, question: Question, workers: int, seen: Seen) -> AsyncRecords:
    """As its namesake of ``streams``, by ``workers`` tasks."""
    figures = Figures(question)
    return AsyncRecords(figures, question, _as_completed(driver, question, workers, figures, seen))


async def _in_order(
    driver: AsyncDriver, question: Question, figures: Figures, seen: Seen
) -> AsyncGenerator[list[Record], None]:
    with _told(figures):
        plan, ranges = await _ranges(driver, question, 1, figures, seen)
        for piece in ranges:
            with _range(driver, plan.reading, piece, question, figures) as (portion, pages):
                async for page in pages:
                    yield portion.kept(page)
                    del page  # or it would be held until the next one has come
                figures.proven(pages.result)


@contextmanager
def _told(figures: Figures) -> Iterator[None]:
    """The figures note a generator that is closed within, by whomever: a loop that ends does it, too."""
    try:
        yield
    except GeneratorExit:
        figures.close("closed")
        raise


@contextmanager
def _range(
    driver: AsyncDriver, reading: Reading, piece: KeyRange, question: Question, figures: Figures
) -> Iterator[tuple[Portion, Pages[RangeProof]]]:
    """The pages of one range; one that fails is noted, or raises, as was asked for."""
    with (
        Portion(figures, question, reading, piece) as portion,
        closing(driver.pages(portion.procedure, portion.tally)) as pages,
    ):
        yield portion, pages


async def _as_completed(
    driver: AsyncDriver, question: Question, workers: int, figures: Figures, seen: Seen
) -> AsyncGenerator[list[Record], None]:
    plan, ranges = await _ranges(driver, question, workers, figures, seen)
    todo = deque(ranges)
    # A page, an error, or None from a task that is done. One will do: each task holds its next page, too.
    results: asyncio.Queue[list[Record] | Exception | None] = asyncio.Queue(maxsize=1)
    given = 0

    async def work() -> None:
        nonlocal given
        try:
            while todo:
                with _range(driver, plan.reading, todo.popleft(), question, figures) as (portion, pages):
                    async for page in pages:
                        await results.put(kept := portion.kept(page))
                        given += len(kept)
                        if question.limit is not None and given >= question.limit:
                            return  # as many rows as the consumer wants are on their way
                        del page, kept
                    figures.proven(pages.result)
            await results.put(None)
        except Exception as error:  # noqa: BLE001  # handed to the consumer, who raises it
            await results.put(error)

    crew = [asyncio.create_task(work(), name=f"records-{number}") for number in range(min(workers, len(ranges)))]
    try:
        left = len(crew)
        with _told(figures):
            while left:
                result = await results.get()
                if isinstance(result, Exception):
                    raise result
                if result is None:
                    left -= 1
                else:
                    yield result
                del result  # a page that was taken is not held while the next one is waited for
    finally:
        await _end(crew)


async def _ranges(
    driver: AsyncDriver, question: Question, workers: int, figures: Figures, seen: Seen
) -> tuple[Outline, Sequence[KeyRange]]:
    """What is read, and the ranges that cover every sys_id."""
    with costing(figures) as tally:
        plan = await driver.run(outline(question, workers, seen, tally), None, tally)
    figures.asked_since = plan.since
    free = asyncio.Semaphore(workers)

    async def chain(bounds: tuple[str | None, str | None]) -> Chain:
        async with free:
            with costing(figures) as spent:
                return await driver.run(find_chain(plan.reading, *bounds, plan.rows, spent), None, spent)

    chains = [asyncio.create_task(chain(bounds)) for bounds in plan.bounds]
    try:
        return plan, plan.ranges(await asyncio.gather(*chains))
    finally:
        await _end(chains)


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel what still runs, and wait for its end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

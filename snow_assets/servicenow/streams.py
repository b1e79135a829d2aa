"""All rows of a query as an iterator, in one thread or in many. Built on key ranges, as pulls are.

Rows are handed on as their pages come; the proof that a range is complete comes with its end. So an iterator that ends
without an error gave every readable row exactly once, and one that could not raises.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Iterator, Sequence
from queue import Empty, Full, Queue, SimpleQueue
from typing import Any, Final

from snow_assets.errors import Cancelled
from snow_assets.servicenow.boundaries import Chain, KeyRange, find_chain
from snow_assets.servicenow.driver import Driver
from snow_assets.servicenow.exchange import Tally
from snow_assets.servicenow.fan_out import fan_out
from snow_assets.servicenow.ranges import Outline, Seen, outline
from snow_assets.servicenow.reading import Reading
from snow_assets.servicenow.records import Figures, Question, Record, Records, warn_incomplete
from snow_assets.servicenow.telling import Delivery, Portion, costing

_STOP_CHECK: Final = 0.2  # seconds between two looks at whether the consumer has gone


def in_order(driver: Driver, question: Question, seen: Seen) -> Records:
    """Records in the order of their sys_ids, in the calling thread. Rows found late by a proof come last of a range."""
    figures = Figures(question)
    return Records(figures, _told(figures, question, _in_order(driver, question, figures, seen)))


def as_completed(driver: Driver, question: Question, workers: int, seen: Seen) -> Records:
    """Records in the order in which their pages come, by ``workers`` threads.

    A page per thread and one more wait for the consumer; then the threads wait too. Closing the iterator stops them.
    """
    figures = Figures(question)
    return Records(figures, _told(figures, question, _as_completed(driver.spawn(), question, workers, figures, seen)))


def _told(
    figures: Figures, question: Question, rows: Generator[list[Record], None, None]
) -> Generator[Record, None, None]:
    """The records one by one, as many as were asked for, while the figures note how it ended."""
    with Delivery(figures, question) as delivery, contextlib.closing(rows):
        while not delivery.over and (page := next(rows, None)) is not None:
            yield from delivery.records(page)
            del page  # or it would be held until the next one has come
    if figures.ended == "incomplete":
        warn_incomplete(figures.report())


def _in_order(driver: Driver, question: Question, figures: Figures, seen: Seen) -> Generator[list[Record], None, None]:
    plan, ranges = _ranges(driver, question, 1, figures, seen)
    for piece in ranges:
        yield from _read(driver, plan.reading, piece, question, figures)


def _read(
    driver: Driver, reading: Reading, piece: KeyRange, question: Question, figures: Figures
) -> Generator[list[Record], None, None]:
    """The pages of one range; one that fails is noted, or raises, as was asked for."""
    with (
        Portion(figures, question, reading, piece) as portion,
        contextlib.closing(driver.iterate(portion.procedure, portion.tally)) as pages,
    ):
        while True:
            try:
                page = next(pages)
            except StopIteration as stop:
                figures.proven(stop.value)
                return
            yield portion.kept(page)
            del page  # or it would be held until the next one has come


def _as_completed(
    driver: Driver, question: Question, workers: int, figures: Figures, seen: Seen
) -> Generator[list[Record], None, None]:
    crew: _Crew | None = None
    try:
        plan, ranges = _ranges(driver, question, workers, figures, seen)
        crew = _Crew(driver, plan.reading, question, figures, ranges)
        yield from crew.run(workers)
    finally:
        if crew is not None:
            crew.stopped.set()
        driver.cancel(Cancelled("the iterator was closed"))


class _Crew:
    """The threads of one ``as_completed``."""

    def __init__(
        self, driver: Driver, reading: Reading, question: Question, figures: Figures, ranges: Sequence[KeyRange]
    ) -> None:
        self._driver = driver
        self._reading = reading
        self._question = question
        self._figures = figures
        self._todo: SimpleQueue[KeyRange] = SimpleQueue()
        self._ranges = len(ranges)
        for piece in ranges:
            self._todo.put(piece)
        self._limit = question.limit
        self._rows = 0
        self._lock = threading.Lock()
        self.stopped = threading.Event()

    def run(self, workers: int) -> Iterator[list[Record]]:
        count = min(workers, self._ranges)
        # A page, an error, or None from a thread that is done. One will do: each thread holds its next page, too.
        results: Queue[list[Record] | Exception | None] = Queue(maxsize=1)
        for number in range(count):
            threading.Thread(target=self._work, args=(results,), name=f"records-{number}", daemon=True).start()
        while count:
            result = results.get()
            if isinstance(result, Exception):
                raise result
            if result is None:
                count -= 1
            else:
                yield result
                del result  # a page that was taken is not held while the next one is waited for

    def _work(self, results: Queue[list[Record] | Exception | None]) -> None:
        try:
            while True:
                piece = self._todo.get_nowait()
                for page in _read(self._driver, self._reading, piece, self._question, self._figures):
                    self._put(results, page)
                    if self._enough(len(page)):
                        return
                    del page  # or it would be held until the next one has come
        except Empty:
            self._put(results, None)
        except Exception as error:  # noqa: BLE001  # handed to the consumer, who raises it
            self._put(results, error)

    def _enough(self, rows: int) -> bool:
        """Whether the consumer needs no further page: it stopped, or as many rows as it wants are on their way."""
        with self._lock:
            self._rows += rows
            if self._limit is not None and self._rows >= self._limit:
                self.stopped.set()
        return self.stopped.is_set()

    def _put(self, results: Queue[list[Record] | Exception | None], item: Any) -> None:
        while not self.stopped.is_set():
            with contextlib.suppress(Full):
                results.put(item, timeout=_STOP_CHECK)
                return


def _ranges(
    driver: Driver, question: Question, workers: int, figures: Figures, seen: Seen
) -> tuple[Outline, Sequence[KeyRange]]:
    """What is read, and the ranges that cover every sys_id."""
    with costing(figures) as tally:
        plan = driver.run(outline(question, workers, seen, tally), None, tally)
    figures.asked_since = plan.since
    if not plan.bounds:
        return plan, plan.ranges(())

    def chain(finding: Driver, bounds: tuple[str | None, str | None], _: Tally) -> Chain:
        with costing(figures) as spent:
            return finding.run(find_chain(plan.reading, *bounds, plan.rows, spent), None, spent)

    return plan, plan.ranges(fan_out(driver, workers, chain, plan.bounds, Tally()))

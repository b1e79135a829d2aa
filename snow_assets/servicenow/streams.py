"""All rows of a query as an iterator, in one thread or in many. Built on key ranges, as pulls are.

Rows are handed on as their pages come; the proof that a range is complete comes with its end. So an iterator that ends
without an error gave every readable row exactly once, and one that could not raises.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, Full, Queue, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from snow_assets.errors import Cancelled, FixFirst, SnowError
from snow_assets.servicenow.account import count
from snow_assets.servicenow.boundaries import Chain, KeyRange, find_chain, join_chains, prefix_bounds
from snow_assets.servicenow.driver import Driver
from snow_assets.servicenow.exchange import Tally
from snow_assets.servicenow.proof import read_range

if TYPE_CHECKING:
    from snow_assets.servicenow.reading import Reading

_MOST_PAGES: Final = 200  # of a range
_RANGES_PER_WORKER: Final = 4
_EVERYTHING: Final = (KeyRange(0, None, None, None),)
_STOP_CHECK: Final = 0.2  # seconds between two looks at whether the consumer has gone


def in_order(driver: Driver, reading: Reading) -> Iterator[dict[str, Any]]:
    """Records in the order of their sys_ids, in the calling thread. Rows found late by a proof come last of a range."""
    for piece in _ranges(driver, reading, 1):
        tally = Tally()
        for page in driver.iterate(read_range(reading, piece.lo, piece.hi, tally), tally):
            yield from page.records


def as_completed(driver: Driver, reading: Reading, workers: int) -> Generator[dict[str, Any], None, None]:
    """Records in the order in which their pages come, by ``workers`` threads.

    At most ``workers`` pages wait for the consumer; then the threads wait too. Closing the iterator stops them.
    """
    crew = _Crew(driver.spawn(), reading, _ranges(driver, reading, workers))
    try:
        yield from crew.run(workers)
    finally:
        crew.stop(Cancelled("the iterator was closed"))


class _Crew:
    """The threads of one ``as_completed``."""

    def __init__(self, driver: Driver, reading: Reading, ranges: Sequence[KeyRange]) -> None:
        self._driver = driver
        self._reading = reading
        self._todo: SimpleQueue[KeyRange] = SimpleQueue()
        self._ranges = len(ranges)
        for piece in ranges:
            self._todo.put(piece)
        self._stopped = threading.Event()

    def run(self, workers: int) -> Iterator[dict[str, Any]]:
        count = min(workers, self._ranges)
        # A page, an error, or None from a thread that is done.
        results: Queue[list[dict[str, Any]] | Exception | None] = Queue(maxsize=workers)
        for number in range(count):
            threading.Thread(target=self._work, args=(results,), name=f"records-{number}", daemon=True).start()
        while count:
            result = results.get()
            if isinstance(result, Exception):
                raise result
            if result is None:
                count -= 1
            else:
                yield from result

    def stop(self, reason: BaseException) -> None:
        self._stopped.set()
        self._driver.cancel(reason)

    def _work(self, results: Queue[list[dict[str, Any]] | Exception | None]) -> None:
        try:
            while True:
                piece = self._todo.get_nowait()
                tally = Tally()
                procedure = read_range(self._reading, piece.lo, piece.hi, tally)
                for page in self._driver.iterate(procedure, tally):
                    self._put(results, page.records)
        except Empty:
            self._put(results, None)
        except Exception as error:  # noqa: BLE001  # handed to the consumer, who raises it
            self._put(results, error)

    def _put(self, results: Queue[list[dict[str, Any]] | Exception | None], item: Any) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(Full):
                results.put(item, timeout=_STOP_CHECK)
                return


def _ranges(driver: Driver, reading: Reading, workers: int) -> Sequence[KeyRange]:
    """Ranges that cover every sys_id: several for each worker, none of more than 200 pages."""
    tally = Tally()
    try:
        total = driver.run(count(reading.table, reading.query, reading.policy, tally), None, tally)
    except FixFirst:
        raise
    except SnowError:
        return _EVERYTHING  # nobody counts: one range, in order
    share = _MOST_PAGES if workers == 1 else total // (reading.page_size * workers * _RANGES_PER_WORKER)
    rows = reading.page_size * min(max(1, share), _MOST_PAGES)
    if total <= rows:
        return _EVERYTHING

    def chain(bounds: tuple[str | None, str | None]) -> Chain:
        return driver.run(find_chain(reading, *bounds, rows, Tally()), None, Tally())

    prefixes = prefix_bounds(-(-total // rows))
    with ThreadPoolExecutor(min(workers, len(prefixes)), thread_name_prefix="chain") as pool:
        return join_chains(list(pool.map(chain, prefixes)), rows)

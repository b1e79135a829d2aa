"""Several procedures of one kind at a time, until one of them fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from snow_assets.errors import Cancelled
from snow_assets.servicenow.driver import Driver
from snow_assets.servicenow.exchange import Tally

B = TypeVar("B")
T = TypeVar("T")


class Spawns(Protocol):
    """A client, or its driver."""

    def spawn(self) -> Driver:
        """A driver that can be cancelled on its own, and is cancelled with this."""


def fan_out(
    client: Spawns, workers: int, work: Callable[[Driver, B, Tally], T], batches: Sequence[B], cost: Tally
) -> list[T]:
    """What ``work`` makes of each of ``batches``, in order, on threads; ``cost`` gets what they asked.

    Raises the first error, and cancels the others; the client stays usable. One worker is the calling thread.
    """
    driver = client.spawn()  # its end is not the client's

    def one(batch: B) -> tuple[T, Tally]:
        tally = Tally()
        try:
            return work(driver, batch, tally), tally
        except Exception as error:
            driver.cancel(error)  # the others are of no use any more
            raise

    try:
        found = [one(batch) for batch in batches] if workers == 1 else _by_threads(driver, workers, one, batches)
    except Cancelled as stopped:
        first = stopped.__cause__
        if first is None or isinstance(first, Cancelled):
            raise
        raise first from first.__cause__
    for _, tally in found:
        cost.add(tally)
    return [result for result, _ in found]


def _by_threads(driver: Driver, workers: int, one: Callable[[B], T], batches: Sequence[B]) -> list[T]:
    with ThreadPoolExecutor(max(1, min(len(batches), workers)), thread_name_prefix="fan-out") as pool:
        try:
            return list(pool.map(one, batches))
        except BaseException as error:
            driver.cancel(error)  # an interrupt: the end of the pool waits for the threads, and they might for long
            raise

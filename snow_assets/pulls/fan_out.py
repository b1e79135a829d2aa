"""Several procedures of one kind at a time, until one of them fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from snow_assets.errors import Cancelled, SnowError
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.driver import Driver
from snow_assets.servicenow.exchange import Tally

B = TypeVar("B")
T = TypeVar("T")


def fan_out(
    client: Client, workers: int, work: Callable[[Driver, B, Tally], T], batches: Sequence[B], cost: Tally
) -> list[T]:
    """What ``work`` makes of each of ``batches``, in order, on threads; ``cost`` gets what they asked.

    Raises the first error, and cancels the others; the client stays usable.
    """
    driver = client.spawn()  # its end is not the client's

    def one(batch: B) -> tuple[T, Tally]:
        tally = Tally()
        try:
            return work(driver, batch, tally), tally
        except SnowError as error:
            driver.cancel(error)  # the others are of no use any more
            raise

    try:
        with ThreadPoolExecutor(max(1, min(len(batches), workers)), thread_name_prefix="fan-out") as pool:
            found = list(pool.map(one, batches))
    except Cancelled as stopped:
        raise stopped.__cause__ if isinstance(stopped.__cause__, SnowError) else stopped from None
    for _, tally in found:
        cost.add(tally)
    return [result for result, _ in found]

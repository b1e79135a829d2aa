"""Drives procedures in the calling thread: sends, waits and hands on pages, so that procedures need not.

Any number of threads drive procedures of one client at the same time; the governor lets some of them send, and about
one per core parses: most of the memory of a pull is parsed pages.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from snow_assets.errors import Cancelled
from snow_assets.servicenow.budget import RetryBudget
from snow_assets.servicenow.exchange import Page, Procedure, Request, Tally
from snow_assets.servicenow.governor import Governor
from snow_assets.servicenow.session import Transport
from snow_assets.servicenow.steps import DriverCore, Leave, Rest

T = TypeVar("T")


class Driver(DriverCore):
    """Drives procedures over one transport and governor, until it is cancelled."""

    def __init__(self, transport: Transport, governor: Governor, budget: RetryBudget) -> None:
        super().__init__(transport, governor, budget)
        self._transport = transport
        self._parsing = threading.BoundedSemaphore(max(1, os.cpu_count() or 1))

    def spawn(self) -> Driver:
        """A driver that can be cancelled on its own, and is cancelled with this one."""
        return self._adopt(Driver(self._transport, self._governor, self._budget))

    def run(self, procedure: Procedure[T], deliver: Callable[[Page], None] | None, tally: Tally) -> T:
        """The result of ``procedure``; each of its pages is handed to ``deliver``, which must not wait for others."""
        pages = self.iterate(procedure, tally)
        while True:
            try:
                page = next(pages)
            except StopIteration as stop:
                result: T = stop.value
                return result
            if deliver is not None:
                with self._parsing:
                    deliver(page)
            del page  # a thread that waits for the next page holds none

    def iterate(self, procedure: Procedure[T], tally: Tally) -> Generator[Page, None, T]:
        """Each page of ``procedure``; returns its result. Closing it closes the procedure."""
        acts = self._acts(procedure, tally)
        reply: Any = None
        try:
            while True:
                try:
                    act = acts.send(reply)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                reply = None
                match act:
                    case Leave(health):
                        reply = self._leave(health)
                    case Request():
                        reply = self._transport.send(act)
                    case Rest(seconds):
                        if self._stop.wait(seconds):
                            raise self.cancelled()
                    case Page():
                        yield act
                del act  # it holds the page
        finally:
            acts.close()

    def _leave(self, health: bool) -> tuple[float, float]:
        try:
            return self._governor.acquire(self._stop, health=health)
        except Cancelled:
            raise self.cancelled() from self._reason

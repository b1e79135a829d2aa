"""Drives procedures in the calling thread: sends, waits and hands on pages, so that procedures need not.

Any number of threads drive procedures of one client at the same time; the governor lets some of them send, and about
one per core parses: most of the memory of a pull is parsed pages.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Generator
from typing import TypeVar

from snow_assets.errors import Cancelled
from snow_assets.servicenow.exchange import Answer, Deliver, Page, Procedure, Request, Send, Step, Tally, Wait
from snow_assets.servicenow.governor import Governor
from snow_assets.servicenow.retry import add_wait, credentials_error, describe
from snow_assets.servicenow.session import Transport

T = TypeVar("T")


class Driver:
    """Drives procedures over one transport and governor, until it is cancelled."""

    def __init__(self, transport: Transport, governor: Governor) -> None:
        self._transport = transport
        self._governor = governor
        self._parsing = threading.BoundedSemaphore(max(1, os.cpu_count() or 1))
        self._stop = threading.Event()
        self._reason: BaseException | None = None
        self._trusted = threading.Event()  # some request was answered: a 401 is then a session or token that ended
        self._spawned: weakref.WeakSet[Driver] = weakref.WeakSet()

    def spawn(self) -> Driver:
        """A driver that can be cancelled on its own, and is cancelled with this one."""
        child = Driver(self._transport, self._governor)
        child._parsing = self._parsing
        child._trusted = self._trusted
        self._spawned.add(child)
        return child

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
        reply: Answer | None = None
        try:
            while True:
                with self._parsing:
                    try:
                        step: Step = procedure.send(reply)
                    except StopIteration as stop:
                        result: T = stop.value
                        return result
                reply = None
                match step:
                    case Send(request):
                        reply = self._send(request, tally)
                    case Wait():
                        self._wait(step)
                    case Deliver(page):
                        yield page
                        del page
                del step  # it holds the page
        finally:
            procedure.close()

    def cancel(self, reason: BaseException) -> None:
        """Whatever waits to be sent, here or in another thread, raises ``Cancelled`` at once; so does what comes."""
        self._reason = self._reason or reason
        self._stop.set()
        for child in list(self._spawned):
            child.cancel(reason)
        self._governor.wake()

    def _send(self, request: Request, tally: Tally) -> Answer:
        try:
            queued, paused = self._governor.acquire(self._stop)
        except Cancelled:
            raise self._cancelled() from None
        add_wait(tally, "governor", queued)
        add_wait(tally, "rate_limit", paused)
        answer: Answer | None = None
        try:
            answer = self._transport.send(request)
        finally:
            self._governor.release(answer)
        if answer.status == 200:
            self._trusted.set()
        elif answer.status == 401 and not self._trusted.is_set() and not self._transport.auth.renewable:
            # Not tried again: repeated wrong passwords lock the account.
            raise credentials_error(f"{describe(request)}: the instance refused the credentials (status 401)")
        return answer

    def _wait(self, step: Wait) -> None:
        if step.shared:
            self._governor.pause(step.seconds)  # the next Send waits with all others
        elif self._stop.wait(step.seconds):
            raise self._cancelled()

    def _cancelled(self) -> Cancelled:
        error = Cancelled(f"not asked for, the run was stopped: {self._reason}")
        error.__cause__ = self._reason
        return error

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
from snow_assets.servicenow.budget import RetryBudget
from snow_assets.servicenow.complaints import credentials_error, describe
from snow_assets.servicenow.exchange import Answer, Deliver, Page, Procedure, Request, Send, Step, Tally, Wait
from snow_assets.servicenow.governor import Governor
from snow_assets.servicenow.retry import add_wait, is_there
from snow_assets.servicenow.session import Transport

T = TypeVar("T")


class Driver:
    """Drives procedures over one transport and governor, until it is cancelled."""

    def __init__(self, transport: Transport, governor: Governor, budget: RetryBudget) -> None:
        self._transport = transport
        self._governor = governor
        self._budget = budget
        self._parsing = threading.BoundedSemaphore(max(1, os.cpu_count() or 1))
        self._stop = threading.Event()
        self._reason: BaseException | None = None
        self._trusted = threading.Event()  # some request was answered: a 401 is then a session or token that ended
        self._spawned: weakref.WeakSet[Driver] = weakref.WeakSet()

    def spawn(self) -> Driver:
        """A driver that can be cancelled on its own, and is cancelled with this one."""
        child = Driver(self._transport, self._governor, self._budget)
        child._parsing = self._parsing
        child._trusted = self._trusted
        self._spawned.add(child)
        if self._stop.is_set():
            child.cancel(self._reason or Cancelled("the client was stopped"))
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
        leads = False  # asks whether the instance is there, and holds up the others
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
                        if request.purpose == "health" and is_there(reply):
                            self._governor.resume()
                            leads = False
                    case Wait():
                        leads = leads or step.kind == "outage"
                        self._wait(step, tally)
                    case Deliver(page):
                        yield page
                        del page
                del step  # it holds the page
        finally:
            procedure.close()
            if leads:
                self._governor.resume()

    def cancel(self, reason: BaseException) -> None:
        """Whatever waits to be sent, here or in another thread, raises ``Cancelled`` at once; so does what comes."""
        self._reason = self._reason or reason
        self._stop.set()
        for child in list(self._spawned):
            child.cancel(reason)
        self._governor.wake()

    def _send(self, request: Request, tally: Tally) -> Answer:
        before = self._budget.gave_up
        try:
            queued, paused = self._governor.acquire(self._stop, health=request.purpose == "health")
        except Cancelled:
            raise self._cancelled() from self._reason
        add_wait(tally, "governor", queued)
        add_wait(tally, self._governor.pause_kind, paused)
        if self._budget.gave_up is not before:  # while this one waited
            self._governor.release(None)
            raise self._budget.stopped()
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

    def _wait(self, step: Wait, tally: Tally) -> None:
        if step.kind == "outage":
            # Until the answer to the one request that follows is here; or longer, should this thread end.
            self._governor.pause(step.seconds + self._transport.longest, "outage")
            add_wait(tally, "outage", step.seconds)
        elif step.shared:
            self._governor.pause(step.seconds)  # the next Send waits with all others
            return
        if self._stop.wait(step.seconds):
            raise self._cancelled()

    def _cancelled(self) -> Cancelled:
        error = Cancelled(f"not asked for, the run was stopped: {self._reason}")
        error.__cause__ = self._reason
        return error

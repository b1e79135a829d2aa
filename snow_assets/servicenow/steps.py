"""Drives procedures without doing anything: what a driver decides, whether threads or asyncio do the waiting.

A procedure is turned into the *acts* that its driver has to do, and which reply it gets for each:

==============  ===============================================  ==================
act             the driver                                       the reply
==============  ===============================================  ==================
``Leave``       waits until the governor lets it send            seconds: queued, paused
``Request``     exchanges it                                     an ``Answer``
``Rest``        waits, and raises ``cancelled`` as soon as told  ``None``
``Page``        hands it to the consumer                         ``None``
==============  ===============================================  ==================
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeAlias, TypeVar

from snow_assets.errors import Cancelled
from snow_assets.servicenow.auth import Auth
from snow_assets.servicenow.budget import RetryBudget
from snow_assets.servicenow.complaints import credentials_error, describe
from snow_assets.servicenow.exchange import Answer, Deliver, Page, Procedure, Request, Send, Tally, Wait
from snow_assets.servicenow.governor import Governor
from snow_assets.servicenow.retry import add_wait, is_there

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Leave:
    """Act: wait for leave to send. ``health``: a request that asks whether the instance is there waits for nobody."""

    health: bool


@dataclass(frozen=True, slots=True)
class Rest:
    """Act: wait."""

    seconds: float


Act: TypeAlias = Leave | Request | Rest | Page


class Way(Protocol):
    """What a driver has to know of its transport."""

    @property
    def auth(self) -> Auth:
        """Who signs in."""

    @property
    def longest(self) -> float:
        """Seconds that one exchange may take."""


class DriverCore:
    """The rules of a driver over one transport and governor, until it is cancelled."""

    def __init__(self, way: Way, governor: Governor, budget: RetryBudget) -> None:
        self._way = way
        self._governor = governor
        self._budget = budget
        self._parsing: AbstractContextManager[Any] = contextlib.nullcontext()
        self._stop = threading.Event()
        self._reason: BaseException | None = None
        self._trusted = threading.Event()  # some request was answered: a 401 is then a session or token that ended
        self._spawned: weakref.WeakSet[DriverCore] = weakref.WeakSet()

    def cancel(self, reason: BaseException) -> None:
        """Whatever waits to be sent, in whatever thread or task, raises ``Cancelled`` at once; so does what comes."""
        self._reason = self._reason or reason
        self._stop.set()
        for child in list(self._spawned):
            child.cancel(reason)
        self._governor.wake()

    def cancelled(self) -> Cancelled:
        """What is raised after ``cancel``."""
        error = Cancelled(f"not asked for, the run was stopped: {self._reason}")
        error.__cause__ = self._reason
        return error

    def _adopt(self, child: Self) -> Self:
        """``child`` is cancelled with this one, and shares what this one knows."""
        child._parsing = self._parsing
        child._trusted = self._trusted
        self._spawned.add(child)
        if self._stop.is_set():
            child.cancel(self._reason or Cancelled("the client was stopped"))
        return child

    def _acts(self, procedure: Procedure[T], tally: Tally) -> Generator[Act, Any, T]:
        """What is to be done for ``procedure``; returns its result. Closing it closes the procedure."""
        reply: Answer | None = None
        leads = False  # asks whether the instance is there, and holds up the others
        try:
            while True:
                with self._parsing:
                    try:
                        step = procedure.send(reply)
                    except StopIteration as stop:
                        result: T = stop.value
                        return result
                reply = None
                match step:
                    case Send(request):
                        reply = yield from self._sent(request, tally)
                        if request.purpose == "health" and is_there(reply):
                            self._governor.resume()
                            leads = False
                    case Wait():
                        leads = leads or step.kind == "outage"
                        yield from self._waited(step, tally)
                    case Deliver(page):
                        yield page
                        del page
                del step  # it holds the page
        finally:
            procedure.close()
            if leads:
                self._governor.resume()

    def _sent(self, request: Request, tally: Tally) -> Generator[Act, Any, Answer]:
        before = self._budget.gave_up
        queued, paused = yield Leave(request.purpose == "health")
        answer: Answer | None = None
        try:
            add_wait(tally, "governor", queued)
            add_wait(tally, self._governor.pause_kind, paused)
            if self._budget.gave_up is not before:  # while this one waited
                raise self._budget.stopped()
            answer = yield request
        finally:
            self._governor.release(answer)
        if answer.status in (200, 201, 204):
            self._trusted.set()
        elif answer.status == 401 and not self._trusted.is_set() and not self._way.auth.renewable:
            # Not tried again: repeated wrong passwords lock the account.
            raise credentials_error(f"{describe(request)}: the instance refused the credentials (status 401)")
        return answer

    def _waited(self, step: Wait, tally: Tally) -> Generator[Act, Any, None]:
        if step.kind == "outage":
            # Until the answer to the one request that follows is here; or longer, should whoever asks end.
            self._governor.pause(step.seconds + self._way.longest, "outage")
            add_wait(tally, "outage", step.seconds)
        elif step.shared:
            self._governor.pause(step.seconds)  # the next Send waits with all others
            return
        yield Rest(step.seconds)

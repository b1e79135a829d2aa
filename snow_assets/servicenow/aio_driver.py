"""Drives procedures under asyncio, as ``driver`` does in threads. One governor lets both of them send."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any, Generic, Protocol, Self, TypeAlias, TypeVar

from snow_assets.errors import Cancelled
from snow_assets.servicenow.budget import RetryBudget
from snow_assets.servicenow.exchange import Answer, Page, Procedure, Request, Tally
from snow_assets.servicenow.governor import Governor
from snow_assets.servicenow.steps import Act, DriverCore, Leave, Rest, Way

T = TypeVar("T")
AsyncDeliver: TypeAlias = Callable[[Page], Awaitable[None] | None]


class AsyncWay(Way, Protocol):
    """A transport that is awaited."""

    async def send(self, request: Request) -> Answer:
        """The answer to ``request``."""


class AsyncDriver(DriverCore):
    """Drives procedures over one transport and governor, until it is cancelled. For the tasks of one event loop."""

    def __init__(self, transport: AsyncWay, governor: Governor, budget: RetryBudget) -> None:
        super().__init__(transport, governor, budget)
        self._transport = transport

    async def run(self, procedure: Procedure[T], deliver: AsyncDeliver | None, tally: Tally) -> T:
        """The result of ``procedure``; each of its pages is handed to ``deliver``, which may be awaited."""
        with contextlib.closing(self.pages(procedure, tally)) as pages:
            async for page in pages:
                taken = deliver(page) if deliver is not None else None
                if inspect.isawaitable(taken):
                    await taken
                del page  # a task that waits for the next page holds none
            return pages.result

    def pages(self, procedure: Procedure[T], tally: Tally) -> Pages[T]:
        """Each page of ``procedure``, and its result."""
        return Pages(self._acts(procedure, tally), self._do)

    async def _do(self, act: Act) -> Any:
        match act:
            case Leave(health):
                return await self._leave(health)
            case Request():
                return await self._transport.send(act)
            case Rest(seconds):
                await self._rest(seconds)
        return None

    async def _leave(self, health: bool) -> tuple[float, float]:
        started = time.monotonic()
        paused = 0.0
        with self._listening() as woken:
            try:
                while (wait := self._governor.admitted(self._stop, health=health)) is not None:
                    asleep = time.monotonic()
                    await woken(wait or None)
                    paused += time.monotonic() - asleep if wait else 0.0
            except Cancelled:
                raise self.cancelled() from self._reason
        # Nothing is awaited from here until the exchange: whoever was admitted is certain to release.
        return max(0.0, time.monotonic() - started - paused), paused

    async def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        with self._listening() as woken:
            while not self._stop.is_set() and (left := until - time.monotonic()) > 0:
                await woken(left)
        if self._stop.is_set():
            raise self.cancelled()

    @contextlib.contextmanager
    def _listening(self) -> Iterator[Callable[[float | None], Awaitable[None]]]:
        """Waits for so many seconds at most, or until the governor calls, from whatever thread."""
        loop, called = asyncio.get_running_loop(), asyncio.Event()

        def listener() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(called.set)

        async def woken(seconds: float | None) -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await called.wait()
            called.clear()

        self._governor.listen(listener)
        try:
            yield woken
        finally:
            self._governor.unlisten(listener)


class Pages(Generic[T]):
    """The pages of a procedure: an async iterator, whose ``result`` is there at its end. Closing it ends the procedure.

    No generator: what is left of one that was not closed goes with its last reference, in whatever loop.
    """

    result: T

    def __init__(self, acts: Generator[Act, Any, T], do: Callable[[Act], Awaitable[Any]]) -> None:
        self._acts = acts
        self._do = do

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Page:
        reply: Any = None
        try:
            while not isinstance(act := self._acts.send(reply), Page):
                reply = await self._do(act)
        except StopIteration as stop:
            self.result = stop.value
            raise StopAsyncIteration from None
        except BaseException:
            self.close()
            raise
        return act

    def close(self) -> None:
        """End the procedure: whatever it held is given back."""
        self._acts.close()

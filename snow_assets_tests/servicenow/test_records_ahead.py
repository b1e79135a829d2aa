"""How far threads read ahead of their consumer, and that they stop with it: told by what was sent, not by a clock."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from snow_assets.servicenow.client import Client
from snow_assets.servicenow.exchange import Answer, Request
from snow_assets.servicenow.session import Transport
from snow_assets.simulator import SimulatorServer
from snow_assets_tests.servicenow.conftest import ClientFactory


class Turnstile:
    """Lets so many pages be asked for, of all requests that a client sends; the others are held just before that."""

    def __init__(self, transport: Transport) -> None:
        self._send = transport.send
        self._leave = threading.Semaphore(0)
        self._lock = threading.Lock()
        self.pages = self.held = 0

    def send(self, request: Request) -> Answer:
        if request.purpose == "page":
            with self._lock:
                self.pages += 1
                self.held += 1
            self._leave.acquire()
            with self._lock:
                self.held -= 1
        return self._send(request)

    def let(self, pages: int) -> None:
        self._leave.release(pages)


def turnstile_of(client: Client, monkeypatch: pytest.MonkeyPatch) -> Turnstile:
    turnstile = Turnstile(client._transport)
    monkeypatch.setattr(client._transport, "send", turnstile.send)
    return turnstile


def until(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to that")


def crew() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("records-")]


def gone(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def waits_for_the_consumer(thread: threading.Thread) -> bool:
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if frame.f_code.co_name == "_put":
            return True
        frame = frame.f_back
    return False


@pytest.fixture(autouse=True)
def _nobody_else_reads() -> Iterator[None]:
    gone(crew())
    yield
    gone(crew())


def test_after_closing_nothing_is_asked_for_but_what_was_in_flight(
    client_of: ClientFactory, instance: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(page_size=5, max_workers=4)
    turnstile = turnstile_of(client, monkeypatch)
    turnstile.let(1)
    records = client.concurrent_get_records("incident")
    next(records)
    until(lambda: turnstile.held == client.governor.snapshot()["limit"] and turnstile.held > 0)
    asked = turnstile.pages
    assert asked <= 1 + 4
    assert records.report.requests == len(instance.requests), "told while ranges are under way"
    threads = crew()
    records.close()
    turnstile.let(100)
    gone(threads)
    assert turnstile.pages == asked
    assert records.report.ended == "closed"
    assert records.report.requests == len(instance.requests)
    assert client.get_count("incident") == 300, "the client itself goes on"


@pytest.mark.parametrize("way", ["break", "drop"])
def test_an_iterator_that_is_left_stops_its_threads(
    way: str, client_of: ClientFactory, instance: SimulatorServer
) -> None:
    client = client_of(page_size=5, max_workers=4)
    if way == "break":
        for _ in client.concurrent_get_records("incident"):
            break
    else:
        next(client.concurrent_get_records("incident"))
    gc.collect()
    gone(crew())
    pages = [entry for entry in instance.requests if entry.params.get("sysparm_limit") in {"5", "6"}]
    assert len(pages) < 30, "60 pages would have been asked for"


def test_threads_read_a_page_each_and_one_more_ahead(client_of: ClientFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(page_size=5, max_workers=3)
    turnstile = turnstile_of(client, monkeypatch)
    turnstile.let(1000)
    records = client.concurrent_get_records("incident")
    next(records)
    most = 1 + 1 + 3  # taken, waiting in the queue, and one in the hands of each thread
    until(lambda: turnstile.pages >= most and all(waits_for_the_consumer(thread) for thread in crew()))
    assert len(crew()) == 3
    assert turnstile.pages == most
    assert len(list(records)) == 299


def test_a_limit_ends_the_asking(client_of: ClientFactory, instance: SimulatorServer) -> None:
    client = client_of(page_size=5, max_workers=3)
    with client.concurrent_get_records("incident", limit=40) as records:
        threads: list[threading.Thread] = []
        for _ in range(40):  # not to the end: the consumer never says that it has enough
            next(records)
            threads = threads or crew()
        gone(threads)
        pages = [entry for entry in instance.requests if entry.params.get("sysparm_limit") in {"5", "6"}]
        assert 8 <= len(pages) <= 8 + 3

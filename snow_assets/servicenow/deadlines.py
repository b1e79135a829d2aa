"""A watchdog that cuts a socket at its deadline, so that a reader blocked on it wakes up.

A socket's own time-out starts anew with every byte, so a body that drips is never late by it. Reading in small pieces
would let the reader look at the clock, but costs ten times as much as one read of everything.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Watched:
    """One watched socket. ``expired`` once it was cut."""

    sock: socket.socket | None
    deadline: float
    expired: bool = False


class Deadlines:
    """Watches any number of sockets with one thread, which starts with the first and ends with ``close``."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watched: set[Watched] = set()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._wake_at = float("inf")

    @contextlib.contextmanager
    def watch(self, sock: socket.socket | None, deadline: float) -> Iterator[Watched]:
        """Within the block ``sock`` is cut at ``deadline`` (of ``time.monotonic``). Without a socket it only tells."""
        entry = Watched(sock, deadline)
        with self._changed:
            self._watched.add(entry)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="snow-assets-deadlines", daemon=True)
                self._thread.start()
            if deadline < self._wake_at:
                self._changed.notify()
        try:
            yield entry
        finally:
            with self._changed:
                self._watched.discard(entry)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                for entry in self._watched:
                    if entry.deadline <= now and not entry.expired:
                        entry.expired = True
                        _cut(entry.sock)
                pending = [entry.deadline for entry in self._watched if not entry.expired]
                self._wake_at = min(pending, default=float("inf"))
                self._changed.wait(self._wake_at - now if pending else None)
            self._thread = None


def _cut(sock: socket.socket | None) -> None:
    if sock is not None:
        with contextlib.suppress(OSError):
            # The plain method: a TLS socket's own would change state that its reader is using.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

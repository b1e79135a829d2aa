"""A watchdog that cuts an exchange at its deadline, so that a reader blocked on its socket wakes up.

A socket's own time-out starts anew with every byte, so headers or a body that drip are never late by it. Reading in
small pieces would let the reader look at the clock, but costs ten times as much as one read of everything.

The watch begins before there is a connection. Whoever connects or sends within it hands over the socket with ``take``,
which keeps a handle of its own: libraries wrap sockets in others, detach them and drop them before they are read.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Final, Protocol

import requests.adapters

from snow_assets.servicenow.route import proxy_login


class HasFileno(Protocol):
    """A socket, or what urllib3 uses in place of one (TLS within TLS)."""

    def fileno(self) -> int:
        """The descriptor of the connection."""


class Watched:
    """One exchange. ``expired`` once it was cut."""

    def __init__(self, deadline: float, lock: threading.Condition) -> None:
        self.deadline = deadline
        self.expired = False
        self._lock = lock
        self._handle: socket.socket | None = None

    def take(self, sock: HasFileno) -> None:
        """The exchange goes over ``sock`` from now on. Past the deadline it is cut at once."""
        # Any family will do: the handle is only ever shut down. A broken socket is left to whoever reads it.
        with contextlib.suppress(OSError, ValueError):
            handle = socket.fromfd(sock.fileno(), socket.AF_INET, socket.SOCK_STREAM)
            with self._lock:
                self.drop()
                self._handle = handle
            if time.monotonic() >= self.deadline:
                self.cut()

    def cut(self) -> None:
        """Shut the connection down, whatever is wrapped around it; without a connection, nothing."""
        with self._lock:
            if self._handle is not None:
                self.expired = True
                with contextlib.suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """Give the handle up; the connection itself stays."""
        with self._lock:
            if self._handle is not None:
                self._handle.close()
                self._handle = None


_CURRENT: Final[ContextVar[Watched | None]] = ContextVar("watched", default=None)


class Deadlines:
    """Watches any number of exchanges with one thread, which starts with the first and ends with ``close``."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watched: set[Watched] = set()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._wake_at = float("inf")

    @contextlib.contextmanager
    def watch(self, deadline: float) -> Iterator[Watched]:
        """What this thread exchanges within the block is cut at ``deadline`` (of ``time.monotonic``)."""
        entry = Watched(deadline, self._changed)
        with self._changed:
            self._watched.add(entry)
            if not (self._closed or (self._thread and self._thread.is_alive())):
                self._thread = threading.Thread(target=self._run, name="snow-assets-deadlines", daemon=True)
                self._thread.start()
            if deadline < self._wake_at:
                self._changed.notify()
        token = _CURRENT.set(entry)
        try:
            yield entry
        finally:
            _CURRENT.reset(token)
            with self._changed:
                self._watched.discard(entry)
                entry.drop()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                for entry in [entry for entry in self._watched if entry.deadline <= now]:
                    self._watched.discard(entry)
                    entry.cut()
                self._wake_at = min((entry.deadline for entry in self._watched), default=float("inf"))
                self._changed.wait(self._wake_at - now if self._watched else None)
            self._thread = None


class WatchedAdapter(requests.adapters.HTTPAdapter):
    """Hands the socket of each request to the watch of the calling thread."""

    def init_poolmanager(self, *args: Any, **settings: Any) -> None:
        """As ever, with connections that hand over their sockets."""
        super().init_poolmanager(*args, **settings)
        _watch_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **settings: Any) -> Any:
        """As ever, with connections that hand over their sockets."""
        manager = super().proxy_manager_for(*args, **settings)
        _watch_pools(manager)
        return manager

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """User and password of a proxy."""
        return proxy_login(proxy)


def _watch_pools(manager: Any) -> None:
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _watched_pool(pool) for scheme, pool in pools.items()}


@functools.cache
def _watched_pool(pool: Any) -> Any:
    if issubclass(pool.ConnectionCls, _Watching):  # a proxy's manager is kept, and asked for again
        return pool
    connection = type(pool.ConnectionCls.__name__, (_Watching, pool.ConnectionCls), {})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


class _Watching:
    """Mixed into urllib3's connections."""

    sock: Any

    def _new_conn(self) -> Any:
        # Before the handshake and the proxy's answer, which may drip too.
        sock = super()._new_conn()  # type: ignore[misc]
        _take(sock)
        return sock

    def request(self, *args: Any, **parts: Any) -> None:
        if self.sock is not None:  # connected before: by this exchange, or kept alive since another
            _take(self.sock)
        super().request(*args, **parts)  # type: ignore[misc]


def _take(sock: HasFileno) -> None:
    entry = _CURRENT.get()
    if entry is not None:
        entry.take(sock)

"""The listening socket of a simulated instance: one thread per connection, on loopback, stoppable at any moment."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from snow_assets.simulator.wire import Asked, BadRequestError, Connection, Reply, failure

if TYPE_CHECKING:
    from snow_assets.simulator.faults import Faults
    from snow_assets.simulator.instance import Simulator
    from snow_assets.simulator.request_log import RequestLog

_log = logging.getLogger(__name__)
SEND_BUFFER = 4 * 1024 * 1024
HANDSHAKE_SECONDS = 30.0


class SimulatorServer:
    """A simulated instance that is being served. A context manager; ``close`` is safe to call twice."""

    def __init__(
        self,
        sim: Simulator,
        answer: Callable[[Asked], Reply],
        stopping: threading.Event,
        port: int = 0,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Listen on ``host``:``port`` (0: a free one) and answer from now on, over TLS where ``tls`` is given."""
        self.sim = sim
        self._answer = answer
        self._stopping = stopping
        self._tls = tls
        self._open: set[Connection] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server((host, port), backlog=256, reuse_port=False)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}"
        self._thread = threading.Thread(target=self._accept, name=f"simulator:{self.port}", daemon=True)
        self._thread.start()

    @property
    def username(self) -> str:
        """The user name of the first account."""
        return next(iter(self.sim.knobs.accounts.values())).user_name

    @property
    def password(self) -> str:
        """Its password."""
        return next(iter(self.sim.knobs.accounts.values())).password

    @property
    def requests(self) -> RequestLog:
        """What was asked so far."""
        return self.sim.requests

    @property
    def faults(self) -> Faults:
        """The faults that are switched on."""
        return self.sim.faults

    def close(self) -> None:
        """Stop listening and end every connection."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            remaining = list(self._open)
        for connection in remaining:
            connection.close()
        self._thread.join(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), name="simulator connection", daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            connection = Connection(self._encrypted(sock), self._stopping)
        except OSError:  # the handshake failed: the client does not trust us, or speaks plain http
            sock.close()
            return
        with self._lock:
            self._open.add(connection)
        try:
            while not self._stopping.is_set() and self._one(connection):
                pass
        except (OSError, BadRequestError, ValueError):
            pass  # the client went away, or speaks something else
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _encrypted(self, sock: socket.socket) -> socket.socket:
        if self._tls is None:
            return sock
        sock.settimeout(HANDSHAKE_SECONDS)
        wrapped = self._tls.wrap_socket(sock, server_side=True)
        wrapped.settimeout(None)
        return wrapped

    def _one(self, connection: Connection) -> bool:
        asked = connection.read()
        if asked is None:
            return False
        if self._tls is not None:
            asked.host = asked.host.replace("http://", "https://", 1)
        try:
            reply = self._answer(asked)
        except Exception as error:  # noqa: BLE001 - a fault of the simulator itself: say so, as an instance would
            _log.exception("%s %s", asked.method, asked.path)
            reply = failure(500, "Unexpected error", repr(error))
        knobs = self.sim.knobs
        return connection.send(
            asked, reply, self.sim.clock.timestamp(), chunked=knobs.chunked, gzip_up_to=knobs.gzip_up_to
        )

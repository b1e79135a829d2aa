"""A server on loopback that does to each connection what a test says, byte by byte.

The simulator answers as an instance does; this one is for what happens below HTTP, and for counting who came.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def form(self) -> dict[str, str]:
        return {key: values[0] for key, values in parse_qs(self.body.decode()).items()}


class Connection:
    """What a script may do to the client. A script that returns leaves the connection open for the next request."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.closed = False

    def raw(self, data: bytes) -> None:
        self._sock.sendall(data)

    def answer(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        named = {"Content-Type": "application/json", "Content-Length": str(len(body))} | named
        head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        self.raw(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body)

    def rows(self, *sys_ids: str, **headers: str) -> None:
        self.answer(200, json.dumps({"result": [{"sys_id": sys_id} for sys_id in sys_ids]}).encode(), **headers)

    def close(self) -> None:
        self.closed = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def until_closed(self) -> None:
        """Say nothing more; wait until the other end has had enough."""
        while self._sock.recv(1024):
            pass
        self.close()

    def reset(self) -> None:
        """Close with a TCP reset."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.closed = True
        self._sock.close()


Script = Callable[[Asked, Connection], None]


@dataclass
class Scripted:
    """A running server: its address, and what was asked of it."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)  # set at the end; scripts that hang wait on it

    @property
    def paths(self) -> list[str]:
        return [one.path for one in self.asked]


@contextlib.contextmanager
def scripted(script: Script) -> Iterator[Scripted]:
    """Serve ``script`` on a free port of loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Scripted(f"http://127.0.0.1:{listener.getsockname()[1]}")
    threads: list[threading.Thread] = []

    def accept() -> None:
        number = 0
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            number += 1
            thread = threading.Thread(target=serve, args=(sock, number), daemon=True)
            threads.append(thread)
            thread.start()

    def serve(sock: socket.socket, number: int) -> None:
        connection = Connection(sock)
        with contextlib.suppress(OSError, ValueError), sock, sock.makefile("rb") as stream:
            while not connection.closed and (line := stream.readline()):
                method, target, _ = line.decode().split(" ", 2)
                headers: dict[str, str] = {}
                while (header := stream.readline().strip()) != b"":
                    name, _, value = header.decode().partition(":")
                    headers[name.strip().lower()] = value.strip()
                body = stream.read(int(headers.get("content-length", "0")))
                request = Asked(method, target, headers, body, number)
                server.asked.append(request)
                script(request, connection)

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield server
    finally:
        server.release.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(5)
        for thread in threads:
            thread.join(5)

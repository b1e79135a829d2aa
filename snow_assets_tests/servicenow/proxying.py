"""A small HTTP proxy on loopback: absolute addresses for http, ``CONNECT`` for https, with a password if wanted."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import urlsplit

Address = tuple[str, int]


@dataclass
class Proxy:
    """A running proxy, and what was asked of it: ``(method, target, headers)``."""

    host: str
    port: int
    login: str = ""  # user:password that it wants
    refuses: int = 0  # a status that it answers whatever it is asked
    lead_to: Address | None = None  # where it connects to, whatever host is named
    asked: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    hangs: bool = False

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def refusal(self, headers: Mapping[str, str]) -> int:
        wanted = f"Basic {base64.b64encode(self.login.encode()).decode()}"
        if self.login and headers.get("proxy-authorization") != wanted:
            return 407
        return self.refuses


@contextlib.contextmanager
def proxying(*, login: str = "", refuses: int = 0, lead_to: str = "", hangs: bool = False) -> Iterator[Proxy]:
    """Serve on a free port. ``lead_to``: the URL of a server that stands for every host."""
    listener = socket.create_server(("127.0.0.1", 0))
    proxy = Proxy("127.0.0.1", listener.getsockname()[1], login, refuses, hangs=hangs)
    if lead_to:
        parts = urlsplit(lead_to)
        proxy.lead_to = (parts.hostname or "", parts.port or 0)
    acceptor = threading.Thread(target=_accept, args=(listener, proxy), daemon=True)
    acceptor.start()
    try:
        yield proxy
    finally:
        proxy.release.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(5)


def _accept(listener: socket.socket, proxy: Proxy) -> None:
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(sock, proxy), daemon=True).start()


def _serve(sock: socket.socket, proxy: Proxy) -> None:
    with contextlib.suppress(OSError, ValueError), sock, sock.makefile("rb") as stream:
        while line := stream.readline():
            method, target, _ = line.decode().split(" ", 2)
            headers = _headers(stream)
            body = stream.read(int(headers.get("content-length", "0")))
            proxy.asked.append((method, target, headers))
            if proxy.hangs:
                proxy.release.wait(60)
                return
            if status := proxy.refusal(headers):
                challenge = 'Proxy-Authenticate: Basic realm="proxy"\r\n' if status == 407 else ""
                sock.sendall(f"HTTP/1.1 {status} No\r\n{challenge}Content-Length: 0\r\n\r\n".encode())
                continue
            if method == "CONNECT":
                host, _, port = target.rpartition(":")
                with socket.create_connection(proxy.lead_to or (host, int(port))) as other:
                    sock.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                    _tunnel(sock, other)
                return
            _forward(sock, proxy, method, target, headers, body)


def _headers(stream: BinaryIO) -> dict[str, str]:
    headers: dict[str, str] = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    return headers


def _forward(
    sock: socket.socket, proxy: Proxy, method: str, target: str, headers: Mapping[str, str], body: bytes
) -> None:
    parts = urlsplit(target)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    kept = {k: v for k, v in headers.items() if not k.startswith("proxy-") and k != "connection"}
    head = "".join(f"{name}: {value}\r\n" for name, value in (kept | {"connection": "close"}).items())
    with socket.create_connection(proxy.lead_to or (parts.hostname or "", parts.port or 80)) as other:
        other.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        while data := other.recv(65_536):
            sock.sendall(data)
    sock.shutdown(socket.SHUT_RDWR)


def _tunnel(one: socket.socket, other: socket.socket) -> None:
    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=copy, args=(other, one), daemon=True)
    back.start()
    copy(one, other)
    back.join(10)

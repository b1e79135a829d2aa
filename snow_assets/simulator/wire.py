"""HTTP/1.1 by hand: reading requests from a socket, and sending answers whole, broken, slowly or not at all."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http.client import responses
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

MAX_HEAD = 256 * 1024
JSON = "application/json;charset=UTF-8"
HTML = "text/html;charset=UTF-8"
# Damaged in the middle; bytes behind its end; without its end; not compressed although the header says so.
Packing: TypeAlias = Literal["", "spoilt", "trailing", "cut", "false"]
# A length that is too small; chunks without the last; a chunk without a length; the answer twice; no HTTP at all;
# headers that break off; a header line that is too long.
Framing: TypeAlias = Literal["", "short_length", "no_end", "bad_chunk", "twice", "no_http", "head_cut", "long_header"]


@dataclass(slots=True)
class Asked:
    """One request as it arrived. ``host`` is scheme and authority, of the target itself when we act as a proxy."""

    method: str
    target: str
    host: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""
    keep_alive: bool = True
    raw_query: str = ""

    def flag(self, name: str) -> bool:
        """A boolean parameter."""
        return self.params.get(name, "").lower() == "true"


@dataclass(slots=True)
class Delivery:
    """How an answer reaches the client, where not simply whole and at once."""

    delay: float = 0.0  # seconds of work, spent inside the session and the semaphore
    silence: float = 0.0  # seconds before the first byte, holding nobody else up
    hang: float = 0.0  # seconds of silence after the headers
    cut: int | None = None  # bytes of body sent before the end
    claim_whole: bool = False  # the headers promise the whole body all the same
    reset: bool = False  # end with a reset instead of a close
    silent: bool = False  # no answer at all: reset or close at once
    drip: float = 0.0  # bytes a second
    packing: Packing = ""  # what is wrong with the compression
    framing: Framing = ""  # what is wrong with the frame around the body


@dataclass(slots=True)
class Reply:
    """An answer. ``records`` are the JSON texts of a list's rows, kept apart from ``ids`` until the end for faults."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    cookies: list[str] = field(default_factory=list)
    close: bool = False
    kind: str = "other"  # list, record, count, token, file, write, other
    table: str = ""
    records: list[bytes] | None = None
    ids: list[str] = field(default_factory=list)
    delivery: Delivery = field(default_factory=Delivery)
    cells: int = 0
    fault: str = ""  # the kinds of fault that kept it from being done

    def finish(self) -> None:
        """Put a list's records together as its body."""
        if self.records is not None:
            parts = self.records or [b""]
            parts[0] = b'{"result":[' + parts[0]
            parts[-1] += b"]}"
            self.body = b",".join(parts)  # one copy of a page that may be megabytes
            self.records = None


def json_reply(document: Any, status: int = 200, **parts: Any) -> Reply:
    """An answer whose body is ``document`` as JSON."""
    return Reply(status, json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(), **parts)


def failure(status: int, message: str, detail: str | None = None) -> Reply:
    """The platform's error envelope."""
    return json_reply({"error": {"message": message, "detail": detail}, "status": "failure"}, status)


class BadRequestError(Exception):
    """Bytes that are no HTTP request."""


class Connection:
    """One client connection: requests are read from it, one after the other, and answered."""

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        """Take over ``sock``; waits end early when ``stopping`` is set."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.stopping = sock, stopping
        self._pending = b""

    def read(self) -> Asked | None:
        """The next request; None when the client has gone. Raises BadRequestError."""
        while b"\r\n\r\n" not in self._pending:
            more = self.sock.recv(65_536)
            if not more:
                return None
            self._pending += more
            if len(self._pending) > MAX_HEAD:
                raise BadRequestError("request head too large")
        head, _, self._pending = self._pending.partition(b"\r\n\r\n")
        asked = _parse_head(head.decode("latin-1"))
        length = int(asked.headers.get("content-length", "0") or "0")
        if asked.headers.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(self._pending) < length:
            more = self.sock.recv(65_536)
            if not more:
                return None
            self._pending += more
        asked.body, self._pending = self._pending[:length], self._pending[length:]
        return asked

    def send(self, asked: Asked, reply: Reply, date: float, *, chunked: bool, gzip_up_to: int) -> bool:
        """Send an answer. False when the connection is over."""
        delivery = reply.delivery
        if delivery.silence and self.stopping.wait(delivery.silence):
            return False
        if delivery.silent:
            self.abort() if delivery.reset else self.close()
            return False
        reply.finish()
        body = _encoded(asked, reply, gzip_up_to)
        whole = len(body)
        if delivery.cut is not None:
            body = body[: max(0, min(delivery.cut, whole - 1))]
        keep = asked.keep_alive and not reply.close and not delivery.reset and not delivery.claim_whole
        length = whole if delivery.claim_whole else len(body)
        in_chunks = chunked and reply.kind == "list" and not delivery.claim_whole and not delivery.reset and length > 0
        head = _head(asked, reply, date, keep=keep, length=None if in_chunks else length)
        if asked.method == "HEAD":
            self.sock.sendall(head)
            return keep
        if delivery.framing:
            return self._send_wrongly(head, body, delivery.framing) and keep
        self._send_body(head, body, delivery, in_chunks)
        if delivery.reset:
            self.abort()
        return keep

    def _send_wrongly(self, head: bytes, body: bytes, how: Framing) -> bool:
        """Send a whole answer in a wrong frame. False when the connection is closed behind it."""
        lines = [line for line in head.split(b"\r\n") if line and not line.startswith((b"Content-Le", b"Transfer-E"))]
        plain, chunks = b"\r\n".join(lines), b"\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body)
        whole = plain + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        answers: dict[Framing, tuple[bytes, bool]] = {
            "short_length": (plain + b"\r\nContent-Length: %d\r\n\r\n" % (len(body) // 2) + body, True),
            "no_end": (plain + chunks + body + b"\r\n", False),
            "bad_chunk": (plain + chunks + body + b"\r\nso many\r\n", False),
            "twice": (whole + whole, True),
            "no_http": (b"\x15\x03\x01\x00\x02\x02\x16 no HTTP\r\n\r\n", False),
            "head_cut": (head[: len(head) // 2], False),
            "long_header": (plain + b"\r\nX-Trace: " + b"x" * 70_000 + b"\r\n\r\n", False),
        }
        data, keep = answers[how]
        self.sock.sendall(data)
        return keep

    def _send_body(self, head: bytes, body: bytes, delivery: Delivery, in_chunks: bool) -> None:
        if delivery.hang:
            self.sock.sendall(head)
            head = b""
            if self.stopping.wait(delivery.hang):
                return
        if delivery.drip:
            framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if in_chunks else body
            self._drip(head + framed, delivery.drip)
        elif in_chunks:
            self.sock.sendall(b"%b%x\r\n" % (head, len(body)))
            self.sock.sendall(body)
            self.sock.sendall(b"\r\n0\r\n\r\n")
        else:
            self.sock.sendall(head + body if len(body) < 65_536 else head)
            if len(body) >= 65_536:
                self.sock.sendall(body)

    def _drip(self, data: bytes, rate: float) -> None:
        size = max(1, int(rate / 10))
        for at in range(0, len(data), size):
            self.sock.sendall(data[at : at + size])
            if self.stopping.wait(size / rate):
                return

    def abort(self) -> None:
        """Reset the connection: the client sees ECONNRESET."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Close the connection; wakes a thread that reads from it."""
        with contextlib.suppress(OSError):  # already gone
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


def _parse_head(head: str) -> Asked:
    lines = head.split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequestError("malformed request line")
    method, target, version = parts
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    host, path, query = _target(target, headers)
    wish = headers.get("connection", headers.get("proxy-connection", "")).lower()
    keep = wish != "close" if version == "HTTP/1.1" else wish == "keep-alive"
    params = dict(parse_qsl(query, keep_blank_values=True))
    return Asked(method, target, host, unquote(path), params, headers, keep_alive=keep, raw_query=query)


def _target(target: str, headers: Mapping[str, str]) -> tuple[str, str, str]:
    """Scheme and authority, path, query: from an absolute-form target (we are a proxy then) or from ``Host``."""
    if target.startswith(("http://", "https://")):
        split = urlsplit(target)
        return f"{split.scheme}://{split.netloc}", split.path or "/", split.query
    path, _, query = target.partition("#")[0].partition("?")
    return f"http://{headers.get('host', '127.0.0.1')}", path, query


def _encoded(asked: Asked, reply: Reply, gzip_up_to: int) -> bytes:
    body = reply.body
    accepts = "gzip" in asked.headers.get("accept-encoding", "")
    fits = gzip_up_to < 0 or 0 < len(body) <= gzip_up_to
    if reply.delivery.packing:
        reply.headers["Content-Encoding"] = "gzip"
        return _wrongly_packed(body, reply.delivery.packing)
    if accepts and fits and body and reply.kind != "file":
        reply.headers["Content-Encoding"] = "gzip"
        return gzip.compress(body, 1)
    return body


def _wrongly_packed(body: bytes, how: Packing) -> bytes:
    if how == "false":
        return body
    packed = gzip.compress(body, 1)
    middle = len(packed) // 2
    if how == "trailing":
        return packed + b"\x00garbage"
    if how == "cut":
        return packed[:middle]
    return packed[:middle] + bytes(255 - byte for byte in packed[middle : middle + 16]) + packed[middle + 16 :]


def _head(asked: Asked, reply: Reply, date: float, *, keep: bool, length: int | None) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Status')}"]
    headers = {"Date": formatdate(date, usegmt=True), "Server": "ServiceNow"}
    if reply.body or reply.status not in (202, 204):
        headers["Content-Type"] = reply.content_type
    headers |= reply.headers
    if length is None:
        headers["Transfer-Encoding"] = "chunked"
    elif reply.status != 204:
        headers["Content-Length"] = str(length)
    headers["Connection"] = "keep-alive" if keep else "close"
    if keep:
        headers["Keep-Alive"] = "timeout=20"
    lines += [f"{name}: {value}" for name, value in headers.items() if value]
    lines += [f"Set-Cookie: {cookie}" for cookie in reply.cookies]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")

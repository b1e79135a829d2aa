"""What came of an exchange: an answer, or the name in the table of faults for what a library raised."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import requests
import urllib3.exceptions

from snow_assets.servicenow.exchange import Answer, Stored

Anywhere: TypeAlias = Sequence[tuple[type[BaseException], str, str]]
Outermost: TypeAlias = Sequence[tuple[type[BaseException], str]]
TOO_SLOW: Final = ("too_slow", "cut off after connect plus read time-out")
PROXY_SIGN_IN: Final = ("proxy_sign_in", "")
_TUNNEL: Final = re.compile(r"Tunnel connection failed: (\d{3})")


# Statuses after which the session's cookies are not trusted: dropped, moved, refused, failed.
_KEEP: Final = frozenset({200, 201, 400, 404, 429})


def answered(
    status: int, headers: Mapping[str, str], body: bytes, seconds: float, stored: Stored | None = None
) -> Answer:
    """The answer that came; status 407 is none of the instance's."""
    if status == 407:
        return Answer(0, {}, b"", seconds, *PROXY_SIGN_IN)
    return Answer(status, {key.lower(): value for key, value in headers.items()}, body, seconds, stored=stored)


def keeps(answer: Answer) -> bool:
    """Whether session and connection may be used again after ``answer``."""
    if answer.status == 204:
        return True
    return not answer.fault and answer.status in _KEEP and (answer.stored is not None or len(answer.body) >= 5)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """``error`` and everything it wraps, the innermost first."""
    seen: dict[int, BaseException] = {}
    todo: list[object] = [error]
    while todo:
        link = todo.pop()
        if isinstance(link, BaseException) and id(link) not in seen:
            seen[id(link)] = link
            todo += [getattr(link, "reason", None), link.__cause__, link.__context__, *link.args]
    return reversed(seen.values())


# What tells anywhere in the chain, the surest first.
ANYWHERE: Final[Anywhere] = (
    (ConnectionRefusedError, "connection_refused", ""),
    (urllib3.exceptions.NewConnectionError, "connection_refused", "no way to the host"),
    (urllib3.exceptions.ConnectTimeoutError, "connect_timeout", ""),
    (urllib3.exceptions.ReadTimeoutError, "timeout", ""),
    (urllib3.exceptions.DecodeError, "broken_gzip", ""),
    (urllib3.exceptions.IncompleteRead, "truncated_body", ""),
    (http.client.IncompleteRead, "truncated_body", ""),
    (urllib3.exceptions.InvalidChunkLength, "truncated_body", "chunks without an end"),
    (http.client.RemoteDisconnected, "connection_reset", ""),
    (ConnectionResetError, "connection_reset", ""),
    (BrokenPipeError, "connection_reset", ""),
    (http.client.BadStatusLine, "connection_reset", "no HTTP answer"),
    (http.client.HTTPException, "transport", "headers that are none"),
)
# What only the outermost exception tells.
OUTERMOST: Final[Outermost] = (
    (requests.exceptions.ProxyError, "proxy"),
    (requests.exceptions.SSLError, "tls"),
    (urllib3.exceptions.SSLError, "tls"),
    (requests.exceptions.ConnectTimeout, "connect_timeout"),
    (requests.exceptions.Timeout, "timeout"),
    (TimeoutError, "timeout"),
    (requests.exceptions.ChunkedEncodingError, "truncated_body"),
    (requests.exceptions.ConnectionError, "connection_refused"),
    (urllib3.exceptions.ProtocolError, "connection_reset"),
)


def proxy_said(status: str) -> tuple[str, str]:
    """What a proxy's refusal to make a tunnel means."""
    return PROXY_SIGN_IN if status == "407" else ("proxy", f"the proxy answered {status}")


def name_fault(
    error: BaseException, anywhere: Anywhere = ANYWHERE, outermost: Outermost = OUTERMOST
) -> tuple[str, str]:
    """The name in the table of faults for what a library raised, and a line about it without any secret.

    ``anywhere``: what is looked for in everything that ``error`` wraps; ``outermost``: what only it can be itself.
    """
    chain = list(_chain(error))
    for link in chain:
        if status := _TUNNEL.search(str(link)):
            return proxy_said(status[1])
        if isinstance(link, urllib3.exceptions.ProxyError):
            return "proxy", "the proxy cannot be reached"
        if isinstance(link, socket.gaierror):
            unknown = link.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
            return ("unknown_host" if unknown else "dns"), str(link.strerror)
        if type(link).__name__ in ("SSLCertVerificationError", "CertificateError"):
            return "tls_certificate", str(getattr(link, "verify_message", "") or "")
    for kind, name, detail in anywhere:
        if any(isinstance(link, kind) for link in chain):
            return name, detail
    for kind, name in outermost:
        if isinstance(error, kind):
            return name, type(error).__name__
    return "transport", type(chain[0]).__name__

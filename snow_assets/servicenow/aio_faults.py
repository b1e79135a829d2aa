"""What aiohttp raises, in the names of the table of faults: the same as ``requests`` gets for the same trouble."""

from __future__ import annotations

import re
import zlib
from typing import Final

import aiohttp
from aiohttp import http_exceptions

from snow_assets.servicenow import transport_faults
from snow_assets.servicenow.transport_faults import Anywhere, Outermost, proxy_said

_RESET: Final = re.compile(r"ConnectionResetError\(|BrokenPipeError\(")  # told in words only

# What tells anywhere in the chain, the surest first.
_ANYWHERE: Final[Anywhere] = (
    (aiohttp.ConnectionTimeoutError, "connect_timeout", ""),
    (aiohttp.SocketTimeoutError, "timeout", ""),
    (zlib.error, "broken_gzip", ""),
    (http_exceptions.BadStatusLine, "connection_reset", "no HTTP answer"),
    (http_exceptions.LineTooLong, "transport", "headers that are none"),
    (ConnectionRefusedError, "connection_refused", ""),
    (ConnectionResetError, "connection_reset", ""),
    (BrokenPipeError, "connection_reset", ""),
    (http_exceptions.PayloadEncodingError, "truncated_body", ""),
    (aiohttp.ClientPayloadError, "truncated_body", ""),
    (aiohttp.ServerDisconnectedError, "connection_reset", ""),
    (http_exceptions.HttpProcessingError, "transport", "headers that are none"),
)
# What only the outermost exception tells.
_OUTERMOST: Final[Outermost] = (
    (aiohttp.ClientConnectorSSLError, "tls"),
    (aiohttp.ClientConnectorError, "connection_refused"),
    (TimeoutError, "timeout"),
    (aiohttp.ClientOSError, "connection_reset"),
)


def name_fault(error: BaseException) -> tuple[str, str]:
    """As its namesake of ``transport_faults``."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return proxy_said(str(error.status))
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return "proxy", "the proxy cannot be reached"
    if isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str):
        return "empty_body", "the headers break off"  # http.client takes them for all there are
    if isinstance(error, aiohttp.ClientPayloadError) and _RESET.search(str(error)):
        return "connection_reset", ""
    if isinstance(error, aiohttp.ClientResponseError) and "chunk" in error.message.partition("\n")[0]:
        return "truncated_body", "chunks without an end"
    return transport_faults.name_fault(error, _ANYWHERE, _OUTERMOST)

"""One exchange with the instance over aiohttp: a ``Request`` in, an ``Answer`` out. It never raises for the network.

All tasks share one session without a cookie jar: the instance runs one transaction at a time of each of its sessions,
and a request without a cookie has one of its own. What is not about asyncio is shared with the transport of threads, so
that the same trouble has the same name.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
import weakref
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

import aiohttp
import requests.utils
import urllib3.response
import urllib3.util.ssl_
from aiohttp.connector import Connection
from aiohttp.resolver import ThreadedResolver
from urllib3.util.wait import wait_for_read
from yarl import URL

from snow_assets.errors import Cancelled, ConfigError
from snow_assets.servicenow.aio_faults import name_fault
from snow_assets.servicenow.auth import TOKEN_PATH, Auth, TokenHolder, TokenUnavailable, sign_in
from snow_assets.servicenow.exchange import Answer, Request, Sink, Stored
from snow_assets.servicenow.route import Route, proxy_login
from snow_assets.servicenow.sinks import Taking
from snow_assets.servicenow.transport_faults import TOO_SLOW, answered

if TYPE_CHECKING:
    from snow_assets.config import Credentials

_LONGEST_LINE: Final = 65_536  # of a header, as http.client allows: links repeat the query
_MOST_HEADERS: Final = 100  # as http.client allows
_BLOCK: Final = 1 << 18  # bytes read ahead of whoever takes them


class AsyncTransport:
    """Sends requests to one instance, from the tasks of one event loop.

    See ``Route`` for the way. Redirects are not followed. An exchange that is not complete after connect plus read
    time-out is cut off, however steadily it drips.
    """

    def __init__(self, route: Route, credentials: Credentials, connections: int) -> None:
        self._route = route
        self.auth: Auth = sign_in(credentials, TokenHolder)
        self._connections = connections
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: aiohttp.ClientSession | None = None
        self._renewing = asyncio.Lock()
        self._closed = False

    @property
    def longest(self) -> float:
        """Seconds that one exchange may take."""
        return self._route.longest

    async def send(self, request: Request) -> Answer:
        """The answer to ``request``; transport faults are in ``Answer.fault``.

        Raises ``CredentialsError``; with a sink also ``LandingError`` for the disk and ``Cancelled``.
        """
        try:
            name, value = await self._header()
        except TokenUnavailable as no_token:
            return no_token.answer
        query = f"?{urlencode(request.params)}" if request.params else ""
        headers = {name: value, **request.headers}
        answer = await self._exchange(
            request.method, request.path + query, request.sink, headers=headers, data=request.body
        )
        return self.auth.judged(value, answer)

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def must_be_of_this_loop(self) -> None:
        """Raise ``ConfigError`` in another event loop than the one that this was first used in."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            hint = "make one client in each asyncio.run"
            raise ConfigError("the client was used in another event loop before", key="client", hint=hint)

    async def _header(self) -> tuple[str, str]:
        if not isinstance(self.auth, TokenHolder):
            return self.auth.header()
        if header := self.auth.held():
            return header
        renewal = self.auth.renewal()
        async with self._renewing:
            answer: Answer | None = None
            while True:
                try:
                    form = renewal.send(answer)  # type: ignore[arg-type]  # None starts it
                except StopIteration as stop:
                    given: tuple[str, str] = stop.value
                    return given
                answer = await self._exchange("POST", TOKEN_PATH, data=dict(form))

    def _opened(self) -> aiohttp.ClientSession:
        self.must_be_of_this_loop()
        if self._closed:
            raise Cancelled("not sent: the client was closed")
        if self._session is None:
            encrypted = self._route.url.startswith("https")
            connector = _Connector(
                limit=self._connections,
                ssl=_trust(self._route.verify) if encrypted else True,
                resolver=ThreadedResolver(),
            )
            connect, read = self._route.timeout
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._route.headers,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=read),
                auto_decompress=False,
                max_line_size=_LONGEST_LINE,
                max_field_size=_LONGEST_LINE,
                max_headers=_MOST_HEADERS,
                read_bufsize=_BLOCK,
            )
            # Else a GET is sent again without a word where a connection that was kept turns out to be closed.
            self._session._retry_connection = False  # noqa: SLF001
        return self._session

    async def _exchange(self, method: str, target: str, sink: Sink | None = None, **parts: Any) -> Answer:
        session = self._opened()
        started = time.monotonic()
        try:
            async with asyncio.timeout(self.longest + (sink.seconds if sink else 0.0)) as watch:
                url = URL(self._route.url + target, encoded=True)
                through = _through(self._route.proxy_of_the_moment, parts.setdefault("headers", {}), url.scheme)
                async with session.request(method, url, allow_redirects=False, **parts, **through) as response:
                    return await _taken(response, sink, started)
        except (aiohttp.ClientError, OSError, ValueError, zlib.error, ssl.SSLError) as error:
            failed = TOO_SLOW if watch.expired() else name_fault(error)
        return Answer(0, {}, b"", time.monotonic() - started, *failed)


async def _taken(response: aiohttp.ClientResponse, sink: Sink | None, started: float) -> Answer:
    """The answer, with its body."""
    body, stored = b"", None
    with _ends_with_connection(response):
        if sink is not None and response.status == 200:
            stored = await _store(response, sink)
        else:
            body = b"".join([block async for block in _blocks(response)])
    return answered(response.status, response.headers, body, time.monotonic() - started, stored)


@contextlib.contextmanager
def _ends_with_connection(response: aiohttp.ClientResponse) -> Iterator[None]:
    """Whoever reads the body within learns that the connection has gone: after a broken chunk, aiohttp lets it wait."""
    protocol = response.connection.protocol if response.connection is not None else None
    lost: asyncio.Future[None] | None = getattr(protocol, "closed", None)
    if lost is None:
        yield
        return
    body = response.content

    def end(_: asyncio.Future[None]) -> None:
        if not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientPayloadError("the connection ended before the body"))

    lost.remove_done_callback(_looked_at)  # one is enough, however often the connection is used
    lost.add_done_callback(_looked_at)
    lost.add_done_callback(end)
    try:
        yield
    finally:
        lost.remove_done_callback(end)


def _looked_at(lost: asyncio.Future[None]) -> None:
    if not lost.cancelled():
        lost.exception()


async def _blocks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The body, decompressed as urllib3 does it."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    decoder = urllib3.response.GzipDecoder() if encoding in ("gzip", "x-gzip") else None
    async for block in response.content.iter_any():
        yield block if decoder is None else decoder.decompress(block)
    if decoder is not None:
        yield decoder.flush()


async def _store(response: aiohttp.ClientResponse, sink: Sink) -> Stored:
    with Taking(sink) as taking:
        async for block in _blocks(response):
            if taking.left <= 0:
                break
            await asyncio.to_thread(taking.take, block)
        return await asyncio.to_thread(taking.stored)


class _Connector(aiohttp.TCPConnector):
    """Gives no kept connection on which something came unasked: it would be taken for the next answer."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._used: weakref.WeakSet[asyncio.BaseProtocol] = weakref.WeakSet()

    async def connect(self, *args: Any, **settings: Any) -> Connection:
        while True:
            connection = await super().connect(*args, **settings)
            protocol = connection.protocol
            if protocol is None or protocol not in self._used:
                break
            waiting = connection.transport and connection.transport.get_extra_info("socket")
            if not protocol.should_close and not (waiting and wait_for_read(waiting, 0.0)):
                break
            connection.close()
        if protocol is not None:
            self._used.add(protocol)
        return connection


def _through(proxy: str | None, headers: dict[str, str], scheme: str) -> Mapping[str, Any]:
    """What a request needs to go through ``proxy``; its password is in a header, of the tunnel where there is one."""
    if proxy is None:
        return {}
    parts = urlsplit(proxy)
    plain = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", ""))
    login = proxy_login(proxy)
    if scheme == "http":
        headers.update(login)
        return {"proxy": plain}
    return {"proxy": plain, "proxy_headers": login}


def _trust(verify: str | bool) -> ssl.SSLContext:
    """Whom ``requests`` would trust, as it would."""
    context = urllib3.util.ssl_.create_urllib3_context()
    where = verify if isinstance(verify, str) else requests.utils.DEFAULT_CA_BUNDLE_PATH
    context.load_verify_locations(**{"capath" if Path(where).is_dir() else "cafile": where})
    context.set_alpn_protocols(["http/1.1"])
    return context

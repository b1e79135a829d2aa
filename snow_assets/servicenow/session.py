"""One exchange with the instance over HTTP: a ``Request`` in, an ``Answer`` out. It never raises for the network.

Every thread has a ``requests.Session`` of its own: the instance runs one transaction per session at a time, and jars
shared between threads get ``null`` bodies under load. A session that met trouble is thrown away.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import re
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
import urllib3.util
from requests.auth import AuthBase
from requests.models import PreparedRequest

from snow_assets.errors import ConfigError
from snow_assets.servicenow.auth import Auth, OAuthToken, TokenUnavailable, sign_in
from snow_assets.servicenow.deadlines import Deadlines, WatchedAdapter
from snow_assets.servicenow.exchange import Answer, Request, Sink, Stored
from snow_assets.servicenow.sinks import store_body

if TYPE_CHECKING:
    from snow_assets.config import Credentials

_HOST: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?:\.(?!-)[a-z0-9-]{1,63})*\.?")
# Statuses after which the session's cookies are not trusted: dropped, moved, refused, failed.
_KEEP: Final = frozenset({200, 400, 404, 429})


def base_url(url: str, *, allow_http: bool = False) -> str:
    """``url`` as scheme, host and port, without a slash. Raises ``ConfigError`` (key ``url``).

    Without a scheme it is https. Plain http is for loopback, unless ``allow_http``.
    """
    text = url.strip()
    parts = urlsplit(text if "://" in text else f"https://{text}")
    try:
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise ConfigError("the port is not a number", key="url", hint="write https://NAME.service-now.com") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError("the url holds credentials", key="url", hint="give them apart, by SNOW_USERNAME and the like")
    if parts.scheme not in ("http", "https") or not (_HOST.fullmatch(host) or is_loopback(host) or ":" in host):
        raise ConfigError(
            "not the address of an instance", key="url", value=url, hint="write https://NAME.service-now.com"
        )
    if parts.path.strip("/") or parts.query or parts.fragment:
        hint = f"write {parts.scheme}://{parts.netloc}"
        shown = re.split(r"[?#]", url)[0]  # what is asked may hold a password
        raise ConfigError("the url goes on after the host", key="url", value=shown, hint=hint)
    if parts.scheme == "http" and not allow_http and not is_loopback(host):
        hint = "write https://, or set allow_http: true where the network is trusted"
        raise ConfigError("plain http would show the password to the network", key="url", value=url, hint=hint)
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}" + (f":{port}" if port is not None else "")


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine itself, by its spelling alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class Transport:
    """Sends requests to one instance. Safe for threads; each has its own session.

    Environment proxies are honoured (not towards loopback), and so are ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE``;
    ``~/.netrc`` and redirects are not. An exchange that is not complete after connect plus read time-out is cut off,
    however steadily it drips.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        timeout: tuple[float, float] = (10.0, 90.0),
        proxy: str | None = None,
        ca_bundle: str | None = None,
        allow_http: bool = False,
    ) -> None:
        self.url = base_url(url, allow_http=allow_http)
        self.auth: Auth = sign_in(credentials, lambda grant: OAuthToken(grant, self._post))
        self._timeout = timeout
        self._proxies = dict.fromkeys(("http", "https"), check_proxy(proxy)) if proxy else {}
        self._verify: str | bool = check_ca_bundle(ca_bundle) if ca_bundle else True
        if not ca_bundle and self.url.startswith("https"):
            self._verify = _environment_ca_bundle() or True
        self._loopback = is_loopback(urlsplit(self.url).hostname or "")
        self._local = threading.local()
        self._sessions: weakref.WeakSet[requests.Session] = weakref.WeakSet()
        self._deadlines = Deadlines()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def longest(self) -> float:
        """Seconds that one exchange may take."""
        return sum(self._timeout)

    def send(self, request: Request) -> Answer:
        """The answer to ``request``; transport faults are in ``Answer.fault``.

        Raises ``CredentialsError``; with a sink also ``LandingError`` for the disk and ``Cancelled``.
        """
        try:
            name, value = self.auth.header()
        except TokenUnavailable as no_token:
            return no_token.answer
        headers = {name: value}
        session = self._new_session() if request.fresh else self._session()
        answer = self._exchange(
            session, "GET", request.path, request.sink, params=dict(request.params), headers=headers
        )
        if answer.status == 200:
            self.auth.accepted(value)
        elif answer.status == 401 and not self.auth.refused(value):
            answer = replace(answer, fault="token_ended")
        if request.fresh:
            session.close()
        elif answer.fault or answer.status not in _KEEP or (answer.stored is None and len(answer.body) < 5):
            self._drop_session()
        return answer

    def close(self) -> None:
        """Close every thread's connections."""
        for session in list(self._sessions):
            session.close()
        self._deadlines.close()

    def _post(self, path: str, form: Mapping[str, str]) -> Answer:
        with self._new_session() as session:
            return self._exchange(session, "POST", path, data=dict(form))

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = self._new_session()
            self._sessions.add(session)
        return session

    def _drop_session(self) -> None:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is not None:
            session.close()
            self._local.session = None

    def _new_session(self) -> requests.Session:
        session = _Session()
        session.trust_env = not self._loopback
        session.auth = _AsGiven()
        encoding = "identity" if self._loopback else "gzip"
        session.headers.update({"Accept": "application/json", "Accept-Encoding": encoding, "User-Agent": "snow-assets"})
        for scheme in ("https://", "http://"):
            session.mount(scheme, WatchedAdapter(pool_connections=1, pool_maxsize=1, max_retries=0))
        return session

    def _exchange(
        self, session: requests.Session, method: str, path: str, sink: Sink | None = None, **parts: Any
    ) -> Answer:
        started = time.monotonic()
        failed: tuple[str, str] | None = None
        stored: Stored | None = None
        longest = sum(self._timeout) + (sink.seconds if sink else 0.0)
        with self._deadlines.watch(started + longest) as watched:
            try:
                response = session.request(
                    method,
                    self.url + path,
                    timeout=self._timeout,
                    stream=True,
                    allow_redirects=False,
                    proxies=self._proxies,
                    verify=self._verify,
                    **parts,
                )
                if sink is not None and response.status_code == 200:
                    body, stored = b"", store_body(response, sink)
                else:
                    body = _body(response)
            except (
                requests.RequestException,
                urllib3.exceptions.HTTPError,
                http.client.HTTPException,
                OSError,
            ) as error:
                failed = name_fault(error)
        if watched.expired:  # also without an error: headers, and bodies without a length, end where they are cut
            failed = _TOO_SLOW
        if failed:
            fault, detail = failed
            return Answer(0, {}, b"", time.monotonic() - started, fault, detail)
        if response.status_code == 407:
            return Answer(0, {}, b"", time.monotonic() - started, *_PROXY_SIGN_IN)
        headers = {key.lower(): value for key, value in response.headers.items()}
        return Answer(response.status_code, headers, body, time.monotonic() - started, stored=stored)


def _body(response: requests.Response) -> bytes:
    try:
        # One read of everything: ten times faster than small chunks.
        body: bytes = response.raw.read(decode_content=True)
        return body
    finally:
        response.close()  # gives a connection that is still good back to its pool


def check_proxy(url: str) -> str:
    """The URL of an HTTP proxy as it is. Raises ``ConfigError`` where it is none."""
    try:
        parts = urllib3.util.parse_url(url)
        fits = parts.scheme in ("http", "https") and bool(parts.host) and (parts.path or "/") == "/"
    except urllib3.exceptions.LocationParseError:
        fits = False
    if not fits or urlsplit(url).hostname is None or parts.query or parts.fragment:
        # Not shown: it may hold a password.
        hint = "write http://HOST:PORT; in its user and password, / ? # @ and : are written as %2F %3F %23 %40 and %3A"
        raise ConfigError("not the url of an HTTP proxy", key="proxy", hint=hint)
    return url


def check_ca_bundle(path: str, key: str = "ca_bundle") -> str:
    """The path of a file of certificates as it is. Raises ``ConfigError`` where there is none."""
    file, problem = Path(path), ""
    if file.is_dir():
        problem = "is a folder"
    elif not file.exists():
        problem = "there is no such file"
    else:
        try:
            ssl.create_default_context(cafile=path)
        except ssl.SSLError:
            problem = "holds no certificate in PEM form"
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
    if problem:
        raise ConfigError(problem, key=key, value=path, hint="name a file of PEM certificates")
    return path


def _environment_ca_bundle() -> str | None:
    """What the environment names, as ``requests`` would; also towards loopback, and found out before it is needed."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if path := os.environ.get(name):
            # Other programs may use a folder; certificates in it are found by their hashes.
            return path if Path(path).is_dir() else check_ca_bundle(path, name)
    return None


class _Session(requests.Session):
    """Does not look at redirects, which are never followed: an address in one may be anything."""

    def resolve_redirects(self, *_args: Any, **_settings: Any) -> Iterator[Any]:
        """None."""
        return iter(())


class _AsGiven(AuthBase):
    """Leaves the headers as they are; its presence keeps ``requests`` from looking into ``~/.netrc``."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        return request


_TOO_SLOW: Final = ("too_slow", "cut off after connect plus read time-out")
_PROXY_SIGN_IN: Final = ("proxy_sign_in", "")
_TUNNEL: Final = re.compile(r"Tunnel connection failed: (\d{3})")


def name_fault(error: BaseException) -> tuple[str, str]:
    """The name in the table of faults for what a library raised, and a line about it without any secret."""
    chain = list(_chain(error))
    for link in chain:
        if status := _TUNNEL.search(str(link)):
            return _PROXY_SIGN_IN if status[1] == "407" else ("proxy", f"the proxy answered {status[1]}")
        if isinstance(link, urllib3.exceptions.ProxyError):
            return "proxy", "the proxy cannot be reached"
        if isinstance(link, socket.gaierror):
            unknown = link.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
            return ("unknown_host" if unknown else "dns"), str(link.strerror)
        if type(link).__name__ in ("SSLCertVerificationError", "CertificateError"):
            return "tls_certificate", str(getattr(link, "verify_message", "") or "")
    for kind, name, detail in _FAULTS:
        if any(isinstance(link, kind) for link in chain):
            return name, detail
    for kind, name in _OUTERMOST:
        if isinstance(error, kind):
            return name, type(error).__name__
    return "transport", type(chain[0]).__name__


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
_FAULTS: Final[tuple[tuple[type[BaseException], str, str], ...]] = (
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
_OUTERMOST: Final[tuple[tuple[type[BaseException], str], ...]] = (
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

"""One exchange with the instance over HTTP: a ``Request`` in, an ``Answer`` out. It never raises for the network.

Every thread has a ``requests.Session`` of its own: the instance runs one transaction per session at a time, and jars
shared between threads get ``null`` bodies under load. A session that met trouble is thrown away.
"""

from __future__ import annotations

import http.client
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import requests
import urllib3.exceptions
from requests.auth import AuthBase
from requests.models import PreparedRequest

from snow_assets.servicenow.auth import Auth, OAuthToken, TokenUnavailable, sign_in
from snow_assets.servicenow.closing import Closing
from snow_assets.servicenow.deadlines import Deadlines, WatchedAdapter
from snow_assets.servicenow.exchange import Answer, Request, Sink, Stored
from snow_assets.servicenow.route import Route
from snow_assets.servicenow.sinks import store_body
from snow_assets.servicenow.transport_faults import TOO_SLOW, answered, keeps, name_fault

if TYPE_CHECKING:
    from snow_assets.config import Credentials


class Transport(Closing):
    """Sends requests to one instance. Safe for threads; each has its own session.

    See ``Route`` for the way. Redirects are not followed. An exchange that is not complete after connect plus read
    time-out is cut off, however steadily it drips.
    """

    def __init__(self, route: Route, credentials: Credentials) -> None:
        self._route = route
        self.url = self._route.url
        self.auth: Auth = sign_in(credentials, lambda grant: OAuthToken(grant, self._post))
        named = self._route.proxy
        self._proxies: dict[str, str] = dict.fromkeys(("http", "https"), named) if named else {}
        self._local = threading.local()
        self._sessions: weakref.WeakSet[requests.Session] = weakref.WeakSet()
        self._deadlines = Deadlines()

    @property
    def longest(self) -> float:
        """Seconds that one exchange may take."""
        return self._route.longest

    def send(self, request: Request) -> Answer:
        """The answer to ``request``; transport faults are in ``Answer.fault``.

        Raises ``CredentialsError``; with a sink also ``LandingError`` for the disk and ``Cancelled``.
        """
        try:
            name, value = self.auth.header()
        except TokenUnavailable as no_token:
            return no_token.answer
        headers = {name: value, **request.headers}
        session = self._new_session() if request.fresh else self._session()
        parts = {"params": dict(request.params), "headers": headers, "data": request.body}
        answer = self._exchange(session, request.method, request.path, request.sink, **parts)
        answer = self.auth.judged(value, answer)
        if request.fresh:
            session.close()
        elif not keeps(answer):
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
        session.trust_env = not self._route.loopback
        session.auth = _AsGiven()
        session.headers.update(self._route.headers)
        for scheme in ("https://", "http://"):
            session.mount(scheme, WatchedAdapter(pool_connections=1, pool_maxsize=1, max_retries=0))
        return session

    def _exchange(
        self, session: requests.Session, method: str, path: str, sink: Sink | None = None, **parts: Any
    ) -> Answer:
        started = time.monotonic()
        failed: tuple[str, str] | None = None
        stored: Stored | None = None
        longest = self.longest + (sink.seconds if sink else 0.0)
        with self._deadlines.watch(started + longest) as watched:
            try:
                response = session.request(
                    method,
                    self.url + path,
                    timeout=self._route.timeout,
                    stream=True,
                    allow_redirects=False,
                    proxies=self._proxies,
                    verify=self._route.verify,
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
            failed = TOO_SLOW
        seconds = time.monotonic() - started
        if failed:
            return Answer(0, {}, b"", seconds, *failed)
        return answered(response.status_code, response.headers, body, seconds, stored)


def _body(response: requests.Response) -> bytes:
    try:
        # One read of everything: ten times faster than small chunks.
        body: bytes = response.raw.read(decode_content=True)
        return body
    finally:
        response.close()  # gives a connection that is still good back to its pool


class _Session(requests.Session):
    """Does not look at redirects, which are never followed: an address in one may be anything."""

    def resolve_redirects(self, *_args: Any, **_settings: Any) -> Iterator[Any]:
        """None."""
        return iter(())


class _AsGiven(AuthBase):
    """Leaves the headers as they are; its presence keeps ``requests`` from looking into ``~/.netrc``."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        return request

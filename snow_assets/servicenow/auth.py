"""The ways to sign in. Each gives the one header that a request carries.

Secrets live in memory only: no ``repr``, pickle, message or log line of this module holds one.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import msgspec

from snow_assets.errors import CredentialsError
from snow_assets.servicenow import faults
from snow_assets.servicenow.decoding import BOM, NOT_JSON
from snow_assets.servicenow.exchange import Answer
from snow_assets.servicenow.pages import PageFault, check_status

if TYPE_CHECKING:
    from snow_assets.config import Credentials

TOKEN_PATH: Final = "/oauth_token.do"  # noqa: S105  # an address, no secret
_LEAD: Final = 60.0  # seconds ahead of its expiry that a token is renewed
# Lives are told in whole seconds: a token with none left may hold for another one. It is not asked for again within.
_LEAST: Final = 1.0


class TokenUnavailable(Exception):
    """No token for now: the token endpoint answered with ``answer``, which is to be judged like any other."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__("no token")


class Auth:
    """The header that signs a request in. ``renewable``: a refused request may succeed with a new token."""

    renewable = False

    def header(self) -> tuple[str, str]:
        """Name and value of the header. Raises ``TokenUnavailable`` or ``CredentialsError``."""
        raise NotImplementedError

    def accepted(self, value: str) -> None:
        """The instance took a request that carried the header value ``value``."""

    def refused(self, value: str) -> bool:
        """The instance answered 401 to a request that carried ``value``. Whether that speaks against who we are.

        A token that was accepted before has ended, and one that was replaced meanwhile tells nothing.
        """
        del value
        return True

    def judged(self, value: str, answer: Answer) -> Answer:
        """The answer to a request that carried ``value``, with what it tells of the header."""
        if answer.status == 200:
            self.accepted(value)
        elif answer.status == 401 and not self.refused(value):
            return replace(answer, fault="token_ended")
        return answer

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("it holds secrets, which stay in memory")


class FixedHeader(Auth):
    """A header that never changes."""

    def __init__(self, name: str, value: str) -> None:
        self._name = name
        self._value = value

    def header(self) -> tuple[str, str]:
        """See ``Auth``."""
        return self._name, self._value


class BasicAuth(FixedHeader):
    """User name and password, as UTF-8."""

    def __init__(self, username: str, password: str) -> None:
        if ":" in username:
            hint = "the name would end at the colon: sign in by OAuth or a token"
            raise CredentialsError("the user name holds a colon", hint=hint)
        encoded = base64.b64encode(f"{username}:{password}".encode()).decode()
        super().__init__("Authorization", f"Basic {encoded}")


class BearerToken(FixedHeader):
    """A token that somebody else renews."""

    def __init__(self, token: str) -> None:
        super().__init__("Authorization", f"Bearer {_header_safe(token, 'token')}")


class ApiKey(FixedHeader):
    """An inbound API key."""

    def __init__(self, key: str) -> None:
        super().__init__("x-sn-apikey", _header_safe(key, "api_key"))


@dataclass(slots=True)
class _Token:
    value: str = field(repr=False)
    expires_at: float
    renew_at: float
    refresh_token: str = field(repr=False)
    accepted: bool = False


Form: TypeAlias = Mapping[str, str]


class TokenHolder(Auth):
    """A token from the instance's own endpoint, renewed ahead of its expiry by one for all. It sends nothing itself.

    The endpoint hands out the same token until it expires, so one that comes back again is used to its end. Where
    renewing fails while the token still holds, the token is used. A refresh token that comes with a token is the first
    to be tried; where it is refused, the grant is.
    """

    renewable = True

    def __init__(self, grant: Form, clock: Callable[[], float] = time.monotonic) -> None:
        """``grant``: the form of the first request."""
        self._grant = dict(grant)
        self._clock = clock
        self._token: _Token | None = None
        self._attempts = 0
        self._failure: TokenUnavailable | CredentialsError | None = None
        self._ended = False  # the grant was refused: repeated wrong passwords lock accounts

    def accepted(self, value: str) -> None:
        """See ``Auth``."""
        token = self._token
        if token is not None and not token.accepted and value == f"Bearer {token.value}":
            token.accepted = True

    def refused(self, value: str) -> bool:
        """See ``Auth``: the token is asked for anew, unless somebody else has done so."""
        token = self._token
        if token is None or value != f"Bearer {token.value}":
            return False
        token.expires_at = token.renew_at = 0.0
        return not token.accepted

    def held(self) -> tuple[str, str] | None:
        """The header, while there is a token that need not be renewed."""
        token = self._token
        if token is None or self._clock() >= token.renew_at:
            return None
        return "Authorization", f"Bearer {token.value}"

    def renewal(self) -> Generator[Form, Answer, tuple[str, str]]:
        """Yields forms to be posted without any credentials, receives the answers, and returns the header.

        It is made before one waits for one's turn, and run by one at a time: it asks for nothing where whoever was
        first got a token, or an answer that ends it for all.

        Raises ``TokenUnavailable`` or ``CredentialsError``.
        """
        return self._renewal(self._attempts)

    def _renewal(self, attempts: int) -> Generator[Form, Answer, tuple[str, str]]:
        if header := self.held():
            return header
        if self._failure is not None and (self._ended or self._attempts != attempts):
            raise self._failure  # another one asked while this one waited
        self._attempts += 1
        self._failure = None
        token = self._token
        try:
            self._token = yield from self._ask(token)
        except (TokenUnavailable, CredentialsError) as failure:
            if token is None or self._clock() >= token.expires_at:
                self._failure = failure
                self._ended = isinstance(failure, CredentialsError)
                raise
            # It still holds: use it, and let a little time pass before the next try.
            token.renew_at = min(token.expires_at, self._clock() + 5.0)
            self._token = token
        return "Authorization", f"Bearer {self._token.value}"

    def _ask(self, old: _Token | None) -> Generator[Form, Answer, _Token]:
        if old is not None and old.refresh_token:
            form = {key: self._grant[key] for key in ("client_id", "client_secret") if key in self._grant}
            form |= {"grant_type": "refresh_token", "refresh_token": old.refresh_token}
            try:
                return (yield from self._exchange(form, old))
            except CredentialsError:
                if form == self._grant:
                    raise
                # The refresh token ended; the grant itself may still be good.
        return (yield from self._exchange(self._grant, old))

    def _exchange(self, form: Form, old: _Token | None) -> Generator[Form, Answer, _Token]:
        asked_at = self._clock()
        answer = yield form
        if answer.status in (400, 401, 403):
            raise _refused(form["grant_type"], answer.status)
        if answer.status != 200 or "html" in answer.headers.get("content-type", ""):
            raise TokenUnavailable(_judged(answer))
        given = _object(answer)
        value = given.get("access_token")
        if not isinstance(value, str) or not value:
            raise TokenUnavailable(_no_token(answer, "an answer without a token"))
        lifetime = max(_LEAST, _seconds(given.get("expires_in")))
        lead = 0.0 if old is not None and old.value == value else min(_LEAD, lifetime / 10)
        refresh = given.get("refresh_token") or (old.refresh_token if old is not None else "")
        expires_at = asked_at + lifetime
        return _Token(_header_safe(value, "access_token"), expires_at, expires_at - lead, str(refresh))


class OAuthToken(TokenHolder):
    """A token that one thread asks for, for all."""

    def __init__(
        self, grant: Form, post: Callable[[str, Form], Answer], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``post(path, form)`` sends a form without any credentials."""
        super().__init__(grant, clock)
        self._post = post
        self._lock = threading.Lock()

    def header(self) -> tuple[str, str]:
        """See ``Auth``; asks for a token where none holds."""
        if header := self.held():
            return header
        renewal = self.renewal()
        with self._lock:
            answer: Answer | None = None
            while True:
                try:
                    form = renewal.send(answer)  # type: ignore[arg-type]  # None starts it
                except StopIteration as stop:
                    given: tuple[str, str] = stop.value
                    return given
                answer = self._post(TOKEN_PATH, form)

    def refused(self, value: str) -> bool:
        """See ``Auth``; waits for a renewal that is under way."""
        with self._lock:
            return super().refused(value)


def sign_in(credentials: Credentials, token: Callable[[Form], Auth]) -> Auth:
    """The auth object for ``credentials``. ``token`` makes the one for OAuth, from the form of its first request."""
    secret = {
        name: value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
        for name in type(credentials).VARIABLES
        if (value := getattr(credentials, name)) is not None
    }
    match credentials.kind:
        case "bearer":
            return BearerToken(secret["token"])
        case "api_key":
            return ApiKey(secret["api_key"])
        case "oauth_refresh_token":
            grant = {name: secret[name] for name in ("client_id", "client_secret", "refresh_token")}
            return token({"grant_type": "refresh_token"} | grant)
        case "oauth_password":
            grant = {name: secret[name] for name in ("client_id", "client_secret", "username", "password")}
            return token({"grant_type": "password"} | grant)
        case "oauth_client_credentials":
            grant = {name: secret[name] for name in ("client_id", "client_secret")}
            return token({"grant_type": "client_credentials"} | grant)
        case _:
            return BasicAuth(secret["username"], secret["password"])


_NOT_THERE: Final = frozenset({"bad_request", "unknown_table", "not_found"})  # faults of a client error

_CHECK: Final = {
    "refresh_token": "the refresh token may have ended or been revoked: get a new one; else check client id and secret",
    "client_credentials": "check client id and secret, and that the client has an application user",
    "password": "check client id and secret, user name and password",
}


def _refused(grant: str, status: int) -> CredentialsError:
    hint = (
        f"{_CHECK[grant]}; the instance gives one answer for a wrong secret, a locked user and a grant that is "
        "switched off, its system log tells which"
    )
    return CredentialsError(f"the token endpoint refused the {grant} grant (status {status})", hint=hint)


def _judged(answer: Answer) -> Answer:
    """The endpoint's answer, to be judged like one of the API and told as the endpoint's own, without its body.

    No page is too heavy because a token is missing. Raises ``CredentialsError`` where the endpoint refuses to be asked.
    """
    what = f"status {answer.status}" if answer.status else answer.fault
    try:
        check_status(answer)
    except PageFault as problem:
        fault = faults.get(problem.name)
        if answer.status and fault.name in _NOT_THERE:
            hint = "check the instance's url, and that OAuth is switched on there; or sign in another way"
            raise CredentialsError(f"the token endpoint cannot be asked ({what})", hint=hint) from None
        if not fault.halve and not fault.halve_at_last:
            detail = f"the token endpoint: {problem.detail if answer.fault and problem.detail else what}"
            return replace(answer, body=b"", fault=fault.name, detail=detail)
    return _no_token(answer, what)


def _no_token(answer: Answer, what: str) -> Answer:
    return Answer(0, {}, b"", answer.seconds, "no_token", f"the token endpoint: {what}")


def _object(answer: Answer) -> dict[str, Any]:
    try:
        given = msgspec.json.decode(answer.body.removeprefix(BOM))
    except NOT_JSON:
        return {}
    return given if isinstance(given, dict) else {}


def _seconds(expires_in: object) -> float:
    try:
        return max(0.0, float(str(expires_in)))
    except ValueError:
        return 0.0  # unknown: ask before every request rather than trust it


def _header_safe(value: str, name: str) -> str:
    # A line break would make the HTTP library raise an error that quotes the secret.
    if not value.isascii() or not value.isprintable() or " " in value:
        hint = "copy it again, without quotes or line breaks"
        raise CredentialsError(
            f"the {name} holds a space, a line break or another character no header can hold", hint=hint
        )
    return value

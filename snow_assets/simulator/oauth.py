"""The token endpoint: password, refresh_token and client_credentials grants (``POST /oauth_token.do``).

Asking again within a token's life returns the same token with the seconds that remain. Every failure looks alike.
"""

from __future__ import annotations

import base64
import secrets
import threading
from dataclasses import dataclass
from urllib.parse import parse_qs

from snow_assets.simulator.clock import Clock
from snow_assets.simulator.knobs import Account, Knobs, OAuthClient
from snow_assets.simulator.wire import Asked, Reply, json_reply


@dataclass(slots=True)
class _Grant:
    """What one client holds for one user."""

    user_name: str
    access: str
    access_ends: float
    refresh: str = ""
    refresh_ends: float = 0.0


class Tokens:
    """Issued tokens. Lives are measured by the instance's clock."""

    def __init__(self, knobs: Knobs, clock: Clock) -> None:
        """Start without any."""
        self._knobs, self._clock = knobs, clock
        self._grants: dict[tuple[str, str, str], _Grant] = {}
        self._lock = threading.Lock()
        self.issued = 0  # new access tokens so far

    def user_of(self, token: str) -> str | None:
        """The user name that a live access token stands for."""
        now = self._clock.timestamp()
        with self._lock:
            for grant in self._grants.values():
                if grant.access == token and grant.access_ends > now:
                    return grant.user_name
        return None

    def revoke(self, *, refresh: bool = False) -> None:
        """Make every access token invalid at once, and the refresh tokens too if asked."""
        with self._lock:
            for grant in self._grants.values():
                grant.access_ends = 0.0
                if refresh:
                    grant.refresh_ends = 0.0

    def answer(self, asked: Asked) -> Reply:
        """The answer of the token endpoint."""
        form = _form(asked)
        client = self._client(asked, form) if form else None
        account = self._account(form, client) if client else None
        if client is None or account is None:
            return json_reply({"error_description": "access_denied", "error": "server_error"}, 401, kind="token")
        return self._issue(form["grant_type"], client, account)

    def _client(self, asked: Asked, form: dict[str, str]) -> OAuthClient | None:
        scheme, _, encoded = asked.headers.get("authorization", "").partition(" ")
        name, secret = form.get("client_id", ""), form.get("client_secret", "")
        if scheme.lower() == "basic" and not name:
            name, _, secret = base64.b64decode(encoded).decode("utf-8", "replace").partition(":")
        client = self._knobs.oauth_clients.get(name)
        return client if client is not None and client.client_secret == secret else None

    def _account(self, form: dict[str, str], client: OAuthClient) -> Account | None:
        accounts = self._knobs.accounts
        match form.get("grant_type"):
            case "password":
                account = accounts.get(form.get("username", ""))
                fits = account is not None and account.password == form.get("password") and account.interactive
                return account if fits else None
            case "client_credentials":
                return accounts.get(client.user_name) if client.user_name else None
            case "refresh_token":
                return accounts.get(self._refreshed(client, form.get("refresh_token", "")) or "")
            case _:
                return None

    def _refreshed(self, client: OAuthClient, token: str) -> str | None:
        now = self._clock.timestamp()
        with self._lock:
            for (client_id, user, _), grant in self._grants.items():
                if client_id == client.client_id and token and grant.refresh == token and grant.refresh_ends > now:
                    grant.access_ends = 0.0  # the old access token is replaced
                    return user
        return None

    def _issue(self, grant_type: str, client: OAuthClient, account: Account) -> Reply:
        now = self._clock.timestamp()
        way = "client" if grant_type == "client_credentials" else "user"
        with self._lock:
            key = (client.client_id, account.user_name, way)
            grant = self._grants.get(key)
            if grant is None or grant.access_ends <= now:
                refresh = grant.refresh if grant and grant.refresh_ends > now else ""
                ends = grant.refresh_ends if grant else 0.0
                grant = _Grant(account.user_name, _token(), now + self._knobs.access_token_seconds, refresh, ends)
                self.issued += 1
                if way == "user" and not refresh:
                    grant.refresh, grant.refresh_ends = _token(), now + self._knobs.refresh_token_seconds
                self._grants[key] = grant
            document = {"access_token": grant.access, "scope": "useraccount", "token_type": "Bearer"}
            if grant.refresh:
                document["refresh_token"] = grant.refresh
            remaining = max(0, int(grant.access_ends - now - 0.001))
        return json_reply({**document, "expires_in": remaining}, kind="token")


def _form(asked: Asked) -> dict[str, str]:
    """The form of a POST; empty when it is none, or when secrets came in the address."""
    wanted = asked.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if asked.method != "POST" or not wanted or {"client_secret", "password"} & asked.params.keys():
        return {}
    return {name: values[0] for name, values in parse_qs(asked.body.decode("utf-8", "replace")).items()}


def _token() -> str:
    return secrets.token_urlsafe(64)[:86]

"""Who is asking: basic authentication, bearer tokens, API keys, or the cookie of a session that signed in before."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from snow_assets.simulator.knobs import Account
from snow_assets.simulator.wire import Asked, Reply, failure

if TYPE_CHECKING:
    from snow_assets.simulator.instance import Simulator


def sign_in(sim: Simulator, asked: Asked) -> Account | Reply:
    """The account of a request, or the 401 that it gets."""
    knobs = sim.knobs
    scheme, _, rest = asked.headers.get("authorization", "").partition(" ")
    key = asked.headers.get("x-sn-apikey") or asked.params.get("x-sn-apikey")
    account: Account | None = None
    if scheme.lower() == "bearer":
        account = knobs.accounts.get(sim.tokens.user_of(rest.strip()) or "")
    elif scheme.lower() == "basic":
        account = _basic(sim, rest) if knobs.basic_allowed else None
    elif key:
        account = knobs.accounts.get(knobs.api_keys.get(key, ""))
    elif session := sim.sessions.known(asked):
        account = knobs.accounts.get(session.account.user_name)
    return account or unauthenticated("BASIC" if knobs.basic_allowed else "BEARER")


def unauthenticated(scheme: str = "BASIC") -> Reply:
    """The 401 of an instance: the connection is closed and the cookies are cleared."""
    reply = failure(401, "User Not Authenticated", "Required to provide Auth information")
    reply.headers["WWW-Authenticate"] = f'{scheme} realm="Service-now"'
    reply.cookies = [
        "glide_user=; Max-Age=0; Expires=Thu, 01-Jan-1970 00:00:10 GMT; Path=/; HttpOnly",
        "glide_user_session=; Max-Age=0; Path=/; HttpOnly",
    ]
    reply.close = True
    return reply


def _basic(sim: Simulator, encoded: str) -> Account | None:
    try:
        name, _, password = base64.b64decode(encoded).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    account = sim.knobs.accounts.get(name)
    return account if account is not None and account.password == password else None

"""Who is asking: basic authentication, bearer tokens, API keys."""

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
    scheme, _, rest = asked.headers.get("authorization", "").partition(" ")
    account: Account | None = None
    if scheme.lower() == "basic" and sim.knobs.basic_allowed:
        account = _basic(sim, rest)
    return account or unauthenticated()


def unauthenticated() -> Reply:
    """The 401 of an instance: the connection is closed and the cookies are cleared."""
    reply = failure(401, "User Not Authenticated", "Required to provide Auth information")
    reply.headers["WWW-Authenticate"] = 'BASIC realm="Service-now"'
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

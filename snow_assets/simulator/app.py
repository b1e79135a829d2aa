"""Which part of the instance answers a request: sign-in, sessions and limits first, then the APIs by path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from snow_assets.simulator.access import Access
from snow_assets.simulator.aggregate import statistics
from snow_assets.simulator.knobs import Account
from snow_assets.simulator.request_log import Logged
from snow_assets.simulator.signin import sign_in
from snow_assets.simulator.tables import Place, list_rows, one_row
from snow_assets.simulator.wire import Asked, Reply, failure

if TYPE_CHECKING:
    from snow_assets.simulator.instance import Simulator

_TABLE = re.compile(r"^/api/now/(v\d+/)?table/([^/]+)(?:/([^/]+))?/?$")
_STATS = re.compile(r"^/api/now/(?:v\d+/)?stats/([^/]+)/?$")


class App:
    """Answers requests from the simulator's rows."""

    def __init__(self, sim: Simulator) -> None:
        """Serve ``sim``."""
        self.sim = sim

    def __call__(self, asked: Asked) -> Reply:
        """The answer to one request; never raises for what a client sent."""
        account = sign_in(self.sim, asked)
        if isinstance(account, Reply):
            reply = account
        else:
            reply = self._route(asked, account)
        user = "" if isinstance(account, Reply) else account.user_name
        self.sim.requests.add(
            Logged(asked.method, asked.path, asked.params, reply.status, len(reply.ids), "", user, reply.kind)
        )
        return reply

    def _route(self, asked: Asked, account: Account) -> Reply:
        access = Access(self.sim.store, self.sim.shapes, self.sim.knobs, account)
        if match := _TABLE.match(asked.path):
            version, table, sys_id = match.groups()
            place = Place(version or "")
            return one_row(access, asked, place, table, sys_id) if sys_id else list_rows(access, asked, place, table)
        if match := _STATS.match(asked.path):
            return statistics(access, asked, match[1])
        return failure(400, "Requested URI does not represent any resource")

"""Which part of the instance answers a request: front end, sign-in, session and limits, the API, faults, the log."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import uuid4

from snow_assets.simulator import attachments
from snow_assets.simulator.access import Access
from snow_assets.simulator.aggregate import statistics
from snow_assets.simulator.control import PREFIX, control
from snow_assets.simulator.fault_kinds import KINDS, LOGIN, Context
from snow_assets.simulator.formats import as_xml, wanted
from snow_assets.simulator.import_sets import import_row, imported_row
from snow_assets.simulator.insert_multiple import insert_multiple
from snow_assets.simulator.knobs import Account
from snow_assets.simulator.request_log import Logged
from snow_assets.simulator.sessions import QueueFullError, Session, Waits
from snow_assets.simulator.signin import sign_in
from snow_assets.simulator.tables import Place, list_rows, one_row
from snow_assets.simulator.wire import HTML, Asked, Reply, failure
from snow_assets.simulator.writes import write_row

if TYPE_CHECKING:
    from snow_assets.simulator.instance import Simulator

_TABLE = re.compile(r"^/api/now/(v\d+/)?table/([^/]+)(?:/([^/]+))?/?$")
_IMPORT = re.compile(r"^/api/now/(v\d+/)?import/([^/]+)(?:/([^/]+))?/?$")
_STATS = re.compile(r"^/api/now/(?:v\d+/)?stats/([^/]+)/?$")
_ATTACHMENT = re.compile(r"^/api/now/(?:v\d+/)?attachment(?:/([^/]+)(/file)?)?/?$")
_LOGGED_BODY = 2_000
_QUOTA = {"a": "execution_time_500", "b": "execution_time_in_200", "c": "execution_time_broken"}


class App:
    """Answers requests from the simulator's rows."""

    def __init__(self, sim: Simulator, stopping: threading.Event) -> None:
        """Serve ``sim``; waits end early when ``stopping`` is set."""
        self.sim, self.stopping = sim, stopping

    def __call__(self, asked: Asked) -> Reply:
        """The answer to one request; never raises for what a client sent."""
        if asked.path.startswith(PREFIX):
            return control(self.sim, asked)
        for watcher in self.sim.watchers:
            watcher(asked)
        self.sim.transforms.tick()
        asked.method = asked.headers.get("x-http-method-override", asked.method).upper()
        if refused := self._front_end(asked):
            return self._finished(asked, refused, None)
        if asked.path == "/oauth_token.do":
            return self._finished(asked, self.sim.tokens.answer(asked), None)
        account = sign_in(self.sim, asked)
        if isinstance(account, Reply):
            return self._finished(asked, account, None)
        session = self.sim.sessions.open(asked, account)
        try:
            with self.sim.sessions.transaction(session) as waits:
                reply = self._finished(asked, self._transaction(asked, session, waits), session)
                self._pass_time(reply)
                return reply
        except QueueFullError as overflow:
            return self._finished(asked, overflow.reply, session)

    def _front_end(self, asked: Asked) -> Reply | None:
        if asked.method == "CONNECT":
            return Reply(
                403, b"<html><body><h1>CONNECT is refused: plain http only</h1></body></html>", HTML, close=True
            )
        if len(asked.target) > self.sim.knobs.request_line_limit:
            return Reply(414, b"<html><body><h1>Request-URI Too Long</h1></body></html>", HTML, close=True)
        if asked.path == "/login.do":
            return Reply(200, LOGIN.encode(), HTML)
        return None

    def _transaction(self, asked: Asked, session: Session, waits: Waits) -> Reply:
        headers, refused = self.sim.sessions.rate(asked, session.account)
        if refused:
            detail = f"Rate limit of {headers['X-RateLimit-Limit']} requests per hour for Table API exceeded"
            reply = failure(429, "Rate limit exceeded", detail)
        else:
            reply = self._worded(asked, session.account)
        reply.headers |= headers | {
            "X-Is-Logged-In": "true",
            "X-Transaction-ID": uuid4().hex[:12],
            "Server-Timing": f"sem_wait;dur={waits.semaphore * 1000:.0f}, sesh_wait;dur={waits.session * 1000:.0f}",
            "Cache-Control": "no-cache,no-store,must-revalidate,max-age=-1",
            "Pragma": "no-store,no-cache",
            "X-Content-Type-Options": "nosniff",
        }
        if session.fresh:
            reply.cookies += self.sim.sessions.cookies_of(session, secure=asked.host.startswith("https://"))
        return reply

    def _worded(self, asked: Asked, account: Account) -> Reply:
        form = wanted(asked)
        if not form and "/file" not in asked.path:
            return failure(406, "Not acceptable")
        access = Access(self.sim, account)
        reply = self._not_done(asked) or self._route(asked, access)
        return as_xml(reply) if form == "xml" and reply.kind != "file" else reply

    def _not_done(self, asked: Asked) -> Reply | None:
        """The answer to a write that a fault keeps from being done."""
        match = _TABLE.match(asked.path) or _IMPORT.match(asked.path)
        if match is None or asked.method in ("GET", "HEAD"):
            return None
        pending = Reply(201 if asked.method == "POST" else 200, b'{"result":{}}', kind="write", table=match[2])
        pending.ids = [match[3]] if match[3] else []
        return self.sim.faults.instead(asked, pending, self._context(asked, None))

    def _context(self, asked: Asked, session: Session | None) -> Context:
        return Context(asked, self.sim.clock.timestamp(), self._again(session))

    def _route(self, asked: Asked, access: Access) -> Reply:
        reading = asked.method in ("GET", "HEAD")
        if match := _TABLE.match(asked.path):
            version, table, sys_id = match.groups()
            place = Place(version or "")
            if not reading:
                return write_row(access, asked, place, table, sys_id)
            return one_row(access, asked, place, table, sys_id) if sys_id else list_rows(access, asked, place, table)
        if match := _IMPORT.match(asked.path):
            return _import(access, asked, Place(match[1] or ""), match[2], match[3])
        if not reading:
            return failure(405, "Method not supported")
        if match := _STATS.match(asked.path):
            return statistics(access, asked, match[1])
        if match := _ATTACHMENT.match(asked.path):
            sys_id, file = match.groups()
            if not sys_id:
                return attachments.list_attachments(access, asked)
            return (attachments.attachment_file if file else attachments.attachment)(access, asked, sys_id)
        return failure(400, "Requested URI does not represent any resource")

    def _finished(self, asked: Asked, reply: Reply, session: Session | None) -> Reply:
        """Apply the quota and the faults that are due, and log the request."""
        knobs, context = self.sim.knobs, self._context(asked, session)
        rows = len(reply.ids)
        done = reply.kind == "write" and not reply.fault
        written = tuple(reply.ids) if done else ()
        if reply.delivery.delay > knobs.quota:
            reply.delivery.delay = knobs.quota
            reply = KINDS[_QUOTA[knobs.quota_shape]].apply(reply, context, {})
        reply, faults = self.sim.faults.apply(asked, reply, context)
        who = session.account.user_name if session else ""
        name = session.session_id if session else ""
        self.sim.requests.add(
            Logged(
                asked.method,
                asked.path,
                asked.params,
                reply.status,
                rows,
                name,
                who,
                reply.kind,
                faults,
                written,
                asked.body[:_LOGGED_BODY].decode(errors="replace") if reply.kind == "write" else "",
            )
        )
        return reply

    def _again(self, session: Session | None) -> Callable[[Asked], Reply]:
        """How a fault asks for other rows than those requested."""

        def ask(asked: Asked) -> Reply:
            return self._route(asked, Access(self.sim, session.account)) if session else failure(401, "no session")

        return ask

    def _pass_time(self, reply: Reply) -> None:
        """Be busy for as long as the answer takes, holding the session and the semaphore."""
        delay, reply.delivery.delay = reply.delivery.delay, 0.0
        if delay > 0:
            self.stopping.wait(delay)


def _import(access: Access, asked: Asked, place: Place, staging: str, rest: str | None) -> Reply:
    """The Import Set API."""
    if asked.method == "POST" and rest == "insertMultiple":
        return insert_multiple(access, asked, staging)
    if asked.method == "POST" and rest is None:
        return import_row(access, asked, place, staging)
    if asked.method in ("GET", "HEAD") and rest:
        return imported_row(access, asked, place, staging, rest)
    return failure(405, "Method not supported")

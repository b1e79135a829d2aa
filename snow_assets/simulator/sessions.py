"""Sessions and load: one transaction per session at a time, a few per node, a queue for each, and rate rules."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from snow_assets.simulator.clock import Clock
from snow_assets.simulator.knobs import Account, Knobs
from snow_assets.simulator.wire import Asked, Reply, failure

_COOKIE = re.compile(r"([^=;\s]+)=([^;]*)")


class QueueFullError(Exception):
    """A queue is full; ``reply`` is what the client gets."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


@dataclass(slots=True)
class _Gate:
    """``slots`` may be inside, ``queue`` may wait."""

    slots: int
    queue: int
    inside: int = 0
    waiting: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def enter(self, overflow: Reply) -> float:
        """Wait for a slot; returns the seconds waited. Raises QueueFullError when the queue is full."""
        begun = time.perf_counter()
        with self.changed:
            if self.inside >= self.slots and self.waiting >= self.queue:
                raise QueueFullError(overflow)
            self.waiting += 1
            while self.inside >= self.slots:
                self.changed.wait(1.0)
            self.waiting -= 1
            self.inside += 1
        return time.perf_counter() - begun

    def leave(self) -> None:
        with self.changed:
            self.inside -= 1
            self.changed.notify()


@dataclass(slots=True)
class Session:
    """A client's session: who signed in, on which node, and whether this request opened it."""

    session_id: str
    account: Account
    node: int
    used: float
    gate: _Gate
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds that a request spent in the two queues."""

    session: float = 0.0
    semaphore: float = 0.0


class Sessions:
    """All sessions and nodes of an instance."""

    def __init__(self, knobs: Knobs, clock: Clock) -> None:
        """Nodes appear as they are used."""
        self._knobs, self._clock = knobs, clock
        self._sessions: dict[str, Session] = {}
        self._nodes: dict[int, _Gate] = {}
        self._rates: dict[tuple[int, str, int], int] = {}
        self._count = 0
        self._lock = threading.Lock()

    def known(self, asked: Asked) -> Session | None:
        """The live session that the request's cookie names."""
        session_id = cookies(asked).get("JSESSIONID", "")
        with self._lock:
            session = self._sessions.get(session_id)
            if session is not None and time.monotonic() - session.used > self._knobs.session_idle:
                del self._sessions[session_id]
                return None
            return session

    def open(self, asked: Asked, account: Account) -> Session:
        """The session of a request: its own, or a new one."""
        session = self.known(asked)
        if session is not None and session.account.user_name == account.user_name:
            session.used, session.fresh = time.monotonic(), False
            return session
        with self._lock:
            self._count += 1
            session_id = hashlib.md5(f"session {self._count}".encode(), usedforsecurity=False).hexdigest()[:32].upper()
            gate = _Gate(1, self._knobs.session_waiters)
            session = Session(session_id, account, self._node_of(asked), time.monotonic(), gate)
            self._sessions[session_id] = session
            self._forget_idle()
            return session

    @contextmanager
    def transaction(self, session: Session) -> Iterator[Waits]:
        """Hold the session's and the node's slot. Raises QueueFullError."""
        with self._lock:
            node = self._nodes.setdefault(session.node, _Gate(self._knobs.node_slots, self._knobs.node_queue))
            node.slots, node.queue = self._knobs.node_slots, self._knobs.node_queue
        gate = session.gate if self._knobs.session_lock else None
        waited = gate.enter(Reply(202, b"")) if gate else 0.0
        try:
            busy = node.enter(failure(429, "Too many requests"))
            try:
                yield Waits(waited, busy)
            finally:
                node.leave()
        finally:
            session.used = time.monotonic()
            if gate:
                gate.leave()

    def rate(self, asked: Asked, account: Account) -> tuple[dict[str, str], bool]:
        """Headers of the strictest rate rule that applies, and whether it refuses this request."""
        headers: dict[str, str] = {}
        refused = False
        now = self._clock.timestamp()
        for at, rule in enumerate(self._knobs.rate_rules):
            if not asked.path.startswith(rule.path):
                continue
            window = int(now // rule.window_seconds)
            with self._lock:
                count = self._rates[at, account.user_name, window] = (
                    self._rates.get((at, account.user_name, window), 0) + 1
                )
            reset = (window + 1) * rule.window_seconds
            headers = {
                "X-RateLimit-Limit": str(rule.limit),
                "X-RateLimit-Reset": str(reset),
                "X-RateLimit-Rule": rule.rule_id,
            }
            if count > rule.limit:
                headers["Retry-After"] = str(max(1, int(reset - now)))
                refused = True
                break
        return headers, refused

    def cookies_of(self, session: Session, *, secure: bool) -> list[str]:
        """What a new session sets: itself, the node, the load balancer's pool member."""
        flags = "; HttpOnly; Secure" if secure else "; HttpOnly"
        return [
            f"JSESSIONID={session.session_id}; Path=/{flags}",
            f"glide_user_route=glide.{_node_name(session.node)}; Max-Age=2147483647; Path=/{flags}",
            "BIGipServerpool_simulator=2877876746.40766.0000; path=/; HttpOnly",
        ]

    def end_all(self) -> None:
        """Forget every session, as a restart does."""
        with self._lock:
            self._sessions.clear()

    def _node_of(self, asked: Asked) -> int:
        route = cookies(asked).get("glide_user_route", "")
        for node in range(self._knobs.nodes):
            if route == f"glide.{_node_name(node)}":
                return node
        return self._count % max(1, self._knobs.nodes)

    def _forget_idle(self) -> None:
        if self._count % 500 == 0:
            now, idle = time.monotonic(), self._knobs.session_idle
            self._sessions = {key: one for key, one in self._sessions.items() if now - one.used <= idle}


def cookies(asked: Asked) -> dict[str, str]:
    """The cookies of a request."""
    return dict(_COOKIE.findall(asked.headers.get("cookie", "")))


def _node_name(node: int) -> str:
    return hashlib.md5(f"node {node}".encode(), usedforsecurity=False).hexdigest()

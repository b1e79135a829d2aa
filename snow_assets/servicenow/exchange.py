"""What is exchanged between a sans-I/O procedure and whoever drives it.

A *procedure* is a generator. It yields steps and receives replies:

=============  ==========================================  ===================================
step           the driver does                             the reply
=============  ==========================================  ===================================
``Send``       one request; transport faults are caught    an ``Answer``
``Wait``       sleeps, or pauses every thread (shared)     ``None``
``Deliver``    hands a checked page to the consumer        ``None``
=============  ==========================================  ===================================

and returns its result. Threads and asyncio only drive; every rule lives in procedures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

DisplayValue: TypeAlias = Literal["true", "false", "all"]

# What a request is for; the ledger counts by it.
Purpose: TypeAlias = Literal[
    "clock",
    "count",
    "probe",
    "columns",
    "account",
    "boundary",
    "page",
    "tail",
    "sweep",
    "repair",
    "lookup",
    "record",
    "file",
    "health",
    "create",
    "update",
    "delete",
    "import",
]
Method: TypeAlias = Literal["GET", "POST", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Sink:
    """Where the body of a 200 goes instead of memory: the local file ``path``, written anew.

    Nothing is read beyond ``most`` bytes. The exchange may take ``seconds`` longer than the time-outs say, and ends
    when ``stopped`` says so.
    """

    path: Path
    most: int
    seconds: float = 0.0
    stopped: Callable[[], bool] = bool


@dataclass(frozen=True, slots=True)
class Stored:
    """A body that lies in a file: its bytes, their SHA-256 in hex, and its beginning."""

    size: int
    sha256: str
    head: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the instance: ``path`` (from the root) and query parameters, in order. ``body`` is JSON."""

    path: str
    params: Mapping[str, str]
    purpose: Purpose
    fresh: bool = False  # in a session of its own: no cookie is sent or kept
    sink: Sink | None = None
    method: Method = "GET"
    body: bytes | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What its body asks for, beside who sends it."""
        return {} if self.body is None else {"Content-Type": "application/json"}

    @property
    def limit(self) -> int:
        """Rows asked for; 0 where the request has no ``sysparm_limit``."""
        return int(self.params.get("sysparm_limit", "0"))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status, headers (lower-case names) and the decoded body.

    ``fault`` names a transport fault (``timeout``, ``connection_reset``, ``truncated_body``, ...: a name of
    the table of faults); then ``status`` is 0 and ``body`` is empty. ``detail`` is a line without secrets.
    ``stored`` is set, and ``body`` is empty, where the request had a sink that took the body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float = 0.0
    fault: str = ""
    detail: str = ""
    stored: Stored | None = None

    @property
    def size(self) -> int:
        """Bytes of the body, wherever it is."""
        return len(self.body) if self.stored is None else self.stored.size


@dataclass(frozen=True, slots=True)
class Send:
    """Step: send ``request``, reply with its ``Answer``."""

    request: Request


@dataclass(frozen=True, slots=True)
class Wait:
    """Step: wait ``seconds``. ``shared`` pauses every thread of the client, once. ``kind`` is counted.

    ``outage``: the others wait on until the request that follows, of purpose ``health``, finds the instance there.
    """

    seconds: float
    kind: Literal["backoff", "rate_limit", "overload", "outage"]
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Checked records of one answer. ``ids[i]`` is the sys_id of ``records[i]``."""

    records: list[Any]
    ids: list[str]
    size: int  # bytes of the decoded body
    repaired: bool = False  # fetched by sys_id after the sweep: out of order


@dataclass(frozen=True, slots=True)
class Deliver:
    """Step: hand ``page`` to the consumer; returns when the consumer has taken it."""

    page: Page


Step: TypeAlias = Send | Wait | Deliver
T = TypeVar("T")
Procedure: TypeAlias = Generator[Step, Answer | None, T]


@dataclass(slots=True)
class Tally:
    """What a procedure cost the instance and why it waited. Drivers and procedures add to it; not thread-safe."""

    requests: int = 0
    retries: int = 0
    rows: int = 0  # rows that the instance sent, of any purpose
    bytes: int = 0
    counts: int = 0  # requests that made the instance count
    purposes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    # Seconds by kind: backoff, rate_limit, overload, outage, governor, answer.
    waited: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add the figures of ``other`` to this one."""
        self.requests += other.requests
        self.retries += other.retries
        self.rows += other.rows
        self.bytes += other.bytes
        self.counts += other.counts
        self.purposes.update(other.purposes)
        self.faults.update(other.faults)
        self.waited.update(other.waited)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON: seconds rounded to milliseconds."""
        return {
            "requests": self.requests,
            "retries": self.retries,
            "rows": self.rows,
            "bytes": self.bytes,
            "counts": self.counts,
            "purposes": dict(sorted(self.purposes.items())),
            "faults": dict(sorted(self.faults.items())),
            "waited": {kind: round(seconds, 3) for kind, seconds in sorted(self.waited.items())},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Tally:
        """The inverse of ``as_dict``."""
        return cls(
            requests=data["requests"],
            retries=data["retries"],
            rows=data["rows"],
            bytes=data["bytes"],
            counts=data["counts"],
            purposes=Counter(data["purposes"]),
            faults=Counter(data["faults"]),
            waited=Counter(data["waited"]),
        )

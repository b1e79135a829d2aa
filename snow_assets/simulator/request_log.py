"""The log of what was asked of a simulated instance."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Logged:
    """One answered request. ``rows``: sys_ids on the page; ``fault``: the kinds of fault that were applied.

    Of a write, ``written`` are the sys_ids that were written, whatever was answered (of an import, the staged row or
    the import set), and ``body`` is how the request's body begins.
    """

    method: str
    path: str
    params: dict[str, str]
    status: int
    rows: int
    session: str
    user: str
    kind: str
    fault: str = ""
    written: tuple[str, ...] = ()
    body: str = ""

    @property
    def query(self) -> str:
        """Its ``sysparm_query``."""
        return self.params.get("sysparm_query", "")


class RequestLog:
    """The newest requests, oldest first; ``total`` counts all of them. Iterate, index or filter it."""

    def __init__(self, size: int = 100_000) -> None:
        """Keep at most ``size`` requests."""
        self._entries: deque[Logged] = deque(maxlen=size)
        self._lock = threading.Lock()
        self.total = 0

    def add(self, entry: Logged) -> None:
        """Append one."""
        with self._lock:
            self._entries.append(entry)
            self.total += 1

    def clear(self) -> None:
        """Forget everything, the total too."""
        with self._lock:
            self._entries.clear()
            self.total = 0

    def find(self, **wanted: Any) -> list[Logged]:
        """The entries whose attributes equal ``wanted``: ``find(kind="list", status=200)``."""
        return [entry for entry in self if all(getattr(entry, name) == value for name, value in wanted.items())]

    def as_documents(self) -> list[dict[str, Any]]:
        """Plain data, for the control interface."""
        return [asdict(entry) for entry in self]

    def __iter__(self) -> Iterator[Logged]:
        with self._lock:
            return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, at: int) -> Logged:
        return self._entries[at]

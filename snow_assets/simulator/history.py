"""Every version that each row of a table had, and when: the truth that a reading of a changing table is held against.

Moments are whole numbers: each change of a row of the table begins a new one, and so does ``tick``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from snow_assets.simulator.dictionary import family
from snow_assets.simulator.store import Row, Store


@dataclass(frozen=True, slots=True)
class Version:
    """A row as it was from the moment ``since`` on; ``row`` is None while it was not there."""

    since: int
    row: Row | None


class History:
    """The versions of the rows of one table, from the moment on at which this is made."""

    def __init__(self, store: Store, table: str) -> None:
        """Note the rows as they are, and listen to ``store``."""
        self._lock = threading.Lock()
        self._classes = family(table)
        self._moment = 0
        self.changes = 0
        with store.lock:
            rows = store.rows_of(table)
            self._versions = {sys_id: [Version(0, rows[sys_id])] for sys_id in store.view(table).ids}
            store.on_row.append(self._note)

    @property
    def moment(self) -> int:
        """Now."""
        with self._lock:
            return self._moment

    def tick(self) -> int:
        """Begin a new moment, for a change that is not one of a row; returns it."""
        with self._lock:
            self._moment += 1
            return self._moment

    def sys_ids(self) -> list[str]:
        """The sys_ids of all rows that ever were."""
        with self._lock:
            return sorted(self._versions)

    def between(self, sys_id: str, start: int, end: int) -> Iterator[Row | None]:
        """The versions that a row had at any time from the moment ``start`` to ``end``, both included, in order.

        None stands for a time at which it was not there.
        """
        with self._lock:
            versions = list(self._versions.get(sys_id, ()))
        if not versions or versions[0].since > start:
            yield None
        for at, version in enumerate(versions):
            ends = versions[at + 1].since - 1 if at + 1 < len(versions) else end
            if version.since <= end and ends >= start:
                yield version.row

    def _note(self, table: str, sys_id: str, new: Row | None) -> None:
        if table not in self._classes and sys_id not in self._versions:
            return
        with self._lock:
            self._moment += 1
            self.changes += 1
            row = new if table in self._classes else None
            self._versions.setdefault(sys_id, []).append(Version(self._moment, row))

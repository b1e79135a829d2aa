"""What a loader asks for, and what answers: a client, an async client, or a published dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias, TypedDict

from snow_assets.documents.cells import Record, cell_of
from snow_assets.documents.journals import Readings
from snow_assets.servicenow.records import OnIncomplete, Report

Kind: TypeAlias = Literal["journals", "relations", "bodies"]


class Reading(TypedDict, total=False):
    """Options of a reading. ``limit``: the most documents. ``on_incomplete``: ``raise``, or ``warn`` and go on."""

    limit: int | None
    on_incomplete: OnIncomplete


class LazyReading(Reading, total=False):
    """Besides: ``since``, an aware moment; only records that were updated at it or after it."""

    since: datetime | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """The records that are read. ``fields`` empty means all; those in ``may_lack`` are left out of tables without."""

    table: str
    query: str = ""
    fields: tuple[str, ...] = ()
    may_lack: frozenset[str] = frozenset()
    since: datetime | None = None
    limit: int | None = None
    on_incomplete: OnIncomplete = "raise"

    def arguments(self) -> dict[str, Any]:
        """Arguments of ``get_records`` and its twins."""
        return {
            "table": self.table,
            "query": self.query,
            "fields": self.fields or None,
            "display_value": "all",
            "since": self.since,
            "limit": self.limit,
            "on_incomplete": self.on_incomplete,
            "absent_fields": self.may_lack,
        }


@dataclass(frozen=True, slots=True)
class Published:
    """What the pull ``name`` has published below ``data`` (``SNOW_DATA_DIR`` where left out), as it is when it is read.

    The pull must land labels and stored values both (``display_value: all``). ``journals`` names a published pull of
    sys_journal_field, for ``include_journals``; ``relations`` one of cmdb_rel_ci, for ``include_relationships``.
    """

    name: str
    data: str | None = None
    journals: str | None = None
    relations: str | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Something that belongs to the records of a batch: ``about`` is whatever its kind needs."""

    kind: Kind
    records: Sequence[Record]
    about: Any = None


Added: TypeAlias = Mapping[Kind, Mapping[str, Any]]
"""What was answered, by sys_id of the record."""


class Stream(Protocol):
    """Records that come, and how far they came."""

    @property
    def report(self) -> Report:
        """The figures as they are now."""

    def __iter__(self) -> Iterator[Any]: ...

    def close(self) -> None:
        """Stop."""


class Source(Protocol):
    """What a loader reads from without asyncio. ``chunk``: documents that a thread hands on at once.

    Up to ``ahead`` answers may be asked for at once. ``entries`` knows what those of journals came to.
    """

    entries: Readings
    url: str
    chunk: int
    ahead: int

    def records(self, wanted: Wanted, workers: int | None) -> Stream:
        """The records: in order, or in any order with so many workers."""

    def answer(self, ask: Ask) -> Mapping[str, Any]:
        """What was asked for, by sys_id."""


def ids_of(ask: Ask) -> list[str]:
    """The sys_ids of the records that it is about."""
    return [cell_of(record, "sys_id").value for record in ask.records]

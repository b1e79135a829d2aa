"""Journal entries: read for many records at once, told oldest first."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from snow_assets.documents.cells import Record, cell_of, readable
from snow_assets.documents.recipes import ELEMENTS, label_of
from snow_assets.errors import ForbiddenError
from snow_assets.servicenow.proof import Cause
from snow_assets.servicenow.records import Report

TABLE: Final = "sys_journal_field"
FIELDS: Final = ("element_id", "element", "value", "sys_created_on", "sys_created_by")
HINT: Final = "grant the account read access to sys_journal_field, or leave include_journals out"
BATCH: Final = 60  # records whose entries one request asks for: 2,200 characters of its address
PAGE: Final = 1_000  # entries
MANY: Final = 200  # hidden entries, with none that is shown, are believed before the end


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """What somebody wrote into a journal field, when (stored, UTC), as which user; ordered by age."""

    created: str
    sys_id: str
    element: str
    author: str
    text: str

    def __str__(self) -> str:
        label = ELEMENTS.get(self.element) or label_of(self.element)
        head = ", ".join(part for part in (readable(self.created), self.author, label) if part)
        return f"{head}:\n{self.text}"


def entries_query(sys_ids: Sequence[str], elements: Sequence[str]) -> str:
    """The query that finds the entries of these records."""
    return f"element_idIN{','.join(sys_ids)}^elementIN{','.join(elements)}"


def entry_of(record: Record) -> tuple[str, Entry]:
    """The sys_id of the record that an entry belongs to, and the entry."""
    value = {field: cell_of(record, field).value for field in ("sys_id", *FIELDS)}
    text = value["value"].replace("\r\n", "\n").strip()
    entry = Entry(value["sys_created_on"], value["sys_id"], value["element"], value["sys_created_by"], text)
    return value["element_id"], entry


def by_record(records: Iterable[Record]) -> dict[str, list[Entry]]:
    """Entries by the sys_id of their record, oldest first."""
    found: dict[str, list[Entry]] = {}
    for record in records:
        sys_id, entry = entry_of(record)
        found.setdefault(sys_id, []).append(entry)
    for entries in found.values():
        entries.sort()
    return found


def lines_of(entries: Mapping[str, Sequence[Entry]], sys_id: str) -> list[str]:
    """A record's entries as text."""
    return [str(entry) for entry in entries.get(sys_id, ())]


class Readings:
    """What the readings of entries came to, for the report of the records. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests = self._retries = self._hidden = self._shown = 0

    def add(self, report: Report) -> None:
        """Note one. Raises ``ForbiddenError`` where many entries were counted and none was shown so far."""
        with self._lock:
            self._requests += report.requests
            self._retries += report.retries
            self._hidden += report.hidden or 0
            self._shown += report.delivered
        if self._hidden > MANY:
            self.end()

    def end(self) -> None:
        """Raises ``ForbiddenError`` where entries were counted and none was shown.

        Those of a few records may be hidden while the account sees others: one batch proves nothing.
        """
        if self._hidden and not self._shown:
            message = f"{self._hidden:,} journal entries were counted, and the instance hides them from this account"
            raise ForbiddenError(message, key="table", value=TABLE, hint=HINT)

    def told(self, report: Report) -> Report:
        """The report of the records, with what their entries cost, and those that are hidden, which are no rows."""
        found = replace(report, requests=report.requests + self._requests, retries=report.retries + self._retries)
        if not self._hidden:
            return found
        cause = Cause("hidden_journals", 0, f"{self._hidden:,} journal entries are hidden from this account")
        return replace(found, differences=(*found.differences, cause))


@contextmanager
def reading() -> Iterator[None]:
    """A refusal says what it means for documents."""
    try:
        yield
    except ForbiddenError as error:
        key, value = error.key or "table", error.value or TABLE
        raise ForbiddenError(error.message, key=key, value=value, hint=HINT) from error


def arguments(sys_ids: Sequence[str], elements: Sequence[str]) -> dict[str, Any]:
    """Arguments of ``get_records`` and its twins."""
    query = entries_query(sys_ids, elements)
    return {"table": TABLE, "query": query, "fields": FIELDS, "display_value": "all", "page_size": PAGE}

"""An incident event log in CSV, replayed to any moment.

The file has one row for each version of an incident, with the columns of the UCI data set 498 ("Incident management
process enriched event log", Amaral, Fantinato and Peres, CC BY 4.0): plain or gzip. Times are ``d/m/YYYY HH:MM``, taken
as UTC; ``?`` is unknown and becomes an empty value. At a moment T an incident is its newest version with
``sys_updated_at <= T``. Where versions are committed late, what an incident is follows from the commits, in which the
versions of one incident never overtake each other.

People, groups, places and so on are labels in the log. They become rows of their own, there from the beginning, with
sys_ids that depend on the label alone, so that references resolve and replays agree. Values are kept as they are found,
dirty ones too; the log gives the final ``resolved_at`` and ``closed_at`` with *every* version of an incident.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from sys import intern
from typing import TextIO, TypeAlias

from snow_assets.simulator.generate import DEFAULT_ROWS, generate
from snow_assets.simulator.generate_rows import Row, named_id

Late: TypeAlias = Callable[[str, int], float]  # seconds from an update, by number and update count, to its commit

_PLAIN = {
    "number": "number",
    "active": "active",
    "reassignment_count": "reassignment_count",
    "reopen_count": "reopen_count",
    "sys_mod_count": "sys_mod_count",
    "made_sla": "made_sla",
    "sys_created_by": "sys_created_by",
    "sys_updated_by": "sys_updated_by",
    "category": "category",
    "subcategory": "subcategory",
    "u_symptom": "u_symptom",
    "knowledge": "knowledge",
    "u_priority_confirmation": "u_priority_confirmation",
    "closed_code": "close_code",
}
_TIMES = {
    "opened_at": "opened_at",
    "sys_created_at": "sys_created_on",
    "sys_updated_at": "sys_updated_on",
    "resolved_at": "resolved_at",
    "closed_at": "closed_at",
}
_CODES = {
    "contact_type": {"Phone": "phone", "Email": "email", "Self service": "self-service"},
    "notify": {"Do Not Notify": "1", "Send Email": "2"},
}
_GRADES = ("impact", "urgency", "priority")
_STATES = {
    "New": "1",
    "Active": "2",
    "Awaiting Problem": "3",
    "Awaiting Vendor": "3",
    "Awaiting User Info": "4",
    "Awaiting Evidence": "5",
    "Resolved": "6",
    "Closed": "7",
}
_HOLDS = {"Awaiting Problem": "4", "Awaiting Vendor": "5"}


@dataclass(frozen=True, slots=True)
class _Label:
    """How a label column becomes a row: the table, and the column that bears the label there."""

    table: str
    column: str = "name"


_LABELS = {
    "caller_id": _Label("sys_user"),
    "opened_by": _Label("sys_user"),
    "assigned_to": _Label("sys_user"),
    "resolved_by": _Label("sys_user"),
    "assignment_group": _Label("sys_user_group"),
    "location": _Label("cmn_location"),
    "cmdb_ci": _Label("cmdb_ci"),
    "problem_id": _Label("problem", "number"),
    "rfc": _Label("change_request", "number"),
    "caused_by": _Label("change_request", "number"),
    "vendor": _Label("core_company"),
}
_COLUMNS = (*_PLAIN, *_TIMES, *_CODES, *_GRADES, *_LABELS, "incident_state")
_CLASSES = frozenset({"cmdb_ci", "problem", "change_request", "sys_user", "core_company"})
_UNKNOWN = "?"


@dataclass(frozen=True, slots=True, order=True)
class _Version:
    """One line of the log. Its order is the order of time; the update count and the line number decide ties."""

    updated: datetime
    mod_count: int
    line: int
    cells: tuple[str, ...]


def late_by(share: float, seconds: float, seed: int = 0) -> Late:
    """Let a share of the versions be committed up to so many seconds late, chosen by ``seed``."""

    def late(number: str, mod_count: int) -> float:
        chosen, how = divmod(zlib.crc32(f"{seed} {number} {mod_count}".encode()), 1 << 16)
        return 1 + how / (1 << 16) * (seconds - 1) if chosen / (1 << 16) < share else 0.0

    return late


class EventLog:
    """The whole log in memory, in the order of its commits (about 60 MB for 120,000 versions).

    A *position* is a number of commits: those before it have been made.
    """

    def __init__(self, path: Path | str, late: Late | None = None) -> None:
        """Read the file. ``late`` tells how long after its update a version is committed; at once when None.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no such CSV (damaged, a column is missing), or a line has no usable time or update
                count; the line is named.
        """
        self.path = Path(path)
        try:
            with _open(self.path) as file:
                versions = self._read(file)
        except (gzip.BadGzipFile, zlib.error, EOFError, UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{self.path}: cannot be read as CSV: {error}") from error
        commits = self._committed(versions, late) if late else [(version.updated, version) for version in versions]
        self._moments = [moment for moment, _ in commits]
        self._versions = [version for _, version in commits]

    @property
    def start(self) -> datetime | None:
        """When the first version was committed; None for an empty log."""
        return self._moments[0] if self._moments else None

    @property
    def end(self) -> datetime | None:
        """When the last version was committed; None for an empty log."""
        return self._moments[-1] if self._moments else None

    def __len__(self) -> int:
        """The number of versions."""
        return len(self._versions)

    def position(self, moment: datetime) -> int:
        """How many versions are committed by ``moment`` (UTC where it has no zone)."""
        return bisect_right(self._moments, _utc(moment))

    def commit(self, position: int) -> tuple[datetime, Row]:
        """The commit at a position: when it is made, and the whole incident row."""
        return self._moments[position], self._row(self._versions[position])

    def rows_at(self, moment: datetime, base: Mapping[str, list[Row]] | None = None) -> dict[str, list[Row]]:
        """The tables as they were at ``moment`` (UTC where it has no zone), in the form that ``generate`` gives.

        ``base`` is what the instance holds besides the log; by default the metadata and the fixed users alone. Its
        incidents are replaced, its other tables extended by the rows that the labels stand for.
        """
        newest: dict[str, _Version] = {}
        for version in self._versions[: self.position(moment)]:
            newest[version.cells[self._at["number"]]] = version
        tables = dict(base) if base is not None else generate(dict.fromkeys(DEFAULT_ROWS, 0), 0, _utc(moment))
        for table, rows in self.referenced().items():
            tables[table] = [*tables.get(table, ()), *rows]
        tables["incident"] = [self._row(version) for version in newest.values()]
        return tables

    def changes_between(self, after: datetime, until: datetime) -> list[Row]:
        """Every version committed after ``after`` and up to ``until``, in that order: whole incident rows."""
        return [self._row(version) for version in self._versions[self.position(after) : self.position(until)]]

    def referenced(self) -> dict[str, list[Row]]:
        """The rows that the labels of the whole log stand for, by table."""
        found: dict[str, dict[str, Row]] = {}
        for column, label in _LABELS.items():
            at = self._at[column]
            rows = found.setdefault(label.table, {})
            for text in sorted({version.cells[at] for version in self._versions} - {_UNKNOWN, ""}):
                row = _label_row(label, text, self.start)
                rows.setdefault(row["sys_id"], row)
        return {table: list(rows.values()) for table, rows in found.items()}

    def _read(self, file: TextIO) -> list[_Version]:
        reader = csv.reader(file)
        self._names = tuple(next(reader, ()))
        missing = [name for name in _COLUMNS if name not in self._names]
        if missing:
            raise ValueError(f"{self.path}: not an incident event log, no column {', '.join(missing)}")
        self._at = {name: self._names.index(name) for name in _COLUMNS}
        return sorted(self._version(reader.line_num, cells) for cells in reader if cells)

    def _committed(self, versions: Iterable[_Version], late: Late) -> list[tuple[datetime, _Version]]:
        """When each version is committed: a row that is locked by one update lets the next one wait."""
        last: dict[str, datetime] = {}
        commits = []
        for version in versions:
            number = version.cells[self._at["number"]]
            moment = version.updated + timedelta(seconds=late(number, version.mod_count))
            last[number] = max(moment, last.get(number, moment))
            commits.append((last[number], version))
        return sorted(commits)

    def _version(self, line: int, cells: list[str]) -> _Version:
        try:
            updated = _moment(cells[self._at["sys_updated_at"]])
            count = int(cells[self._at["sys_mod_count"]])
        except (ValueError, IndexError) as error:
            raise ValueError(f"{self.path}, line {line}: no usable sys_updated_at and sys_mod_count") from error
        if len(cells) < len(self._names):
            raise ValueError(f"{self.path}, line {line}: {len(cells)} cells instead of {len(self._names)}")
        return _Version(updated, count, line, tuple(map(intern, cells)))

    def _row(self, version: _Version) -> Row:
        cells = {name: text for name, at in self._at.items() if (text := version.cells[at]) != _UNKNOWN}
        number = cells["number"]
        state = cells.get("incident_state", "")
        row = {
            "sys_id": named_id("event log", "incident", number),
            "sys_class_name": "incident",
            "sys_domain": "global",
            "sys_domain_path": "/",
            "task_effective_number": number,
            "short_description": f"{cells.get('category', 'Incident')}: {cells.get('u_symptom', 'unknown symptom')}",
            "state": _STATES.get(state, state),
            "incident_state": _STATES.get(state, state),
            "hold_reason": _HOLDS.get(state, ""),
        }
        row |= {target: cells.get(name, "") for name, target in _PLAIN.items()}
        row |= {target: _stored(cells[name]) for name, target in _TIMES.items() if name in cells}
        row |= {name: codes.get(cells.get(name, ""), cells.get(name, "")) for name, codes in _CODES.items()}
        row |= {name: cells.get(name, "").partition(" ")[0] for name in _GRADES}
        row |= {name: _label_id(label.table, cells[name]) for name, label in _LABELS.items() if name in cells}
        return {name: value for name, value in row.items() if value}


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


@cache
def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%d/%m/%Y %H:%M").replace(tzinfo=UTC)


@cache
def _stored(text: str) -> str:
    return _moment(text).strftime("%Y-%m-%d %H:%M:%S")


@cache
def _label_id(table: str, label: str) -> str:
    return named_id("event log", table, label)


def _label_row(label: _Label, text: str, born: datetime | None) -> Row:
    created = (born or datetime(2016, 1, 1, tzinfo=UTC)).strftime("%Y-%m-%d %H:%M:%S")
    row = {
        "sys_id": _label_id(label.table, text),
        label.column: text,
        "sys_created_on": created,
        "sys_created_by": "admin",
        "sys_updated_on": created,
        "sys_updated_by": "admin",
        "sys_mod_count": "0",
    }
    if label.table in _CLASSES:
        row["sys_class_name"] = label.table
    if label.table == "sys_user":
        row |= {"user_name": "_".join(text.lower().split()), "active": "true", "last_name": text}
    if label.column == "number":
        row |= {"short_description": f"{text} (from the event log)", "active": "true", "state": "1"}
    return row

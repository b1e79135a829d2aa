"""The truth of a replayed event log, from its CSV alone: neither the simulator's reading of it nor ours.

A log has one line for each version of an incident. ``Truth`` holds the incidents as they are after so many commits of
versions and whatever else is done to them: deletion and back, another class and back, quiet changes.
"""

from __future__ import annotations

import csv
import gzip
import random
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from io import StringIO
from pathlib import Path
from typing import TypeAlias

Texts: TypeAlias = Mapping[str, str]  # of a row, by field
Key: TypeAlias = tuple[str, str, str]  # number, sys_updated_on, sys_mod_count: what tells two versions apart

# Field of the instance: column of the log.
SAME = {
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
    "close_code": "closed_code",
}
MOMENTS = {
    "opened_at": "opened_at",
    "resolved_at": "resolved_at",
    "closed_at": "closed_at",
    "sys_created_on": "sys_created_at",
    "sys_updated_on": "sys_updated_at",
}
NUMBERED = ("impact", "urgency", "priority")  # "2 - Medium" is stored as 2
CODED = {
    "incident_state": {
        "New": "1",
        "Active": "2",
        "Awaiting Problem": "3",
        "Awaiting Vendor": "3",
        "Awaiting User Info": "4",
        "Awaiting Evidence": "5",
        "Resolved": "6",
        "Closed": "7",
    },
    "contact_type": {"Phone": "phone", "Email": "email", "Self service": "self-service"},
    "notify": {"Do Not Notify": "1", "Send Email": "2"},
}
REFERENCES = (
    "caller_id", "opened_by", "assigned_to", "resolved_by", "assignment_group", "location", "cmdb_ci", "problem_id",
    "rfc", "caused_by", "vendor",
)  # fmt: skip
FIELDS = (*SAME, *MOMENTS, *NUMBERED, *CODED, *REFERENCES)
# What a change_request has no column for, so that an incident which was one for a while has lost it.
OWN = (
    "caller_id", "caused_by", "incident_state", "notify", "problem_id", "reopen_count", "resolved_at", "resolved_by",
    "rfc", "subcategory", "u_priority_confirmation", "u_symptom", "vendor",
)  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A line of the log; its order is that of time, then update count, then line."""

    updated: datetime
    mods: int
    line: int
    cells: Texts = field(compare=False)

    @property
    def number(self) -> str:
        """Of the incident."""
        return self.cells["number"]


def read_log(path: Path) -> list[Version]:
    """All versions, in order of time. Raises ``OSError`` where there is no such file."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return sorted(
        Version(_moment(cells["sys_updated_at"]), int(cells["sys_mod_count"]), line, cells)
        for line, cells in enumerate(csv.DictReader(StringIO(content.decode("utf-8-sig"))))
    )


@cache
def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%d/%m/%Y %H:%M").replace(tzinfo=UTC)


def texts_of(version: Version) -> dict[str, str]:
    """What the fields of this version hold: stored values, of references the label."""
    cells = {name: "" if text == "?" else text for name, text in version.cells.items()}
    found = {name: cells[column] for name, column in SAME.items()}
    found |= {name: _stored(cells[column]) for name, column in MOMENTS.items()}
    found |= {name: cells[name].split(" ")[0] for name in NUMBERED}
    found |= {name: codes.get(cells[name], cells[name]) for name, codes in CODED.items()}
    return found | {name: cells[name] for name in REFERENCES}


@cache
def _stored(text: str) -> str:
    return _moment(text).strftime("%Y-%m-%d %H:%M:%S") if text else ""


def key_of(row: Texts) -> Key:
    """What tells this version from others."""
    return row["number"], row["sys_updated_on"], row["sys_mod_count"]


class Truth:
    """The table ``incident``, after so many commits of the log. What happens to it is noted in ``events``."""

    def __init__(self, versions: list[Version], late: Callable[[str, int], float] | None = None) -> None:
        """``late``: seconds from a version's update to its commit; those of one incident keep their order."""
        last: dict[str, datetime] = {}
        commits = []
        for version in versions:
            due = version.updated + timedelta(seconds=late(version.number, version.mods) if late else 0)
            last[version.number] = max(due, last.get(version.number, due))
            commits.append((last[version.number], version))
        commits.sort()
        self.commits = commits
        self._moments = [due for due, _ in commits]
        self.position = 0
        self.rows: dict[str, Texts] = {}
        self.deleted: dict[str, Texts] = {}
        self.deleted_at: dict[str, set[str]] = {}  # moments, of each deletion
        self.reclassified: dict[str, Texts] = {}
        self.once: dict[str, set[str]] = {}  # "deleted" and "reclassified", of what ever was, even if it is back
        self.events: list[tuple[str, Texts | None]] = []

    def due(self, moment: datetime) -> int:
        """How many commits there are by ``moment``."""
        return bisect_right(self._moments, moment)

    def commit(self, position: int) -> None:
        """Let the log be committed up to there. Nobody updates an incident that is deleted, or is none any more."""
        for _, version in self.commits[self.position : position]:
            if version.number not in self.deleted and version.number not in self.reclassified:
                self._set(version.number, texts_of(version))
        self.position = max(position, self.position)

    def delete(self, number: str, moment: datetime) -> None:
        """The row is gone."""
        self.once.setdefault(number, set()).add("deleted")
        self.deleted[number] = self.rows[number]
        self.deleted_at.setdefault(number, set()).add(moment.strftime("%Y-%m-%d %H:%M:%S"))
        self._set(number, None)

    def undelete(self, number: str) -> None:
        """The row is back, as it was."""
        self._set(number, self.deleted.pop(number))

    def reclassify(self, number: str) -> None:
        """The row is a change request."""
        self.once.setdefault(number, set()).add("reclassified")
        self.reclassified[number] = self.rows[number]
        self._set(number, None)

    def take_back(self, number: str, moment: datetime) -> None:
        """The change request is an incident again, and was updated twice, last at ``moment`` by an administrator."""
        row = self.reclassified.pop(number)
        stamps = {
            "sys_updated_on": moment.strftime("%Y-%m-%d %H:%M:%S"),
            "sys_updated_by": "admin",
            "sys_mod_count": str(int(row["sys_mod_count"]) + 2),
        }
        self._set(number, {**row, **dict.fromkeys(OWN, ""), **stamps})

    def change(self, number: str, **texts: str) -> None:
        """Fields of a row are changed; its clock moves only where ``texts`` say so."""
        self._set(number, {**self.rows[number], **texts})

    def _set(self, number: str, row: Texts | None) -> None:
        if row is None:
            self.rows.pop(number, None)
        else:
            self.rows[number] = row
        self.events.append((number, row))


def late_versions(share: float, seconds: int, seed: int) -> Callable[[str, int], float]:
    """Let a share of the versions be committed up to so many seconds late."""

    def late(number: str, mods: int) -> float:
        chance = random.Random(f"{seed} {number} {mods}")
        return float(chance.randint(1, seconds)) if chance.random() < share else 0.0

    return late


def write_small_log(path: Path, incidents: int = 1500, seed: int = 1) -> None:
    """Make up a log in the layout of the real one: ties of minutes, bursts, unknown values, reopened incidents."""
    chance = random.Random(seed)
    start = datetime(2016, 3, 1, 6, tzinfo=UTC)
    bursts = [start + timedelta(minutes=chance.randrange(20 * 1440)) for _ in range(6)]
    lines: list[dict[str, str]] = []
    for at in range(incidents):
        lines += _life(f"INC{at + 1:07d}", start + timedelta(minutes=chance.randrange(20 * 1440)), bursts, chance)
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def _life(number: str, opened: datetime, bursts: list[datetime], chance: random.Random) -> list[dict[str, str]]:
    steps = chance.randint(3, 9)
    gaps = [chance.choice((0, 1, chance.randint(2, 90), chance.randint(60, 2880))) for _ in range(steps)]
    fixed = {
        "caller_id": f"Caller {chance.randint(1, 200)}",
        "opened_by": f"Opened by  {chance.randint(1, 20)}",
        "opened_at": _logged(opened),
        "sys_created_by": f"Created by {chance.randint(1, 20)}",
        "sys_created_at": _logged(opened) if chance.random() < 0.7 else "?",
        "contact_type": chance.choice(("Phone", "Email", "Self service", "IVR")),
        "location": f"Location {chance.randint(1, 30)}",
        "cmdb_ci": f"computer {chance.randint(1, 9)}" if chance.random() < 0.1 else "?",
        "notify": "Do Not Notify",
        "knowledge": chance.choice(("true", "false")),
        "u_priority_confirmation": "false",
        "problem_id": "Problem ID  1" if chance.random() < 0.05 else "?",
        "rfc": "CHG0000132" if chance.random() < 0.05 else "?",
        "vendor": "?",
        "caused_by": "?",
    }
    lines, now, reopened = [], opened, 0
    burst = next((moment for moment in bursts if moment > opened), None) if chance.random() < 0.4 else None
    for mods in range(steps):
        now += timedelta(minutes=gaps[mods] if mods else 0)
        if mods == steps - 1 and burst is not None:
            now = max(now, burst)
        closed = mods == steps - 1 and chance.random() < 0.7
        reopened += mods == steps - 2 and chance.random() < 0.2
        state = "Closed" if closed else chance.choice(("New", "Active", "Awaiting User Info", "Resolved"))
        lines.append(
            {
                "number": number,
                "incident_state": state,
                "active": "false" if closed or (mods == steps - 3 and reopened) else "true",
                "reassignment_count": str(chance.randint(0, 3)),
                "reopen_count": str(int(reopened)),
                "sys_mod_count": str(mods),
                "made_sla": chance.choice(("true", "false")),
                "sys_updated_by": f"Updated by {chance.randint(1, 50)}",
                "sys_updated_at": _logged(now),
                "category": f"Category {chance.randint(1, 20)}",
                "subcategory": f"Subcategory {chance.randint(1, 50)}",
                "u_symptom": f"Symptom {chance.randint(1, 50)}" if chance.random() < 0.6 else "?",
                "impact": "2 - Medium",
                "urgency": chance.choice(("1 - High", "2 - Medium")),
                "priority": chance.choice(("2 - High", "3 - Moderate")),
                "assignment_group": f"Group {chance.randint(1, 30)}",
                "assigned_to": f"Resolver {chance.randint(1, 60)}" if mods else "?",
                "closed_code": f"code {chance.randint(1, 9)}" if closed else "?",
                "resolved_by": f"Resolved by {chance.randint(1, 30)}" if closed else "?",
                "resolved_at": _logged(now) if closed else "?",
                "closed_at": _logged(now) if closed else "?",
                **fixed,
            }
        )
        if burst is not None and chance.random() < 0.1:  # updates of one minute, their counts apart
            gaps[min(mods + 1, steps - 1)] = 0
    return lines


def _logged(moment: datetime) -> str:
    return f"{moment.day}/{moment.month}/{moment.year} {moment:%H:%M}"

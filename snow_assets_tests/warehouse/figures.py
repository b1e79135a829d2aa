"""The marts' figures in plain Python, from rows as an instance stores them: no SQL, nothing of the models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

Row = Mapping[str, str]
AGES = ((1, "under 1 day"), (7, "1 to 7 days"), (30, "7 to 30 days"), (90, "30 to 90 days"))
OLDEST = "over 90 days"


@dataclass(frozen=True)
class Incident:
    """What the marts know of an incident."""

    opened: datetime | None
    resolved: datetime | None
    closed: datetime | None
    ended: datetime | None
    active: bool
    priority: int
    category: str
    group: str
    reassignments: int
    reopens: int
    made_sla: bool

    @property
    def hours(self) -> float | None:
        """From opening to resolving; ``None`` where that makes no sense."""
        if self.opened is None or self.resolved is None or self.resolved < self.opened:
            return None
        return (self.resolved - self.opened).total_seconds() / 3600

    @property
    def month(self) -> date | None:
        """The month it was opened in."""
        return self.opened.date().replace(day=1) if self.opened else None


def incident(row: Row) -> Incident:
    """An incident of stored values."""
    opened, resolved, closed = (_moment(row.get(name)) for name in ("opened_at", "resolved_at", "closed_at"))
    ends = [moment for moment in (resolved, closed) if moment]
    active = row.get("active") == "true"
    last = None if active else _moment(row.get("sys_updated_on"))
    return Incident(
        opened=opened,
        resolved=resolved,
        closed=closed,
        ended=min(ends) if ends else last,
        active=active,
        priority=int(row.get("priority") or 0),
        category=row.get("category", ""),
        group=row.get("assignment_group", ""),
        reassignments=int(row.get("reassignment_count") or 0),
        reopens=int(row.get("reopen_count") or 0),
        made_sla=row.get("made_sla") == "true",
    )


def volume(incidents: Iterable[Incident], as_of: datetime) -> dict[tuple[date, int, str], list[int]]:
    """Opened, resolved and closed by day, priority and category."""
    found: dict[tuple[date, int, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for each in incidents:
        for at, moment in enumerate((each.opened, each.resolved, each.closed)):
            if moment and (at == 0 or moment <= as_of):
                found[moment.date(), each.priority, each.category][at] += 1
    return dict(found)


def backlog(incidents: list[Incident], as_of: datetime) -> dict[tuple[datetime, int, str], int]:
    """How many were open by moment, priority and age."""
    first = min(each.opened for each in incidents if each.opened)
    moments = [as_of]
    month = _next_month(first)
    while month < as_of:
        moments.append(month)
        month = _next_month(month)
    found: dict[tuple[datetime, int, str], int] = defaultdict(int)
    for moment in moments:
        for each in incidents:
            if each.opened and each.opened < moment and (each.ended is None or each.ended > moment):
                days = (moment - each.opened).total_seconds() / 86400
                age = next((name for limit, name in AGES if days < limit), OLDEST)
                found[moment, each.priority, age] += 1
    return dict(found)


def resolution(incidents: Iterable[Incident]) -> dict[tuple[date | None, str, int], tuple[float | None, ...]]:
    """Incidents, active ones, resolved ones, median and 90th percentile of hours."""

    def figures(some: list[Incident]) -> tuple[float | None, ...]:
        hours = sorted(each.hours for each in some if each.hours is not None)
        resolved = sum(each.resolved is not None for each in some)
        return len(some), sum(each.active for each in some), resolved, quantile(hours, 0.5), quantile(hours, 0.9)

    return _grouped(incidents, lambda each: each.month, figures)


def rework(incidents: Iterable[Incident]) -> dict[tuple[date | None, str, int], tuple[float | None, ...]]:
    """Incidents, reopened ones, reopens, reassigned ones, reassignments, and the two rates."""

    def figures(some: list[Incident]) -> tuple[float | None, ...]:
        reopened = sum(each.reopens > 0 for each in some)
        reassigned = sum(each.reassignments > 0 for each in some)
        counts = (len(some), reopened, sum(each.reopens for each in some), reassigned)
        return *counts, sum(each.reassignments for each in some), reopened / len(some), reassigned / len(some)

    return _grouped(incidents, lambda each: each.month, figures)


def sla(incidents: Iterable[Incident], as_of: datetime) -> dict[tuple[date | None, str, int], tuple[float | None, ...]]:
    """Incidents that ended, those that kept their SLAs, those that did not, and the rate."""

    def figures(some: list[Incident]) -> tuple[float | None, ...]:
        kept = sum(each.made_sla for each in some)
        return len(some), kept, len(some) - kept, kept / len(some)

    ended = [each for each in incidents if each.ended and each.ended <= as_of]
    return _grouped(ended, lambda each: each.ended.date().replace(day=1) if each.ended else None, figures)


def quantile(numbers: list[float], share: float) -> float | None:
    """Of sorted numbers, between neighbours on the straight line."""
    if not numbers:
        return None
    below, part = divmod((len(numbers) - 1) * share, 1)
    low = int(below)
    high = min(low + 1, len(numbers) - 1)
    return numbers[low] + (numbers[high] - numbers[low]) * part


def _grouped(
    incidents: Iterable[Incident],
    month: Callable[[Incident], date | None],
    figures: Callable[[list[Incident]], tuple[float | None, ...]],
) -> dict[tuple[date | None, str, int], tuple[float | None, ...]]:
    groups: dict[tuple[date | None, str, int], list[Incident]] = defaultdict(list)
    for each in incidents:
        groups[month(each), each.group, each.priority].append(each)
    return {key: figures(some) for key, some in groups.items()}


def _next_month(moment: datetime) -> datetime:
    first = moment.replace(day=1, hour=0, minute=0, second=0)
    return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None

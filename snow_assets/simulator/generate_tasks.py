"""Incidents, problems, changes and their tasks: consistent states, dates around now, ties, awkward texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from snow_assets.simulator import texts
from snow_assets.simulator.generate_people import SYSTEM_USERS, People
from snow_assets.simulator.generate_rows import (
    DAY,
    Column,
    Dice,
    Row,
    Source,
    build,
    dates,
    stamps,
)
from snow_assets.simulator.schema import columns_of

TASK_CLASSES = (
    "task",
    "problem",
    "change_request",
    "incident",
    "incident_task",
    "change_task",
)
"""Every class of the task family, in the order of generation."""


@dataclass(frozen=True, slots=True)
class _Life:
    """When each row of a table was opened, resolved, closed and last touched; 0 for never. Epoch seconds."""

    state: list[str]
    opened: list[int]
    resolved: list[int]
    closed: list[int]
    updated: list[int]

    @property
    def n(self) -> int:
        return len(self.state)


@dataclass(frozen=True, slots=True)
class _States:
    """The states of a class and their weights; ``resolved`` and ``closed`` are those with such a date."""

    weights: Mapping[str, float]
    resolved: frozenset[str]
    closed: frozenset[str]


_STATES = {
    "task": _States({"1": 3, "2": 3, "3": 4}, frozenset(), frozenset("3")),
    "incident": _States(
        {"1": 8, "2": 12, "3": 6, "4": 3, "5": 2, "6": 11, "7": 54, "8": 4},
        frozenset("67"),
        frozenset("78"),
    ),
    "problem": _States(
        {"101": 3, "102": 2, "103": 2, "104": 2, "106": 2, "107": 6},
        frozenset({"106", "107"}),
        frozenset({"107"}),
    ),
    "change_request": _States(
        {"-5": 2, "-4": 2, "-3": 1, "-2": 2, "-1": 2, "0": 2, "3": 12, "4": 1},
        frozenset(),
        frozenset("34"),
    ),
    "incident_task": _States({"1": 3, "2": 3, "3": 5, "4": 1}, frozenset(), frozenset("34")),
    "change_task": _States({"-5": 1, "1": 3, "2": 2, "3": 6}, frozenset(), frozenset("3")),
}
_PREFIX = {"task": "TASK", "incident": "INC", "problem": "PRB", "change_request": "CHG", "incident_task": "TASK3",
           "change_task": "CTASK"}  # fmt: skip


def make_tasks(
    source: Source,
    counts: Mapping[str, int],
    people: People,
    items: Sequence[str],
    services: Sequence[str],
) -> dict[str, list[Row]]:
    """Rows of every task class; ``items`` and ``services`` are sys_ids of configuration items to refer to."""
    tables: dict[str, list[Row]] = {}
    for name in TASK_CLASSES:
        dice = source.dice(name)
        life = _lives(source, dice, name, counts[name])
        columns = _common(dice, name, life, people, items, services)
        columns |= _EXTRAS.get(name, _nothing)(dice, life, people, tables)
        tables[name] = build(columns, life.n)
    return tables


def _lives(source: Source, dice: Dice, name: str, n: int) -> _Life:
    """Open rows are mostly younger than 80 days, closed ones up to three years old."""
    states = _STATES[name]
    state = dice.pick(tuple(states.weights), n, tuple(states.weights.values()))
    done = states.closed | states.resolved
    old, young = dice.integers(n, 2 * DAY, 1000 * DAY), dice.skewed(n, 90 * DAY)
    opened = [source.now - (o if s in done else y + 300) for s, o, y in zip(state, old, young, strict=True)]
    _tie(dice, opened, source.now)
    spent = dice.skewed(n, 30 * 1440)
    room = [source.now - o for o in opened]
    resolved = [o + (600 + k * 60) % r if s in states.resolved else 0
                for s, o, k, r in zip(state, opened, spent, room, strict=True)]  # fmt: skip
    closed = [min((r or o) + 5 * DAY, source.now - k % (2 * DAY)) if s in states.closed else 0
              for s, o, r, k in zip(state, opened, resolved, spent, strict=True)]  # fmt: skip
    closed = [max(c, r, o) if c else 0 for c, r, o in zip(closed, resolved, opened, strict=True)]
    touched = [o + k * 37 % r for o, k, r in zip(opened, spent, room, strict=True)]
    updated = [c or r or t for c, r, t in zip(closed, resolved, touched, strict=True)]
    _mass_update(dice, updated, opened, source.now)
    return _Life(state, opened, resolved, closed, updated)


def _tie(dice: Dice, opened: list[int], now: int) -> None:
    """Bursts of monitoring tickets: one row in eight shares its second with a hundred others and more."""
    bursts = max(1, len(opened) // 4000)
    for i, flag in enumerate(dice.flags(len(opened), 0.125)):
        if flag:
            opened[i] = now - (9 + i % bursts * 7) * DAY


def _mass_update(dice: Dice, updated: list[int], opened: list[int], now: int) -> None:
    """One script touched one row in eight in the same second, three days ago."""
    moment = now - 3 * DAY
    for i, flag in enumerate(dice.flags(len(updated), 0.125)):
        if flag and opened[i] < moment:
            updated[i] = moment


def _subjects(dice: Dice, n: int) -> list[str]:
    """Some repeat word for word, others name a device."""
    pool = [f"{thing} {symptom}" for thing, symptom in product(texts.THINGS, texts.SYMPTOMS)]
    picked = dice.pick(pool, n)
    return [
        f"{text} (ws{k:05})" if k % 2 else text for text, k in zip(picked, dice.integers(n, 0, 99_999), strict=True)
    ]


def _descriptions(dice: Dice, n: int) -> list[str]:
    pool = [f"{first}\n{second}" for first, second in product(texts.OPENINGS, texts.OPENINGS) if first != second]
    pool += [
        *texts.OPENINGS,
        " leading and trailing blanks ",
        "tab\there, \u00a0 no-break, \u200b zero width",
        "-",
    ]
    picked = dice.pick(pool, n)
    return [f"{text}\n\nHost: ws{k:05}" if k % 5 else ("" if k % 10 else text)
            for text, k in zip(picked, dice.integers(n, 0, 99_999), strict=True)]  # fmt: skip


def _close_notes(dice: Dice, n: int, when: Sequence[int]) -> list[str]:
    pool = [f"{cause} {fix}" for cause, fix in product(texts.CAUSES, texts.FIXES)] + list(texts.FIXES)
    return [text if w and w % 25 else "" for text, w in zip(dice.pick(pool, n), when, strict=True)]


def _durations(starts: Sequence[int], ends: Sequence[int], share: float = 1.0) -> tuple[list[str], list[str]]:
    """Elapsed time as a stored duration and as whole seconds; both empty without an end."""
    seconds = [int((e - s) * share) // 60 * 60 if e else 0 for s, e in zip(starts, ends, strict=True)]
    return stamps([s or 0 for s in seconds]), [str(s) if s else "" for s in seconds]


def _lists(dice: Dice, values: Sequence[str], n: int) -> list[str]:
    """A glide_list: mostly empty, else up to three ids, now and then with an e-mail address."""
    if not values:
        return [""] * n
    first, second = dice.pick(values, n), dice.pick(values, n)
    shapes = dice.integers(n, 0, 20)
    made = []
    for shape, a, b in zip(shapes, first, second, strict=True):
        made.append({0: a, 1: f"{a},{b}", 2: f"{b},{a},watcher@example.com"}.get(shape, ""))
    return made


def _values(table: str, element: str) -> list[str]:
    return [value for column in columns_of(table) if column.name == element for value, _ in column.choices]


def _common(
    dice: Dice,
    name: str,
    life: _Life,
    people: People,
    items: Sequence[str],
    services: Sequence[str],
) -> dict[str, Column]:
    n = life.n
    numbers = [f"{_PREFIX[name]}{10_001 + i:07}" for i in range(n)]
    calendar, _ = _durations(life.opened, life.closed)
    business, _ = _durations(life.opened, life.closed, 0.3)
    touched = [u > o for o, u in zip(life.opened, life.updated, strict=True)]
    urgency, impact = dice.pick("123", n, (1, 3, 6)), dice.pick("123", n, (1, 2, 7))
    opened, closed = stamps(life.opened), stamps(life.closed)
    gone = dice.sys_ids(max(1, n // 500))
    return {
        "sys_id": dice.sys_ids(n),
        "number": numbers,
        "task_effective_number": numbers,
        "sys_class_name": name,
        "sys_domain": "global",
        "sys_domain_path": "/",
        "active": ["false" if c else "true" for c in life.closed],
        "state": life.state,
        "short_description": _subjects(dice, n),
        "description": _descriptions(dice, n),
        "opened_at": opened,
        "opened_by": dice.pick([*people.users[:4000], "glide.maint"], n),
        "sys_created_on": opened,
        "sys_created_by": dice.pick([*people.user_names[:4000], *SYSTEM_USERS], n),
        "sys_updated_on": stamps(life.updated),
        "sys_updated_by": dice.pick([*people.user_names[:400], *SYSTEM_USERS], n),
        "sys_mod_count": [str(1 + k) if flag else "0" for k, flag in zip(dice.skewed(n, 40), touched, strict=True)],
        "closed_at": closed,
        "closed_by": _where(life.closed, dice.pick(people.users, n)),
        "close_notes": _close_notes(dice, n, [r or c for r, c in zip(life.resolved, life.closed, strict=True)]),
        "urgency": urgency,
        "impact": impact,
        "priority": [_PRIORITY[u + i] for u, i in zip(urgency, impact, strict=True)],
        "assignment_group": dice.maybe(people.groups, n, 0.9),
        "assigned_to": dice.maybe(people.users, n, 0.7),
        "cmdb_ci": dice.maybe([*items[:20_000], *gone], n, 0.6),
        "business_service": dice.maybe(services, n, 0.3),
        "company": dice.maybe(people.companies, n, 0.5),
        "location": dice.maybe(people.locations, n, 0.6),
        "contact_type": dice.pick(["", *_values("task", "contact_type")], n),
        "watch_list": _lists(dice, people.users, n),
        "additional_assignee_list": _lists(dice, people.users[:3], n),
        "calendar_duration": calendar,
        "business_duration": business,
        "due_date": [text if text and k % 4 == 0 else "" for text, k in zip(closed, life.opened, strict=True)],
        "reassignment_count": [str(k) for k in dice.skewed(n, 9)],
        "made_sla": dice.pick(("true", "false"), n, (85, 15)),
        "knowledge": dice.pick(("false", "true"), n, (97, 3)),
        "escalation": dice.pick("0123", n, (90, 5, 3, 2)),
        "approval": dice.pick(_values("task", "approval"), n, (90, 3, 5, 2)),
        "upon_approval": "proceed",
        "upon_reject": "cancel",
    }  # fmt: skip


_PRIORITY = {
    "11": "1",
    "12": "2",
    "21": "2",
    "13": "3",
    "22": "3",
    "31": "3",
    "23": "4",
    "32": "4",
    "33": "5",
}


def _where(flags: Sequence[int], values: Sequence[str]) -> list[str]:
    return [value if flag else "" for flag, value in zip(flags, values, strict=True)]


def _refs(tables: Mapping[str, list[Row]], name: str) -> list[str]:
    return [row["sys_id"] for row in tables.get(name, ())]


Extra = Callable[[Dice, _Life, People, Mapping[str, list[Row]]], dict[str, Column]]


def _nothing(dice: Dice, life: _Life, people: People, tables: Mapping[str, list[Row]]) -> dict[str, Column]:
    return {}


def _incident(dice: Dice, life: _Life, people: People, tables: Mapping[str, list[Row]]) -> dict[str, Column]:
    n = life.n
    _, calendar = _durations(life.opened, life.resolved)
    _, business = _durations(life.opened, life.resolved, 0.3)
    reopened = dice.flags(n, 0.04)
    return {
        "incident_state": life.state,
        "caller_id": dice.maybe(people.users, n, 0.98),
        "category": dice.pick(["", *_values("incident", "category")], n, (2, 30, 25, 18, 12, 5, 8)),
        "subcategory": dice.pick(["", *_values("incident", "subcategory")], n),
        "severity": dice.pick("123", n, (1, 2, 7)),
        "notify": "1",
        "child_incidents": dice.pick(("0", "2", "17"), n, (95, 4, 1)),
        "hold_reason": _where([s == "3" for s in life.state], dice.pick(("1", "3", "4", "5"), n)),
        "resolved_at": stamps(life.resolved),
        "resolved_by": _where(life.resolved, dice.pick(people.users, n)),
        "close_code": _where(life.resolved, dice.pick(_values("incident", "close_code"), n)),
        "calendar_stc": calendar,
        "business_stc": business,
        "reopen_count": ["1" if flag else "0" for flag in reopened],
        "reopened_by": [u if flag else "" for u, flag in zip(dice.pick(people.users, n), reopened, strict=True)],
        "problem_id": dice.maybe(_refs(tables, "problem"), n, 0.03),
        "rfc": dice.maybe(_refs(tables, "change_request"), n, 0.02),
        "caused_by": dice.maybe(_refs(tables, "change_request"), n, 0.02),
    }  # fmt: skip


def _problem(dice: Dice, life: _Life, people: People, tables: Mapping[str, list[Row]]) -> dict[str, Column]:
    n = life.n
    return {
        "problem_state": life.state,
        "category": dice.pick(_values("problem", "category"), n),
        "known_error": dice.pick(("false", "true"), n, (8, 2)),
        "major_problem": "false",
        "related_incidents": [str(k) for k in dice.skewed(n, 12)],
        "reopen_count": "0",
        "resolved_at": stamps(life.resolved),
        "resolved_by": _where(life.resolved, dice.pick(people.users, n)),
        "resolution_code": _where(life.resolved, dice.pick(_values("problem", "resolution_code"), n)),
        "cause_notes": _where(life.resolved, dice.pick([f"<p>{cause}</p>" for cause in texts.CAUSES], n)),
        "fix_notes": _where(life.resolved, dice.pick([f"<p>{fix}</p>" for fix in texts.FIXES], n)),
        "workaround": dice.pick(
            [
                "",
                *(f"<p>Restart the {thing} &amp; wait.</p>" for thing in texts.THINGS),
            ],
            n,
        ),
        "rfc": dice.maybe(_refs(tables, "change_request"), n, 0.2),
    }


def _change(dice: Dice, life: _Life, people: People, tables: Mapping[str, list[Row]]) -> dict[str, Column]:
    n = life.n
    starts = [o + 3 * DAY + k for o, k in zip(life.opened, dice.integers(n, 0, 9 * DAY), strict=True)]
    return {
        "type": dice.pick(_values("change_request", "type"), n, (4, 5, 1)),
        "risk": dice.pick(_values("change_request", "risk"), n),
        "phase": dice.pick(_values("change_request", "phase"), n),
        "category": dice.pick(_values("change_request", "category"), n),
        "requested_by": dice.maybe(people.users, n, 0.9),
        "start_date": stamps(starts),
        "end_date": stamps([s + 7200 for s in starts]),
        "cab_required": dice.pick(("true", "false"), n),
        "cab_date": dates([s - DAY if s % 2 else 0 for s in starts]),
        "on_hold": "false",
        "production_system": dice.pick(("true", "false"), n),
        "justification": dice.pick(("", "Requested by audit.", "End of support: 2026-12-31."), n),
        "implementation_plan": dice.pick(("", "1. announce\n2. patch\n3. test", "段階的に適用する"), n),
        "backout_plan": dice.pick(("", "Restore the snapshot.", "n/a"), n),
        "test_plan": dice.pick(("", "Smoke test; see ^ in the run book."), n),
        "close_code": _where(life.closed, dice.pick(_values("change_request", "close_code"), n)),
        "unauthorized": "false",
        "outside_maintenance_schedule": "false",
    }


def _incident_task(dice: Dice, life: _Life, people: People, tables: Mapping[str, list[Row]]) -> dict[str, Column]:
    incidents = _refs(tables, "incident")
    linked = dice.maybe(incidents, life.n, 1.0)
    return {"incident": linked, "parent": linked}


def _change_task(dice: Dice, life: _Life, people: People, tables: Mapping[str, list[Row]]) -> dict[str, Column]:
    linked = dice.maybe(_refs(tables, "change_request"), life.n, 1.0)
    return {
        "change_request": linked,
        "parent": linked,
        "change_task_type": dice.pick(("planning", "implementation", "testing", "review"), life.n),
        "planned_start_date": stamps([o + DAY for o in life.opened]),
        "planned_end_date": stamps([o + 2 * DAY for o in life.opened]),
        "on_hold": "false",
    }


_EXTRAS: dict[str, Extra] = {
    "incident": _incident,
    "problem": _problem,
    "change_request": _change,
    "incident_task": _incident_task,
    "change_task": _change_task,
}

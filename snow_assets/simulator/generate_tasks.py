"""Incidents, problems, changes and their tasks, with awkward texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from snow_assets.simulator import texts
from snow_assets.simulator.generate_life import Life, durations, lives, where_set
from snow_assets.simulator.generate_people import SYSTEM_USERS, People
from snow_assets.simulator.generate_rows import Column, Dice, Row, Source, build, stamps
from snow_assets.simulator.generate_task_columns import choice_values, own_columns

TASK_CLASSES = ("task", "problem", "change_request", "incident", "incident_task", "change_task")
"""Every class of the task family, in the order of generation."""

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
        life = lives(source, dice, name, counts[name])
        columns = _common(dice, name, life, people, items, services)
        columns |= own_columns(name, dice, life, people, tables)
        tables[name] = build(columns, life.n)
    return tables


def _common(
    dice: Dice,
    name: str,
    life: Life,
    people: People,
    items: Sequence[str],
    services: Sequence[str],
) -> dict[str, Column]:
    n = life.n
    numbers = [f"{_PREFIX[name]}{10_001 + i:07}" for i in range(n)]
    calendar, _ = durations(life.opened, life.closed)
    business, _ = durations(life.opened, life.closed, 0.3)
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
        "closed_by": where_set(life.closed, dice.pick(people.users, n)),
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
        "contact_type": dice.pick(["", *choice_values("task", "contact_type")], n),
        "watch_list": _lists(dice, people.users, n),
        "additional_assignee_list": _lists(dice, people.users[:3], n),
        "calendar_duration": calendar,
        "business_duration": business,
        "due_date": [text if text and k % 4 == 0 else "" for text, k in zip(closed, life.opened, strict=True)],
        "reassignment_count": [str(k) for k in dice.skewed(n, 9)],
        "made_sla": dice.pick(("true", "false"), n, (85, 15)),
        "knowledge": dice.pick(("false", "true"), n, (97, 3)),
        "escalation": dice.pick("0123", n, (90, 5, 3, 2)),
        "approval": dice.pick(choice_values("task", "approval"), n, (90, 3, 5, 2)),
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

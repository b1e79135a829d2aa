"""The columns that each class of task has of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from snow_assets.simulator import texts
from snow_assets.simulator.generate_life import Life, durations, where_set
from snow_assets.simulator.generate_people import People
from snow_assets.simulator.generate_rows import DAY, Column, Dice, Row, dates, stamps
from snow_assets.simulator.schema import columns_of

Tables = Mapping[str, list[Row]]
Extra = Callable[[Dice, Life, People, Tables], dict[str, Column]]


def own_columns(name: str, dice: Dice, life: Life, people: People, tables: Tables) -> dict[str, Column]:
    """The columns of class ``name`` that ``task`` does not have; ``tables`` holds the classes made before it."""
    make = _EXTRAS.get(name)
    return make(dice, life, people, tables) if make else {}


def choice_values(table: str, element: str) -> list[str]:
    """The stored values of a choice column, in order."""
    return [value for column in columns_of(table) if column.name == element for value, _ in column.choices]


def _refs(tables: Tables, name: str) -> list[str]:
    return [row["sys_id"] for row in tables.get(name, ())]


def _incident(dice: Dice, life: Life, people: People, tables: Tables) -> dict[str, Column]:
    n = life.n
    _, calendar = durations(life.opened, life.resolved)
    _, business = durations(life.opened, life.resolved, 0.3)
    reopened = dice.flags(n, 0.04)
    return {
        "incident_state": life.state,
        "caller_id": dice.maybe(people.users, n, 0.98),
        "category": dice.pick(["", *choice_values("incident", "category")], n, (2, 30, 25, 18, 12, 5, 8)),
        "subcategory": dice.pick(["", *choice_values("incident", "subcategory")], n),
        "severity": dice.pick("123", n, (1, 2, 7)),
        "notify": "1",
        "child_incidents": dice.pick(("0", "2", "17"), n, (95, 4, 1)),
        "hold_reason": where_set([s == "3" for s in life.state], dice.pick(("1", "3", "4", "5"), n)),
        "resolved_at": stamps(life.resolved),
        "resolved_by": where_set(life.resolved, dice.pick(people.users, n)),
        "close_code": where_set(life.resolved, dice.pick(choice_values("incident", "close_code"), n)),
        "calendar_stc": calendar,
        "business_stc": business,
        "reopen_count": ["1" if flag else "0" for flag in reopened],
        "reopened_by": [u if flag else "" for u, flag in zip(dice.pick(people.users, n), reopened, strict=True)],
        "problem_id": dice.maybe(_refs(tables, "problem"), n, 0.03),
        "rfc": dice.maybe(_refs(tables, "change_request"), n, 0.02),
        "caused_by": dice.maybe(_refs(tables, "change_request"), n, 0.02),
    }  # fmt: skip


def _problem(dice: Dice, life: Life, people: People, tables: Tables) -> dict[str, Column]:
    n = life.n
    return {
        "problem_state": life.state,
        "category": dice.pick(choice_values("problem", "category"), n),
        "known_error": dice.pick(("false", "true"), n, (8, 2)),
        "major_problem": "false",
        "related_incidents": [str(k) for k in dice.skewed(n, 12)],
        "reopen_count": "0",
        "resolved_at": stamps(life.resolved),
        "resolved_by": where_set(life.resolved, dice.pick(people.users, n)),
        "resolution_code": where_set(life.resolved, dice.pick(choice_values("problem", "resolution_code"), n)),
        "cause_notes": where_set(life.resolved, dice.pick([f"<p>{cause}</p>" for cause in texts.CAUSES], n)),
        "fix_notes": where_set(life.resolved, dice.pick([f"<p>{fix}</p>" for fix in texts.FIXES], n)),
        "workaround": dice.pick(
            [
                "",
                *(f"<p>Restart the {thing} &amp; wait.</p>" for thing in texts.THINGS),
            ],
            n,
        ),
        "rfc": dice.maybe(_refs(tables, "change_request"), n, 0.2),
    }


def _change(dice: Dice, life: Life, people: People, tables: Tables) -> dict[str, Column]:
    n = life.n
    starts = [o + 3 * DAY + k for o, k in zip(life.opened, dice.integers(n, 0, 9 * DAY), strict=True)]
    return {
        "type": dice.pick(choice_values("change_request", "type"), n, (4, 5, 1)),
        "risk": dice.pick(choice_values("change_request", "risk"), n),
        "phase": dice.pick(choice_values("change_request", "phase"), n),
        "category": dice.pick(choice_values("change_request", "category"), n),
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
        "close_code": where_set(life.closed, dice.pick(choice_values("change_request", "close_code"), n)),
        "unauthorized": "false",
        "outside_maintenance_schedule": "false",
    }


def _incident_task(dice: Dice, life: Life, people: People, tables: Tables) -> dict[str, Column]:
    incidents = _refs(tables, "incident")
    linked = dice.maybe(incidents, life.n, 1.0)
    return {"incident": linked, "parent": linked}


def _change_task(dice: Dice, life: Life, people: People, tables: Tables) -> dict[str, Column]:
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

"""What happens in one chaos pull, drawn from one whole number: the table, the pull, faults, drift and kills."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field
from typing import Any

from snow_assets.simulator.fault_kinds import KINDS

QUERIES = (
    "active=true",
    "active=false",
    "state=2^ORstate=3^ORstate=6",
    "active=true^NQpriority=1",
    "active=true^stateIN1,2^NQactive=false^priority<=2^NQshort_descriptionLIKEprinter",
    "assigned_toISNOTEMPTY^ORDERBYDESCopened_at",
    "priority=1^state=8",
    "caller_id.active=true",
)
FIELDS = (
    "number", "state", "priority", "active", "short_description", "description", "caller_id", "assigned_to",
    "opened_at", "closed_at", "watch_list", "work_notes", "caller_id.email", "sys_updated_by", "sys_mod_count",
)  # fmt: skip
# Left out silently, so that nothing but other answers can tell: what is left out every time is what hidden rows are.
SILENT = ("short_page", "lost_rows", "empty_page", "shifted_page")
# No retry helps: each ends the run by name.
FATAL = (
    "forbidden_403", "query_forbidden_403", "invalid_table_400", "pagination_400", "unreadable_table_403", "scope_403",
    "not_found_404", "html_404", "method_405", "not_acceptable_406", "too_large_413", "uri_too_long_414",
    "media_type_415", "unauthorized_401", "redirect", "login_page", "count_refused",
)  # fmt: skip
SLOW = ("hang", "hang_inside", "drip", "latency")
COUNTS = ("count_refused", "count_malformed", "count_number", "count_lie", "count_absent")
# Drawn more often than the rest: what one answer alone does not betray, and what makes pages smaller.
SLY = (
    *SILENT, *SILENT, "repeated_page", "foreign_row", "overlapping_page", "missing_fields", "count_lie", "doubled_row",
    "reversed_rows", "tenfold_page", "execution_time_in_200", "execution_time_500", "truncated", "truncated_length",
    "error_500", "reset_inside_body", "html_503", "overloaded_429", "rate_limited_429", "null_body",
)  # fmt: skip
PARAMETERS: dict[str, dict[str, Any]] = {
    "rate_limited_429": {"retry_after": 0},
    "hang": {"seconds": 0.8},
    "hang_inside": {"seconds": 0.8},
    "latency": {"seconds": 0.05},
    "drip": {"bytes_per_second": 2_000.0},
}


@dataclass(frozen=True)
class Recipe:
    """One chaos pull. Moments are numbers of requests that the instance has seen since the case began."""

    seed: int
    rows: int
    layout: str
    query: str
    pull: dict[str, Any]
    hidden: list[dict[str, Any]] = field(default_factory=list)
    counts: str = "true"
    standing: list[dict[str, Any]] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    drift: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[dict[str, Any]] = field(default_factory=list)

    def line(self) -> str:
        """The recipe in one line, to be read by people."""
        return " ".join(f"{name}={value}" for name, value in asdict(self).items())


def draw(seed: int) -> Recipe:
    """The recipe of a seed: always the same."""
    chance = random.Random(seed)
    rows = _rows(chance)
    page_size = max(1, chance.choice((rows // 30, rows // 12, rows // 5, rows // 2, rows, 2 * rows, 7)))
    page_size = max(page_size, rows // 40 + 1)
    query = chance.choice(("", "", "", *QUERIES))
    drift = _drift(chance, rows) if chance.random() < 0.55 else []
    counts = chance.choice(("true",) * 5 + ("absent", "refused", "low", "high", "lie"))
    faults = _faults(chance, query, inserts=any(one["deed"] in ("insert", "enter") for one in drift), counts=counts)
    return Recipe(
        seed=seed,
        rows=rows,
        layout=chance.choice(("uniform", "uniform", "prefix", "prefixes", "sequence")),
        query=query,
        pull=_pull(chance, page_size),
        hidden=_hidden(chance),
        counts=counts,
        standing=_standing(chance, counts, page_size),
        faults=faults,
        drift=drift,
        attempts=_attempts(chance),
    )


def _rows(chance: random.Random) -> int:
    low, high = chance.choice(((0, 0), (1, 1), (2, 20), (2, 20), *((20, 300),) * 9, *((300, 900),) * 5, (900, 3000)))
    return chance.randint(low, high)


def _pull(chance: random.Random, page_size: int) -> dict[str, Any]:
    fields = chance.sample(FIELDS, chance.randint(1, 7))
    if chance.random() < 0.5:
        fields.insert(chance.randint(0, len(fields)), "sys_id")
    slice_rows = chance.choice((page_size, page_size, 2 * page_size, 3 * page_size, page_size + 3, None))
    return {
        "fields": fields,
        "display_value": chance.choice(("all", "all", "true", "false")),
        "page_size": page_size,
        "slice_rows": slice_rows,
        "max_workers": chance.randint(1, 4),
        "max_retries": chance.choice((1, 2, 3, 3)),
    }


def _hidden(chance: random.Random) -> list[dict[str, Any]]:
    if chance.random() < 0.4:
        return []
    kinds = ("scattered", "scattered", "first", "last", "run", "runs", "prefix")
    share = chance.choice((0.03, 0.1, 0.4, 0.6))
    return [{"how": how, "share": share / 2**at} for at, how in enumerate(chance.sample(kinds, chance.randint(1, 2)))]


def _standing(chance: random.Random, counts: str, page_size: int) -> list[dict[str, Any]]:
    """The rules that make the instance count as ``counts`` says, for good."""
    refused = {"kind": "count_refused", "request": "count"}
    if counts == "absent":
        return [refused, {"kind": "count_absent", "request": "list", "table": "incident"}]
    if counts == "refused":
        return [refused]
    delta = {"low": -page_size, "high": page_size, "lie": chance.choice((-3, -1, 1, 1000))}.get(counts)
    return [] if delta is None else [{"kind": "count_lie", "table": "incident", "delta": delta}]


def _faults(chance: random.Random, query: str, *, inserts: bool, counts: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    silent = False
    for _ in range(chance.choice((0, 1, 1, 2, 3, 5))):
        kind = chance.choice(SLY if chance.random() < 0.4 else sorted(KINDS))
        rule = {"kind": kind, **PARAMETERS.get(kind, {}), **_restrictions(chance), **_rhythm(chance, kind)}
        if kind in (*SILENT, "missing_fields", "count_lie"):
            # Two of them may say the same thing, and then nothing could tell; and so may a count that lies.
            if silent or (kind in SILENT and (inserts or counts in ("low", "lie"))):
                continue
            silent = True
            rule = {**rule, **_quiet(chance, kind)}
        if kind == "foreign_row":
            rule["query"] = f"{query.partition('^ORDERBY')[0]}^" if query else ""
        if kind == "overlapping_page" and (query or inserts):
            continue  # the row before may then be one that nobody asked for, and that no bound excludes
        found.append(rule)
    return found


def _quiet(chance: random.Random, kind: str) -> dict[str, Any]:
    """Parameters and rhythm of what is left out: once or twice of anything, or often, but never of keys alone."""
    of_kinds: dict[str, dict[str, Any]] = {
        "missing_fields": {"fields": chance.choice(("short_description", "number", "state,caller_id"))},
        "lost_rows": {"rows": chance.randint(1, 5)},
        "short_page": {"rows": chance.choice((1, 2, 10, 10_000))},
        "shifted_page": {"shift_by": chance.choice((1, 2, 5))},
    }
    parameters = of_kinds.get(kind, {})
    if kind in SILENT and chance.random() < 0.5:
        often = {"narrow": False, "request": "list", "table": "incident", "after": 3, "every": 3, "times": 8}
        return {**parameters, **often}
    return {**parameters, "times": chance.randint(1, 2)}


def _restrictions(chance: random.Random) -> dict[str, Any]:
    rule: dict[str, Any] = {}
    if chance.random() < 0.7:
        rule["table"] = "incident"
    if chance.random() < 0.4:
        rule["request"] = chance.choice(("list", "list", "list", "count"))
    for name in ("narrow", "fresh", "first"):
        if chance.random() < 0.15:
            rule[name] = chance.random() < 0.5
    return rule


def _rhythm(chance: random.Random, kind: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"after": chance.randint(0, 40)}
    if kind in FATAL:
        return {**rule, "times": chance.choice((1, 1, 2, 5))}
    if kind in SLOW or kind == "overloaded_429":
        return {**rule, "times": chance.randint(1, 2), "every": chance.randint(1, 9)}
    how = chance.random()
    if how < 0.5:
        return {**rule, "times": chance.randint(1, 6), "every": chance.choice((1, 1, 2, 5))}
    if how < 0.93:
        return {**rule, "probability": chance.choice((0.02, 0.1, 0.3)), "seed": chance.randint(0, 99), "times": 30}
    return {**rule, "times": 60}


def _drift(chance: random.Random, rows: int) -> list[dict[str, Any]]:
    deeds = ("insert", "update", "update", "delete", "leave", "enter", "revive")
    number = chance.randint(1, max(1, min(40, rows // 8)))
    return [
        {"at": chance.randint(1, 120), "deed": chance.choice(deeds), "where": round(chance.random(), 6)}
        for _ in range(number)
    ]


def _attempts(chance: random.Random) -> list[dict[str, Any]]:
    """How each run before the calm one ends, unless it completes before that."""
    found: list[dict[str, Any]] = [{"how": "run"}]
    for _ in range(chance.choice((0, 0, 1, 1, 2, 3))):
        how = chance.choice(("close", "cut", "cut", "cut after"))
        found.append({"how": how, "at": chance.randint(0, 12) if how == "close" else chance.randint(1, 60)})
    if chance.random() < 0.05:
        found.append({"how": "kill -9", "at": chance.randint(1, 60), "delay": chance.choice((0, 0, 0.005, 0.02))})
    chance.shuffle(found)
    return found

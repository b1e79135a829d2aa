"""What is due for an import: a pure decision over what the books and the instance's runs say.

The sensor and the tests call ``decide_import``; nothing here reads anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from snow_assets.assets.due import Nothing, RunSeen, minutes, wait_left
from snow_assets.assets.import_keys import SETS, STAGING, TARGET

REPAIR_ATTEMPTS: Final = 3  # tries after the first one

JobSeen: TypeAlias = Literal["pending", "running", "dead", "completed", "error"]


@dataclass(frozen=True, slots=True)
class SetSeen:
    """An import set and its newest job. ``dead``: the job runs by the books, and nobody is at it."""

    set_no: int
    key: str  # of its partition
    job: JobSeen
    tries: int = 0


@dataclass(frozen=True, slots=True)
class LoadSeen:
    """The newest load of an import. ``alive``: somebody is loading. ``early``: its sets may go before all rows are in.

    ``context``: the execution context in which it began.
    """

    load_id: str
    state: str
    sets: Sequence[SetSeen] = ()
    alive: bool = False
    early: bool = False
    context: str = ""


@dataclass(frozen=True, slots=True)
class ImportSituation:
    """What is known of an import.

    ``released`` is the execution context in which it may start and has not. ``runs`` are those of the newest load, of
    ``released``, and all that live, with the step that each takes. ``busy``: why nobody may start anything now.
    """

    name: str
    load: LoadSeen | None = None
    released: str = ""
    runs: Sequence[RunSeen] = ()
    busy: str = ""


@dataclass(frozen=True, slots=True)
class StartImport:
    """A staging run is due: the import before it in this execution context is finished, or a load died."""

    context: str
    after: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class TransformSets:
    """One ranged run over the import sets from ``first`` to ``last`` (partition keys) is due.

    ``after``: when the newest run ended. With it each try has a name of its own.
    """

    load_id: str
    first: str
    last: str
    after: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class CloseLoad:
    """Nothing is left to transform: the target asset is due. ``after`` is that of ``TransformSets``."""

    load_id: str
    after: float = field(default=0.0, compare=False)


ImportDue: TypeAlias = Nothing | StartImport | TransformSets | CloseLoad


def decide_import(situation: ImportSituation, *, now: float) -> ImportDue:
    """What to start for an import at ``now`` (Unix time).

    Sets that nobody took start at once, also while later ones still load. A set whose job died or failed is tried
    again ``REPAIR_ATTEMPTS`` times, after the waits of `due.REPAIR_WAITS`; where that is in vain, or something must be
    fixed first, the load is closed as it is. What a person cancelled stays so.
    """
    if situation.busy:
        return Nothing(situation.busy)
    living = {run.step for run in situation.runs if run.outcome == "running"}
    if living - {STAGING}:
        return Nothing(f"a run of its {' and '.join(sorted(living - {STAGING}))} is queued or in progress")
    due = _decide_load(situation, situation.load, now, loading=STAGING in living)
    unfinished = situation.load is not None and situation.load.state in ("loading", "loaded")
    if isinstance(due, Nothing) and situation.released and not unfinished and STAGING not in living:
        why = f"{due.reason}; the import before it is finished ({situation.released})"
        return _decide_start(situation, situation.released, why, now)
    return due


def _decide_load(situation: ImportSituation, load: LoadSeen | None, now: float, *, loading: bool) -> ImportDue:
    if load is None:
        return Nothing("is loading" if loading else "no load yet")
    if load.state not in ("loading", "loaded"):
        return Nothing("is loading" if loading else f"load {load.load_id} is {load.state}")
    if _newest(situation.runs, SETS, TARGET) == "cancelled":
        hint = f"snow-assets imports resume {situation.name} goes on"
        return Nothing(f"load {load.load_id}: a run was cancelled; {hint}")
    open_sets = [each for each in load.sets if each.job != "completed"]
    if open_sets and (load.state == "loaded" or load.early):
        return _decide_sets(situation, load, open_sets, now)
    if load.state == "loaded":
        return _decide_target(situation, load, now)
    if loading or load.alive:
        return Nothing(f"load {load.load_id} is loading")
    return _decide_start(situation, load.context, f"load {load.load_id} died while it was loading", now)


def _decide_sets(situation: ImportSituation, load: LoadSeen, sets: Sequence[SetSeen], now: float) -> ImportDue:
    if any(each.job == "running" for each in sets):
        return Nothing(f"load {load.load_id}: import sets are being transformed")
    fewest = min(0 if each.job == "pending" else each.tries for each in sets)
    chosen = [each for each in sets if (0 if each.job == "pending" else each.tries) == fewest]
    after = _after(situation.runs)
    fix_first = fewest > 0 and any(run.fix_first for run in situation.runs if run.step == SETS)
    if fewest > REPAIR_ATTEMPTS or fix_first:
        if load.state == "loaded" and all(each.job == "error" for each in sets):
            return _decide_target(situation, load, now)
        hint = f"snow-assets imports resume {situation.name} goes on"
        return Nothing(f"load {load.load_id}: import sets failed, giving up; {hint}")
    wait = wait_left(after, fewest, now)
    if wait > 0:
        count = "1 import set" if len(chosen) == 1 else f"{len(chosen)} import sets"
        return Nothing(f"load {load.load_id}: {count} failed, try {fewest + 1} in {minutes(wait)}")
    return TransformSets(load.load_id, chosen[0].key, chosen[-1].key, after)


def _decide_target(situation: ImportSituation, load: LoadSeen, now: float) -> ImportDue:
    """Close the load; a run that failed to is repeated, counted from the newest run that transformed."""
    transformed = max((run.ended or 0.0 for run in situation.runs if run.step == SETS), default=0.0)
    failed = [
        run.ended or 0.0
        for run in situation.runs
        if run.step == TARGET and run.outcome != "running" and (run.ended or 0.0) > transformed
    ]
    if len(failed) > REPAIR_ATTEMPTS:
        return Nothing(f"load {load.load_id}: closing it failed {len(failed)} times, giving up")
    wait = wait_left(max(failed, default=0.0), len(failed), now)
    if wait > 0:
        return Nothing(f"load {load.load_id}: closing it failed, try {len(failed) + 1} in {minutes(wait)}")
    return CloseLoad(load.load_id, _after(situation.runs))


def _decide_start(situation: ImportSituation, context: str, why: str, now: float) -> ImportDue:
    """A staging run is due; one that failed is repeated."""
    tried = [run for run in situation.runs if run.step == STAGING and run.outcome in ("failure", "success")]
    again = f"launch import_{situation.name} to start it" + (f", with execution_context: {context}" if context else "")
    if _newest(situation.runs, STAGING) == "cancelled":
        return Nothing(f"{why}; a staging run was cancelled; {again}")
    if len(tried) > REPAIR_ATTEMPTS or any(run.fix_first for run in tried):
        return Nothing(f"{why}; staging failed, giving up; {again}")
    wait = wait_left(max((run.ended or 0.0 for run in tried), default=0.0), len(tried), now)
    if wait > 0:
        return Nothing(f"{why}; staging failed, try {len(tried) + 1} in {minutes(wait)}")
    return StartImport(context, _after(situation.runs))


def _after(runs: Sequence[RunSeen]) -> float:
    return max((run.ended or 0.0 for run in runs if run.outcome != "running"), default=0.0)


def _newest(runs: Sequence[RunSeen], *steps: str) -> str:
    """How the newest run of these steps ended."""
    ended = [run for run in runs if run.step in steps and run.outcome != "running"]
    return max(ended, key=lambda run: run.ended or 0.0).outcome if ended else ""

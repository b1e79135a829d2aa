"""What is due for a pull: a pure decision over what the landing and the instance's runs say.

The reconciler sensor and the tests call ``decide``; nothing here reads anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

# Seconds to wait before the second, third and fourth try; later tries wait as long as the last.
REPAIR_WAITS = (5 * 60.0, 20 * 60.0, 60 * 60.0)
STALE_SECONDS = 86_400.0  # a plan run that failed so long ago is not started again: nobody waits for it any more

Outcome: TypeAlias = Literal["running", "success", "failure", "cancelled"]


@dataclass(frozen=True, slots=True)
class RunSeen:
    """One run that Dagster knows for the plan.

    ``first`` and ``last`` are the partition keys of its range (slices runs); ``ended`` is a Unix time, ``None`` while
    it lives. ``refused``: a publish run that ended because publishing must be accepted by name. ``fix_first``: a run
    that the instance did not let in.
    """

    step: str
    outcome: Outcome
    ended: float | None = None
    first: str = ""
    last: str = ""
    refused: bool = False
    fix_first: bool = False


@dataclass(frozen=True, slots=True)
class PlanRunSeen:
    """The newest run of the plan job, whoever started it: a schedule, a person, or the reconciler (``attempt`` > 1).

    ``fix_first``: it failed, and would fail again as things are. ``new``: it was asked for a new plan, ``base``: for a
    new base. ``plan_id``: the plan that it was about to write or to go on with, empty where it did not come so far.
    """

    run_id: str
    outcome: Outcome
    ended: float
    attempt: int = 1
    fix_first: bool = False
    new: bool = False
    plan_id: str = ""
    base: bool = False


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of a pull and its newest plan. ``missing`` are the keys not yet landed, in offset order.

    ``published``: the plan is in the dataset and, of a delta pull, in the current rows. ``plan_id`` is empty where
    nothing was ever planned.
    """

    pull: str
    plan_id: str
    keys: Sequence[str]
    missing: Sequence[str]
    published: bool
    runs: Sequence[RunSeen] = ()
    busy: str = ""  # why nobody may start anything now: a live lease, a queued backfill
    planning: PlanRunSeen | None = None


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing is due now; ``reason`` is one line for the sensor's tick."""

    reason: str


@dataclass(frozen=True, slots=True)
class LandSlices:
    """One ranged run from ``first`` to ``last`` is due; ``attempt`` counts from 1.

    ``after``: when the newest run of the plan ended. With it each try has a name of its own, for Dagster starts one of
    a name once only: a run of the plan job has the attempts begin at 1 again.
    """

    plan_id: str
    first: str
    last: str
    attempt: int
    after: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Publish:
    """The plan is complete: totals and dataset are due. ``after`` is that of ``LandSlices``."""

    plan_id: str
    attempt: int
    after: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class PlanAgain:
    """The plan job is due once more, after ``failed`` (a run id); ``attempt`` counts from 2."""

    failed: str
    attempt: int
    new: bool = False
    base: bool = False


Due: TypeAlias = Nothing | PlanAgain | LandSlices | Publish


def decide(situation: Situation, *, now: float, repair_attempts: int, slices_per_run: int) -> Due:
    """What to start for a pull at ``now`` (Unix time).

    Slices that no run tried start at once. A slice whose run failed is tried again ``repair_attempts`` times, after
    the waits of ``REPAIR_WAITS``; a manual run counts as a try like any other. What a person cancelled stays so. A run
    of the plan job, by hand or by schedule, starts all of it afresh: earlier runs are not looked at. Where that run
    itself failed, as when the instance was asleep, it is started again as often and after the same waits.
    """
    after = max((run.ended or 0.0 for run in situation.runs), default=0.0)
    situation = replace(situation, runs=_since_the_plan(situation.runs))
    if situation.busy:
        return Nothing(situation.busy)
    if any(run.outcome == "running" for run in situation.runs):
        return Nothing(f"a run of plan {situation.plan_id} is queued or in progress")
    due = _decide_plan(situation, now, repair_attempts, slices_per_run)
    if isinstance(due, Nothing) and situation.planning is not None:
        return _decide_planning(situation, situation.planning, due, now, repair_attempts)
    return replace(due, after=after) if isinstance(due, LandSlices | Publish) else due


def _decide_planning(
    situation: Situation, planning: PlanRunSeen, otherwise: Nothing, now: float, repair_attempts: int
) -> Due:
    """Nothing is due for the newest plan: is a plan run due that failed?"""
    launch = f"launch pull_{situation.pull}"
    if planning.plan_id and situation.plan_id >= planning.plan_id:
        return otherwise  # it died later: its plan is there, and nothing else was to come of it
    if planning.outcome == "cancelled" and not situation.plan_id:
        return Nothing(f"planning was cancelled; {launch} to go on")
    cancelled = max((run.ended or 0.0 for run in situation.runs if run.outcome == "cancelled"), default=0.0)
    if planning.outcome != "failure" or cancelled > planning.ended or now - planning.ended > STALE_SECONDS:
        return otherwise
    times = "once" if planning.attempt == 1 else f"{planning.attempt} times"
    wait = wait_left(planning.ended, planning.attempt, now)
    if planning.fix_first:
        reason = f"planning failed, and something must be fixed first: see run {planning.run_id[:8]}, then {launch}"
    elif planning.attempt > repair_attempts:
        reason = f"planning failed {times}, giving up: see run {planning.run_id[:8]}; {launch} to try again"
    elif wait > 0:
        reason = f"planning failed {times}, try {planning.attempt + 1} in {minutes(wait)}"
    else:
        return PlanAgain(planning.run_id, planning.attempt + 1, planning.new, planning.base)
    unfinished = situation.plan_id and not situation.published
    return Nothing(f"{reason}; {otherwise.reason}" if unfinished else reason)


def _decide_plan(situation: Situation, now: float, repair_attempts: int, slices_per_run: int) -> Due:
    """What is due for the newest plan."""
    if not situation.plan_id:
        return Nothing("no plan yet")
    if situation.published:
        return Nothing(f"plan {situation.plan_id} is published")
    newest = max(situation.runs, key=lambda run: run.ended or 0.0, default=None)
    if newest is not None and newest.outcome == "cancelled":
        return Nothing(f"plan {situation.plan_id}: a run was cancelled; launch pull_{situation.pull} to go on")
    if situation.missing:
        return _decide_slices(situation, now, repair_attempts, slices_per_run)
    return _decide_publish(situation, now, repair_attempts)


def _since_the_plan(runs: Sequence[RunSeen]) -> Sequence[RunSeen]:
    """The runs that ended after the newest run of the plan job, and those that live."""
    planned = max((run.ended or 0.0 for run in runs if run.step == "plan" and run.outcome != "running"), default=0.0)
    return [run for run in runs if run.outcome == "running" or (run.ended or 0.0) > planned]


def _decide_slices(situation: Situation, now: float, repair_attempts: int, slices_per_run: int) -> Due:
    if any(run.fix_first for run in situation.runs):
        return Nothing(
            f"plan {situation.plan_id}: the instance refused the credentials, see the run of its slices; "
            f"launch pull_{situation.pull} when they are right"
        )
    failures = _failures(situation)
    fewest = min(len(failures[key]) for key in situation.missing)
    if fewest > repair_attempts:
        return Nothing(
            f"plan {situation.plan_id}: {len(situation.missing)} of {len(situation.keys)} slices failed "
            f"{fewest} times, giving up; launch pull_{situation.pull} to try again"
        )
    chosen = [key for key in situation.missing if len(failures[key]) == fewest]
    wait = wait_left(max((end for key in chosen for end in failures[key]), default=0.0), fewest, now)
    if wait > 0:
        return Nothing(
            f"plan {situation.plan_id}: {_slices(len(situation.missing))} failed, try {fewest + 1} in {minutes(wait)}"
        )
    first, last = _range(situation.keys, chosen, slices_per_run)
    return LandSlices(situation.plan_id, first, last, attempt=fewest + 1)


def _decide_publish(situation: Situation, now: float, repair_attempts: int) -> Due:
    ended = [run for run in situation.runs if run.step == "publish" and run.outcome == "failure"]
    if any(run.refused for run in ended):
        return Nothing(
            f"plan {situation.plan_id}: publishing was refused, see its run; where that is no mistake, "
            f"launch publish_{situation.pull} with accept: true"
        )
    if ended and max(ended, key=lambda run: run.ended or 0.0).fix_first:  # it sweeps
        return Nothing(
            f"plan {situation.plan_id}: the instance refused the credentials, see the run that publishes; "
            f"launch pull_{situation.pull} when they are right"
        )
    if len(ended) > repair_attempts:
        return Nothing(f"plan {situation.plan_id}: publishing failed {len(ended)} times, giving up")
    wait = wait_left(max((run.ended or 0.0 for run in ended), default=0.0), len(ended), now)
    if wait > 0:
        return Nothing(f"plan {situation.plan_id}: publishing failed, try {len(ended) + 1} in {minutes(wait)}")
    return Publish(situation.plan_id, attempt=len(ended) + 1)


def _failures(situation: Situation) -> Mapping[str, list[float]]:
    """When the runs ended that tried each missing key and did not land it.

    A run that succeeded counts as well: it should have landed its whole range, so a key that is missing after it
    was not landed by it either, and asking again without end would help nobody.
    """
    position = {key: index for index, key in enumerate(situation.keys)}
    failures: dict[str, list[float]] = {key: [] for key in situation.missing}
    for run in situation.runs:
        if run.step != "slices" or run.outcome in ("running", "cancelled"):
            continue
        low, high = position.get(run.first), position.get(run.last)
        if low is None or high is None:
            continue
        for key in situation.missing:
            if low <= position[key] <= high:
                failures[key].append(run.ended or 0.0)
    return failures


def _range(keys: Sequence[str], chosen: Sequence[str], slices_per_run: int) -> tuple[str, str]:
    """From the first chosen key to the last one within ``slices_per_run`` keys: what landed between is skipped."""
    start = keys.index(chosen[0])
    within = set(keys[start : start + slices_per_run])
    return chosen[0], [key for key in chosen if key in within][-1]


def wait_left(ended: float, failures: int, now: float) -> float:
    """Seconds until the next try after so many, the last of which ended then."""
    if failures == 0:
        return 0.0
    return ended + REPAIR_WAITS[min(failures, len(REPAIR_WAITS)) - 1] - now


def _slices(count: int) -> str:
    return "1 slice" if count == 1 else f"{count} slices"


def minutes(seconds: float) -> str:
    """A wait in words."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"

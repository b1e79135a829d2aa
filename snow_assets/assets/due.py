"""What is due for a pull: a pure decision over what the landing and the instance's runs say.

The reconciler sensor and the tests call ``decide``; nothing here reads anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

# Seconds to wait before the second, third and fourth try; later tries wait as long as the last.
REPAIR_WAITS = (5 * 60.0, 20 * 60.0, 60 * 60.0)

Outcome: TypeAlias = Literal["running", "success", "failure", "cancelled"]


@dataclass(frozen=True, slots=True)
class RunSeen:
    """One run that Dagster knows for the plan.

    ``first`` and ``last`` are the partition keys of its range (slices runs); ``ended`` is a Unix time, ``None`` while
    it lives. ``refused``: a publish run that ended because publishing must be accepted by name.
    """

    step: str
    outcome: Outcome
    ended: float | None = None
    first: str = ""
    last: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of the newest plan of a pull. ``missing`` are the keys not yet landed, in offset order."""

    pull: str
    plan_id: str
    keys: Sequence[str]
    missing: Sequence[str]
    published: bool
    runs: Sequence[RunSeen] = ()
    busy: str = ""  # why nobody may start anything now: a live lease, a queued backfill


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing is due now; ``reason`` is one line for the sensor's tick."""

    reason: str


@dataclass(frozen=True, slots=True)
class LandSlices:
    """One ranged run from ``first`` to ``last`` is due; ``attempt`` counts from 1."""

    plan_id: str
    first: str
    last: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Publish:
    """The plan is complete: totals and dataset are due."""

    plan_id: str
    attempt: int


Due: TypeAlias = Nothing | LandSlices | Publish


def decide(situation: Situation, *, now: float, repair_attempts: int, slices_per_run: int) -> Due:
    """What to start for a pull at ``now`` (Unix time).

    Slices that no run tried start at once. A slice whose run failed is tried again ``repair_attempts`` times, after
    the waits of ``REPAIR_WAITS``; a manual run counts as a try like any other. What a person cancelled stays so. A run
    of the plan job, by hand or by schedule, starts all of it afresh: earlier runs are not looked at.
    """
    situation = replace(situation, runs=_since_the_plan(situation.runs))
    if situation.published:
        return Nothing(f"plan {situation.plan_id} is published")
    if situation.busy:
        return Nothing(situation.busy)
    if any(run.outcome == "running" for run in situation.runs):
        return Nothing(f"a run of plan {situation.plan_id} is queued or in progress")
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
    failures = _failures(situation)
    fewest = min(len(failures[key]) for key in situation.missing)
    if fewest > repair_attempts:
        return Nothing(
            f"plan {situation.plan_id}: {len(situation.missing)} of {len(situation.keys)} slices failed "
            f"{fewest} times, giving up; launch pull_{situation.pull} to try again"
        )
    chosen = [key for key in situation.missing if len(failures[key]) == fewest]
    wait = _wait_left(max((end for key in chosen for end in failures[key]), default=0.0), fewest, now)
    if wait > 0:
        return Nothing(
            f"plan {situation.plan_id}: {len(situation.missing)} slices failed, try {fewest + 1} in {_minutes(wait)}"
        )
    first, last = _range(situation.keys, chosen, slices_per_run)
    return LandSlices(situation.plan_id, first, last, attempt=fewest + 1)


def _decide_publish(situation: Situation, now: float, repair_attempts: int) -> Due:
    ended = [run for run in situation.runs if run.step == "publish" and run.outcome == "failure"]
    if any(run.refused for run in ended):
        return Nothing(
            f"plan {situation.plan_id}: publishing was refused; "
            f"launch publish_{situation.pull} with accept: true to publish it as it is"
        )
    if len(ended) > repair_attempts:
        return Nothing(f"plan {situation.plan_id}: publishing failed {len(ended)} times, giving up")
    wait = _wait_left(max((run.ended or 0.0 for run in ended), default=0.0), len(ended), now)
    if wait > 0:
        return Nothing(f"plan {situation.plan_id}: publishing failed, try {len(ended) + 1} in {_minutes(wait)}")
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


def _wait_left(ended: float, failures: int, now: float) -> float:
    if failures == 0:
        return 0.0
    return ended + REPAIR_WAITS[min(failures, len(REPAIR_WAITS)) - 1] - now


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"

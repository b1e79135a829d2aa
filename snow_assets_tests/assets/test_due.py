"""What is due: the reconciler's decisions, as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from snow_assets.assets.due import (
    Due,
    LandSlices,
    Nothing,
    Outcome,
    PlanAgain,
    PlanRunSeen,
    Publish,
    RunSeen,
    Situation,
    decide,
)
from snow_assets.sensors import run_requests

KEYS = [f"P/{offset}" for offset in range(6)]
MINUTE = 60.0
NOW = 100 * MINUTE


def failed(minutes_ago: float, first: int = 0, last: int = 5) -> RunSeen:
    return RunSeen("slices", "failure", NOW - minutes_ago * MINUTE, KEYS[first], KEYS[last])


def situation(missing: list[int], *runs: RunSeen, published: bool = False, busy: str = "") -> Situation:
    return Situation("p", "P", KEYS, [KEYS[i] for i in missing], published, runs, busy)


def planning(
    minutes_ago: float, attempt: int = 1, *, outcome: Outcome = "failure", fix_first: bool = False
) -> PlanRunSeen:
    return PlanRunSeen("0123456789", outcome, NOW - minutes_ago * MINUTE, attempt, fix_first)


def made(plan_id: str) -> PlanRunSeen:
    """A plan run that died after it had said which plan it is about to write."""
    return replace(planning(9), plan_id=plan_id)


def planned(seen: PlanRunSeen, given: Situation | None = None) -> Situation:
    """Without ``given``: nothing was ever planned."""
    return replace(given or Situation("p", "", (), (), published=False), planning=seen)


ALL = list(range(6))
FIRST = LandSlices("P", "P/0", "P/5", 1)
PLANNED = RunSeen("plan", "success", NOW - 3 * MINUTE)
SUCCESS = replace(failed(1), outcome="success")
CANCELLED = replace(failed(1), outcome="cancelled")
PUBLISH_FAILED = RunSeen("publish", "failure", NOW - 6 * MINUTE)
TABLE: list[tuple[str, Situation, Due | str]] = [
    ("fresh plan", situation(ALL), LandSlices("P", "P/0", "P/5", 1)),
    ("published", situation([], published=True), "is published"),
    ("someone works on it", situation(ALL, busy="snow-assets pull works on it"), "snow-assets pull works on it"),
    ("run in progress", situation(ALL, RunSeen("slices", "running", None, "P/0", "P/5")), "queued or in progress"),
    ("not let in", situation(ALL, replace(failed(99), fix_first=True)), "refused the credentials"),
    ("let in after that", situation(ALL, replace(failed(9), fix_first=True), PLANNED), FIRST),
    ("failed just now", situation([2], failed(1)), "1 slice failed, try 2 in 4 min"),
    ("failed 5 minutes ago", situation([2, 4], failed(5)), LandSlices("P", "P/2", "P/4", 2)),
    ("failed twice, 19 minutes", situation([2], failed(30), failed(19, 2, 2)), "try 3 in 60 s"),
    ("failed twice, 20 minutes", situation([2], failed(40), failed(20, 2, 2)), LandSlices("P", "P/2", "P/2", 3)),
    ("failed thrice, 59 minutes", situation([2], failed(95), failed(80), failed(59)), "try 4 in 60 s"),
    ("failed thrice, 60 minutes", situation([2], failed(95), failed(80), failed(60)), LandSlices("P", "P/2", "P/2", 4)),
    ("failed four times", situation([2], failed(99), failed(95), failed(80), failed(70)), "giving up"),
    ("never tried before failed", situation([1, 4, 5], failed(1, 0, 2)), LandSlices("P", "P/4", "P/5", 1)),
    ("a success that left a gap counts", situation([2], replace(failed(1), outcome="success")), "try 2 in 4 min"),
    ("cancelled by a person", situation(ALL, replace(failed(99), outcome="cancelled")), "launch pull_p to go on"),
    ("repaired by hand after that", situation([], replace(failed(9), outcome="cancelled"), SUCCESS), Publish("P", 1)),
    ("planned again after that", situation(ALL, replace(failed(9), outcome="cancelled"), PLANNED), FIRST),
    ("planned again after giving up", situation(ALL, *[failed(9)] * 4, PLANNED), FIRST),
    ("failed after that", situation([3], *[failed(9)] * 4, PLANNED, failed(1)), "try 2 in 4 min"),
    ("complete", situation([]), Publish("P", 1)),
    ("complete after failures", situation([], failed(1), failed(2)), Publish("P", 1)),
    ("publishing failed", situation([], replace(PUBLISH_FAILED, ended=NOW)), "publishing failed, try 2 in 5 min"),
    ("publishing failed a while ago", situation([], PUBLISH_FAILED), Publish("P", 2)),
    ("publishing not let in", situation([], replace(PUBLISH_FAILED, fix_first=True)), "refused the credentials"),
    ("publishing refused", situation([], replace(PUBLISH_FAILED, refused=True)), "accept: true"),
    ("never planned", Situation("p", "", (), (), published=False), "no plan yet"),
    ("planning failed just now", planned(planning(1)), "planning failed once, try 2 in 4 min"),
    ("planning failed 5 minutes ago", planned(planning(5)), PlanAgain("0123456789", 2)),
    ("planning failed twice, 19 minutes", planned(planning(19, 2)), "failed 2 times, try 3 in 60 s"),
    ("planning failed twice, 20 minutes", planned(planning(20, 2)), PlanAgain("0123456789", 3)),
    ("planning failed thrice, 60 minutes", planned(planning(60, 3)), PlanAgain("0123456789", 4)),
    ("planning failed four times", planned(planning(99, 4)), "planning failed 4 times, giving up: see run 01234567"),
    ("planning needs a person", planned(planning(99, fix_first=True)), "fixed first: see run 01234567, then launch"),
    ("planning was cancelled", planned(planning(9, outcome="cancelled")), "planning was cancelled; launch pull_p"),
    ("planning is old news", planned(planning(24 * 60 + 1)), "no plan yet"),
    ("planning while busy", planned(planning(9), situation([], published=True, busy="run 1 is queued")), "is queued"),
    (
        "planning after a published plan",
        planned(planning(9), situation([], published=True)),
        PlanAgain("0123456789", 2),
    ),
    ("waiting after a published plan", planned(planning(1), situation([], published=True)), "failed once, try 2 in 4"),
    ("slices first", planned(planning(9), situation(ALL)), FIRST),
    (
        "both wait",
        planned(planning(1), situation([2], failed(2))),
        "try 2 in 4 min; plan P: 1 slice failed, try 2 in 3",
    ),
    ("slices wait, planning is due", planned(planning(9), situation([2], failed(2))), PlanAgain("0123456789", 2)),
    ("cancelled after planning failed", planned(planning(9), situation([2], CANCELLED)), "a run was cancelled"),
    (
        "planning failed after that",
        planned(planning(6), situation([2], replace(CANCELLED, ended=NOW - 8 * MINUTE))),
        PlanAgain("0123456789", 2),
    ),
    ("planning died behind its plan", planned(made("P"), situation([], published=True)), "plan P is published"),
    ("planning died before its plan", planned(made("Q"), situation([], published=True)), PlanAgain("0123456789", 2)),
    ("publishing failed for good", situation([], *[PUBLISH_FAILED] * 4), "publishing failed 4 times, giving up"),
]


@pytest.mark.parametrize(("given", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_decision(given: Situation, expected: Due | str) -> None:
    due = decide(given, now=NOW, repair_attempts=3, slices_per_run=250)

    if isinstance(expected, str):
        assert isinstance(due, Nothing)
        assert expected in due.reason
    else:
        assert due == expected


def test_a_long_plan_is_landed_in_chunks() -> None:
    first = decide(situation(ALL), now=NOW, repair_attempts=3, slices_per_run=4)
    assert first == LandSlices("P", "P/0", "P/3", 1)

    done = RunSeen("slices", "success", NOW, "P/0", "P/3")
    second = decide(situation([4, 5], done), now=NOW, repair_attempts=3, slices_per_run=4)
    assert second == LandSlices("P", "P/4", "P/5", 1)


def test_no_repair_where_none_is_wanted() -> None:
    due = decide(situation([2], failed(99)), now=NOW, repair_attempts=0, slices_per_run=250)

    assert isinstance(due, Nothing)
    assert "giving up" in due.reason


def test_no_second_plan_run_where_none_is_wanted() -> None:
    due = decide(planned(planning(99)), now=NOW, repair_attempts=0, slices_per_run=250)

    assert due == Nothing("planning failed once, giving up: see run 01234567; launch pull_p to try again")


def test_what_the_plan_run_was_asked_for_is_asked_for_again() -> None:
    due = decide(planned(replace(planning(9), new=True)), now=NOW, repair_attempts=3, slices_per_run=250)

    assert due == PlanAgain("0123456789", 2, new=True)


@pytest.mark.parametrize(("missing", "failure"), [([], PUBLISH_FAILED), (ALL, failed(6))])
def test_what_a_new_plan_run_has_tried_afresh_is_no_run_that_dagster_started_before(
    missing: list[int], failure: RunSeen
) -> None:
    names = set()
    for runs in ((), (failure,), (failure, PLANNED)):  # the first try, the second, and the first one anew
        due = decide(situation(missing, *runs), now=NOW, repair_attempts=3, slices_per_run=250)
        [request] = run_requests("p", due)
        names.add(request.run_key)

    assert len(names) == 3

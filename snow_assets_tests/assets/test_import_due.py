"""What is due for an import, as a table of situations."""

from __future__ import annotations

import pytest

from snow_assets.assets.due import Nothing, Outcome, RunSeen
from snow_assets.assets.import_due import (
    CloseLoad,
    ImportDue,
    ImportSituation,
    JobSeen,
    LoadSeen,
    SetSeen,
    StartImport,
    TransformSets,
    decide_import,
)

LOAD = "20261121T020000Z"
NOW = 10_000.0


def sets(*jobs: JobSeen, tries: int = 1) -> list[SetSeen]:
    return [
        SetSeen(number, f"{LOAD}/{number:04d}", job, 0 if job == "pending" else tries)
        for number, job in enumerate(jobs, 1)
    ]


def ran(step: str, outcome: Outcome, minutes_ago: float = 0, *, fix_first: bool = False) -> RunSeen:
    return RunSeen(step, outcome, None if outcome == "running" else NOW - 60 * minutes_ago, fix_first=fix_first)


def due(
    state: str = "loaded",
    *jobs: JobSeen,
    runs: tuple[RunSeen, ...] = (),
    tries: int = 1,
    released: str = "",
    busy: str = "",
    alive: bool = False,
    early: bool = True,
) -> ImportDue:
    load = LoadSeen(LOAD, state, sets(*jobs, tries=tries), alive, early, "EXEC0000009") if state else None
    return decide_import(ImportSituation("people", load, released, runs, busy), now=NOW)


def transform(first: int, last: int) -> TransformSets:
    return TransformSets(LOAD, f"{LOAD}/{first:04d}", f"{LOAD}/{last:04d}")


def test_sets_that_nobody_took_are_one_ranged_run() -> None:
    assert due("loaded", "pending", "pending", "pending") == transform(1, 3)


def test_sets_are_transformed_while_later_rows_load() -> None:
    assert due("loading", "completed", "pending", runs=(ran("staging", "running"),)) == transform(2, 2)
    assert due("loading", "pending", alive=True) == transform(1, 1)
    assert due("loading", "pending", alive=True, early=False) == Nothing(f"load {LOAD} is loading")
    assert due("loading", "completed", alive=True) == Nothing(f"load {LOAD} is loading")


def test_one_run_at_a_time() -> None:
    for step in ("sets", "target"):
        found = due("loaded", "pending", runs=(ran(step, "running"),))
        assert isinstance(found, Nothing)
        assert step in found.reason
    assert due("loaded", "pending", busy="somebody works on it") == Nothing("somebody works on it")
    assert due("loaded", "running", "pending") == Nothing(f"load {LOAD}: import sets are being transformed")


def test_all_jobs_complete_closes_the_load_once() -> None:
    assert due("loaded", "completed", "completed") == CloseLoad(LOAD)
    assert due("loaded", "completed", runs=(ran("target", "running"),)) != CloseLoad(LOAD)
    assert due("processed", "completed") == Nothing(f"load {LOAD} is processed")


def test_a_load_without_sets_is_closed_too() -> None:
    assert due("loaded") == CloseLoad(LOAD)


@pytest.mark.parametrize("job", ["dead", "error"])
def test_dead_and_failed_jobs_are_taken_up_after_5_20_and_60_minutes(job: JobSeen) -> None:
    for tries, minutes in ((1, 5), (2, 20), (3, 60)):
        early = due("loaded", "completed", job, runs=(ran("sets", "failure", minutes - 0.1),), tries=tries)
        assert isinstance(early, Nothing)
        assert f"try {tries + 1}" in early.reason
        late = due("loaded", "completed", job, runs=(ran("sets", "failure", minutes + 0.1),), tries=tries)
        assert late == transform(2, 2)


def test_what_failed_four_times_closes_the_load_as_it_is() -> None:
    assert due("loaded", "completed", "error", runs=(ran("sets", "failure", 90),), tries=4) == CloseLoad(LOAD)


def test_what_must_be_fixed_first_is_not_repeated() -> None:
    runs = (ran("sets", "failure", 90, fix_first=True),)
    assert due("loaded", "completed", "error", runs=runs) == CloseLoad(LOAD)


def test_pending_sets_go_before_failed_ones_and_do_not_wait() -> None:
    assert due("loaded", "error", "pending", "pending", runs=(ran("sets", "failure", 1),)) == transform(2, 3)


def test_what_a_person_cancelled_stays_so() -> None:
    found = due("loaded", "pending", runs=(ran("sets", "cancelled", 1),))
    assert isinstance(found, Nothing)
    assert "resume" in found.reason
    assert due("loaded", "pending", runs=(ran("sets", "cancelled", 2), ran("sets", "failure", 1))) == transform(1, 1)


def test_closing_that_failed_is_repeated_after_a_while_and_given_up_at_last() -> None:
    done = ran("sets", "success", 120)
    assert isinstance(due("loaded", "completed", runs=(done, ran("target", "failure", 1))), Nothing)
    assert due("loaded", "completed", runs=(done, ran("target", "failure", 6))) == CloseLoad(LOAD)
    four = tuple(ran("target", "failure", 90 + each) for each in range(4))
    found = due("loaded", "completed", runs=(done, *four))
    assert isinstance(found, Nothing)
    assert "giving up" in found.reason
    again = due("loaded", "completed", runs=(*four, ran("sets", "success", 80)))
    assert again == CloseLoad(LOAD)


def test_a_released_import_starts_and_only_then() -> None:
    assert due("", released="EXEC0000001") == StartImport("EXEC0000001")
    assert due("processed", "completed", released="EXEC0000001") == StartImport("EXEC0000001")
    assert due("", released="") == Nothing("no load yet")
    assert due("loaded", "pending", released="EXEC0000001") == transform(1, 1)


def test_a_start_that_failed_is_repeated_and_a_running_one_left_alone() -> None:
    assert isinstance(due("", released="EXEC0000001", runs=(ran("staging", "running"),)), Nothing)
    assert isinstance(due("", released="EXEC0000001", runs=(ran("staging", "failure", 4),)), Nothing)
    assert due("", released="EXEC0000001", runs=(ran("staging", "failure", 6),)) == StartImport("EXEC0000001")
    broken = due("", released="EXEC0000001", runs=(ran("staging", "failure", 90, fix_first=True),))
    assert isinstance(broken, Nothing)
    assert "giving up" in broken.reason


def test_a_load_that_died_while_loading_starts_again_in_its_context() -> None:
    assert due("loading") == StartImport("EXEC0000009")
    found = due("loading", runs=(ran("staging", "failure", 1),))
    assert isinstance(found, Nothing)
    assert "died while it was loading" in found.reason
    assert due("loading", runs=(ran("staging", "failure", 6),)) == StartImport("EXEC0000009")

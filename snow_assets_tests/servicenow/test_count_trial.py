"""A count is tried by one range at a time, and what came out stays."""

from __future__ import annotations

from snow_assets.servicenow.reading import CountTrial


def test_one_range_tries_the_count_and_what_came_out_stays() -> None:
    trial = CountTrial()
    assert trial.begin()
    assert not trial.begin()
    trial.end(None)  # it failed: another one tries
    assert trial.begin()
    trial.end(False)
    assert not trial.begin()
    assert trial.passed is False

"""A few chaos pulls; `make chaos N=1000` runs many. A seed that fails is run alone by ``chaos --only SEED``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from snow_assets.servicenow import retry
from snow_assets_tests.chaos import run_case
from snow_assets_tests.chaos_recipe import draw


@pytest.fixture(autouse=True)
def _waits() -> Iterator[None]:
    """Cases shorten the least pause after a 429; the tests that follow get it back."""
    before = retry._LEAST_PAUSE
    yield
    retry._LEAST_PAUSE = before


@pytest.mark.parametrize(
    "first", [5000, *(pytest.param(first, marks=pytest.mark.slow) for first in range(5010, 5100, 10))]
)
def test_rows_land_once_and_unaltered_under_faults_drift_and_kills(first: int) -> None:
    wrong = {}
    for seed in range(first, first + 10):
        outcome = run_case(seed)
        if outcome.wrongs:
            wrong[seed] = (outcome.wrongs, draw(seed).line())
    assert not wrong

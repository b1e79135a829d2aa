"""A short run of ``make kills``: the real command, killed at random moments, started again each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from snow_assets_tests.kills import storm


@pytest.mark.slow
def test_a_pull_that_is_killed_again_and_again_ends_with_the_same_rows(tmp_path: Path) -> None:
    figures = storm(3, 1_000, 20261121, tmp_path, page_size=50)
    assert figures["kills"] == 3

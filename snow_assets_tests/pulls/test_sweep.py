"""What a delta's window cannot show: rows that left the filter, were missed, restored, or changed with an old clock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snow_assets.simulator import SimulatorServer
from snow_assets_tests.pulls.sweeping import Deltas, small_instance


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with small_instance().serve() as server:
        yield server


@pytest.fixture
def active(server: SimulatorServer, tmp_path: Path) -> Deltas:
    return Deltas(server, tmp_path / "data", query="active=true", deletes="off")


def test_a_row_that_leaves_the_filter_is_marked(active: Deltas) -> None:
    active.base()
    closed, changed, *_ = active.ids_of(active="true")
    active.sim.update("incident", closed, active="false")
    active.sim.update("incident", changed, short_description="still open")
    found = active.swept()
    assert active.marks(found) == {closed: ("left_filter", "sweep", "")}
    assert (found.kinds, found.left_filter, found.mended) == (("left",), 1, ())

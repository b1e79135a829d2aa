"""A fixture for tests of whatever talks to ServiceNow: ``snow_simulator``, an instance of its own for each test.

Mark a test to choose the data; the marker takes the arguments of ``Simulator``::

    @pytest.mark.snow_simulator(rows={"incident": 50}, seed=7)
    def test_counts(snow_simulator):
        snow_simulator.faults.add(kind="html_503", times=1)
        assert count_incidents(snow_simulator.url, user="admin", password="admin") == 50
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from snow_assets.simulator.instance import Simulator
from snow_assets.simulator.server import SimulatorServer

DEFAULT_ROWS = {"incident": 200}


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "snow_simulator(rows, seed, at, ...): data of the fixture snow_simulator")


@pytest.fixture
def snow_simulator(request: pytest.FixtureRequest) -> Iterator[SimulatorServer]:
    """A simulated instance on a free port of loopback: ``url``, ``username``, ``password``, ``sim``, ``faults``."""
    marker = request.node.get_closest_marker("snow_simulator")
    settings = {"rows": DEFAULT_ROWS} | (marker.kwargs if marker else {})
    with Simulator(**settings).serve() as server:
        yield server

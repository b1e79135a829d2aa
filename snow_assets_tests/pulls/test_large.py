"""Many incidents, every row exactly once and field by field, in all three display modes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import requests

from snow_assets.pulls.records import raw_records
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.pulls.conftest import Workbench

FIELDS = ("sys_id", "number", "state", "short_description", "caller_id", "opened_at")


@pytest.fixture(scope="module", params=[pytest.param(200_000, marks=pytest.mark.slow), 20_000])
def large(request: pytest.FixtureRequest) -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": request.param}, seed=5).serve() as server:
        yield server


@pytest.mark.parametrize(
    "display_value", ["all", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("true", "false"))]
)
def test_very_many_rows_land_exactly_once(large: SimulatorServer, tmp_path: Path, display_value: str) -> None:
    rows = len(large.sim.rows("incident"))
    workbench = Workbench(large, tmp_path, fields=FIELDS, display_value=display_value)
    totals = workbench.pull_all()
    plan = workbench.landing.read_plan(totals.plan)
    files = workbench.landing.all_landed(plan).values()
    landed = (
        record for file in files for record in raw_records(workbench.landing.parquet(file.path), plan.display_value)
    )
    compared = 0
    for ours, theirs in zip_longest(landed, _plainly(large, display_value, rows)):
        assert ours == theirs
        compared += 1
    assert (compared, totals.counted, totals.landed, totals.missing) == (rows, rows, rows, 0)
    if display_value == "false":
        _equals_what_is_stored(large, workbench, files)


def _plainly(server: SimulatorServer, display_value: str, rows: int) -> Iterator[dict[str, Any]]:
    """The instance's own answers, by offset, read by a loop that shares nothing with ours."""
    with requests.Session() as session:
        session.auth = (server.username, server.password)
        for offset in range(0, rows, 10_000):
            params = {
                "sysparm_query": "ORDERBYsys_id",
                "sysparm_fields": ",".join(FIELDS),
                "sysparm_display_value": display_value,
                "sysparm_limit": "10000",
                "sysparm_offset": str(offset),
            }
            yield from session.get(f"{server.url}/api/now/table/incident", params=params, timeout=60).json()["result"]


def _equals_what_is_stored(server: SimulatorServer, workbench: Workbench, files: Any) -> None:
    """And the instance's stored values, past its HTTP side."""
    stored = iter(server.sim.rows("incident"))
    for file in files:
        table = workbench.landing.parquet(file.path).read(columns=["sys_id.value", "state.value", "caller_id.value"])
        columns = [table.column(name).combine_chunks().field("value").to_pylist() for name in table.column_names]
        for values in zip(*columns, strict=True):
            row = next(stored)
            assert values == tuple(row.get(name, "") for name in table.column_names)
    assert next(stored, None) is None

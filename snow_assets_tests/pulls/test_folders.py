"""Data folders with names that URLs would quote."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import snow_assets
from snow_assets.errors import LandingError
from snow_assets.pulls import pull_status
from snow_assets.reader import connect
from snow_assets.simulator import SimulatorServer
from snow_assets_tests.pulls.conftest import Workbench

FIELDS = ("sys_id", "number", "state")


@pytest.mark.parametrize("name", ["my data", "dé", "a#b", "a?b", "100% a%b"])
def test_a_pull_lands_and_is_read_in_a_folder_with_an_odd_name(
    small: SimulatorServer, tmp_path: Path, name: str
) -> None:
    data = tmp_path / name
    Workbench(small, data, fields=FIELDS[:2], page_size=600).pull_all()
    bench = Workbench(small, data, fields=FIELDS, page_size=600)
    totals = bench.pull_all()
    status = pull_status("incidents", bench.landing)
    assert (status.published_plan, status.published_rows) == (totals.plan, 1200)
    files = snow_assets.files("incidents", data=str(data))
    assert [Path(file).parent for file in files] == [data / "incidents" / totals.plan] * totals.files
    assert sum(pq.read_metadata(file).num_rows for file in files) == 1200
    table = snow_assets.read("incidents", data=str(data))
    assert (table.num_rows, tuple(table.column_names)) == (1200, FIELDS)
    assert connect(str(data)).execute("select count(*), count(state) from incidents").fetchall() == [(1200, 1200)]
    assert snow_assets.files("incidents", data=data.as_uri()) == files
    assert connect(data.as_uri()).execute("select count(*) from incidents").fetchall() == [(1200,)]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a%20b", "a\\b"])
def test_a_folder_that_delta_readers_misread_is_refused_before_anything_is_asked(
    small: SimulatorServer, tmp_path: Path, name: str
) -> None:
    bench = Workbench(small, tmp_path / name)
    with pytest.raises(LandingError, match="misread by Delta"):
        bench.plan()
    assert list(tmp_path.iterdir()) == []

"""Rows become records of an instance by the Table API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.imports.instance.bench import Bench, declared, expected, some_rows


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": 5}, seed=3).serve() as server:
        yield server


@pytest.fixture
def bench(server: SimulatorServer, tmp_path: Path) -> Bench:
    server.faults.clear()
    return Bench(server, tmp_path, declared())


def test_rows_are_inserted_updated_and_ignored_in_their_order(bench: Bench) -> None:
    rows = some_rows(60, 20, seed=1)
    made, counted = expected(rows)
    counters, lines = bench.apply(*rows)
    assert counters.as_dict() == {
        "total": 60, "inserts": counted["inserted"], "updates": counted["updated"], "ignored": counted["ignored"],
        "skipped": 0, "errors": 0,
    }  # fmt: skip
    assert {key: [each["short_description"] for each in found] for key, found in bench.by_key().items()} == {
        key: [text] for key, text in made.items()
    }
    assert [line["sys_import_row"] for line in lines] == list(range(1, 61))
    assert {line["sys_target_sys_id"] for line in lines} == {found[0]["sys_id"] for found in bench.by_key().values()}

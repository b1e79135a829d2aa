"""Writes of which some are answered by faults, carried out or not: no row is there twice, none is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snow_assets.imports.contract import Counters
from snow_assets.imports.targets.instance_multiple import InsertMultipleWay
from snow_assets.simulator import Knobs, Simulator, SimulatorServer
from snow_assets_tests.imports.instance.bench import Bench, dealt, declared, expected, some_rows

# What leaves open whether a write was carried out.
AMBIGUOUS = (
    "error_500", "html_500", "html_502", "html_503", "html_504", "empty_503", "request_timeout_408", "client_gone_499",
    "dropped_202", "null_body", "list_body", "empty_body", "no_content_204", "truncated", "truncated_length",
    "broken_gzip", "reset", "hang_up", "reset_inside_body", "no_http", "head_cut", "error_in_200", "no_result",
    "plain_text", "xml_body", "two_documents", "execution_time_500", "execution_time_in_200", "hibernating",
)  # fmt: skip
# What says that it was not, whether or not that is true.
REFUSALS = ("overloaded_429", "rate_limited_429", "unauthorized_401")
WAYS = {"table": 0.1, "import_set": 0.1, "insert_multiple": 0.5}  # with the share of spoiled writes in a short run


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": 5}, seed=3).serve() as server:
        yield server


def spoil(server: SimulatorServer, share: float, seed: int) -> None:
    """Answer this share of the writes by a fault of any kind, half of them carried out all the same."""
    rules: list[dict[str, Any]] = [
        {"kind": kind, "write": True, "committed": committed} for kind in AMBIGUOUS for committed in (True, False)
    ]
    rules += [{"kind": kind, "write": True, "committed": False} for kind in REFUSALS]
    for number, rule in enumerate(rules):
        wait = {"retry_after": 0} if rule["kind"] == "rate_limited_429" else {}
        server.faults.add({**rule, **wait, "probability": share / len(rules), "seed": seed * 1000 + number})


def work(bench: Bench, rows: list[Any], sets: int) -> tuple[Counters, Counter[str]]:
    """Apply the rows as so many sets at once; the counters, and the states of the rows in their files."""
    applied = bench.apply_sets(dealt(rows, sets))
    total = sum((each.counters for each in applied.values()), Counters())
    return total, Counter({"inserted": total.inserts, "updated": total.updates, "ignored": total.ignored})


def hits(server: SimulatorServer) -> int:
    return sum(rule.hits for rule in server.faults)


def one_each(bench: Bench, keys: set[str]) -> None:
    found = {key: len(records) for key, records in bench.by_key().items() if key in keys}
    assert found == dict.fromkeys(keys, 1)


@pytest.fixture
def bench(
    server: SimulatorServer, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    monkeypatch.setattr(InsertMultipleWay, "chunk", 15)  # so that there are some to be spoiled
    server.faults.clear()
    server.sim.knobs = Knobs()
    yield Bench(server, tmp_path, declared(request.param, staging="imp_incident"))
    server.faults.clear()


@pytest.mark.parametrize(("bench", "share"), WAYS.items(), indirect=["bench"])
def test_no_row_is_doubled_or_lost_over_faults(bench: Bench, share: float) -> None:
    rows = some_rows(150, 60, 1 + list(WAYS).index(bench.config.target.servicenow or ""))
    spoil(bench.server, share, seed=1)
    total, counted = work(bench, rows, 1)
    made, states = expected(rows)
    one_each(bench, set(made))
    assert total.accounted == total.total == 150
    assert counted == states
    assert {key: found[0]["short_description"] for key, found in bench.by_key().items() if key in made} == made
    assert hits(bench.server) > 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(11, 17))
@pytest.mark.parametrize("bench", WAYS, indirect=True)
def test_no_row_is_doubled_or_lost_over_faults_at_length(bench: Bench, seed: int) -> None:
    rows = some_rows(3_000, 1_000, seed + 100 * list(WAYS).index(bench.config.target.servicenow or ""))
    spoil(bench.server, 0.1, seed)
    total, counted = work(bench, rows, 4)
    one_each(bench, {row["correlation_id"] for row in rows})
    assert total.accounted == total.total == 3_000
    assert hits(bench.server) > 0
    assert (total.errors, total.skipped) == (0, 0)
    assert counted["inserted"] == 1_000

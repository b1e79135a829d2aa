"""A process that applies a set to an instance dies in its middle: the next one takes it up, and counts as if not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from snow_assets.imports.contract import Counters, MappedSet
from snow_assets.simulator import Knobs, Simulator, SimulatorServer
from snow_assets_tests.imports.instance.bench import Bench, Values, declared, expected, some_rows, states

WAYS = ("table", "import_set", "insert_multiple")


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": 5}, seed=3).serve() as server:
        yield server


def kill_after(bench: Bench, mapped: MappedSet, writes: int) -> bool:
    """Apply the set in a process of its own, and kill it once the instance saw so many writes more; whether it was."""
    config = bench.config.model_dump_json(exclude_defaults=True, by_alias=True)
    made = json.dumps(
        {name: str(value) if isinstance(value, Path) else value for name, value in asdict(mapped).items()}
    )
    command = [sys.executable, "-m", "snow_assets_tests.imports.instance.applying"]
    bench.server.requests.clear()
    with subprocess.Popen([*command, bench.server.url, str(bench.root), config, made]) as process:
        while process.poll() is None:
            seen = sum(each.kind == "write" for each in bench.server.requests)
            if seen >= writes:
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.002)
        return process.wait() == -signal.SIGKILL


def resumed(bench: Bench, rows: list[Values], kills: list[int]) -> tuple[Counters, Counter[str], int]:
    """Apply rows in processes that die after so many writes each, then to the end."""
    numbered = list(enumerate(rows, 1))
    died = sum(kill_after(bench, bench.mapped(numbered), writes) for writes in kills)
    mapped = bench.mapped(numbered)
    with bench.target() as target:
        applied = target.apply(mapped)
        assert target.apply(bench.mapped(numbered)) == applied  # remembered
    lines = states(mapped, applied)
    assert [line["sys_import_row"] for line in lines] == list(range(1, len(rows) + 1))
    return applied.counters, Counter(line["sys_import_state"] for line in lines), died


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("way", WAYS)
def test_a_set_whose_process_is_killed_is_taken_up(
    server: SimulatorServer, tmp_path: Path, way: str, seed: int
) -> None:
    server.sim.knobs = Knobs(latency_of_write=0.005)
    bench = Bench(server, tmp_path, declared(way, staging="imp_incident"))
    rows = some_rows(900, 350, 100 + 10 * WAYS.index(way) + seed)
    made, wanted = expected(rows)
    first = 1 if way == "insert_multiple" else 40 + 71 * seed
    counters, counted, died = resumed(
        bench, rows, [first, first + 13, first + 90] if way != "insert_multiple" else [1, 1]
    )
    assert died > 0
    assert {
        key: [each["short_description"] for each in found] for key, found in bench.by_key().items() if key in made
    } == {key: [text] for key, text in made.items()}
    assert counters.accounted == counters.total == 900
    assert counted == wanted

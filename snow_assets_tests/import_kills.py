"""SIGKILL at random moments of real loads, each taken up by a new process, until it is done.

    python -m snow_assets_tests.import_kills [--loads 50] [--rows 2000] [--kills 3] [--seed 1]

Loads are dealt in turn, by key and by size, into a DuckDB file. A process that loads, maps, applies or closes is
killed at a moment drawn by the seed, up to so many times for each load; the next one goes on with what it finds. At the
end the target must be as an undisturbed load leaves it, each key once, and counters must add up to the staged rows.
Prints figures as JSON; exits 1 where a promise did not hold.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from snow_assets.imports import books_view, flow
from snow_assets.imports.books_records import LoadRecord
from snow_assets.imports.workspace import Workspace
from snow_assets_tests.imports.loads import Imports

WAYS: Final[dict[str, Any]] = {"round_robin": "round_robin", "key": {"key": "id"}, "size": {"size": 300}}
# What takes long to import, once for all processes.
PRELOADED: Final = ("snow_assets.imports.flow", "snow_assets.imports.sql_target", "snow_assets.imports.targets.duckdb")
VERSIONS: Final = 4  # rows of each key
PATIENCE: Final = 600.0  # seconds after which a process that is not killed is taken for hung


@dataclass
class Storm:
    """What was done and seen."""

    kills: Counter[str] = field(default_factory=Counter)  # by where the load stood
    retries: int = 0  # sets that were taken up
    loads_again: int = 0  # loads that died while they loaded, and began anew


class Broken(AssertionError):
    """A promise did not hold."""


def must(holds: bool, what: str) -> None:
    if not holds:
        raise Broken(what)


def declared(folder: Path, way: str) -> Imports:
    imports = Imports(folder)
    imports.declare("people", partition=WAYS[way])
    return imports


def work(folder: Path, way: str) -> None:
    """What a process does: go on with the load, or begin it."""
    with declared(folder, way).open() as workspace:
        load = workspace.books.load("people")
        if load is None or load.state == "cancelled":
            found = flow.run_import(workspace, "people")
        else:
            found = flow.resume(workspace, "people")
        sys.exit(0 if all(each.ok for each in found) else 3)


def storm(loads: int, rows: int, kills: int, seed: int, path: Path) -> dict[str, Any]:
    """Load so many times; returns the figures. Raises ``Broken``."""
    chance, seen, began = random.Random(seed), Storm(), time.monotonic()
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([*PRELOADED])
    source = [(f"k{i % (rows // VERSIONS)}", f"version {i}") for i in range(rows)]
    calm: dict[str, tuple[float, Any]] = {}
    for i in range(loads):
        way = list(WAYS)[i % len(WAYS)]
        if way not in calm:
            folder = path / f"calm-{way}"
            took = calm_load(folder, way, source, processes)
            calm[way] = took, content(folder, way)
        folder = path / f"load-{i:04d}"
        folder.mkdir()
        declared(folder, way).write("people", source)
        for _ in range(kills):
            if kill_once(folder, way, chance.uniform(0, calm[way][0]), seen, processes):
                break
        finish(folder, way, processes)
        check(folder, way, rows, calm[way][1], seen)
        sys.stderr.write(f"load {i + 1} of {loads} ({way}): {sum(seen.kills.values())} kills\n")
    return {
        "seed": seed,
        "loads": loads,
        "rows": rows,
        "kills": sum(seen.kills.values()),
        "killed in": dict(sorted(seen.kills.items())),
        "sets taken up": seen.retries,
        "loads begun anew": seen.loads_again,
        "seconds": round(time.monotonic() - began, 1),
    }


def calm_load(folder: Path, way: str, source: list[tuple[str, str]], processes: Any) -> float:
    folder.mkdir()
    declared(folder, way).write("people", source)
    began = time.monotonic()
    finish(folder, way, processes)
    return time.monotonic() - began


def kill_once(folder: Path, way: str, after: float, seen: Storm, processes: Any) -> bool:
    """Start a process and kill it after so many seconds; true where it had ended by itself."""
    process = processes.Process(target=work, args=(folder, way))
    process.start()
    process.join(after)
    if process.exitcode is not None:
        must(process.exitcode == 0, f"a process exited {process.exitcode} in {folder}")
        return True
    process.kill()
    process.join()
    with declared(folder, way).open() as workspace:
        seen.kills[stood(workspace, workspace.books.load("people"))] += 1
    return False


def stood(workspace: Workspace, load: LoadRecord | None) -> str:
    """Where a load stands, by its books."""
    if load is None:
        return "start"
    if load.state != "loaded":
        return load.state
    states = {each.job.state for each in workspace.books.sets(load) if each.job}
    return "all booked" if states == {"completed"} else "transform" if "running" in states else "loaded"


def finish(folder: Path, way: str, processes: Any) -> None:
    process = processes.Process(target=work, args=(folder, way))
    process.start()
    process.join(PATIENCE)
    must(process.exitcode == 0, f"a process exited {process.exitcode} in {folder}")


def content(folder: Path, way: str) -> Any:
    """What must not depend on kills: by key the last version of each; else each key once, in one of its versions."""
    if way == "key":
        return declared(folder, way).target("SELECT id, name, sys_domain FROM people ORDER BY id")
    return declared(folder, way).target("SELECT id, count(*) FROM people GROUP BY 1 ORDER BY 1")


def check(folder: Path, way: str, rows: int, expected: Any, seen: Storm) -> None:
    """The target as it should be; rows, states, counters and ledger say the same."""
    imports = declared(folder, way)
    must(content(folder, way) == expected, f"the target of {folder} differs")
    keys = rows // VERSIONS
    found = imports.target("SELECT count(*), count(DISTINCT sys_id), count(DISTINCT id) FROM people")
    must(found == [(keys, keys, keys)], f"{found} records, sys_ids and keys, expected {keys}")
    wrong = imports.target(f"SELECT id, name FROM people WHERE id <> 'k' || (CAST(name[9:] AS INT) % {keys})")
    must(not wrong, f"a record has another's value: {wrong[:3]}")
    with imports.open() as workspace:
        load = workspace.load("people")
        sets = workspace.books.sets(load)
        seen.retries += sum(each.job.retry_count for each in sets if each.job)
        seen.loads_again += len(workspace.books.loads("people")) - 1
        counters = flow.counted(sets)
        must(load.state == "processed" and load.staged == rows, f"load {load.load_id} is {load.state}")
        must(counters.total == counters.accounted == rows, f"counters: {counters}")
        states = books_view.query(
            workspace,
            "SELECT sys_import_state AS state, count(*) AS n FROM sys_import_set_row"
            f" WHERE load_id = '{load.load_id}' GROUP BY 1",
        ).to_pylist()
        told = {each["state"]: each["n"] for each in states}
        expected_states = {"inserted": counters.inserts, "updated": counters.updates, "ignored": counters.ignored}
        must(told == {name: n for name, n in expected_states.items() if n}, f"rows say {told}, counters {counters}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--loads", type=int, default=50)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    sys.stderr.write(f"seed {options.seed}\n")
    with tempfile.TemporaryDirectory(prefix="snow-import-kills-") as path:
        try:
            figures = storm(options.loads, options.rows, options.kills, options.seed, Path(path))
        except Broken as broken:
            sys.stderr.write(f"seed {options.seed}: {broken}\n")
            return 1
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

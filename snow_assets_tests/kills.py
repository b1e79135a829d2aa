"""SIGKILL at random moments of a real ``snow-assets pull``, started again each time, until it has published.

    python -m snow_assets_tests.kills [--kills 100] [--rows 100000] [--seed 1]

The instance is the simulator in a process of its own. An undisturbed pull comes first; then pulls of the same rows into
another folder are killed, process group and all, at moments drawn by the seed from every phase: start, plan, slices,
totals, publication. When one has published before the kills are used up, the next plan begins. Prints figures as JSON;
exits 1 where a promise did not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from snow_assets.pulls import Landing, published, pull_status, read_totals

NAME = "incidents"
FIELDS = ("number", "state", "short_description", "caller_id", "opened_at", "sys_updated_on")
WORKERS = 4
PATIENCE = 600.0  # seconds after which a pull that is not killed is taken for hung
POLL = 0.002
# What a kill waits for: a phase that begins, then up to so many seconds more.
PHASES = {"start": 2.0, "plan": 0.3, "slices": 0.3, "totals": 0.05, "publish": 0.3}
DRAWN = ("start", "plan", *("slices",) * 8, "totals", "publish")


@dataclass
class Folder:
    """A working folder: ``pulls.yaml``, the landing, Dagster's home."""

    path: Path
    url: str
    page_size: int

    def __post_init__(self) -> None:
        self.path.mkdir(parents=True)
        fields = ", ".join(FIELDS)
        self.path.joinpath("pulls.yaml").write_text(
            f"pulls: {{{NAME}: {{table: incident, fields: [{fields}], page_size: {self.page_size},"
            f" max_workers: {WORKERS}, retry_backoff: 0.01}}}}\n"
        )

    @property
    def landing(self) -> Landing:
        return Landing.open(str(self.path / "data"), NAME)

    @property
    def root(self) -> Path:
        return self.path / "data" / NAME

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("SNOW_", "DAGSTER_"))}
        variables = {"SNOW_INSTANCE_URL": self.url, "SNOW_USERNAME": "admin", "SNOW_PASSWORD": "admin"}
        return subprocess.Popen(
            [sys.executable, "-m", "snow_assets.cli.main", *arguments],
            cwd=self.path,
            env={**kept, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> str:
        with self.start(*arguments) as process:
            said, _ = process.communicate(timeout=PATIENCE)
        must(process.returncode == 0, f"{' '.join(arguments)} exited {process.returncode}: {said}")
        return said


@dataclass
class Storm:
    """What was done and seen."""

    kills: int = 0
    plans: int = 0
    phases: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0  # slices that could be in flight at the kills: at most the workers, at most those missing
    scratch: int = 0  # files half written at the kills


class Broken(AssertionError):
    """A promise did not hold."""


def must(holds: bool, what: str) -> None:
    if not holds:
        raise Broken(what)


def storm(kills: int, rows: int, seed: int, path: Path, *, page_size: int = 1000) -> dict[str, Any]:
    """Kill so many times; returns the figures. Raises ``Broken``."""
    chance = random.Random(seed)
    began = time.monotonic()
    with simulator(rows) as url:
        calm = Folder(path / "calm", url, page_size)
        calm.run("pull", NAME)
        undisturbed = rows_sent(url)
        wild, seen, sent, dirty = Folder(path / "wild", url, page_size), Storm(), 0, False
        while seen.kills < kills:
            before = published(wild.landing)
            while (now := published(wild.landing)) == before and seen.kills < kills:
                kill_once(wild, seen, chance)
            dirty = now != before  # a pull that was killed after it published leaves its scratch files to the next
            if not dirty:
                wild.run("pull", NAME)
            seen.plans += 1
            sent += rows_sent(url)
            compare(calm, wild)
        if dirty:
            wild.run("pull", NAME)
            sent += rows_sent(url)
            seen.plans += 1
            compare(calm, wild)
        tidy(wild)
        twice, bound = sent - seen.plans * undisturbed, seen.in_flight * (page_size + 1)
        must(twice <= bound, f"{twice} rows were read twice, at most {bound} were in flight")
    return {
        "seed": seed,
        "rows": rows,
        "kills": seen.kills,
        "plans": seen.plans,
        "killed in": dict(sorted(seen.phases.items())),
        "rows read twice": twice,
        "rows in flight at the kills, at most": bound,
        "files half written at the kills": seen.scratch,
        "seconds": round(time.monotonic() - began, 1),
    }


def kill_once(folder: Folder, seen: Storm, chance: random.Random) -> None:
    """Start the pull and kill it at a moment of a phase, unless it has ended by itself; then look at what it left."""
    phase = chance.choice(DRAWN)
    began = mark(folder)
    wanted = chance.randint(0, 6) if phase == "slices" else 0
    with folder.start("pull", NAME) as process:
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and not reached(folder, phase, began, wanted):
            must(time.monotonic() < deadline, "a pull hung")
            time.sleep(POLL)
        time.sleep(chance.uniform(0, PHASES[phase]))
        reached_phase = phase_of(folder, began)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
    if process.returncode != -signal.SIGKILL:
        must(process.returncode == 0, f"a pull exited {process.returncode}: {said}")
        return
    seen.kills += 1
    seen.phases[reached_phase] += 1
    look(folder, seen)


@dataclass(frozen=True)
class Mark:
    """Where a folder stood when a pull was started."""

    plans: int
    files: int
    totals: int
    commits: int


def mark(folder: Folder) -> Mark:
    return Mark(
        plans=len(list(folder.root.glob("*/plan.json"))),
        files=len(list(folder.root.glob("*/*.parquet"))),
        totals=sum(file.stat().st_mtime_ns for file in folder.root.glob("*/totals.json")),
        commits=len(list(folder.root.glob("_delta_log/*.json"))),
    )


def reached(folder: Folder, phase: str, began: Mark, wanted: int) -> bool:
    """Whether the pull is in the phase, or past it."""
    now = mark(folder)
    match phase:
        case "start":
            return True
        case "plan":  # a plan that goes on shows nothing: then its first slice does
            return now.plans > began.plans or now.files > began.files or now.totals != began.totals
        case "slices":
            return now.files >= began.files + wanted + 1 or now.totals != began.totals
        case "totals":
            return now.totals != began.totals
        case _:
            return now.commits > began.commits


def phase_of(folder: Folder, began: Mark) -> str:
    now = mark(folder)
    if now.commits > began.commits:
        return "after publication"
    if now.totals != began.totals:
        return "totals to publication"
    if now.files > began.files:
        return "slices"
    return "plan made" if now.plans > began.plans else "start and plan"


def look(folder: Folder, seen: Storm) -> None:
    """What every kill must leave: a landing that is read, files that are whole, a status."""
    landing = folder.landing
    status = pull_status(NAME, landing)
    must(status.running is None, "a dead pull holds the lease")
    plan = landing.latest_plan()
    if plan is not None:
        landed = landing.all_landed(plan)
        names = [name for names in landing.slice_files(plan).values() for name in names]
        must(len(names) == len(landed), f"{len(names)} files for {len(landed)} landed slices")
        must(all(landing.is_intact(file) for file in landed.values()), "a file is not as it was sealed")
        if status.published_plan != plan.plan_id:
            seen.in_flight += min(WORKERS, len(plan.slices) - len(landed))
    seen.scratch += len([file for file in folder.root.glob("*/.*.parquet.*.tmp") if file.stat().st_nlink == 1])
    if seen.kills % 10 == 1:
        must(json.loads(folder.run("status", NAME, "--json"))["state"] == status.state, "status tells something else")


def compare(calm: Folder, wild: Folder) -> None:
    """The same rows, by digest and as multisets; each sys_id once."""
    ours, theirs = published(wild.landing), published(calm.landing)
    must(ours is not None and theirs is not None, "nothing is published")
    assert ours is not None
    assert theirs is not None
    digests = [
        found.digest if (found := read_totals(folder.landing, dataset.plan)) else None
        for folder, dataset in ((calm, theirs), (wild, ours))
    ]
    must(digests[0] is not None and digests[0] == digests[1], f"digests differ: {digests}")
    with duckdb.connect() as connection:
        left, right = (f"select * from read_parquet({list(dataset.files)})" for dataset in (theirs, ours))
        for one, other in ((left, right), (right, left)):
            rest = connection.execute(f"select count(*) from ({one} except all {other})").fetchall()
            must(rest == [(0,)], f"{rest} rows differ")
        counts = connection.execute(f"select count(*), count(distinct sys_id.value) from ({right})").fetchall()
    must(counts == [(theirs.rows, theirs.rows)], f"rows and sys_ids: {counts}, expected {theirs.rows}")


def tidy(folder: Folder) -> None:
    """Nothing half done is left: no scratch file, no retired plan, no lease, no run without an end."""
    left = [str(path.relative_to(folder.path)) for path in folder.path.joinpath("data").rglob(".*")]
    must(not left, f"left behind: {left}")
    import dagster as dg

    with dg.DagsterInstance.from_config(str(folder.path / ".dagster")) as instance:
        unended = [run.run_id for run in instance.get_runs() if not run.is_finished]
    must(not unended, f"runs without an end: {unended}")


@contextmanager
def simulator(rows: int) -> Iterator[str]:
    """The URL of a simulated instance in a process of its own."""
    command = [sys.executable, "-m", "snow_assets.simulator", "--rows", f"incident={rows}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[0]
        finally:
            process.terminate()


def rows_sent(url: str) -> int:
    """Rows of pages that the instance has sent since the last call."""
    request = urllib.request.Request(f"{url}/simulator/requests")
    with urllib.request.urlopen(request, timeout=60) as answer:
        entries = json.load(answer)["requests"]
    with urllib.request.urlopen(urllib.request.Request(request.full_url, method="DELETE"), timeout=60):
        pass
    pages = [
        entry
        for entry in entries
        if entry["kind"] == "list"
        and "number" in entry["params"].get("sysparm_fields", "")
        and "sysparm_suppress_pagination_header" in entry["params"]
    ]
    return sum(entry["rows"] for entry in pages)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    sys.stderr.write(f"seed {options.seed}\n")
    with tempfile.TemporaryDirectory(prefix="snow-kills-") as path:
        try:
            figures = storm(options.kills, options.rows, options.seed, Path(path))
        except Broken as broken:
            sys.stderr.write(f"seed {options.seed}: {broken}\n")
            return 1
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

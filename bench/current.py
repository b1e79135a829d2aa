"""What one delta costs the table of current rows: seconds, bytes written, files, and the peak memory of the process.

    python bench/current.py [--rows 2000000] [--deltas 100] [--delta-rows 20000] [--hot SHARE]

Makes up rows of twelve fields with texts of some hundred characters, publishes them as a base and as many deltas, and
has the current rows brought up after each by a process of its own, whose peak memory is the operating system's figure.
``--hot`` is the share of the changed rows that come from the 5 % that changed most recently; the others come from
anywhere. A tenth of a delta's rows are new, and a few rows are deleted. At the end, each current row is held against
what was made up.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.pulls import Landing
from snow_assets.pulls.columns import CELL_TYPE
from snow_assets.pulls.current import Current, bring_up, current
from snow_assets.pulls.plan import plan_id_of
from snow_assets_tests.pulls.made import Made

FIELDS = (
    "sys_id", "number", "short_description", "description", "close_notes", "state", "priority", "assignment_group",
    "caller_id", "opened_at", "sys_updated_on", "sys_mod_count",
)  # fmt: skip
START = datetime(2026, 1, 1, tzinfo=UTC)
SLICE_ROWS = 50_000
NEW, HOTTEST, DELETED = 0.1, 0.05, 20  # shares of a delta and of the table; rows of each delta
_words = random.Random(7)
WORDS = ["".join(_words.choices("etaoinshrdlu", k=_words.randint(3, 9))) for _ in range(4000)]
PHRASES = [" ".join(_words.choices(WORDS, k=_words.randint(4, 12))) for _ in range(50_000)]


def phrases(number: int, version: int, count: int) -> str:
    """A text of a row's own, always the same."""
    seed = number * 2_654_435_761 + version * 40_503
    return ". ".join(PHRASES[(seed + at * at * 7_919) % len(PHRASES)] for at in range(count))


class Table:
    """The truth: the version and the last change of every row, by number."""

    def __init__(self, rows: int, seed: int) -> None:
        self.versions = array("i", [0] * rows)
        self.plans = array("i", [0] * rows)  # the plan that saw the version
        self.deleted: set[int] = set()
        self._order = array("i", range(rows))  # by last change; entries that are not a row's last are stale
        self._last = array("i", range(rows))
        self._random = random.Random(seed)

    def change(self, plan: int, count: int, hot: float) -> list[int]:
        """Change rows, and add some; returns their numbers."""
        new = int(count * NEW)
        chosen: set[int] = set()
        recent = max(1, int(len(self.versions) * HOTTEST))
        while len(chosen) < min(count - new, len(self.versions)):
            if self._random.random() < hot:
                at = self._random.randrange(max(0, len(self._order) - recent), len(self._order))
                number = self._order[at]
                if self._last[number] != at:
                    continue
            else:
                number = self._random.randrange(len(self.versions))
            chosen.add(number)
        for number in chosen:
            self.versions[number] += 1
            self.plans[number] = plan
            self.deleted.discard(number)
        added = range(len(self.versions), len(self.versions) + new)
        self.versions.extend([0] * new)
        self.plans.extend([plan] * new)
        self._last.extend([0] * new)
        for number in (*sorted(chosen), *added):
            self._last[number] = len(self._order)
            self._order.append(number)
        return [*chosen, *added]

    def delete(self, plan: int, count: int) -> list[int]:
        """Delete rows that this plan did not see; returns their numbers."""
        found = {self._random.randrange(len(self.versions)) for _ in range(count)}
        gone = [number for number in found if self.plans[number] != plan]
        self.deleted.update(gone)
        return gone


def sys_id(number: int) -> str:
    """Of the row with this number."""
    return hashlib.md5(str(number).encode()).hexdigest()


def columns(numbers: list[int], versions: array[int]) -> pa.Table:
    """Rows as they land."""

    def cells(values: list[str], display: list[str] | None = None, link: list[str] | None = None) -> pa.Array:
        links = pa.array(link, pa.string()) if link else pa.nulls(len(values), pa.string())
        halves = [pa.array(display or values, pa.string()), pa.array(values, pa.string()), links]
        return pa.StructArray.from_arrays(halves, fields=list(CELL_TYPE))

    rows = [(number, versions[number]) for number in numbers]
    people = [hashlib.md5(f"p{number % 5000}".encode()).hexdigest() for number in numbers]
    groups = [hashlib.md5(f"g{number % 60}".encode()).hexdigest() for number in numbers]
    changed = [START + timedelta(seconds=20 * number + 100 * version) for number, version in rows]
    return pa.table({
        "sys_id": cells([sys_id(number) for number in numbers]),
        "number": cells([f"INC{number:010}" for number in numbers]),
        "short_description": cells([phrases(*row, 1) for row in rows]),
        "description": cells([phrases(*row, 4) for row in rows]),
        "close_notes": cells([phrases(*row, 2) for row in rows]),
        "state": cells([str(sum(row) % 7) for row in rows], [f"State {sum(row) % 7}" for row in rows]),
        "priority": cells([str(sum(row) % 5) for row in rows], [f"{sum(row) % 5} - Some" for row in rows]),
        "assignment_group": cells(
            groups, [f"Group {number % 60}" for number in numbers], [f"https://x/sys_group/{one}" for one in groups]
        ),
        "caller_id": cells(
            people, [f"Person {number % 5000}" for number in numbers], [f"https://x/sys_user/{one}" for one in people]
        ),
        "opened_at": cells([f"{START + timedelta(seconds=20 * number):%Y-%m-%d %H:%M:%S}" for number in numbers]),
        "sys_updated_on": cells([f"{moment:%Y-%m-%d %H:%M:%S}" for moment in changed]),
        "sys_mod_count": cells([str(version) for _, version in rows]),
    })  # fmt: skip


def publish(made: Made, plan: str, numbers: Iterable[int], versions: array[int]) -> None:
    """Rows by sys_id, slice by slice, so that few of them are in memory."""
    ordered = sorted(numbers, key=sys_id)
    slices = [ordered[at : at + SLICE_ROWS] for at in range(0, len(ordered), SLICE_ROWS)]
    shapes = [(sys_id(piece[0]), len(piece)) for piece in slices]
    made.publish_slices(plan, shapes, FIELDS, (columns(piece, versions) for piece in slices))


class Child:
    """The process that brings up, told by its stdin, telling by its stdout."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def bring_up(self) -> dict[str, Any]:
        """One round: seconds, seconds of CPU, bytes written, files, peak memory in MiB."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        figures: dict[str, Any] = json.loads(self._process.stdout.readline())
        return figures


@contextmanager
def child(data: Path) -> Iterator[Child]:
    """Start it, and see it end."""
    command = [sys.executable, __file__, "--child", str(data)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Child(process)
        assert process.stdin is not None
        process.stdin.close()


def serve(data: Path) -> None:
    """What the child does."""
    made = Made.at(data)
    before: set[str] = set()
    for _ in sys.stdin:
        started, cpu = time.perf_counter(), time.process_time()
        now = bring_up(made.landing, made.pull)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        files = {*now.files, *now.gone_files}
        written = sum(Path(file).stat().st_size for file in files - before)
        before = files
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        figures = {"seconds": seconds, "cpu": cpu, "written": written, "files": len(files), "mib": peak}
        print(json.dumps(figures), flush=True)


def check(now: Current, landing: Landing, table: Table, plans: list[str]) -> None:
    """Each current row against the truth; whoever differs is named."""
    numbers = {sys_id(number): number for number in range(len(table.versions))}
    seen: set[int] = set()
    for state, files in (("live", now.files), ("gone", now.gone_files)):
        for path in files:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=10_000):
                    rows = pa.Table.from_batches([batch])
                    ids = rows.column("sys_id").combine_chunks().field("value").to_pylist()
                    here = [numbers[one] for one in ids]
                    assert rows.select(FIELDS).equals(columns(here, table.versions).combine_chunks()), path
                    assert rows.column("_plan").to_pylist() == [plans[table.plans[number]] for number in here], path
                    assert all((number in table.deleted) == (state == "gone") for number in here), path
                    assert len(set(here)) == len(here), path
                    assert seen.isdisjoint(here), path
                    seen.update(here)
    assert len(seen) == len(table.versions), f"{len(seen)} rows of {len(table.versions)}"
    assert (now.rows, now.deleted) == (len(seen) - len(table.deleted), len(table.deleted))
    assert current(landing) == now


def run(data: Path, options: argparse.Namespace) -> None:
    """Base, deltas, figures, and the check."""
    made = Made.at(data)
    table = Table(options.rows, options.seed)
    moments = [START + timedelta(days=900, hours=number) for number in range(options.deltas + 1)]
    plans = [plan_id_of(moment) for moment in moments]
    with child(data) as brought:
        publish(made, plans[0], range(options.rows), table.versions)
        landed = sum(path.stat().st_size for path in data.rglob("*.parquet"))
        base = brought.bring_up()
        print(
            f"base: {options.rows:,} rows, landed {landed / 1e6:,.0f} MB; {base['seconds']:.1f} s, wrote "
            f"{base['written'] / 1e6:,.0f} MB in {base['files']} files, peak {base['mib']:,.0f} MiB",
            flush=True,
        )
        rounds = []
        for number in range(1, options.deltas + 1):
            changed = table.change(number, options.delta_rows, options.hot)
            publish(made, plans[number], changed, table.versions)
            gone = table.delete(number, DELETED)
            made.mark(plans[number], *((sys_id(one), "deleted", "audit", moments[number]) for one in gone))
            rounds.append(brought.bring_up())
            if number % 10 == 0 or number == options.deltas:
                report(number, rounds)
            remove_old(made.landing)
    now = current(made.landing)
    assert now is not None
    check(now, made.landing, table, plans)
    print(f"current equals the truth: {now.rows:,} live rows, {now.deleted:,} deleted, {len(now.files)} files")


def remove_old(landing: Landing) -> None:
    """Make room: files that are not current any more."""
    now = current(landing)
    assert now is not None
    for path in Path(now.location).glob("_state=*/*.parquet"):
        if str(path) not in (*now.files, *now.gone_files):
            path.unlink()


def report(number: int, rounds: list[dict[str, Any]]) -> None:
    """One line of figures."""
    seconds, cpu = sorted(one["seconds"] for one in rounds), statistics.median(one["cpu"] for one in rounds)
    written = statistics.median(one["written"] for one in rounds) / 1e6
    print(
        f"{number:4} deltas: median {statistics.median(seconds):6.2f} s ({cpu:.1f} of CPU), "
        f"p90 {seconds[int(len(seconds) * 0.9)]:6.2f} s, "
        f"worst {seconds[-1]:6.2f} s; median {written:7.1f} MB written; {rounds[-1]['files']} files; "
        f"peak {rounds[-1]['mib']:,.0f} MiB",
        flush=True,
    )


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--deltas", type=int, default=100)
    parser.add_argument("--delta-rows", type=int, default=20_000)
    parser.add_argument("--hot", type=float, default=0.0, help="share of the changed rows that changed recently")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        serve(options.child)
        return
    print(f"{options.deltas} deltas of {options.delta_rows:,} rows, {options.hot:.0%} of them hot")
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), options)


if __name__ == "__main__":
    main()

"""Rows per second and memory of a pull, against a plain reader of the same rows, in one run.

    python bench/pull.py [--rows 100000] [--rounds 5] [--latency 0.3]

Starts the simulator as a process of its own. Each round reads the same table twice: by ``snow_assets`` (plan, slices
with their proof, totals, dataset) and by a plain loop (one session, pages by offset, ``json``, ``Table.from_pylist``,
Parquet). What is quoted is the median of the rounds' ratios, since machines are shared and noisy. Each reading is a
process of its own; its peak memory is the operating system's figure.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import requests
from instance import FIELDS, simulator

from snow_assets.config import Credentials, PullConfig
from snow_assets.pulls import Failed, Landing, land_slices, make_plan, publish, reconcile
from snow_assets.servicenow.client import Client


def by_snow_assets(url: str, folder: Path, workers: int) -> int:
    """A whole pull; returns the rows."""
    pull = PullConfig(name="incidents", table="incident", fields=tuple(FIELDS), max_workers=workers)
    landing = Landing.open(str(folder), pull.name)
    with Client(url, Credentials(username="admin", password="admin"), max_workers=workers) as client:
        plan = make_plan(pull, client, landing).plan
        if any(isinstance(result, Failed) for result in land_slices(plan, plan.slices, pull, client, landing)):
            raise SystemExit("a slice failed")
    return publish(plan, reconcile(plan, landing, pull), landing, pull).rows


def by_a_plain_loop(url: str, folder: Path, _workers: int) -> int:
    """Pages by offset, one after another, each a row group."""
    cell = pa.struct([(half, pa.string()) for half in ("display_value", "value", "link")])
    schema = pa.schema([(name, cell) for name in FIELDS])
    session = requests.Session()
    session.auth = ("admin", "admin")
    rows = 0
    with pq.ParquetWriter(folder / "rows.parquet", schema, compression="zstd") as writer:
        while True:
            params = {"sysparm_limit": "1000", "sysparm_offset": str(rows), "sysparm_query": "ORDERBYsys_id"}
            params |= {"sysparm_fields": ",".join(FIELDS), "sysparm_display_value": "all"}
            page = session.get(f"{url}/api/now/table/incident", params=params, timeout=90).json()["result"]
            if not page:
                return rows
            writer.write_table(pa.Table.from_pylist(page, schema))
            rows += len(page)


READERS = {"snow_assets": by_snow_assets, "plain": by_a_plain_loop}


def measure(reader: str, url: str, workers: int) -> dict[str, float]:
    """One reading in a process of its own: rows, seconds, processor seconds, peak memory in MiB."""
    command = [sys.executable, __file__, "--reader", reader, "--url", url, "--workers", str(workers)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def read(reader: str, url: str, workers: int) -> None:
    """What ``measure`` starts: read, and print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        rows = READERS[reader](url, Path(folder), workers)
        seconds = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures = {"rows": rows, "seconds": seconds, "cpu": usage.ru_utime + usage.ru_stime, "mib": usage.ru_maxrss / 1024}
    print(json.dumps(figures))


def main() -> None:
    """Run the rounds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that each answer takes longer")
    parser.add_argument("--reader", choices=READERS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reader:
        read(options.reader, options.url, options.workers)
        return
    print(
        f"{options.rows} rows x {len(FIELDS)} fields, display all; {os.cpu_count()} cores for both sides, "
        f"{options.latency} s of latency"
    )
    ratios = []
    with simulator(options.rows) as url:
        measure("plain", url, 1)  # warms the instance
        if options.latency:
            fault = {"kind": "latency", "seconds": options.latency, "request": "list"}
            requests.post(f"{url}/simulator/faults", json=fault, timeout=10).raise_for_status()
        for number in range(options.rounds):
            ours, plain = measure("snow_assets", url, options.workers), measure("plain", url, 1)
            ratios.append(plain["seconds"] / ours["seconds"])
            for name, figures in (("snow_assets", ours), ("plain", plain)):
                speed = figures["rows"] / figures["seconds"]
                print(
                    f"round {number + 1} {name:12} {speed:8.0f} rows/s {figures['cpu']:6.1f} s of CPU "
                    f"{figures['mib']:5.0f} MiB at most"
                )
    print(f"snow_assets is {statistics.median(ratios):.2f} times as fast (median of {len(ratios)} rounds)")


if __name__ == "__main__":
    main()

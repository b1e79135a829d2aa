"""Memory of ``concurrent_get_records``, and rows per second of the ways to read records, in one run.

    python bench/records.py [--rows 200000] [--rounds 3] [--latency 0.1] [--workers 16]

Starts the simulator as a process of its own. Each reading is a process, too, which iterates over every record and keeps
none. Memory: threads and asyncio read a tenth of the rows (a range of sys_ids), a quarter, half and all of them; the
peak is the operating system's figure. Speed: ``get_records``, threads and asyncio read half of them in turns. What is
quoted is the median of the rounds, since machines are shared and noisy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import aiohttp  # noqa: F401 - loaded before the clock runs: a client asks for it when it is made
import requests
from instance import FIELDS, simulator

from snow_assets.config import Credentials
from snow_assets.servicenow.aio import AsyncClient
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.records import Records, Report

CREDENTIALS = Credentials(username="admin", password="admin")


def in_order(url: str, query: str, _workers: int) -> Report:
    """One request at a time; returns the report."""
    with Client(url, CREDENTIALS, display_value="all") as client:
        return emptied(client.get_records("incident", query, fields=FIELDS))


def by_threads(url: str, query: str, workers: int) -> Report:
    """Threads; returns the report."""
    with Client(url, CREDENTIALS, display_value="all", max_workers=workers) as client:
        return emptied(client.concurrent_get_records("incident", query, fields=FIELDS))


def by_asyncio(url: str, query: str, workers: int) -> Report:
    """One event loop; returns the report."""

    async def read() -> Report:
        async with AsyncClient(url, CREDENTIALS, display_value="all", concurrency=workers) as client:
            records = client.aconcurrent_get_records("incident", query, fields=FIELDS)
            async for _ in records:
                pass
            return records.report

    return asyncio.run(read())


def emptied(records: Records) -> Report:
    """The report of an iterator that was read to its end, its records forgotten."""
    for _ in records:
        pass
    return records.report


READERS = {"in order": in_order, "threads": by_threads, "asyncio": by_asyncio}


def measure(reader: str, url: str, query: str, workers: int) -> dict[str, float]:
    """One reading in a process of its own: rows, requests, seconds, processor seconds, peak memory in MiB."""
    command = [sys.executable, __file__, "--reader", reader, "--url", url, "--query", query, "--workers", str(workers)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def read(reader: str, url: str, query: str, workers: int) -> None:
    """What ``measure`` starts: read, and print the figures."""
    started = time.perf_counter()
    report = READERS[reader](url, query, workers)
    seconds = time.perf_counter() - started
    if not report.complete:
        raise SystemExit(str(report))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures = {"rows": report.delivered, "requests": report.requests, "seconds": seconds}
    figures |= {"cpu": usage.ru_utime + usage.ru_stime, "mib": usage.ru_maxrss / 1024}
    print(json.dumps(figures))


def show(name: str, figures: dict[str, float]) -> None:
    """One line of the table."""
    print(
        f"{name:24} {figures['rows']:8.0f} rows {figures['rows'] / figures['seconds']:8.0f} rows/s"
        f" {figures['requests']:6.0f} requests {figures['cpu']:6.1f} s of CPU {figures['mib']:5.0f} MiB at most",
        flush=True,
    )


def part(share: float) -> str:
    """A query that such a share of the incidents matches: sys_ids are drawn evenly."""
    return f"sys_id<{round(0x1000000 * share):06x}" if share < 1 else ""


def memory(url: str, rounds: int, workers: int) -> None:
    """Print the median of the peaks for each reader and share."""
    for name in ("threads", "asyncio"):
        for share in (0.1, 0.25, 0.5, 1.0):
            taken = [measure(name, url, part(share), workers) for _ in range(rounds)]
            peak = statistics.median(figures["mib"] for figures in taken)
            print(f"{name:10} {taken[0]['rows']:8.0f} rows: {peak:4.0f} MiB at most (median of {rounds})", flush=True)


def speed(url: str, rounds: int, workers: int, latency: float) -> None:
    """Print each reading, and the median of the ratios."""
    fault = {"kind": "latency", "seconds": latency, "request": "list"}
    requests.post(f"{url}/simulator/faults", json=fault, timeout=10).raise_for_status()
    ratios: dict[str, list[float]] = {"threads": [], "asyncio": []}
    for number in range(rounds):
        taken = {name: measure(name, url, part(0.5), workers) for name in READERS}
        for name, figures in taken.items():
            show(f"round {number + 1}, {name}", figures)
        for name, found in ratios.items():
            found.append(taken["in order"]["seconds"] / taken[name]["seconds"])
    for name, found in ratios.items():
        print(f"{name}: {statistics.median(found):.2f} times as fast as in order, {latency} s of latency")


def main() -> None:
    """Run the rounds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--latency", type=float, default=0.1, help="seconds that each answer takes longer, for speed")
    parser.add_argument("--reader", choices=READERS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--query", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reader:
        read(options.reader, options.url, options.query, options.workers)
        return
    print(f"{options.rows} rows x {len(FIELDS)} fields, display all; {os.cpu_count()} cores for both sides", flush=True)
    with simulator(options.rows) as url:
        measure("threads", url, "", options.workers)  # warms the instance
        memory(url, options.rounds, options.workers)
        speed(url, options.rounds, options.workers, options.latency)


if __name__ == "__main__":
    main()

"""What the governor makes of an instance that accepts so many requests at a time and answers 429 to any beyond.

    python bench/governor.py [--slots 6] [--requests 2000] [--latency 0.05] [--workers 16] [--rounds 3]

Starts the simulator as a process of its own, with one node of ``--slots`` transactions and no queue. Each round asks
the same requests twice: with ``--workers`` threads to which the limit is unknown, and with exactly ``--slots`` threads,
which is the most that the instance can serve. Prints one JSON object: requests per second of both (medians), the
median of the rounds' ratios, the largest share of 429 in a round, and the steps of the last round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

import requests

from snow_assets.config import Credentials
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.exchange import Request, Tally
from snow_assets.servicenow.pages import DictDecoder, check_page
from snow_assets.servicenow.retry import fetch


@contextmanager
def simulator(slots: int, latency: float) -> Iterator[str]:
    """The URL of a simulated instance that runs ``slots`` requests at a time and queues none."""
    command = [sys.executable, "-m", "snow_assets.simulator", "--port", "0", "--rows", "incident=5000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().split()[0]
            knobs = {"nodes": 1, "node_slots": slots, "node_queue": 0, "latency": latency}
            requests.post(f"{url}/simulator/knobs", json=knobs, timeout=10).raise_for_status()
            yield url
        finally:
            process.terminate()


def ask(url: str, number: int, workers: int, rows: int) -> dict[str, Any]:
    """Ask ``number`` requests for ``rows`` rows on ``workers`` threads: seconds, faults, and what the governor did."""
    todo: SimpleQueue[int] = SimpleQueue()
    for at in range(number):
        todo.put(at)
    tallies = [Tally() for _ in range(workers)]
    decoder = DictDecoder()
    with Client(url, Credentials(username="admin", password="admin"), max_workers=workers) as client:

        def work(tally: Tally) -> None:
            while True:
                try:
                    at = todo.get_nowait()
                except Empty:
                    return
                params = {
                    "sysparm_query": "ORDERBYsys_id",
                    "sysparm_offset": str(at % 1000),
                    "sysparm_limit": str(rows),
                    "sysparm_fields": "sys_id,number",
                }
                request = Request("/api/now/table/incident", params, "page")

                def check(answer: Any, request: Request = request) -> int:
                    return len(check_page(answer, request, decoder).ids)

                client.run(fetch(request, check, client.policy, tally), tally=tally)

        threads = [threading.Thread(target=work, args=(tally,)) for tally in tallies]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - started
        snapshot = client.governor.snapshot()
    whole = Tally()
    for tally in tallies:
        whole.add(tally)
    refused = whole.faults["too_many_requests"]
    return {
        "rate": number / seconds,
        "refused": refused,
        "share_refused": refused / whole.requests,
        "faults": dict(whole.faults),
        "governor": snapshot,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slots", type=int, default=6)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1)
    options = parser.parse_args()
    free: list[dict[str, Any]] = []
    bound: list[dict[str, Any]] = []
    with simulator(options.slots, options.latency) as url:
        ask(url, 50, min(4, options.slots), options.rows)  # everything is rendered once
        for _ in range(options.rounds):
            free.append(ask(url, options.requests, options.workers, options.rows))
            bound.append(ask(url, options.requests, options.slots, options.rows))
    ratios = [one["rate"] / other["rate"] for one, other in zip(free, bound, strict=True)]
    result = {
        "slots": options.slots,
        "workers": options.workers,
        "requests": options.requests,
        "latency": options.latency,
        "rate": round(statistics.median(one["rate"] for one in free), 1),
        "rate_possible": round(statistics.median(one["rate"] for one in bound), 1),
        "share_of_the_possible": round(statistics.median(ratios), 3),
        "worst_share": round(min(ratios), 3),
        "refused": [one["refused"] for one in free],
        "share_refused": round(max(one["share_refused"] for one in free), 4),
        "steps": free[-1]["governor"]["steps"],
    }
    json.dump(result, sys.stdout, indent=None)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()

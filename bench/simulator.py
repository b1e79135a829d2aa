"""How fast the embedded instance answers: pages per second of 1,000 rows x 20 fields, ``display_value=all``.

Run it as ``python bench/simulator.py [--rows N] [--seconds S]``. Server and a trivial raw client share one core: both
are pinned to it where the system can do that. The first pass over the table is "cold" (rows are rendered), the
following ones are "warm".
"""

from __future__ import annotations

import argparse
import base64
import multiprocessing
import os
import resource
import socket
import sys
import time
from multiprocessing.connection import Connection
from urllib.parse import quote

from snow_assets.simulator import Simulator

FIELDS = (
    "sys_id,number,short_description,description,state,priority,impact,urgency,category,caller_id,assigned_to,"
    "assignment_group,opened_at,closed_at,sys_created_on,sys_updated_on,close_notes,cmdb_ci,active,watch_list"
)


def main() -> None:
    """Measure and print one line per figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--page", type=int, default=1_000)
    options = parser.parse_args()
    _pin()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_serve, args=(options.rows, theirs), daemon=True)
    started = time.perf_counter()
    process.start()
    port = ours.recv()
    sys.stdout.write(f"start with {options.rows:,} incidents: {time.perf_counter() - started:.1f} s\n")
    pages = options.rows // options.page
    client = socket.create_connection(("127.0.0.1", port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    requests = [_request(offset * options.page, options.page) for offset in range(pages)]
    _report("cold", client, requests, 1)
    rounds = 0
    begun = time.perf_counter()
    total = 0
    while time.perf_counter() - begun < options.seconds:
        total += sum(_ask(client, request) for request in requests)
        rounds += 1
    _print("warm", rounds * pages, total, time.perf_counter() - begun)
    ours.send("stop")
    sys.stdout.write(f"server peak memory: {ours.recv() / 1024:.0f} MiB\n")
    process.join(5)


def _pin() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def _serve(rows: int, pipe: Connection) -> None:
    with Simulator({"incident": rows}).serve() as server:
        pipe.send(server.port)
        pipe.recv()
        pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _request(offset: int, limit: int) -> bytes:
    query = quote("ORDERBYsys_id")
    target = (
        f"/api/now/table/incident?sysparm_query={query}&sysparm_fields={FIELDS}&sysparm_display_value=all"
        f"&sysparm_limit={limit}&sysparm_offset={offset}&sysparm_suppress_pagination_header=true"
    )
    login = base64.b64encode(b"admin:admin").decode()
    return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {login}\r\n\r\n".encode()


def _report(name: str, client: socket.socket, requests: list[bytes], rounds: int) -> None:
    begun = time.perf_counter()
    total = sum(_ask(client, request) for _ in range(rounds) for request in requests)
    _print(name, rounds * len(requests), total, time.perf_counter() - begun)


def _print(name: str, pages: int, total: int, seconds: float) -> None:
    sys.stdout.write(
        f"{name}: {pages / seconds:.0f} pages/s ({total / seconds / 1e6:.0f} MB/s, {total / pages / 1e6:.2f} MB a page)\n"
    )


def _ask(client: socket.socket, request: bytes) -> int:
    """Send one request and read its chunked answer; returns the bytes received."""
    client.sendall(request)
    received, tail = 0, b""
    while not tail.endswith(b"\r\n0\r\n\r\n"):
        data = client.recv(4 * 1024 * 1024)
        if not data:
            raise ConnectionError("the server hung up")
        received += len(data)
        tail = (tail + data)[-16:]
    return received


if __name__ == "__main__":
    main()

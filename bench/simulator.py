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
    _say(f"start with {options.rows:,} incidents: {time.perf_counter() - started:.1f} s")
    client = socket.create_connection(("127.0.0.1", port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    requests = [_request(at, options.page) for at in range(0, options.rows, options.page)]
    _measure("cold", client, requests, 0.0, ours)
    _measure("warm", client, requests, options.seconds, ours)
    ours.send("memory")
    _say(f"server peak memory: {ours.recv() / 1024:.0f} MiB")
    ours.send("stop")
    process.join(5)


def _pin() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def _serve(rows: int, pipe: Connection) -> None:
    with Simulator({"incident": rows}).serve() as server:
        pipe.send(server.port)
        while (word := pipe.recv()) != "stop":
            pipe.send(time.process_time() if word == "cpu" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _request(offset: int, limit: int) -> bytes:
    query = quote("ORDERBYsys_id")
    target = (
        f"/api/now/table/incident?sysparm_query={query}&sysparm_fields={FIELDS}&sysparm_display_value=all"
        f"&sysparm_limit={limit}&sysparm_offset={offset}&sysparm_suppress_pagination_header=true"
    )
    login = base64.b64encode(b"admin:admin").decode()
    return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {login}\r\n\r\n".encode()


def _measure(name: str, client: socket.socket, requests: list[bytes], seconds: float, pipe: Connection) -> None:
    """Ask for every page at least once, and go on for ``seconds``."""
    server_before, ours_before = _server_cpu(pipe), time.process_time()
    begun = time.perf_counter()
    pages = total = 0
    while not pages or time.perf_counter() - begun < seconds:
        total += sum(_ask(client, request) for request in requests)
        pages += len(requests)
    elapsed = time.perf_counter() - begun
    server, ours = _server_cpu(pipe) - server_before, time.process_time() - ours_before
    _say(
        f"{name}: {pages / elapsed:.0f} pages/s of {total / pages / 1e6:.2f} MB; CPU a page: "
        f"server {server / pages * 1000:.1f} ms, client {ours / pages * 1000:.1f} ms"
    )


def _server_cpu(pipe: Connection) -> float:
    pipe.send("cpu")
    return float(pipe.recv())


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


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

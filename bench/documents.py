"""Memory of loaders that are read lazily: of an instance and of what is published, with journals or without.

    python bench/documents.py [--rows 100000] [--workers 4]

Starts the simulator as a process of its own. Each reading is a process, too, which iterates over every document and
keeps none; the peak is the operating system's figure. Readings cover a fifth of the rows, and all of them. What is
published is pulled first, by a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time

from records import CREDENTIALS, part, simulator

from snow_assets import Client, IncidentLoader, Published, pull_to

SHARES = {"fifth": 0.2, "all": 1.0}


def pull(url: str, data: str) -> None:
    """Publish what is read."""
    with Client(url, CREDENTIALS) as client:
        for name, share in SHARES.items():
            pull_to(f"{data}/{name}", client, table="incident", query=part(share))
        pull_to(f"{data}/journals", client, table="sys_journal_field")


def read(way: str, journals: bool, url: str, data: str, name: str, workers: int) -> None:
    """Read, and print the figures."""
    started, chars = time.perf_counter(), 0
    with Client(url, CREDENTIALS) as client:
        if way == "published":
            published = Published(name, data, journals="journals")
            documents = IncidentLoader(published, include_journals=journals).lazy_load()
        else:
            loader = IncidentLoader(client, part(SHARES[name]), include_journals=journals)
            documents = loader.lazy_load() if way == "in order" else loader.concurrent_lazy_load(workers)
        for document in documents:
            chars += len(document.page_content)
    seconds, usage = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    told = f"{documents.report.delivered:8,} documents {usage.ru_maxrss / 1024:5.0f} MiB at most"
    print(f"{told} {seconds:6.1f} s {usage.ru_utime + usage.ru_stime:6.1f} s of CPU {chars / 1e6:6.1f} MB of text")


def main() -> None:
    """Run the readings and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        job = json.loads(options.job)
        (pull if len(job) == 2 else read)(*job)
        return
    with simulator(options.rows) as url, tempfile.TemporaryDirectory() as data:
        run = [sys.executable, __file__, "--job"]
        subprocess.run([*run, json.dumps([url, data])], check=True)
        for way in ("published", "threads", "in order"):
            for journals in (False, True):
                for name in SHARES:
                    print(f"{way:10} {'journals' if journals else '':9}", end="", flush=True)
                    subprocess.run([*run, json.dumps([way, journals, url, data, name, options.workers])], check=True)


if __name__ == "__main__":
    main()

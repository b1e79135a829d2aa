"""For tests of the adapters: an instance of few incidents, and an embedding that needs no model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager

from snow_assets.servicenow.client import Client
from snow_assets.simulator import Simulator, SimulatorServer

ROWS = 50
WORDS = "Zeppelin telemetry garbled in hangar nine"  # of no other record
# Classes are called ServiceNow<name>Loader and ServiceNow<name>Reader.
NAMED = {
    "Incident": "incident",
    "KB": "kb_knowledge",
    "CMDB": "cmdb_ci",
    "Change": "change_request",
    "Problem": "problem",
    "Catalog": "sc_cat_item",
    "Attachment": "sys_attachment",
    "Journal": "sys_journal_field",
    "Relationship": "cmdb_rel_ci",
}
_DIMENSIONS = 1024


@contextmanager
def serving() -> Iterator[SimulatorServer]:
    """An instance that a test may change."""
    with Simulator(rows={"incident": ROWS}, seed=7).serve() as server:
        yield server


@contextmanager
def reading(server: SimulatorServer) -> Iterator[Client]:
    """A client of several pages, without waits."""
    with Client(server.url, username="admin", password="admin", page_size=20, retry_backoff=0.01) as client:
        yield client


def vector(text: str) -> list[float]:
    """Which words of some length it has; two share a place by chance only."""
    places = [0.0] * _DIMENSIONS
    for word in re.findall(r"\w{4,}", text.lower()):
        places[int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big") % _DIMENSIONS] = 1.0
    return places

"""Which rows an instance was asked for, by its log."""

from __future__ import annotations

import re
from collections.abc import Iterable

from snow_assets.pulls import Slice
from snow_assets.simulator import SimulatorServer


def ranges_asked(server: SimulatorServer, table: str = "incident") -> list[str]:
    """Queries for ranges of sys_ids of ``table``, since the log was cleared."""
    listed = [entry.query for entry in server.requests.find(kind="list") if entry.path.endswith(f"/{table}")]
    return [query for query in listed if re.search("sys_id[<>]", query)]


def only_of(slices: Iterable[Slice], queries: Iterable[str]) -> bool:
    """Whether every query lies within one of the slices, none is of more, and each slice was asked for."""
    asked = dict.fromkeys(slices, 0)
    for query in queries:
        bounds = re.findall(r"sys_id[<>]=?(\w+)", query)
        within = [piece for piece in asked if all((piece.lo or "") <= each <= (piece.hi or "~") for each in bounds)]
        upper = re.search("sys_id<", query)
        if not within or (within[0].hi is not None and not upper):
            return False
        asked[within[0]] += 1
    return all(asked.values())

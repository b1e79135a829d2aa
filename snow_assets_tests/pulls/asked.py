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
        holders = [piece for piece in asked if _holds(piece, query)]
        if not holders:
            return False
        asked[holders[0]] += 1
    return all(asked.values())


def _holds(piece: Slice, query: str) -> bool:
    bounds: dict[str, str] = dict(re.findall(r"sys_id([<>])=?(\w+)", query))
    low, high = bounds.get(">", ""), bounds.get("<", "~")
    return (piece.lo or "") <= low < (piece.hi or "~") and high <= (piece.hi or "~")

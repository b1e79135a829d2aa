"""From CI to CI along relations, breadth first. Numbers only; see ``adjacency``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias

from snow_assets.documents.cmdb.adjacency import Adjacency
from snow_assets.documents.cmdb.relations import RelationType
from snow_assets.errors import ConfigError

Direction: TypeAlias = Literal["down", "up", "both"]
DIRECTIONS: tuple[Direction, ...] = ("down", "up", "both")


class Reached(NamedTuple):
    """CI ``node``, ``depth`` steps from the start, by ``edge`` from the CI ``before``."""

    node: int
    depth: int
    edge: int
    before: int


def reached(
    graph: Adjacency, start: int, direction: Direction, depth: int | None, types: Collection[int] | None
) -> Iterator[Reached]:
    """Each CI but the start once, the nearest first; those as near in the order in which edges lead to them."""
    seen = {start}
    nearest = [start]
    far = 0
    while nearest and (depth is None or far < depth):
        far += 1
        found: list[int] = []
        for before in nearest:
            for edge, node in neighbours(graph, before, direction):
                if node in seen or (types is not None and graph.type[edge] not in types):
                    continue
                seen.add(node)
                found.append(node)
                yield Reached(node, far, edge, before)
        nearest = found


def neighbours(graph: Adjacency, node: int, direction: Direction) -> Iterator[tuple[int, int]]:
    """The edges of a CI, each with the CI at its other end; outbound ones first."""
    if direction != "up":
        for edge in range(graph.down[node], graph.down[node + 1]):
            yield edge, graph.child[edge]
    if direction != "down":
        for edge in graph.inbound[graph.up[node] : graph.up[node + 1]]:
            yield edge, graph.parent[edge]


def chosen(types: tuple[RelationType, ...], wanted: str | Iterable[str] | None) -> frozenset[int] | None:
    """The numbers of the types that are named by sys_id, by name or by one of its halves, in any case of letters.

    Raises ``ConfigError`` for one that no relation has.
    """
    if wanted is None:
        return None
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    found: set[int] = set()
    for name in names:
        matching = {number for number, each in enumerate(types) if _is_called(each, name)}
        if not matching:
            there = ", ".join(str(each) for each in types) or "none"
            raise ConfigError("no relation is of such a type", key="types", value=name, hint=f"there are: {there}")
        found |= matching
    return frozenset(found)


def _is_called(type_: RelationType, name: str) -> bool:
    names = (type_.sys_id, type_.label, type_.parent_descriptor, type_.child_descriptor)
    return bool(name.strip()) and name.strip().casefold() in {each.casefold() for each in names}

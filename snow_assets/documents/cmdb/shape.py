"""How a graph hangs together: its connected parts, and its cycles."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass

from snow_assets.documents.cmdb.adjacency import Adjacency


@dataclass(frozen=True, slots=True)
class Shape:
    """``components``: parts that no relation joins, in any direction; ``largest``: the CIs of the largest.

    ``cyclic``: CIs from which a way down, of more than one relation, leads back to them.
    """

    components: int
    largest: int
    cyclic: int


def shape_of(graph: Adjacency) -> Shape:
    """Its shape, in time that grows with CIs and relations."""
    sizes = Counter(_components(graph))
    return Shape(len(sizes), max(sizes.values(), default=0), _cyclic(graph))


def _components(graph: Adjacency) -> array[int]:
    """For each CI, a CI that stands for its component."""
    above = array("i", range(len(graph.ids)))

    def top(node: int) -> int:
        while above[node] != node:
            above[node] = above[above[node]]
            node = above[node]
        return node

    for parent, child in zip(graph.parent, graph.child, strict=True):
        one, other = top(parent), top(child)
        if one != other:
            above[max(one, other)] = min(one, other)
    return array("i", map(top, range(len(graph.ids))))


def _cyclic(graph: Adjacency) -> int:
    """CIs in strongly connected parts of more than one, by Tarjan's algorithm without recursion."""
    nodes = len(graph.ids)
    order, low = array("i", bytes(4 * nodes)), array("i", bytes(4 * nodes))  # from 1; 0 is not seen yet
    place = array("i", graph.down[:nodes])  # of the next edge to look at
    waiting = bytearray(nodes)
    stack: list[int] = []
    count = found = 0
    for start in range(nodes):
        way = [] if order[start] else [start]
        while way:
            node = way[-1]
            if not order[node]:
                count += 1
                order[node] = low[node] = count
                stack.append(node)
                waiting[node] = 1
            deeper = _next(graph, node, place, order, low, waiting)
            if deeper is not None:
                way.append(deeper)
                continue
            way.pop()
            if way:
                low[way[-1]] = min(low[way[-1]], low[node])
            if low[node] == order[node]:
                found += _closed(stack, node, waiting)
    return found


def _next(
    graph: Adjacency, node: int, place: array[int], order: array[int], low: array[int], waiting: bytearray
) -> int | None:
    """A child that was not seen yet, if there is one."""
    while place[node] < graph.down[node + 1]:
        child = graph.child[place[node]]
        place[node] += 1
        if not order[child]:
            return child
        if waiting[child]:
            low[node] = min(low[node], order[child])
    return None


def _closed(stack: list[int], node: int, waiting: bytearray) -> int:
    """Take a strongly connected part off the stack; its size, 0 where it is a CI alone."""
    size = 0
    while True:
        member = stack.pop()
        waiting[member] = 0
        size += 1
        if member == node:
            return size if size > 1 else 0

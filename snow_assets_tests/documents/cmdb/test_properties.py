"""Random graphs, with cycles, loops, duplicates and missing ends: as networkx has it, in any order of the rows."""

from __future__ import annotations

import random
from typing import Any

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from snow_assets.documents.cmdb import RelationGraph
from snow_assets.documents.cmdb.traversal import DIRECTIONS
from snow_assets_tests.documents.cmdb.conftest import distances, graph_of, must_be_ways, rows_of

NODES = [*(f"{number:032x}" for number in range(9)), "global", "é"]
TYPES = {"t1": "Depends on::Used by", "t2": "Connects to", "": ""}
ends = st.sampled_from([*NODES, ""])
relations = st.lists(st.tuples(ends, ends, st.sampled_from(sorted(TYPES))), max_size=30)


def records_of(found: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """As the Table API gives them, in mode ``all``; every third hides what it lacks."""
    records = []
    for number, (parent, child, type_) in enumerate(found):
        shown = {"parent": (parent, parent.upper()), "child": (child, child.upper()), "type": (type_, TYPES[type_])}
        record: dict[str, Any] = {"sys_id": {"value": f"r{number:02}", "display_value": f"r{number:02}"}}
        for field, (value, display) in shown.items():
            if value or number % 3:
                record[field] = {"value": value, "display_value": display if value else None}
        records.append(record)
    return records


@settings(max_examples=60, deadline=None)
@given(relations, st.sampled_from(DIRECTIONS), st.none() | st.integers(0, 4), st.none() | st.sampled_from(["t1", "t2"]))
def test_any_graph_is_walked_as_networkx_walks_it(
    found: list[tuple[str, str, str]], direction: Any, depth: int | None, type_: str | None
) -> None:
    records = records_of(found)
    graph = RelationGraph.from_records(records)
    rows = [{"sys_id": f"r{at:02}", "parent": p, "child": c, "type": t} for at, (p, c, t) in enumerate(found)]
    truth = graph_of(rows)
    types = {type_} if type_ else None
    if type_ and type_ not in {each.sys_id for each in graph.types}:
        types = type_ = None
    random.Random(len(records)).shuffle(records)
    shuffled = RelationGraph.from_records(records)
    assert rows_of(shuffled) == rows_of(graph)
    for start in NODES:
        steps = list(graph.traverse(start, direction=direction, depth=depth, types=type_))
        must_be_ways(steps, start, direction, types)
        assert {step.sys_id: step.depth for step in steps} == distances(truth, start, direction, depth, types)
        assert steps == list(shuffled.traverse(start, direction=direction, depth=depth, types=type_))


@settings(max_examples=40, deadline=None)
@given(relations)
def test_figures_and_shape_are_those_of_networkx(found: list[tuple[str, str, str]]) -> None:
    graph = RelationGraph.from_records(records_of(found))
    truth = graph_of([{"sys_id": str(at), "parent": p, "child": c} for at, (p, c, _) in enumerate(found)])
    figures, shape = graph.figures, graph.shape()
    whole = [each for each in found if each[0] and each[1]]
    assert (figures.relations, figures.edges, figures.duplicates) == (
        len(found),
        len(whole),
        len(whole) - len({*whole}),
    )
    assert figures.loops == nx.number_of_selfloops(truth)
    assert (figures.without_parent, figures.without_child) == tuple(
        sum(not each[at] for each in found) for at in (0, 1)
    )
    assert figures.without_ends == sum(not (parent or child) for parent, child, _ in found)
    parts = [len(part) for part in nx.weakly_connected_components(truth)]
    assert (shape.components, shape.largest) == (len(parts), max(parts, default=0))
    cyclic = [len(part) for part in nx.strongly_connected_components(truth) if len(part) > 1]
    assert shape.cyclic == sum(cyclic)
    ours = graph.to_networkx()
    assert {key: ends for *ends, key in ours.edges(keys=True)} == {
        f"r{at:02}": [parent, child] for at, (parent, child, _) in enumerate(found) if parent and child
    }

"""The graph of a CMDB is what networkx makes of the same rows, whatever read it, and costs one reading."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from snow_assets.documents.cmdb import CI_FIELDS, RelationGraph
from snow_assets.documents.cmdb.traversal import DIRECTIONS
from snow_assets.errors import ConfigError, SnowError
from snow_assets.servicenow.aio import AsyncClient
from snow_assets.servicenow.client import Client
from snow_assets.simulator import SimulatorServer
from snow_assets_tests.documents.cmdb.conftest import CLASSES, Graph, cmdb, distances, graph_of, must_be_ways, rows_of
from snow_assets_tests.pulls.conftest import Workbench


@pytest.mark.parametrize("cis", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_relations_are_read_once_and_walked_as_networkx_walks_them(cis: int) -> None:
    relations = 4 * cis
    with cmdb(cis, relations).serve() as server:
        with Client(server.url, username=server.username, password=server.password, page_size=relations // 8) as client:
            graph = RelationGraph.read(client)
            asked = list(server.requests)
            truth = graph_of(server.sim.rows("cmdb_rel_ci"))
            assert (graph.figures.relations, len(graph)) == (relations, truth.number_of_nodes())
            types = sorted({each.sys_id for each in graph.types})
            dice = random.Random(1)
            for number, start in enumerate(dice.sample(sorted(truth), 12)):
                direction, depth = DIRECTIONS[number % 3], (1, 2, 3, None)[number % 4]
                chosen = set(types[:3]) if number % 2 else None
                steps = list(graph.traverse(start, direction=direction, depth=depth, types=chosen))
                must_be_ways(steps, start, direction, chosen)
                expected = distances(truth, start, direction, depth, chosen)
                assert {step.sys_id: step.depth for step in steps} == expected
        assert list(server.requests) == asked  # walking asks for nothing
    assert {entry.path.rpartition("/")[2] for entry in asked} == {"cmdb_rel_ci"}
    assert len(asked) < 30  # 8 pages, the count, where ranges begin, that nothing follows
    assert not any(ends in entry.query for entry in asked for ends in ("parent", "child"))


def test_threads_one_thread_asyncio_and_published_rows_give_one_graph(
    small: SimulatorServer, client: Client, graph: RelationGraph, tmp_path: Path
) -> None:
    async def aread() -> RelationGraph:
        async with AsyncClient(small.url, username=small.username, password=small.password, page_size=50) as aclient:
            return await RelationGraph.aread(aclient)

    bench = Workbench(small, tmp_path, name="relations", table="cmdb_rel_ci", fields=None, page_size=50)
    bench.pull_all()
    one, other = RelationGraph.read(client, concurrent=False), asyncio.run(aread())
    published = RelationGraph.from_published("relations", str(tmp_path))
    for each in (one, other, published):
        assert each.edges().equals(graph.edges())
        assert (each.figures, each.types, list(each)) == (graph.figures, graph.types, list(graph))
    for each in (one, other):
        assert each.report is not None
        assert (each.report.complete, each.report.delivered) == (True, 209)
    assert published.report is None


def test_rows_lie_in_the_graph_as_they_are_and_what_lacks_an_end_is_counted(
    small: SimulatorServer, graph: RelationGraph, truth: Graph
) -> None:
    rows = {row["sys_id"]: row for row in small.sim.rows("cmdb_rel_ci")}
    found = {row["sys_id"]: row for row in rows_of(graph)}
    assert len(found) == len(rows) == 209
    for sys_id, row in rows.items():
        for field in ("parent", "child", "type"):
            assert (found[sys_id][field] or "") == row.get(field, "")
    names = {row["sys_id"]: row["name"] for row in small.sim.rows("cmdb_ci")}
    for row in found.values():
        assert row["child_name"] == (names.get(row["child"]) if row["child"] else None)
    shapes = Counter((row["parent"], row["child"], row.get("type", "")) for row in rows.values() if _whole(row))
    figures = graph.figures
    assert (figures.nodes, figures.edges) == (truth.number_of_nodes(), truth.number_of_edges())
    assert (figures.without_parent, figures.without_child, figures.without_ends) == (2, 2, 1)
    assert figures.edges + 2 + 2 - 1 == figures.relations
    assert figures.duplicates == sum(shapes.values()) - len(shapes) >= 2
    assert figures.loops == sum(1 for parent, child, _ in shapes.elements() if parent == child) >= 2
    assert graph.known_cis == 0


def _whole(row: Any) -> bool:
    return bool(row.get("parent") and row.get("child"))


def test_relations_of_a_ci_are_told_by_type_and_duplicates_once(graph: RelationGraph, truth: Graph) -> None:
    for sys_id in graph:
        relations = graph.relations_of(sys_id)
        outbound = {(each.type.sys_id, each.child) for each in relations.outbound}
        inbound = {(each.type.sys_id, each.parent) for each in relations.inbound}
        assert outbound == {(data["type"], child) for _, child, data in truth.out_edges(sys_id, data=True)}
        assert inbound == {(data["type"], parent) for parent, _, data in truth.in_edges(sys_id, data=True)}
        assert len(relations) == len(outbound) + len(inbound)
        labels = [each.label for each in relations.outbound]
        assert labels == sorted(labels)
        for each in (*relations.outbound, *relations.inbound):
            keys = truth.get_edge_data(each.parent, each.child)
            assert each.sys_id == min(key for key, data in keys.items() if data["type"] == each.type.sys_id)


def test_a_type_is_called_by_its_name_either_half_or_its_sys_id(graph: RelationGraph) -> None:
    start = max(graph, key=lambda sys_id: len(graph.relations_of(sys_id)))
    one = next(each for each in graph.types if each.label == "Depends on::Used by")
    ways = [list(graph.traverse(start, types=name)) for name in (one.label, "depends ON", "Used by", one.sys_id)]
    assert all(way == ways[0] for way in ways)
    assert {step.via.type for step in ways[0]} <= {one}
    assert [step.descriptor for step in ways[0]] == ["Depends on"] * len(ways[0])
    up = list(graph.traverse(start, direction="up", types=["Used by"]))
    assert {step.descriptor for step in up} <= {"Used by"}
    assert (one.parent_descriptor, one.child_descriptor, str(one)) == ("Depends on", "Used by", one.label)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"direction": "sideways"}, "down, up or both"),
        ({"depth": -1}, "0 or more"),
        ({"types": "Loves"}, "Depends on::Used by, "),
        ({"types": ["Depends on", ""]}, "Depends on::Used by, "),
    ],
)
def test_what_cannot_be_asked_is_refused_at_once_with_what_there_is(
    graph: RelationGraph, options: dict[str, Any], told: str
) -> None:
    for start in (next(iter(graph)), "0" * 32):
        with pytest.raises(ConfigError, match=told):
            graph.traverse(start, **options)


def test_a_ci_without_relations_is_no_error_but_a_name_is(graph: RelationGraph) -> None:
    nobody = "0" * 32
    assert list(graph.traverse(nobody)) == []
    assert not graph.relations_of(nobody)
    assert (nobody in graph, graph.name(nobody), graph.find(nobody), graph.attributes(nobody)) == (False, "", [], {})
    sys_id = next(each for each in graph if graph.name(each))
    assert graph.find(graph.name(sys_id)) == [sys_id] == graph.find(sys_id)
    with pytest.raises(ConfigError, match=f"its sys_id is {sys_id}"):
        graph.traverse(graph.name(sys_id))


def test_a_query_bounds_the_relations(client: Client, truth: Graph) -> None:
    parent = max(truth, key=truth.out_degree)
    graph = RelationGraph.read(client, query=f"parent={parent}")
    assert graph.figures.edges == truth.out_degree(parent)
    assert {step.parent for step in graph.traverse(parent)} == {parent}


def test_a_reading_that_is_not_complete_gives_no_graph(small: SimulatorServer) -> None:
    inside = sorted(row["sys_id"] for row in small.sim.rows("cmdb_rel_ci"))[120]
    small.faults.add({"kind": "error_500", "table": "cmdb_rel_ci", "covers": inside})
    options: dict[str, Any] = {"username": small.username, "password": small.password, "max_retries": 0}
    try:
        with Client(small.url, page_size=50, **options) as client, pytest.raises(SnowError):
            RelationGraph.read(client)
    finally:
        small.faults.clear()


def test_where_the_ends_may_not_be_read_the_field_is_named(small: SimulatorServer, client: Client) -> None:
    small.sim.knobs.hidden_fields = {"cmdb_rel_ci": {"child"}}
    try:
        with pytest.raises(SnowError, match="child"):
            RelationGraph.read(client)
    finally:
        small.sim.knobs.hidden_fields = {}


def test_cis_give_classes_and_states_by_records_of_a_client_or_of_a_pull(
    small: SimulatorServer, client: Client, tmp_path: Path
) -> None:
    def cis(source: Any) -> Any:
        return source("cmdb_ci", fields=CI_FIELDS, display_value="all")

    async def aread() -> RelationGraph:
        async with AsyncClient(small.url, username=small.username, password=small.password) as aclient:
            return await RelationGraph.aread(aclient, cis=cis(aclient.aconcurrent_get_records))

    for name, table in (("relations", "cmdb_rel_ci"), ("cis", "cmdb_ci")):
        Workbench(small, tmp_path, name=name, table=table, fields=None).pull_all()
    graph = RelationGraph.read(client, cis=cis(client.get_records))
    published = RelationGraph.from_published("relations", str(tmp_path), cis="cis")
    for each in (asyncio.run(aread()), published):
        assert each.nodes().equals(graph.nodes())
    known = {row["sys_id"]: row for row in small.sim.rows("cmdb_ci")}
    assert graph.known_cis == sum(1 for sys_id in graph if sys_id in known)
    classes = set()
    for sys_id in graph:
        attributes = graph.attributes(sys_id)
        assert attributes.get("class") == (known[sys_id]["sys_class_name"] if sys_id in known else None)
        classes.add(attributes.get("class_label"))
    assert classes >= {"Linux Server", "MySQL Instance"}
    assert {attributes.get("class") for attributes in map(graph.attributes, graph)} >= set(CLASSES[:2])
    assert all(graph.attributes(sys_id)["status"] for sys_id in graph if sys_id in known)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"table": "cmdb_ci", "fields": ("name",)}, "is of the table cmdb_ci"),
        ({"fields": ("parent", "type")}, "does not land child"),
        ({"fields": None, "display_value": "true"}, "display_value: all"),
    ],
)
def test_a_pull_of_something_else_is_no_graph(
    small: SimulatorServer, tmp_path: Path, settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match="nothing is published"):
        RelationGraph.from_published("relations", str(tmp_path))
    Workbench(small, tmp_path, **{"name": "relations", "table": "cmdb_rel_ci", **settings}).pull_all()
    with pytest.raises(ConfigError, match=told):
        RelationGraph.from_published("relations", str(tmp_path))


def test_relations_without_labels_are_walked_by_sys_id(client: Client, graph: RelationGraph) -> None:
    fields = ["parent", "child", "type"]
    plain = RelationGraph.from_records(client.get_records("cmdb_rel_ci", fields=fields, display_value="false"))
    assert list(plain) == list(graph)
    assert plain.figures == graph.figures
    start = next(iter(plain))
    assert plain.name(start) == ""
    found = {step.sys_id for step in plain.traverse(start, direction="both", types=plain.types[-1].sys_id)}
    assert found == {step.sys_id for step in graph.traverse(start, direction="both", types=plain.types[-1].sys_id)}

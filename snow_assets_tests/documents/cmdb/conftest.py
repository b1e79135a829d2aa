"""Instances that are all configuration items and relations, and graphs of them by another library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import networkx as nx
import pytest

from snow_assets.documents.cmdb import RelationGraph, Step
from snow_assets.servicenow.client import Client
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets.simulator.generate import DEFAULT_ROWS

Graph = Any  # networkx ships no types
_PEOPLE = ("core_", "cmn_", "sys_user", "cmdb_model")  # CIs refer to them
CLASSES = ("cmdb_ci_linux_server", "cmdb_ci_db_mysql_instance", "cmdb_ci_service")


def cmdb(cis: int, relations: int, seed: int = 7) -> Simulator:
    """An instance with so many CIs, of three classes, and relations between them."""
    rows = {table: 0 for table in DEFAULT_ROWS if not table.startswith(_PEOPLE)}
    shares = dict(zip(CLASSES, (cis - 2 * (cis // 4), cis // 4, cis // 4), strict=True))
    return Simulator(rows={**rows, **shares, "cmdb_rel_ci": relations}, seed=seed)


def add_awkward_rows(sim: Simulator) -> None:
    """Relations as they lie in old CMDBs: lacking an end, or a type, twice the same, of a CI to itself, and cycles."""
    first, second, third, *_ = sim.rows("cmdb_rel_ci")
    for ends in ({"child": first["child"]}, {"parent": first["parent"]}, {}):
        sim.insert("cmdb_rel_ci", {"type": first["type"], **ends})
    sim.insert("cmdb_rel_ci", parent=second["parent"], child=third["child"])
    for name in ("parent", "child"):
        sim.insert("cmdb_rel_ci", parent=third[name], child=third[name], type=third["type"])
    for _ in range(2):
        sim.insert("cmdb_rel_ci", {name: first[name] for name in ("parent", "child", "type")})
    sim.insert("cmdb_rel_ci", parent=second["child"], child=second["parent"], type=second["type"])


@pytest.fixture(scope="session")
def small() -> Iterator[SimulatorServer]:
    """60 CIs and 209 relations, awkward ones among them; tests only read it."""
    sim = cmdb(60, 200)
    add_awkward_rows(sim)
    with sim.serve() as server:
        yield server


@pytest.fixture
def client(small: SimulatorServer) -> Iterator[Client]:
    small.requests.clear()
    with Client(small.url, username=small.username, password=small.password, page_size=50) as made:
        yield made


@pytest.fixture(scope="session")
def graph(small: SimulatorServer) -> RelationGraph:
    with Client(small.url, username=small.username, password=small.password) as client:
        return RelationGraph.read(client)


@pytest.fixture(scope="session")
def truth(small: SimulatorServer) -> Graph:
    return graph_of(small.sim.rows("cmdb_rel_ci"))


def graph_of(rows: Iterable[Mapping[str, str]]) -> Graph:
    """The rows of ``cmdb_rel_ci`` by networkx, which shares nothing with ours; those with two ends are edges."""
    made = nx.MultiDiGraph()
    for row in rows:
        ends = [row[field] for field in ("parent", "child") if row.get(field)]
        made.add_nodes_from(ends)
        if len(ends) == 2:
            made.add_edge(*ends, key=row["sys_id"], type=row.get("type", ""))
    return made


def distances(truth: Graph, start: str, direction: str, depth: int | None, types: set[str] | None) -> dict[str, int]:
    """How far each CI is that networkx comes to."""
    turned = nx.Graph() if direction == "both" else nx.DiGraph()
    turned.add_node(start)
    edges = ((ends, type_) for *ends, type_ in truth.edges(data="type"))
    chosen = (ends for ends, type_ in edges if types is None or type_ in types)
    turned.add_edges_from(ends[::-1] if direction == "up" else ends for ends in chosen)
    found = dict(nx.single_source_shortest_path_length(turned, start, cutoff=depth))
    del found[start]
    return found


def must_be_ways(steps: Iterable[Step], start: str, direction: str, types: set[str] | None) -> None:
    """Each step follows a relation from a CI that is one step nearer; the nearest come first."""
    depths, last = {start: 0}, 0
    for step in steps:
        assert step.sys_id not in depths
        assert step.depth == depths[step.parent] + 1 >= last
        ends = (step.via.parent, step.via.child)
        assert ends == ((step.parent, step.sys_id) if step.outbound else (step.sys_id, step.parent))
        assert direction == "both" or step.outbound == (direction == "down")
        assert types is None or step.via.type.sys_id in types
        depths[step.sys_id] = last = step.depth


def rows_of(graph: RelationGraph) -> list[dict[str, Any]]:
    """Its edges as plain rows."""
    found: list[dict[str, Any]] = graph.edges().to_pylist()
    return found

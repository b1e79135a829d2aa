"""What a graph is written to is whole, and gives the same graph again; and how relations read in a document."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import networkx as nx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snow_assets.documents.cmdb import RelationGraph, files, relation_lines, relation_values
from snow_assets.errors import ConfigError
from snow_assets_tests.documents.cmdb.conftest import Graph, rows_of

CIS = [("a" * 32, "web01", "cmdb_ci_server"), ("b" * 32, "", "cmdb_ci_appl"), ("c" * 32, "db01", "")]
COLUMNS = ["sys_id", *(f"{end}{half}" for end in ("parent", "child") for half in ("", "_name")), "type", "label"]
COLUMNS += ["parent_descriptor", "child_descriptor"]


@pytest.fixture(scope="module")
def classed(graph: RelationGraph) -> RelationGraph:
    """The graph, in which every second CI has a class."""
    some = list(graph)[::2]
    return graph.with_cis(
        {
            "sys_id": {"value": sys_id, "display_value": sys_id},
            "sys_class_name": {"value": "cmdb_ci_server", "display_value": "Server"},
            "install_status": {"value": "1", "display_value": "Installed"},
        }
        for sys_id in some
    )


def test_a_graph_comes_back_from_its_files_as_it_was(classed: RelationGraph, tmp_path: Path) -> None:
    edges, nodes = tmp_path / "edges.parquet", tmp_path / "nodes.parquet"
    classed.to_parquet(edges, nodes)
    again = RelationGraph.from_parquet(edges, nodes)
    assert again.edges().equals(classed.edges())
    assert again.nodes().equals(classed.nodes())
    assert (again.figures, again.types, again.known_cis) == (classed.figures, classed.types, classed.known_cis)
    plain = RelationGraph.from_parquet(edges)
    assert plain.figures == classed.figures
    assert plain.nodes().column("class").null_count == len(plain)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["edges.parquet", "nodes.parquet"]


def test_the_files_have_a_row_per_relation_and_per_ci(classed: RelationGraph, truth: Graph, tmp_path: Path) -> None:
    classed.to_parquet(tmp_path / "edges.parquet", tmp_path / "nodes.parquet")
    edges, nodes = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("edges", "nodes"))
    assert edges.column_names == COLUMNS
    assert edges.num_rows == classed.figures.relations
    assert sorted(row["child"] is None for row in edges.to_pylist()).count(True) == classed.figures.without_child
    for row in nodes.to_pylist():
        assert row["outbound"] == truth.out_degree(row["sys_id"])
        assert row["inbound"] == truth.in_degree(row["sys_id"])
        assert row["status"] == ("Installed" if row["class"] else None)


def test_no_relations_are_a_graph_too(tmp_path: Path) -> None:
    graph = RelationGraph.from_records([], cis=[])
    graph.to_parquet(tmp_path / "edges.parquet", tmp_path / "nodes.parquet")
    again = RelationGraph.from_parquet(tmp_path / "edges.parquet", tmp_path / "nodes.parquet")
    assert (len(again), again.figures.relations, again.types, rows_of(again)) == (0, 0, (), [])
    assert (again.shape().components, again.to_networkx().number_of_nodes()) == (0, 0)
    with pytest.raises(ConfigError, match="there are: none"):
        again.traverse("a" * 32, types="Depends on")


def test_what_cannot_be_finished_leaves_the_file_as_it_was(
    graph: RelationGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "edges.parquet"
    graph.to_parquet(path)
    before = path.read_bytes()
    fill = files.fill

    def broken(target: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
        fill(target, schema, tables)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "fill", broken)
    with pytest.raises(OSError, match="No space"):
        graph.to_parquet(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["edges.parquet"]


def test_paths_that_cannot_be_meant_are_refused(graph: RelationGraph, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mkdir -p"):
        graph.to_parquet(tmp_path / "nowhere" / "edges.parquet")
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"sys_id": ["a"]}), other)
    text = tmp_path / "text.parquet"
    text.write_text("no", encoding="utf-8")
    for path, told in ((other, "lacks parent"), (text, "no Parquet file"), (tmp_path / "gone", "no Parquet file")):
        with pytest.raises(ConfigError, match=told):
            RelationGraph.from_parquet(path)


def test_networkx_gets_the_same_graph_with_what_is_known(classed: RelationGraph, truth: Graph) -> None:
    found: Any = classed.to_networkx()
    assert nx.utils.graphs_equal(_bare(found), _bare(truth))
    for sys_id, known in found.nodes(data=True):
        assert known == {"name": classed.name(sys_id), **classed.attributes(sys_id)}
    for _, _, told in found.edges(data=True):
        assert set(told) == {"type", "label", "parent_descriptor", "child_descriptor"}
        if told["label"]:
            assert told["label"] == f"{told['parent_descriptor']}::{told['child_descriptor']}"


def _bare(graph: Graph) -> Graph:
    made = nx.MultiDiGraph()
    made.add_nodes_from(graph)
    made.add_edges_from(
        (parent, child, key, {"type": type_}) for parent, child, key, type_ in graph.edges(keys=True, data="type")
    )
    return made


def test_where_networkx_is_missing_the_extra_is_named(graph: RelationGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(ConfigError, match=r"pip install 'snow_assets\[graph\]'"):
        graph.to_networkx()


def relation(number: int, parent: int, child: int, label: str) -> dict[str, Any]:
    ends = {"parent": CIS[parent], "child": CIS[child]}
    cells = {field: {"value": each[0], "display_value": each[1]} for field, each in ends.items()}
    type_ = {"value": label[:3], "display_value": label}
    return {"sys_id": {"value": f"r{number}", "display_value": f"r{number}"}, **cells, "type": type_}


def test_relations_read_by_the_half_that_the_ci_has_and_by_sys_id_where_no_name_is() -> None:
    graph = RelationGraph.from_records(
        [
            relation(1, 0, 1, "Depends on::Used by"),
            relation(2, 0, 2, "Depends on::Used by"),
            relation(3, 2, 0, "Runs on::Runs"),
            relation(4, 0, 0, "Peer"),
            relation(5, 2, 0, ""),
        ]
    )
    web, nameless = CIS[0][0], CIS[1][0]
    found = graph.relations_of(web)
    assert list(relation_lines(found)) == [
        f"Depends on: {nameless}, db01",
        "Peer: web01",
        "Related to: db01",
        "Runs: db01",
    ]
    values = relation_values(found)
    assert values[0] == {
        "sys_id": "r1",
        "direction": "outbound",
        "type": "Depends on::Used by",
        "type_sys_id": "Dep",
        "descriptor": "Depends on",
        "target": nameless,
        "target_sys_id": nameless,
    }
    assert [each["sys_id"] for each in values] == ["r1", "r2", "r4", "r5", "r4", "r3"]
    assert json.loads(json.dumps(values)) == values
    assert list(relation_lines(graph.relations_of("f" * 32))) == []
    assert str(found.outbound[1]) == "web01 Depends on::Used by db01"

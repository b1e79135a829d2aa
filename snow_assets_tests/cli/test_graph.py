"""``snow-assets graph``: what it writes, what it prints, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from snow_assets.documents.cmdb import RelationGraph
from snow_assets.simulator import SimulatorServer
from snow_assets_tests.cli.conftest import Folder, variables_of
from snow_assets_tests.documents.cmdb.conftest import add_awkward_rows, cmdb
from snow_assets_tests.pulls.conftest import Workbench

PULLS = """\
defaults: {retry_backoff: 0.01, max_retries: 0}
pulls:
  relations: {table: cmdb_rel_ci, graph: {cis: cis}}
  cis: {table: cmdb_ci}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatorServer]:
    sim = cmdb(60, 200)
    add_awkward_rows(sim)
    twin, other, *_ = sim.rows("cmdb_ci_linux_server")
    sim.update("cmdb_ci_linux_server", twin["sys_id"], name=other["name"])
    with sim.serve() as one:
        yield one


@pytest.fixture(scope="module")
def here(server: SimulatorServer, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A folder in which relations and CIs are published."""
    made = Folder(tmp_path_factory.mktemp("graph"), variables_of(server))
    made.write(PULLS)
    for name, table in (("relations", "cmdb_rel_ci"), ("cis", "cmdb_ci")):
        Workbench(server, made.path / "data", name=name, table=table, fields=None).pull_all()
    return made


def graph_in(here: Folder) -> RelationGraph:
    return RelationGraph.from_published("relations", str(here.path / "data"), cis="cis")


def start_in(graph: RelationGraph) -> str:
    """A CI with a name of its own from which ways of several relations lead."""
    return next(
        sys_id
        for sys_id in graph
        if graph.find(graph.name(sys_id)) == [sys_id] and any(step.depth == 3 for step in graph.traverse(sys_id))
    )


def test_a_graph_is_written_once_and_its_figures_are_told(here: Folder) -> None:
    first = here.run("graph", "relations", "--json")  # as a process
    assert (first.code, first.err, first.json["figures"]["relations"], first.json["changed"]) == (0, "", 209, True)
    assert first.json["cis"] == "cis"
    told = here.call("graph", "relations").out.splitlines()
    assert told[0] == f"{len(graph_in(here))} CIs and 209 relations of plan {first.json['plan']}"
    assert told[1].endswith("3 lack an end")
    assert told[3] == f"{first.json['known_cis']} CIs are known by cis"
    assert told[4:] == [file["location"] for file in first.json["files"]]
    assert here.call("graph", "relations", "--json").json == {**first.json, "changed": False}
    assert here.call("graph", "relations", "--again", "--json").json["changed"] is True


def test_a_walk_is_a_tree_of_the_steps(here: Folder) -> None:
    graph = graph_in(here)
    start = start_in(graph)
    done = here.call("graph", "relations", "--from", graph.name(start), "--depth", "3")
    first, *lines = done.out.splitlines()
    steps = list(graph.traverse(start, depth=3))
    assert (done.code, done.err, first.split()[-1]) == (0, "", start)
    assert sorted(line.split()[-1] for line in lines) == sorted(step.sys_id for step in steps)
    above = {0: start}
    by_id = {step.sys_id: step for step in steps}
    for line in lines:
        depth, step = (len(line) - len(line.lstrip())) // 2, by_id[line.split()[-1]]
        assert (step.depth, step.parent) == (depth, above[depth - 1])
        assert line.strip().startswith(f"{step.descriptor or 'Related to'}: {step.name}")
        above[depth] = step.sys_id
    assert "(Linux Server, " in done.out


def test_a_walk_in_json_has_each_step_with_its_relation(here: Folder) -> None:
    graph = graph_in(here)
    start = start_in(graph)
    label = next(graph.traverse(start)).via.label
    options = ("--from", start, "--direction", "both", "--type", label, "--json")
    found = here.call("graph", "relations", *options).json
    steps = list(graph.traverse(start, direction="both", types=label))
    assert (found["sys_id"], found["direction"], found["types"]) == (start, "both", [label])
    assert [(each["sys_id"], each["depth"], each["relation"]) for each in found["steps"]] == [
        (step.sys_id, step.depth, step.via.sys_id) for step in steps
    ]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--from", "nobody"), "no CI that has relations is called so"),
        (("--from", "LIKE"), "called so (alike are: START"),
        (("--cis", "relations"), "cis 'relations': lands neither classes nor states of CIs"),
        (("--depth", "2"), "give --from"),
        (("--from", "START", "--again"), "leave one of them out"),
        (("--from", "START", "--type", "Loves"), "--type 'Loves': no relation is of such a type (there are: "),
        (("--from", "TWIN"), "2 CIs are called so (give a sys_id: "),
        (("--from", "START", "--direction", "sideways"), "down"),
    ],
)
def test_what_cannot_be_meant_is_told_on_one_line(here: Folder, options: tuple[str, ...], told: str) -> None:
    graph = graph_in(here)
    names = [graph.name(sys_id) for sys_id in graph]
    start = start_in(graph)
    meant = {"START": start, "TWIN": next(name for name in names if name and names.count(name) > 1)}
    meant["LIKE"] = graph.name(start)[:-1].upper()
    told = told.replace("START", graph.names_like(meant["LIKE"], 1)[0])
    done = here.call("graph", "relations", *(meant.get(each, each) for each in options))
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert done.err.count("\n") == 1


def test_relations_are_walked_before_their_cis_are_published(
    here: Folder, tmp_path: Path, server: SimulatorServer
) -> None:
    early = Folder(tmp_path, variables_of(server))
    early.write(PULLS)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "relations").symlink_to(here.path / "data" / "relations")
    start = start_in(graph_in(here))
    done = early.call("graph", "relations", "--from", start, "--depth", "1", "--json")
    assert (done.code, done.json["sys_id"], "class" in done.json) == (0, start, False)


def test_a_pull_of_another_table_has_no_graph(here: Folder, tmp_path: Path, server: SimulatorServer) -> None:
    done = here.call("graph", "cis")
    assert (done.code, done.out) == (2, "")
    assert "is of the table cmdb_ci, not of cmdb_rel_ci" in done.err
    assert not (here.path / "data" / "cis.graph").exists()
    empty = Folder(tmp_path, variables_of(server))
    empty.write(PULLS)
    assert "nothing is published" in empty.call("graph", "relations").err
    assert [path.name for path in tmp_path.iterdir()] == ["pulls.yaml"]

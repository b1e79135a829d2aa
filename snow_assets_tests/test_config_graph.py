"""The section ``graph``: what is refused at once, and not by a run at night."""

from __future__ import annotations

from pathlib import Path

import pytest

from snow_assets.config import find_problems, load_settings

HEAD = """pulls:
  cis: {table: cmdb_ci, fields: [name, install_status]}
  bare: {table: cmdb_ci, fields: [name]}
  relations:
"""


@pytest.mark.parametrize("graph", ["true", "{}", "{cis: cis}"])
def test_a_pull_of_relations_may_have_a_graph(tmp_path: Path, graph: str) -> None:
    path = tmp_path / "pulls.yaml"
    path.write_text(f"{HEAD}    table: cmdb_rel_ci\n    graph: {graph}\n")
    assert find_problems(path) == []
    assert load_settings(path).pulls["relations"].graph is not None


@pytest.mark.parametrize(
    ("lines", "key", "line", "said"),
    [
        ("table: cmdb_ci\n    graph: true", "graph", 6, "belongs to a pull of cmdb_rel_ci"),
        ("table: cmdb_rel_ci\n    fields: [parent, type]\n    graph: true", "graph", 7, "needs child among the fields"),
        ("table: cmdb_rel_ci\n    display_value: true\n    graph: true", "graph", 7, "needs stored values"),
        ("table: cmdb_rel_ci\n    graph: {cis: cs}", "graph.cis", 6, "did you mean cis?"),
        ("table: cmdb_rel_ci\n    graph: {cis: bare}", "graph.cis", 6, "lands neither classes nor states of CIs"),
    ],
)
def test_what_cannot_work_is_told_with_its_key_and_line(
    tmp_path: Path, lines: str, key: str, line: int, said: str
) -> None:
    path = tmp_path / "pulls.yaml"
    path.write_text(f"{HEAD}    {lines}\n")
    [problem] = find_problems(path)
    assert problem.key == f"pulls.relations.{key}"
    assert f"line {line}" in str(problem)
    assert said in str(problem)

"""The section ``documents``: what is refused at once, and not by a run at night."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from snow_assets.config import DocumentsConfig, find_problems, load_settings
from snow_assets.config_documents import Loader
from snow_assets.documents.recipes import RECIPES

HEAD = """pulls:
  j: {table: sys_journal_field}
  t: {table: sys_journal_field, display_value: true}
  a:
    table: x
"""


def test_true_is_a_section_of_defaults_and_false_is_none(tmp_path: Path) -> None:
    path = tmp_path / "pulls.yaml"
    path.write_text("pulls:\n  a: {table: x, documents: true}\n  b: {table: x, documents: false}\n  c: {table: x}\n")
    assert [pull.documents for pull in load_settings(path).pulls.values()] == [DocumentsConfig(), None, None]


def test_every_loader_is_a_recipe() -> None:
    assert set(get_args(Loader)) == set(RECIPES)


@pytest.mark.parametrize(
    ("lines", "key", "line", "said"),
    [
        ("documents: {include_journals: k}", "documents.include_journals", 6, "there are: j, t, a"),
        ("documents: {include_journals: a}", "documents.include_journals", 6, "name a pull of sys_journal_field"),
        ("documents: {include_journals: t}", "documents.include_journals", 6, "has no stored values"),
        (
            "documents: {loader: cmdb_ci, include_relationships: j}",
            "documents.include_relationships",
            6,
            "name a pull of cmdb_rel_ci",
        ),
        ("display_value: false\n    documents: true", "documents", 7, "display_value: false has not both"),
        ("key: [number]\n    documents: true", "documents", 7, "needs rows with a sys_id"),
        ("fields: [number]\n    documents: {content_fields: [number, state]}", "documents", 7, "is made of state"),
        ("documents: {loader: incidents}", "documents.loader", 6, "is not one of 'incident'"),
        ('documents: {content_template: "{{ number }"}', "documents.content_template", 6, "line 1: unexpected '}'"),
        ("documents: {loader: incident, content_fields: [a]}", "documents", 6, "keep one of them"),
        ("documents: {loader: incident, include_relationships: j}", "documents", 6, "take loader out"),
        ("documents: {include_relationships: j}", "documents", 6, "x has no relations"),
        ("documents: {content_felds: [a]}", "documents.content_felds", 6, "did you mean content_fields?"),
        ("documents: yes please", "documents", 6, "write true, or a map such as"),
    ],
)
def test_what_cannot_work_is_told_with_its_key_and_line(
    tmp_path: Path, lines: str, key: str, line: int, said: str
) -> None:
    path = tmp_path / "pulls.yaml"
    path.write_text(f"{HEAD}    {lines}\n")
    [problem] = find_problems(path)
    assert problem.key == f"pulls.a.{key}"
    assert said in str(problem)
    assert f"line {line}" in str(problem)

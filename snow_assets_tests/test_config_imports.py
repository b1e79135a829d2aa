"""imports.yaml: what is accepted, and how problems are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from snow_assets.config_import_fields import FieldConfig, HooksConfig
from snow_assets.config_imports import ImportSettings, number_of_sets
from snow_assets.config_imports_yaml import find_import_problems, load_imports
from snow_assets.errors import ConfigError

SECRET = "hunter2"
A = "imports:\n  a: {source: {csv: x}, target: t"  # a problem follows


def write(folder: Path, text: str) -> Path:
    path = folder / "imports.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_import_gets_its_defaults(tmp_path: Path) -> None:
    settings = load_imports(write(tmp_path, "imports: {people: {source: {csv: p.csv}, target: people}}"))
    people = settings.imports["people"]
    assert (people.staging_table, people.import_sets, people.workers) == ("imp_people", 4, 4)
    assert (people.target.kind, people.partition.method, people.sys_domain) == ("duckdb", "round_robin", "global")
    assert people.source.csv == (str(tmp_path / "p.csv"),)


@pytest.mark.parametrize(("nodes", "most", "sets"), [(2, 10, 4), (10, 10, 10), (1, 10, 2), (5, 10, 10), (8, 20, 16)])
def test_each_node_makes_two_import_sets_up_to_the_most(nodes: int, most: int, sets: int) -> None:
    assert number_of_sets(nodes, most) == sets


def test_short_forms_and_defaults_for_all(tmp_path: Path) -> None:
    text = """
defaults: {nodes: 5, coalesce: email, on_error: continue, schedule: "0 2 * * *"}
imports:
  people:
    source: {csv: [a.csv, /data/b-*.csv]}
    target: people
    partition: {key: email}
    transform: {email: Email, active: {source: Active, choices: {1: true, 0: no}}}
  rooms:
    source: {excel: rooms.xlsx}
    target: {table: rooms, duckdb: t.duckdb}
    parent: people
    schedule: null
    coalesce: {fields: number, empty: match}
    partition: {key: {python: keys.py:key}}
    transform: {python: code/rooms.py:rooms, hooks: {on_before: package.hooks:before}}
"""
    settings = load_imports(write(tmp_path, text), pulls=[])
    people, rooms = settings.imports.values()
    assert people.source.csv == (str(tmp_path / "a.csv"), "/data/b-*.csv")
    assert (people.import_sets, people.coalesce.fields, people.on_error) == (10, ("email",), "continue")
    assert people.transform.fields is not None
    assert people.transform.fields["active"].choices == {"1": "true", "0": "no"}
    assert rooms.coalesce.fields == ("number",)
    assert rooms.transform.python == f"{tmp_path / 'code' / 'rooms.py'}:rooms"
    assert rooms.transform.hooks.on_before == "package.hooks:before"
    assert rooms.partition.key is not None
    assert rooms.partition.key.python == f"{tmp_path / 'keys.py'}:key"
    assert [(each.name, depth) for each, depth in settings.plan("people")] == [("people", 0), ("rooms", 1)]


def test_no_file_means_no_imports_unless_one_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "imports.yaml"
    assert load_imports(path) == ImportSettings(imports={}, path=path)
    with pytest.raises(ConfigError, match=r"no such file .*SNOW_IMPORTS"):
        load_imports(path, required=True)


# What is wrong -> key, line (0: none), a word of the way out.
PROBLEMS: dict[str, tuple[str, int, str]] = {
    "": ("imports", 0, "imports:"),
    "imports: {}": ("imports", 1, "csv: FILE"),
    "imports: [": ("imports", 0, "not YAML"),
    "import: {}\nimports: {a: {source: {csv: x}, target: t}}": ("import", 1, "did you mean imports?"),
    "imports:\n  a: 3": ("imports.a", 2, "source: and target:"),
    "imports:\n  a: {target: t}": ("imports.a.source", 2, "add source:"),
    f"{A}, nods: 4}}": ("imports.a.nods", 2, "did you mean nodes?"),
    f"{A}, name: b}}": ("imports.a.name", 2, "an import's key is its name"),
    f"{A}}}\n  A: {{source: {{csv: x}}, target: t}}": ("imports.A", 3, "case"),
    "imports:\n  1a: {source: {csv: x}, target: t}": ("imports.1a", 2, "an import's name"),
    "imports:\n  con: {source: {csv: x}, target: t}": ("imports.con", 2, "Windows"),
    "imports:\n  a:\n    target: t\n    source:\n      csvv: x": ("imports.a.source.csvv", 5, "did you mean csv?"),
    "imports:\n  a: {source: {csv: x, sql: y}, target: t}": ("imports.a.source", 2, "needs one of"),
    "imports:\n  a: {source: {sql: y}, target: t}": ("imports.a.source", 2, "environment variable"),
    "imports:\n  a: {source: {pull: incident}, target: t}": ("imports.a.source.pull", 2, "did you mean incidents?"),
    f"{A}, partition: sizes}}": ("imports.a.partition", 2, "{size: ROWS}"),
    f"{A}, partition: {{key: {{colum: a}}}}}}": ("imports.a.partition.key.colum", 2, "did you mean column?"),
    f"{A}, coalesce: {{fields: b}}, transform: {{c: d}}}}": ("imports.a", 2, "coalesce names b"),
    f"{A}, coalesce: 5}}": ("imports.a.coalesce", 2, "case_sensitive"),
    f"{A}, parent: b}}": ("imports.a.parent", 2, "there are: a"),
    f"{A}, parent: a}}": ("imports.a", 2, "itself"),
    f"{A}, parent: b}}\n  b: {{source: {{csv: x}}, target: t, parent: a}}": ("imports.a.parent", 2, "a -> b -> a"),
    f"{A}, transform:\n   {{x: y,\n    n: {{sorce: N}}}}}}": ("imports.a.transform.n.sorce", 4, "did you mean source?"),
    f"{A}, transform: {{fields: {{n: {{source: N, type: int}}}}}}}}": (
        "imports.a.transform.fields.n.type",
        2,
        "integer",
    ),
    f"{A}, transform: {{hooks: {{on_befor: x}}}}}}": (
        "imports.a.transform.hooks.on_befor",
        2,
        "did you mean on_before?",
    ),
    f"{A}, transform: {{n: x, N: y}}}}": ("imports.a.transform", 2, "n and N, differing by case only"),
    f"{A}, transform: {{n: {{source: x, choices: {{}}}}}}}}": ("imports.a.transform.n.choices", 2, "write a map"),
    f"{A}, transform: {{n: {{value: 1, source: x}}}}}}": ("imports.a.transform.n", 2, "needs one of"),
    f"{A}, transform: {{n: {{source: x, type: integer, format: '%d'}}}}}}": (
        "imports.a.transform.n",
        2,
        "format belongs",
    ),
    f"{A}, schedule: {{cron: '2 * *'}}}}": ("imports.a.schedule.cron", 2, "five fields"),
    f"{A}, domain: ' '}}": ("imports.a.domain", 2, "a domain"),
    f"defaults: {{target: t}}\n{A}}}": ("defaults.target", 1, "each import"),
    f"defaults: {{nodes: x}}\n{A}}}": ("defaults.nodes", 1, "1 to 128"),
}


@pytest.mark.parametrize("text", PROBLEMS)
def test_a_problem_names_key_line_and_the_way_out(tmp_path: Path, text: str) -> None:
    key, line, way_out = PROBLEMS[text]
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_imports(path, pulls=["incidents"])
    assert caught.value.key == key
    told = str(caught.value)
    assert way_out in told
    assert str(path) in told
    assert "\n" not in told
    if line:
        assert f"line {line}" in told


def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    url = f"postgresql://me:{SECRET}@host/base?password={SECRET}"
    text = f"""
defaults: {{token: {SECRET}, target: {{postgresql: "{url}", table: t}}}}
imports:
  a: {{source: {{sql: select 1, database: "{url}"}}, target: {{table: t, postgresql: "{url}"}}}}
  b: {{source: {{csv: x, pasword: {SECRET}}}, target: t, password: {SECRET}}}
"""
    problems = find_import_problems(write(tmp_path, text))
    assert [problem.key for problem in problems] == [
        "defaults.target",
        "defaults.token",
        "imports.a.source.database",
        "imports.a.target.postgresql",
        "imports.b.source.pasword",
        "imports.b.password",
    ]
    assert SECRET not in " ".join(map(str, problems))
    assert "environment" in str(problems[-1])


def test_the_first_problem_says_how_many_there_are(tmp_path: Path) -> None:
    path = write(tmp_path, f"{A}, b: 1, c: 2, d: 3}}")
    assert len(find_import_problems(path)) == 3
    with pytest.raises(ConfigError, match="and 2 more, see: snow-assets validate"):
        load_imports(path)


def test_every_key_of_a_transform_is_explained() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "import-transforms.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert not {*FieldConfig.model_fields, *HooksConfig.model_fields} - explained

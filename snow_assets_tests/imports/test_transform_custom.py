"""Transforms in SQL and Python: rows that they leave out, double or invent, and what is said when they fail."""

from __future__ import annotations

import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from snow_assets.config_imports import ImportConfig
from snow_assets.errors import ConfigError, TransformFailed
from snow_assets.imports import python_transform
from snow_assets.imports.contract import STAGED
from snow_assets.imports.functions import check_functions, load_function
from snow_assets.imports.mapping import check_transform
from snow_assets_tests.imports.mapping_bench import declared, mapped, outcome, values

COLUMNS = {"name": ["Cy", "Ann", "", "Bo"], "n": ["3", "1", "x", "2"]}


def python(folder: Path, body: str) -> ImportConfig:
    """An import whose transform is this function."""
    path = folder / "code.py"
    path.write_text(f"import pyarrow as pa\nimport pyarrow.compute as pc\n\n\n{body}", encoding="utf-8")
    return declared({"python": f"{path}:transform"})


@pytest.mark.parametrize(
    ("columns", "told"),
    [("n, name AS N", "n and N, differing"), ("n, name AS n", "n twice"), ("n AS sys_row_error", "sets sys_row_error")],
)
def test_fields_that_duckdb_would_rename_are_refused(tmp_path: Path, columns: str, told: str) -> None:
    config = declared({"sql": f"SELECT sys_import_row, {columns} FROM staging"})
    with pytest.raises(ConfigError, match=told):
        check_transform(config, pa.schema([*STAGED, ("name", pa.string()), ("n", pa.string())]))
    with pytest.raises(ConfigError, match=told):
        mapped(tmp_path, COLUMNS, config)
    for fields in ({"n": "n", "N": "name"}, {"sys_import_state": "n"}, {" ": "n"}):
        with pytest.raises(ValidationError, match=r"differing by case|keep for themselves|without a name"):
            declared({"fields": fields})


def test_sql_hands_on_columns_with_types_and_what_it_leaves_out_is_skipped(tmp_path: Path) -> None:
    sql = """
        SELECT sys_import_row, upper(name) AS name, CAST(n AS INTEGER) AS n, DATE '2026-01-02' AS day, 1.50 AS pay
        FROM staging WHERE n <> 'x' ORDER BY n  -- in another order
    """
    target = {"table": "t", "columns": {"n": "decimal"}}
    rows = mapped(tmp_path, COLUMNS, declared({"sql": sql}, target=target), step=3)
    assert values(rows, "sys_import_row") == [1, 4, 7, 10]
    assert values(rows, "name") == ["CY", "ANN", None, "BO"]
    assert values(rows, "n") == [Decimal(3), Decimal(1), None, Decimal(2)]
    assert values(rows, "day") == [date(2026, 1, 2)] * 2 + [None] + [date(2026, 1, 2)]
    assert [outcome(row) for row in rows] == [
        (None,) * 3,
        (None,) * 3,
        ("skipped", None, "the transform hands it not on"),
        (None,) * 3,
    ]


REFUSED = {
    "SELECT * FROM staging UNION ALL SELECT * FROM staging WHERE name = 'Ann'": "returns row 2 more than once",
    "SELECT * REPLACE (sys_import_row + 9 AS sys_import_row) FROM staging": "which is not in the set",
    "SELECT name FROM staging": "does not hand on the column sys_import_row",
    "SELECT sys_import_row, CAST(n AS INTEGER) AS n FROM staging": "Could not convert string 'x'",
    "SELECT nmae FROM staging": "nmae",
    "SELEC": "SELEC",
}


@pytest.mark.parametrize("sql", REFUSED)
def test_sql_that_cannot_be_applied_fails_the_set_and_says_why(tmp_path: Path, sql: str) -> None:
    with pytest.raises(TransformFailed) as caught:
        mapped(tmp_path, COLUMNS, declared({"sql": sql}))
    told = str(caught.value)
    assert REFUSED[sql] in told
    assert told.startswith("transform.sql: ")
    assert "people/20261121T020000Z/0001" in told


def test_python_gets_batches_and_what_it_leaves_out_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_transform, "BATCH", 3)
    body = """
def transform(batch, context):
    context.scratchpad["batches"] = context.scratchpad.get("batches", 0) + 1
    batch = batch.filter(pc.not_equal(batch["n"], "x")).sort_by([("sys_import_row", "descending")])
    numbers = pc.cast(batch["n"], pa.int64())
    label = pa.array([f"{context.import_set} batch {context.scratchpad['batches']}"] * len(batch))
    return pa.table({"label": label, "n": numbers, "sys_import_row": batch["sys_import_row"]})
"""
    rows = mapped(tmp_path, COLUMNS, python(tmp_path, body))
    assert values(rows, "sys_import_row") == [1, 2, 3, 4]
    assert values(rows, "n") == [3, 1, None, 2]
    assert values(rows, "sys_import_state") == [None, None, "skipped", None]
    assert values(rows, "label")[3] == "20261121T020000Z/0001 batch 2"


BROKEN = {
    "raise KeyError('nmae')": "raises KeyError: 'nmae', in batch 1 of the import set people/20261121T020000Z/0001",
    "return None": "returns NoneType, not a pyarrow.Table",
    "return batch.drop_columns(['sys_import_row'])": "returns no column sys_import_row",
    "return pa.concat_tables([batch, batch])": "returns row 1 more than once",
    "return batch.set_column(0, 'sys_import_row', pa.array([7, 8, 9, 10]))": "returns row 7, which is not in the batch",
    "return batch.set_column(0, 'sys_import_row', pa.array([1, 2, None, 3]))": "returns rows without sys_import_row",
    "return batch.append_column('name', batch['n'])": "returns the column name twice",
    "return batch.append_column('Name', batch['n'])": "returns the column name and Name, which differ by case only",
}


@pytest.mark.parametrize("line", BROKEN)
def test_python_that_cannot_be_applied_fails_the_set_and_says_why(tmp_path: Path, line: str) -> None:
    config = python(tmp_path, f"def transform(batch, context):\n    {line}\n")
    with pytest.raises(TransformFailed) as caught:
        mapped(tmp_path, COLUMNS, config)
    assert BROKEN[line] in str(caught.value)
    assert "code.py:transform" in str(caught.value)


def test_python_that_changes_its_columns_between_batches_fails_the_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python_transform, "BATCH", 2)
    added = "return batch if batch['sys_import_row'][0].as_py() == 1 else batch.append_column('more', batch['n'])"
    with pytest.raises(TransformFailed, match="batch 2"):
        mapped(tmp_path, COLUMNS, python(tmp_path, f"def transform(batch, context):\n    {added}\n"))


def test_an_empty_set_goes_through_sql_and_python(tmp_path: Path) -> None:
    assert mapped(tmp_path, {"n": []}, declared({"sql": "SELECT * FROM staging"})) == []
    assert mapped(tmp_path, {"n": []}, python(tmp_path, "def transform(batch, context):\n    return batch\n")) == []


REFERENCES = {
    "{folder}/absent.py:transform": "cannot be read: No such file or directory",
    "{folder}/code.py:transfrom": "has no function transfrom (did you mean transform?)",
    "{folder}/code.py:pa": "pa is not a function",
    "{folder}/code.py": "is no reference to a function",
    "{folder}/raises.py:transform": "raises when it is imported, line 2: ZeroDivisionError: division by zero",
    "{folder}/wrong.py:transform": "raises when it is imported, line 1: SyntaxError",
    "absent_module_x.inner:transform": "no such module",
    "json:transform": "has no function transform",
}


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_function_that_is_not_there_is_refused_before_anything_is_staged(tmp_path: Path, reference: str) -> None:
    python(tmp_path, "def transform(batch, context):\n    return batch\n")
    (tmp_path / "raises.py").write_text("x = 0\ny = 1 / x\n", encoding="utf-8")
    (tmp_path / "wrong.py").write_text("def transform(:\n", encoding="utf-8")
    hooks = {"hooks": {"on_after": reference.format(folder=tmp_path)}}
    with pytest.raises(ConfigError) as caught:
        check_functions(declared(hooks))
    told = str(caught.value)
    assert REFERENCES[reference] in told
    assert told.startswith("imports.people.transform.hooks.on_after ")
    assert "\n" not in told


def test_code_is_loaded_once_and_again_when_it_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text("calls = []\ndef f():\n    calls.append(1)\n    return len(calls)\n", encoding="utf-8")
    folders = list(sys.path)
    assert [load_function(f"{path}:f", "k")() for _ in range(2)] == [1, 2]
    path.write_text("def f():\n    return 'changed'\n", encoding="utf-8")
    assert load_function(f"{path}:f", "k")() == "changed"
    assert sys.path == folders
    assert load_function("posixpath:basename", "k")("a/b") == "b"


UNUSABLE: dict[str, tuple[dict[str, Any], str]] = {
    "sql": (
        {"sql": "SELECT nmae, sys_import_row FROM staging"},
        "transform.sql: is not SQL that DuckDB can run: .*nmae",
    ),
    "row": ({"sql": "SELECT name FROM staging"}, "transform.sql: .*sys_import_row"),
    "field": ({"fields": {"n": {"sql": "lower(nn)"}}}, "transform.fields.n.sql: .*nn"),
    "function": ({"python": "absent.py:f"}, "transform.python .*cannot be read"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_transform_that_cannot_work_is_refused_before_anything_is_staged(case: str) -> None:
    schema = pa.schema([*STAGED, pa.field("name", pa.string()), pa.field("n", pa.string())])
    transform, told = UNUSABLE[case]
    with pytest.raises(ConfigError, match=told):
        check_transform(declared(transform), schema)
    check_transform(declared({"sql": "SELECT * FROM staging;"}), schema)
    check_transform(declared({"fields": {"n": {"sql": "lower(n)", "type": "integer", "default": 1}}}), schema)

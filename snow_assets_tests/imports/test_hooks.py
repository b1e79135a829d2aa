"""Hooks: what they see, what they may change, and what becomes of the rows where they fail."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snow_assets.config_imports import ImportConfig
from snow_assets.errors import TransformFailed
from snow_assets.imports.contract import ROWS, Counters
from snow_assets.imports.hooks import run_after, run_complete
from snow_assets.imports.mapping import map_set
from snow_assets.imports.transform_context import SetContext
from snow_assets_tests.imports.mapping_bench import context, declared, mapped, outcome, stage, values

FIELDS = {"name": "name", "age": {"source": "age", "type": "integer"}, "note": {"value": ""}}
COLUMNS = {"name": ["Ann", "Bo", "Cy", "Di"], "age": ["41", "x", "43", "NULL"]}


def hooked(folder: Path, code: str, *names: str) -> ImportConfig:
    """An import with these hooks, which are functions of the same names."""
    path = folder / "hooks.py"
    path.write_text(code, encoding="utf-8")
    return declared({"fields": FIELDS, "hooks": {name: f"{path}:{name}" for name in names}})


def test_before_may_change_fields_skip_rows_and_fail_them(tmp_path: Path) -> None:
    code = """
def on_before(row, context):
    if row["name"] == "Cy":
        raise ValueError("no Cy here")
    row["name"] = row["name"].upper()
    row["note"] = f"{context.import_name} {context.set_no} {context.domain} {sorted(row)}"
    if row["age"] is None:
        row["age"] = 7
"""
    rows = mapped(tmp_path, COLUMNS, hooked(tmp_path, code, "on_before"))
    assert values(rows, "name") == ["ANN", "Bo", "Cy", "DI"]
    assert values(rows, "age") == [41, None, 43, 7]
    assert rows[0]["note"] == "people 1 global ['age', 'name', 'note']"
    assert outcome(rows[1])[:2] == ("error", 400)  # it was one before: the hook does not see it
    assert outcome(rows[2]) == ("error", 900, "on_before: ValueError: no Cy here")
    assert values(rows, "sys_import_cleared") == [None] * 4  # what the hook filled is not emptied


def test_before_skips_by_false_and_with_a_reason(tmp_path: Path) -> None:
    code = """
def on_before(row, context):
    if row["name"] == "Cy":
        context.skip("left the company")
    return row["name"] != "Ann"
"""
    rows = mapped(tmp_path, COLUMNS, hooked(tmp_path, code, "on_before"))
    assert [outcome(row)[0] for row in rows] == ["skipped", "error", "skipped", None]
    assert [outcome(row)[2] for row in rows][::2] == ["skipped by on_before", "left the company"]


def test_what_before_sets_must_be_of_the_type_and_of_a_field(tmp_path: Path) -> None:
    code = """
def on_before(row, context):
    if row["name"] == "Ann":
        row["age"] = "many"
    if row["name"] == "Cy":
        row["agee"] = 1
    if row["name"] == "Di":
        del row["age"]
        row["note"] = ""
"""
    rows = mapped(tmp_path, COLUMNS, hooked(tmp_path, code, "on_before"))
    assert outcome(rows[0]) == ("error", 400, "age: on_before sets 'many', which is not of type int64")
    assert outcome(rows[2]) == ("error", 900, "on_before: sets agee, which is no field of the transform")
    assert (rows[3]["age"], rows[3]["note"], rows[3]["sys_import_state"]) == (None, None, None)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", "2.5"),
        ("integer", "True"),
        ("date", "datetime(2026, 1, 1, 14, 30)"),
        ("date", "5"),
        ("datetime", "5"),
        ("datetime", "datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-2)))"),
        ("float", "float('nan')"),
        ("float", "float('inf')"),
        ("string", "b'x'"),
        ("string", "'\\udc80'"),
    ],
)
def test_what_before_sets_is_never_cut_or_bent_to_its_type(tmp_path: Path, kind: str, value: str) -> None:
    code = f"""
from datetime import *
def on_before(row, context):
    if row["name"] == "Ann":
        row["age"] = {value}
"""
    hooked(tmp_path, code)
    fields = {"name": "name", "age": {"value": "", "type": kind}}
    config = declared({"fields": fields, "hooks": {"on_before": f"{tmp_path}/hooks.py:on_before"}})
    found = mapped(tmp_path, COLUMNS, config)
    assert outcome(found[0])[:2] == ("error", 400)
    assert "age: on_before sets" in found[0]["sys_import_state_comment"]
    assert found[3]["sys_import_state"] is None


def test_before_may_say_anything_and_loses_nothing_but_its_row(tmp_path: Path) -> None:
    code = """
def on_before(row, context):
    if row["name"] == "Ann":
        context.skip(404)
    elif row["name"] == "Cy":
        raise ValueError("half \\udc80")
    elif row["name"] == "Di":
        return {"name": "Eve"}
    return row
"""
    rows = mapped(tmp_path, COLUMNS, hooked(tmp_path, code, "on_before"))
    assert outcome(rows[0]) == ("skipped", None, "404")
    assert outcome(rows[2]) == ("error", 900, "on_before: ValueError: half ?")
    said = "on_before: returns another row instead of changing the one that it got"
    assert outcome(rows[3]) == ("error", 900, said)


def test_start_comes_first_and_fails_the_set(tmp_path: Path) -> None:
    code = """
def on_start(context):
    context.scratchpad["seen"] = []

def on_before(row, context):
    context.scratchpad["seen"].append(row["name"])
    row["note"] = ",".join(context.scratchpad["seen"])
"""
    rows = mapped(tmp_path, COLUMNS, hooked(tmp_path, code, "on_start", "on_before"))
    assert values(rows, "note") == ["Ann", None, "Ann,Cy", "Ann,Cy,Di"]
    with pytest.raises(TransformFailed, match=r"hooks.on_start .*/0001: RuntimeError: no licence"):
        mapped(
            tmp_path,
            COLUMNS,
            hooked(tmp_path, "def on_start(context):\n    raise RuntimeError('no licence')\n", "on_start"),
        )


AFTER = """
def on_start(context):
    context.scratchpad["told"] = []

def on_after(row, context):
    told = context.scratchpad["told"]
    told.append((row["sys_import_row"], row["name"], row["sys_import_state"], row["sys_target_sys_id"]))
    if row["name"] == "Di" and "fails" in context.scratchpad:
        raise OSError("no line")

def on_complete(context, counters):
    context.scratchpad["total"] = counters.total
"""


def applied(tmp_path: Path, config: ImportConfig) -> tuple[SetContext, Path, Path]:
    """A set that is mapped, and the file of its rows as a target writes it."""
    told, out, rows_file = context(), tmp_path / "mapped.parquet", tmp_path / "rows.parquet"
    map_set(config, stage(tmp_path / "staged.parquet", COLUMNS), out, told)
    states = ["inserted", "error", "ignored", "updated"]
    ids = ["a" * 32, None, "c" * 32, "d" * 32]
    rows = [{"sys_import_row": i + 1, "sys_import_state": states[i], "sys_target_sys_id": ids[i]} for i in range(4)]
    pq.write_table(pa.Table.from_pylist(rows, schema=ROWS), rows_file)
    return told, out, rows_file


def test_after_and_complete_hear_what_became_of_the_rows(tmp_path: Path) -> None:
    config = hooked(tmp_path, AFTER, "on_start", "on_after", "on_complete")
    told, out, rows_file = applied(tmp_path, config)
    run_after(config, out, rows_file, told)
    run_complete(config, Counters(total=4), told)
    assert told.scratchpad == {
        "told": [(1, "Ann", "inserted", "a" * 32), (3, "Cy", "ignored", "c" * 32), (4, "Di", "updated", "d" * 32)],
        "total": 4,
    }


def test_after_that_raises_names_the_row_and_is_called_again(tmp_path: Path) -> None:
    config = hooked(tmp_path, AFTER, "on_start", "on_after")
    told, out, rows_file = applied(tmp_path, config)
    told.scratchpad["fails"] = True
    with pytest.raises(TransformFailed, match=r"hooks.on_after .*row 4 of the import set .*: OSError: no line"):
        run_after(config, out, rows_file, told)
    again = context()  # of a retry
    run_after(config, out, rows_file, again)
    assert [row[0] for row in again.scratchpad["told"]] == [1, 3, 4]


def test_hooks_keep_types_order_and_numbers_over_batches(tmp_path: Path) -> None:
    config = hooked(tmp_path, "def on_before(row, context):\n    pass\n", "on_before")
    number = 45_000
    rows = mapped(tmp_path, {"name": [f"n{i}" for i in range(number)], "age": ["7"] * number}, config)
    assert [(row["sys_import_row"], row["name"], row["age"]) for row in rows] == [
        (i + 1, f"n{i}", 7) for i in range(number)
    ]

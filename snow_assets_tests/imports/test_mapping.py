"""Field maps: what becomes of the rows of an import set, and what is said of those that cannot be mapped."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from snow_assets.errors import ConfigError, TransformFailed
from snow_assets.imports.contract import MAPPED
from snow_assets.imports.mapping import map_set
from snow_assets_tests.imports.mapping_bench import context, declared, mapped, mapped_table, outcome, stage, values


def test_columns_become_fields_of_their_types(tmp_path: Path) -> None:
    fields = {
        "name": "Name",
        "age": {"source": "Age", "type": "integer"},
        "pay": {"source": "Pay", "type": "decimal"},
        "born": {"source": "Born", "type": "date", "format": "%d.%m.%Y"},
        "seen": {"source": "Seen", "type": "datetime"},
        "active": {"source": "Active", "type": "boolean"},
        "kind": {"value": "person"},
        "mail": {"sql": "lower(Name) || '@example.com'"},
    }
    columns = {
        "Name": ["Ann", ""],
        "Age": ["41", None],
        "Pay": ["1000.10", ""],
        "Born": ["31.12.1984", ""],
        "Seen": ["2026-11-21 10:00:00+02:00", ""],
        "Active": ["Yes", ""],
    }
    table = mapped_table(tmp_path, columns, declared({"fields": fields}, coalesce={"copy_empty_fields": True}))
    assert table.schema.names == [*MAPPED.names, *fields]
    assert [str(table.schema.field(name).type) for name in ("age", "pay", "born", "seen", "active")] == [
        "int64",
        "decimal128(38, 9)",
        "date32[day]",
        "timestamp[us]",
        "bool",
    ]
    first, second = table.to_pylist()
    assert first == {
        **dict.fromkeys(MAPPED.names),
        "sys_import_row": 1,
        "name": "Ann",
        "age": 41,
        "pay": Decimal("1000.100000000"),
        "born": date(1984, 12, 31),
        "seen": datetime(2026, 11, 21, 8),  # noqa: DTZ001 - stored without a zone, as UTC
        "active": True,
        "kind": "person",
        "mail": "ann@example.com",
    }
    empty = {**dict.fromkeys([*MAPPED.names, *fields]), "sys_import_row": 2}
    assert second == {**empty, "kind": "person", "mail": "@example.com"}


def test_without_a_transform_columns_keep_their_names_and_the_target_says_their_types(tmp_path: Path) -> None:
    target = {"table": "people", "columns": {"age": "integer", "absent": "date"}}
    columns = {"name": ["Ann"], "age": ["41"], "sys_id": ["a" * 32], "sys_created_on": ["2026-01-01"]}
    (row,) = mapped(tmp_path, columns, declared(target=target))
    assert {key: value for key, value in row.items() if not key.startswith("sys_import")} == {
        "name": "Ann",
        "age": 41,
        "sys_id": "a" * 32,
        "sys_row_error": None,
    }


def test_names_and_values_of_any_kind_are_data_not_sql(tmp_path: Path) -> None:
    odd = 'it\'s; "--" {x} %s'
    choices = {odd: f"{odd}!", "'": "''"}
    fields = {odd: {"source": odd, "choices": choices, "default": odd}, "f0": {"source": "f1"}, "f1": {"source": "f0"}}
    rows = mapped(tmp_path, {odd: [odd, "'", None], "f0": list("abc"), "f1": list("xyz")}, declared({"fields": fields}))
    assert values(rows, odd) == [f"{odd}!", "''", odd]
    assert (values(rows, "f0"), values(rows, "f1")) == (list("xyz"), list("abc"))


def test_rows_keep_their_numbers_and_their_order(tmp_path: Path) -> None:
    rows = mapped(tmp_path, {"name": [f"n{i}" for i in range(50_000)]}, declared({"name": "name"}), step=4)
    assert [(row["sys_import_row"], row["name"]) for row in rows] == [(1 + 4 * i, f"n{i}") for i in range(50_000)]


def test_an_empty_set_is_mapped_to_an_empty_one(tmp_path: Path) -> None:
    table = mapped_table(tmp_path, {"age": []}, declared({"age": {"source": "age", "type": "integer"}}))
    assert (table.num_rows, str(table.schema.field("age").type)) == (0, "int64")


def test_a_value_that_is_not_of_its_type_is_an_error_of_its_row_alone(tmp_path: Path) -> None:
    fields = {"age": {"source": "Age", "type": "integer"}, "born": {"source": "born", "type": "date"}}
    rows = mapped(tmp_path, {"Age": ["1", "x" * 100, "3"], "born": ["2026-02-28", "2026-02-30", ""]}, declared(fields))
    assert [outcome(row)[0] for row in rows] == [None, "error", None]
    _, code, comment = outcome(rows[1])
    assert code == 400
    assert comment == (
        f"age from Age: '{'x' * 80}...' is not an integer of 64 bits; "
        "born: '2026-02-30' is not a date, such as 2026-11-21"
    )


@pytest.mark.parametrize(
    ("action", "stored", "state", "code"),
    [("create", "odd", None, None), ("ignore", None, None, None), ("reject", None, "error", 200)],
)
def test_a_value_that_is_no_choice_is_treated_as_declared(
    tmp_path: Path, action: str, stored: str | None, state: str | None, code: int | None
) -> None:
    field = {"source": "p", "choices": {"High": 1, "Low": 3}, "choice_action": action, "default": "4"}
    rows = mapped(tmp_path, {"p": ["High", "odd", "", "Low"]}, declared({"priority": field}))
    assert values(rows, "priority") == ["1", stored, "4", "3"]
    assert outcome(rows[1])[:2] == (state, code)
    if code:
        assert outcome(rows[1])[2] == "priority from p: 'odd' is not among its choices"


def test_an_expression_that_fails_on_a_row_is_an_error_of_its_row_alone(tmp_path: Path) -> None:
    fields = {"n": {"sql": "CAST(a AS INTEGER) + 1 -- of a", "type": "integer"}, "a": "a"}
    rows = mapped(tmp_path, {"a": ["1", "x", None, "4"]}, declared(fields))
    assert values(rows, "n") == [2, None, None, 5]
    assert [outcome(row)[:2] for row in rows] == [(None, None), ("error", 900), (None, None), (None, None)]
    assert "n: its sql fails on this row" in outcome(rows[1])[2]


def test_an_expression_that_cannot_be_guarded_fails_the_set_and_is_named(tmp_path: Path) -> None:
    fields = {"good": {"sql": "random()"}, "bad": {"sql": "CAST(a AS INTEGER) + (SELECT 1)"}}
    assert len(mapped(tmp_path, {"a": ["1"]}, declared(fields))) == 1
    with pytest.raises(TransformFailed, match=r"transform.fields.bad.sql: fails .*/0001: .*'x'"):
        mapped(tmp_path, {"a": ["1", "x"]}, declared(fields))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "column": ({"age": "Aeg"}, "transform.fields.age 'Aeg': no such column in the source (did you mean Age?)"),
    "sql": ({"age": {"sql": "lower("}}, "transform.fields.age.sql: is not SQL that DuckDB can run"),
    "unknown": ({"age": {"sql": "lower(Nmae)"}}, "transform.fields.age.sql: is not SQL that DuckDB can run"),
    "default": ({"a": {"source": "Age", "type": "integer", "default": "x"}}, "transform.fields.a.default 'x': is not"),
    "value": ({"a": {"value": "soon", "type": "date"}}, "transform.fields.a.value 'soon': is not a date"),
    "format": ({"a": {"source": "Age", "type": "date", "format": "%Q"}}, "transform.fields.a.format: is not SQL"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_map_that_cannot_be_is_refused_by_the_name_of_its_key(tmp_path: Path, case: str) -> None:
    fields, told = WRONG[case]
    with pytest.raises(ConfigError) as caught:
        mapped(tmp_path, {"Age": ["1"], "Name": ["x"]}, declared(fields))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_null_as_a_word_empties_fields_of_every_type(tmp_path: Path) -> None:
    fields = {
        "age": {"source": "age", "type": "integer"},
        "born": {"source": "born", "type": "date"},
        "priority": {"source": "p", "choices": {"High": "1"}},
    }
    columns = {"age": ["NULL", "1", "NULL"], "born": ["NULL", "", "2026-01-01"], "p": ["NULL", "High", ""]}
    rows = mapped(tmp_path, columns, declared(fields))
    assert values(rows, "sys_import_cleared") == [["age", "born"], None, ["age"]]
    assert values(rows, "priority") == ["NULL", "1", None]
    assert values(rows, "sys_import_state") == [None, None, None]
    copied = mapped(tmp_path, columns, declared(fields, coalesce={"copy_empty_fields": True}))
    assert values(copied, "sys_import_state") == ["error", None, "error"]


def test_columns_that_have_types_already_are_taken_as_they_are(tmp_path: Path) -> None:
    columns = {
        "n": pa.array([7, None], pa.int32()),
        "x": pa.array([3.0, 2.5], pa.float64()),
        "at": pa.array([datetime(2026, 1, 2, 3), None], pa.timestamp("us", "Europe/Berlin")),  # noqa: DTZ001 - UTC
        "yes": pa.array([True, False]),
    }
    types = {"n": "integer", "x": "integer", "at": "datetime", "yes": "boolean"}
    first, second = mapped(tmp_path, columns, declared(target={"table": "t", "columns": types}))
    assert [first[name] for name in types] == [7, 3, datetime(2026, 1, 2, 3), True]  # noqa: DTZ001 - UTC
    assert outcome(second)[2] == "x: '2.5' is not an integer of 64 bits"


def test_a_staged_set_out_of_order_is_refused(tmp_path: Path) -> None:
    staged = stage(tmp_path / "staged.parquet", {"a": ["1", "2"]}, step=-1)
    with pytest.raises(TransformFailed, match="not in the order of the source"):
        map_set(declared({"a": "a"}), staged, tmp_path / "out.parquet", context())

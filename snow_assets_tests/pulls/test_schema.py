"""The columns of a pull: kept with each plan, compared with those last published, free to change or frozen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable

from snow_assets.errors import PublishRefused
from snow_assets.pulls import Failed, Planned, publish, published, reconcile
from snow_assets.pulls.current import bring_up
from snow_assets.pulls.schema import (
    SCHEMA_FILE,
    ColumnSchema,
    SchemaChange,
    TableSchema,
    compare,
    published_schema,
    read_schema,
)
from snow_assets.pulls.sweep import sweep
from snow_assets.reader import connect
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.pulls.conftest import Workbench

ROWS, TOUCHED = 60, 7


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": ROWS, "problem": 0}, seed=3).serve() as running:
        yield running


def bench_of(server: SimulatorServer, data: Path, **config: Any) -> Workbench:
    return Workbench(server, data, **{"fields": None, "overlap": 0, "lag": 0, **config})


def pulled(bench: Workbench) -> Planned:
    """Plan, slices, sweep, totals, dataset."""
    planned = bench.plan(new=True)
    assert not [result for result in bench.land(planned.plan) if isinstance(result, Failed)]
    if bench.pull.mode == "delta":
        with bench.client() as client:
            sweep(planned.plan, bench.pull, client, bench.landing)
    publish(planned.plan, reconcile(planned.plan, bench.landing, bench.pull), bench.landing, bench.pull)
    return planned


def alter(server: SimulatorServer) -> None:
    """One column comes, one goes, one gets another type; and a few rows change, which the next delta reads."""
    server.sim.add_column("incident", "u_color", "string", "Color", choices=(("r", "Red"),))
    server.sim.drop_column("task", "close_notes")
    server.sim.change_column("incident", "business_stc", type="string")
    server.sim.move_to(server.sim.clock.now() + timedelta(hours=1))
    for row in server.sim.rows("incident")[:TOUCHED]:
        server.sim.update("incident", row["sys_id"], u_color="r", business_stc="a while")


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


ALTERED = SchemaChange(
    "incident", added=("u_color",), removed=("close_notes",), retyped=(("business_stc", "integer", "string"),)
)


def test_a_plan_keeps_types_labels_references_and_choices(server: SimulatorServer, tmp_path: Path) -> None:
    bench = bench_of(server, tmp_path)
    plan = bench.plan().plan
    found = read_schema(bench.landing, plan.plan_id)
    assert found is not None
    assert (found.readable, found.declared, found.note) == (True, False, "")
    assert [column.name for column in found.columns] == list(plan.fields)
    known = found.by_name
    assert (known["caller_id"].kind, known["caller_id"].label) == ("reference to sys_user", "Caller")
    assert (known["opened_at"].kind, known["number"].defined_in) == ("glide_date_time", "task")
    assert {choice.value: choice.label for choice in known["state"].choices or ()}["1"] == "New"
    assert known["number"].choices is None


def test_choices_cost_one_request_and_the_dictionary_is_asked_once(server: SimulatorServer, tmp_path: Path) -> None:
    bench_of(server, tmp_path).plan()
    asked = [entry.path.rpartition("/")[2] for entry in server.requests.find(kind="list")]
    assert (asked.count("sys_dictionary"), asked.count("sys_choice")) == (1, 1)


def test_where_the_dictionary_is_unreadable_every_column_is_a_string_and_that_is_said(
    server: SimulatorServer, tmp_path: Path
) -> None:
    server.sim.knobs.denied_tables = {"sys_dictionary"}
    bench = bench_of(server, tmp_path)
    planned = bench.plan()
    document = json.loads((tmp_path / "incidents" / planned.plan.plan_id / SCHEMA_FILE).read_text())
    assert document["readable"] is False
    assert "every column is a string" in document["note"]
    assert {column["type"] for column in document["columns"]} == {"string"}
    assert not planned.change.readable


def test_choices_that_cannot_be_read_stop_no_plan(server: SimulatorServer, tmp_path: Path) -> None:
    server.faults.add(kind="error_500", table="sys_choice")
    bench = bench_of(server, tmp_path, max_retries=0)
    found = read_schema(bench.landing, bench.plan().plan.plan_id)
    assert found is not None
    assert (found.readable, found.by_name["state"].type, found.by_name["state"].choices) == (True, "integer", None)


def test_what_changed_is_told_and_evolves(server: SimulatorServer, tmp_path: Path) -> None:
    bench = bench_of(server, tmp_path)
    first = pulled(bench)
    assert not list(first.change.lines())
    alter(server)
    second = pulled(bench)
    assert second.change == ALTERED
    assert not list(bench.plan(new=True).change.lines())


def test_old_and_new_files_of_one_chain_are_read_by_one_query(server: SimulatorServer, tmp_path: Path) -> None:
    bench = bench_of(server, tmp_path, mode="delta")
    base = pulled(bench).plan
    alter(server)
    planned = pulled(bench)
    delta = planned.plan
    assert (planned.change, delta.is_delta, delta.base) == (ALTERED, True, base.plan_id)
    assert "u_color" in delta.fields
    assert "close_notes" not in delta.fields

    dataset = published(bench.landing)
    assert dataset is not None
    query = """
        SELECT _plan, count(*), count(u_color), count(close_notes), count(close_notes.value), max(business_stc.value)
        FROM {} GROUP BY _plan ORDER BY _plan
    """
    expected_old = (base.plan_id, ROWS, 0, ROWS, ROWS)
    expected_new = (delta.plan_id, TOUCHED, TOUCHED, 0, 0, "a while")

    names = ", ".join(f"'{file}'" for file in dataset.files)
    table = DeltaTable(bench.landing.delta_location).to_pyarrow_table()
    assert {"u_color", "close_notes", "_plan"} <= set(table.column_names)
    with duckdb.connect() as connection:
        connection.register("landed", table)
        for source in (f"read_parquet([{names}], union_by_name = true)", "landed"):
            old, new = connection.execute(query.format(source)).fetchall()
            assert (old[:5], new) == (expected_old, expected_new)

    bring_up(bench.landing, bench.pull)
    with connect(str(tmp_path)) as connection:  # what snow-assets sql runs on
        flat = "SELECT _plan, count(*), count(u_color), count(close_notes), max(business_stc) FROM incidents_versions"
        old, new = connection.execute(f"{flat} GROUP BY _plan ORDER BY _plan").fetchall()
        assert (old[:4], new) == (expected_old[:4], (*expected_new[:4], "a while"))
        current = "SELECT count(*), count(u_color), count(close_notes) FROM incidents"
        assert connection.execute(current).fetchone() == (ROWS, TOUCHED, ROWS - TOUCHED)


@pytest.mark.parametrize("mode", ["full", "delta"])
def test_freeze_names_the_columns_and_nothing_is_written_or_retired(
    server: SimulatorServer, tmp_path: Path, mode: str
) -> None:
    bench = bench_of(server, tmp_path, mode=mode, schema="freeze")
    pulled(bench)
    unfinished = bench.plan(new=True).plan
    alter(server)
    before = files_below(tmp_path)
    for new in (False, True):
        with pytest.raises(PublishRefused) as refused:
            bench.plan(new=new)
        line = str(refused.value)
        assert "added u_color; removed close_notes; retyped business_stc from integer to string" in line
        assert "schema: evolve" in line
        assert files_below(tmp_path) == before
    assert bench.landing.latest_plan() == unfinished

    evolving = bench_of(server, tmp_path, mode=mode)
    pulled(evolving)
    assert not bench.plan(new=True).change.breaks


def test_what_changed_is_held_against_what_was_published_not_against_the_plan_before(
    server: SimulatorServer, tmp_path: Path
) -> None:
    bench = bench_of(server, tmp_path)
    pulled(bench)
    alter(server)
    assert bench.plan(new=True).change == ALTERED  # never landed
    assert bench.plan(new=True).change == ALTERED


def test_a_column_that_the_account_lost_sight_of_is_hidden_not_removed(server: SimulatorServer, tmp_path: Path) -> None:
    bench = bench_of(server, tmp_path, schema="freeze")
    pulled(bench)
    server.sim.knobs.hidden_fields = {"incident": {"close_notes"}}
    change = bench.plan(new=True).change
    assert (change.hidden, change.removed, change.breaks) == (("close_notes",), (), False)


def test_a_right_to_the_dictionary_that_comes_or_goes_is_no_change_of_columns(
    server: SimulatorServer, tmp_path: Path
) -> None:
    server.sim.knobs.hidden_fields = {"incident": {"close_notes"}}  # known from the dictionary alone
    bench = bench_of(server, tmp_path, schema="freeze")
    pulled(bench)
    server.sim.knobs.denied_tables = {"sys_dictionary"}
    without = pulled(bench)
    assert (list(without.change.lines()), without.change.readable) == ([], False)
    server.sim.knobs.denied_tables = set()
    assert not list(bench.plan(new=True).change.lines())


def test_fields_that_a_person_edited_are_no_change_of_the_instance(server: SimulatorServer, tmp_path: Path) -> None:
    pulled(bench_of(server, tmp_path, fields=("number", "state", "business_stc"), schema="freeze"))
    edited = bench_of(server, tmp_path, fields=("number", "business_stc", "close_notes"), schema="freeze")
    assert not list(edited.plan(new=True).change.lines())
    assert not list(bench_of(server, tmp_path, schema="freeze").plan(new=True).change.lines())
    alter(server)
    kept = bench_of(server, tmp_path, fields=("number", "business_stc"), schema="freeze")
    with pytest.raises(PublishRefused, match="retyped business_stc from integer to string"):
        kept.plan(new=True)


def test_without_its_file_a_schema_is_read_from_the_plan_and_comes_back(
    server: SimulatorServer, tmp_path: Path
) -> None:
    bench = bench_of(server, tmp_path)
    plan = pulled(bench).plan
    path = tmp_path / "incidents" / plan.plan_id / SCHEMA_FILE
    for content in (b'{"table": "inci', None):  # damaged, and gone
        path.unlink() if content is None else path.write_bytes(content)
        found = published_schema(bench.landing)
        assert found is not None
        assert (found.by_name["caller_id"].type, found.by_name["caller_id"].label) == ("reference", "")
        assert not list(bench.plan(new=True).change.lines())
    alter(server)
    assert bench.plan(new=True).change == ALTERED

    unfinished = bench.plan().plan
    path = tmp_path / "incidents" / unfinished.plan_id / SCHEMA_FILE
    path.unlink()  # killed behind plan.json
    continued = bench.plan()
    assert (continued.continued, continued.plan) == (True, unfinished)
    found = read_schema(bench.landing, unfinished.plan_id)
    assert found is not None
    assert found.by_name["caller_id"].label == "Caller"


def test_a_plan_that_does_not_exist_has_no_schema(server: SimulatorServer, tmp_path: Path) -> None:
    bench = bench_of(server, tmp_path)
    assert (read_schema(bench.landing, "20200101T000000Z"), published_schema(bench.landing)) == (None, None)


def column(name: str, type: str = "string", label: str = "", **parts: Any) -> ColumnSchema:  # noqa: A002
    return ColumnSchema(name, type, label, defined_in="t", described=True, visible=True, **parts)


def table(*columns: ColumnSchema, readable: bool = True) -> TableSchema:
    return TableSchema("t", columns, readable=readable)


def test_a_column_that_went_and_one_of_its_label_and_type_that_came_are_one_renamed() -> None:
    old = table(column("u_old", label="Color"), column("x"))
    assert compare(old, table(column("u_new", label="Color"), column("x"))) == SchemaChange(
        "t", renamed=(("u_old", "u_new"),)
    )
    other = compare(old, table(column("u_new", "integer", "Color"), column("x")))
    assert (other.renamed, other.added, other.removed) == ((), ("u_new",), ("u_old",))
    two = compare(old, table(column("u_1", label="Color"), column("u_2", label="Color"), column("x")))
    assert (two.renamed, two.added, two.removed) == ((), ("u_1", "u_2"), ("u_old",))
    nameless = compare(table(column("a")), table(column("b")))
    assert (nameless.renamed, nameless.added, nameless.removed) == ((), ("b",), ("a",))


def test_another_target_or_key_of_a_reference_is_another_type() -> None:
    user = column("who", "reference", reference="sys_user", keyed_by="sys_id")
    group = column("who", "reference", reference="sys_user_group", keyed_by="sys_id")
    by_name = column("who", "reference", reference="sys_user", keyed_by="name")
    retyped = compare(table(user), table(group)).retyped
    assert retyped == (("who", "reference to sys_user", "reference to sys_user_group"),)
    assert compare(table(user), table(by_name)).retyped[0][2] == "reference to sys_user by name"


def test_another_label_is_told_and_breaks_nothing() -> None:
    change = compare(table(column("x", label="Old")), table(column("x", label="New")))
    assert change.relabelled == (("x", "Old", "New"),)
    assert not change.breaks
    assert list(change.lines()) == ["relabelled x from 'Old' to 'New'"]


def test_what_cannot_be_compared_is_not() -> None:
    new = table(column("x"))
    assert compare(None, new) == compare(TableSchema("other", (), readable=True), new) == SchemaChange("t")
    unknown = TableSchema("t", (ColumnSchema("x", visible=True),), readable=False)
    assert compare(table(column("x", "integer")), unknown) == SchemaChange("t", readable=False)
    assert compare(unknown, table(column("x", "integer"))) == SchemaChange("t")


def test_many_columns_are_told_in_a_line_that_can_be_read() -> None:
    change = compare(table(), table(*(column(f"u_{at:03}") for at in range(300))))
    [line] = change.lines()
    assert line.startswith("added u_000, ")
    assert line.endswith("u_019 and 280 more")


def test_a_plan_of_a_table_without_rows_is_described(server: SimulatorServer, tmp_path: Path) -> None:
    bench = bench_of(server, tmp_path, table="problem")
    plan = bench.plan().plan
    found = read_schema(bench.landing, plan.plan_id)
    assert found is not None
    assert {column.visible for column in found.columns} == {None}
    assert found.by_name["sys_id"].described

"""Rows through the Import Set API: what the instance's transform map makes of them, and how that is known here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snow_assets.errors import ConfigError, CredentialsError, InstanceUnavailable
from snow_assets.imports.targets import instance_values
from snow_assets.imports.targets.instance_multiple import InsertMultipleWay
from snow_assets.simulator import Knobs, Simulator, SimulatorServer
from snow_assets_tests.imports.instance.bench import Bench, Values, declared

WAYS = ("import_set", "insert_multiple")


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": 5}, seed=3).serve() as server:
        server.sim.staging_table("imp_thing", {"key": "The Key", "text": "Words", "caller": "Who"})
        said = {"source_field": "caller", "choice_action": "reject", "reference_value_field": "user_name"}
        fields: dict[str, Any] = {"correlation_id": "key", "short_description": "text", "caller_id": said}
        server.sim.transform_map("imp_thing", "incident", fields, coalesce=["correlation_id"])
        yield server


@pytest.fixture(params=WAYS)
def bench(request: pytest.FixtureRequest, server: SimulatorServer, tmp_path: Path) -> Bench:
    server.faults.clear()
    server.sim.knobs = Knobs()
    return Bench(server, tmp_path, declared(request.param, staging="imp_thing", coalesce="key"))


def row(key: str, text: str = "text") -> Values:
    return {"key": key, "text": text}


def rows(prefix: str) -> list[Values]:
    return [
        {"key": f"{prefix}1", "text": "one", "caller": None},
        {"key": f"{prefix}1", "text": "one", "caller": None},
        {"key": f"{prefix}1", "text": "two", "caller": None},
        {"key": f"{prefix}2", "text": "one", "caller": "nobody"},
        {"key": None, "text": "one", "caller": None},
        {"key": f"{prefix}, 3^4", "text": "one", "caller": None},
    ]


def test_states_comments_and_records_are_the_instances_own(bench: Bench, request: pytest.FixtureRequest) -> None:
    counters, lines = bench.apply(*rows(prefix := request.node.name))
    assert [line["sys_import_state"] for line in lines] == [
        "inserted", "ignored", "updated", "error", "skipped", "inserted",
    ]  # fmt: skip
    assert counters.accounted == 6
    assert "nobody" in (lines[3]["sys_import_state_comment"] or "")
    assert "coalesce" in (lines[4]["sys_import_state_comment"] or "")
    [record] = bench.by_key()[f"{prefix}1"]
    assert [line["sys_target_sys_id"] for line in lines[:3]] == [record["sys_id"]] * 3
    assert record["short_description"] == "two"


@pytest.mark.parametrize("committed", [True, False])
def test_equal_rows_whose_answers_are_lost_are_told_apart(
    bench: Bench, committed: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InsertMultipleWay, "chunk", 2)
    bench.server.faults.add({"kind": "reset", "write": True, "committed": committed, "every": 2})
    counters, _ = bench.apply(*[{"key": request.node.name, "text": "same", "caller": None}] * 7)
    assert (counters.inserts, counters.ignored) == (1, 6)
    staged = [row for row in bench.records("imp_thing") if row.get("key") == request.node.name]
    assert len(staged) == 7


@pytest.mark.parametrize("bench", ["insert_multiple"], indirect=True)
def test_a_transform_that_does_not_come_to_its_end_is_waited_for_and_taken_up(bench: Bench) -> None:
    bench.server.sim.knobs.hold_transforms = True
    bench.settings = {"max_wait": 0.05}
    mapped = bench.mapped(list(enumerate(rows("held"), 1)))
    with bench.target() as target, pytest.raises(InstanceUnavailable, match="not transformed"):
        target.apply(mapped)
    bench.server.sim.knobs.hold_transforms = False
    counters, _ = bench.apply(*rows("held"))
    assert (counters.inserts, counters.accounted) == (2, 6)
    assert sum(row.get("key") == "held1" for row in bench.records("imp_thing")) == 3


def test_an_instance_that_wants_names_of_columns_gets_them_or_is_told(server: SimulatorServer, tmp_path: Path) -> None:
    server.sim.knobs = Knobs(insert_multiple_keys="names")
    config = declared("insert_multiple", staging="imp_thing", coalesce="key")
    row = {"key": "named", "text": "one", "caller": None}
    with pytest.raises(ConfigError, match="takes labels"):
        Bench(server, tmp_path / "one", config).apply(row)
    name = server.sim.insert("sys_rest_insert_multiple", source_table="imp_thing", column_keys="names")
    assert Bench(server, tmp_path / "two", config).apply(row)[0].inserts == 1
    server.sim.delete("sys_rest_insert_multiple", name)


def test_a_domain_is_handed_on(bench: Bench, tmp_path: Path) -> None:
    config = declared(bench.config.target.servicenow or "", staging="imp_thing", coalesce="key", domain="d" * 32)
    Bench(bench.server, tmp_path / "domain", config).apply({"key": "dom", "text": "one", "caller": None})
    assert {row["sys_domain"] for row in bench.records("imp_thing") if row.get("key") == "dom"} == {"d" * 32}


@pytest.mark.parametrize("bench", ["insert_multiple"], indirect=True)
def test_rows_that_an_import_set_lost_on_the_instance_are_posted_again(bench: Bench) -> None:
    sim = bench.server.sim
    sim.knobs.hold_transforms = True
    bench.settings = {"max_wait": 0.0}
    mapped = bench.mapped(list(enumerate([row("l1"), row("l2"), row("l3")], 1)))
    with bench.target() as target, pytest.raises(InstanceUnavailable, match="is not transformed"):
        target.apply(mapped)
    sim.delete("imp_thing", next(each["sys_id"] for each in sim.rows("imp_thing") if each.get("key") == "l2"))
    sim.knobs.hold_transforms = False
    sim.finish_imports()
    bench.settings = {}
    with bench.target() as target, pytest.raises(InstanceUnavailable, match="2 of 3 rows"):
        target.apply(mapped)
    with bench.target() as target:
        assert target.apply(mapped).counters.accounted == 3
    one_each = {key: len(found) for key, found in bench.by_key().items() if key in ("l1", "l2", "l3")}
    assert one_each == {"l1": 1, "l2": 1, "l3": 1}


@pytest.mark.parametrize("bench", ["insert_multiple"], indirect=True)
def test_a_set_is_taken_up_although_the_instance_removed_the_import_set_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InsertMultipleWay, "chunk", 2)
    mapped = bench.mapped(list(enumerate([row(f"g{number}") for number in range(4)], 1)))
    bench.server.faults.add({"kind": "unauthorized_401", "write": True, "committed": False, "after": 1})
    with bench.target() as target, pytest.raises(CredentialsError):
        target.apply(mapped)
    bench.server.faults.clear()
    for table in ("imp_thing", "sys_import_set"):
        for each in bench.server.sim.rows(table):
            bench.server.sim.delete(table, each["sys_id"])
    with bench.target() as target:
        assert target.apply(mapped).counters.inserts == 4


@pytest.mark.parametrize("bench", ["insert_multiple"], indirect=True)
def test_rows_too_large_for_one_request_go_in_several(bench: Bench) -> None:
    bench.server.sim.knobs.max_content_length = 1_000
    with pytest.MonkeyPatch.context() as small:
        small.setattr(instance_values, "_MOST_TEXT", 900)
        counters, lines = bench.apply(*[row(f"w{number}", "x" * 200) for number in range(6)], row("w9", "x" * 2_000))
    assert (counters.inserts, counters.errors) == (6, 1)
    assert "large REST payload" in lines[-1]["sys_import_state_comment"]


@pytest.mark.parametrize("bench", ["insert_multiple"], indirect=True)
def test_a_label_of_two_columns_is_told_before_anything_is_posted(bench: Bench) -> None:
    bench.server.sim.staging_table("imp_twin", {"key": "Key", "text": "Words", "other": "Words"})
    twins = Bench(bench.server, bench.root, declared("insert_multiple", staging="imp_twin", coalesce="key"))
    with pytest.raises(ConfigError, match="label 'Words', and so has another"):
        twins.apply(row("t1"))
    assert not bench.server.sim.rows("imp_twin")

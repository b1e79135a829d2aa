"""Rows become records of an instance by the Table API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from snow_assets.errors import ConfigError, CredentialsError, ForbiddenError, InstanceUnavailable
from snow_assets.imports.contract import CLEARED, SCRIPT_ERROR
from snow_assets.imports.targets import instance_lookup
from snow_assets.imports.targets.instance_journal import Journal
from snow_assets.simulator import HiddenRows, Knobs, Simulator, SimulatorServer
from snow_assets_tests.imports.instance.bench import Bench, Values, dealt, declared, expected, some_rows


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": 5}, seed=3).serve() as server:
        yield server


@pytest.fixture
def bench(server: SimulatorServer, tmp_path: Path) -> Iterator[Bench]:
    server.faults.clear()
    server.sim.knobs = Knobs()
    yield Bench(server, tmp_path, declared())
    server.faults.clear()
    for row in server.sim.rows("incident"):
        if row.get("correlation_id") or row.get("correlation_display"):
            server.sim.delete("incident", row["sys_id"])


def told(lines: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(line["sys_import_state"], line["sys_import_state_comment"]) for line in lines]


def row(key: str | None, text: str | None = "text", **more: str | None) -> Values:
    return {"correlation_id": key, "short_description": text, **more}


def test_rows_are_inserted_updated_and_ignored_in_their_order(bench: Bench) -> None:
    rows = some_rows(60, 20, seed=1)
    made, counted = expected(rows)
    counters, lines = bench.apply(*rows)
    assert counters.as_dict() == {
        "total": 60, "inserts": counted["inserted"], "updates": counted["updated"], "ignored": counted["ignored"],
        "skipped": 0, "errors": 0,
    }  # fmt: skip
    assert {key: [each["short_description"] for each in found] for key, found in bench.by_key().items()} == {
        key: [text] for key, text in made.items()
    }
    assert [line["sys_import_row"] for line in lines] == list(range(1, 61))
    assert {line["sys_target_sys_id"] for line in lines} == {found[0]["sys_id"] for found in bench.by_key().values()}


def test_sets_at_once_insert_each_key_once(bench: Bench) -> None:
    rows = some_rows(80, 20, seed=2)
    applied = bench.apply_sets(dealt(rows, 4))
    assert {key: len(found) for key, found in bench.by_key().items()} == dict.fromkeys(expected(rows)[0], 1)
    assert sum(each.counters.inserts for each in applied.values()) == 20


def test_only_what_differs_is_sent_and_a_second_application_changes_nothing(bench: Bench) -> None:
    bench.apply(row("a", "one", urgency="1"), row("b", "two", urgency="1"))
    bench.server.requests.clear()
    counters, _ = bench.apply(row("a", "one", urgency="3"), row("b", "two", urgency="1"), load="20261122T020000Z")
    assert (counters.updates, counters.ignored) == (1, 1)
    assert [each.method for each in bench.server.requests if each.kind == "write"] == ["PATCH"]
    bench.server.requests.clear()
    again, _ = bench.apply(row("a", "one", urgency="3"), row("b", "two", urgency="1"), load="20261122T020000Z")
    assert again == counters  # remembered
    assert not len(bench.server.requests)
    bench.attempts = 10
    anew, _ = bench.apply(row("a", "x", urgency="3"), row("b"), load="20261122T020000Z", reprocess=True)
    assert (anew.inserts, anew.updates) == (0, 2)


def test_keys_match_without_regard_to_case_unless_told_so(
    server: SimulatorServer, bench: Bench, tmp_path: Path
) -> None:
    counters, _ = bench.apply(row("Key"), row("KEY"), row("KEY"))
    assert (counters.inserts, counters.updates, counters.ignored) == (1, 1, 1)
    exact = Bench(server, tmp_path / "exact", declared(coalesce={"fields": ["correlation_id"], "case_sensitive": True}))
    assert exact.apply(row("Key"), row("KEY"))[0].inserts == 1


@pytest.mark.parametrize(
    "key", ["with, comma", "with ^ caret", "^", "=equals", "javascript:gs.now()", "ünïcödé", "%26"]
)
def test_keys_that_no_query_can_hold_are_matched_all_the_same_or_told(bench: Bench, key: str) -> None:
    counters, lines = bench.apply(row(key, "one"), row(key, "two"), row("plain"))
    if key == "^":
        assert told(lines)[:2] == [("error", "correlation_id: no query of the instance can hold this key")] * 2
        return
    assert (counters.inserts, counters.updates) == (2, 1)
    assert bench.apply(row(key, "two"), load="20261122T020000Z")[0].ignored == 1
    assert len(bench.by_key()[key]) == 1


def test_an_empty_key_is_skipped_or_makes_a_record_or_matches_an_empty_one(
    server: SimulatorServer, bench: Bench, tmp_path: Path
) -> None:
    rows = [row(None, "e1", correlation_display="x"), row("", "e2", correlation_display="x")]
    assert told(bench.apply(*rows)[1]) == [("skipped", "correlation_id is empty")] * 2
    key = {"fields": ["correlation_id", "correlation_display"]}
    creating = Bench(server, tmp_path / "create", declared(coalesce=key | {"create_on_empty": True}))
    assert creating.apply(*rows)[0].inserts == 2
    creating.attempts = 10
    assert creating.apply(*rows, reprocess=True)[0].ignored == 2  # the records that they made
    matching = Bench(server, tmp_path / "match", declared(coalesce=key | {"empty": "match"}))
    assert matching.apply(row(None, "e3", correlation_display="x"))[0].updates == 1


def test_an_empty_value_leaves_a_field_as_it_is_unless_it_is_to_be_copied(
    server: SimulatorServer, bench: Bench, tmp_path: Path
) -> None:
    bench.apply(row("a", "text", urgency="1"))
    assert bench.apply(row("a", None, urgency=""), load="20261122T020000Z")[0].ignored == 1
    bench.apply(row("a", "NULL", urgency="1"), load="20261123T020000Z")
    assert bench.by_key()["a"][0]["short_description"] == ""
    copying = declared(coalesce={"fields": ["correlation_id"], "copy_empty_fields": True})
    bench.apply(row("a", "text"), load="20261124T020000Z")
    assert Bench(server, tmp_path / "copy", copying).apply(row("a", None))[0].updates == 1
    assert bench.by_key()["a"][0]["short_description"] == ""


def test_rows_that_the_mapping_refused_are_handed_on(bench: Bench) -> None:
    refused = {**row("z"), "sys_import_state": "error", "sys_import_state_comment": "urgency 'x'", "sys_row_error": 400}
    counters, lines = bench.apply(row("a"), refused)
    assert (counters.inserts, counters.errors) == (1, 1)
    assert (told(lines)[1], lines[1]["sys_row_error"]) == (("error", "urgency 'x'"), 400)


def test_a_row_that_a_data_policy_refuses_is_an_error_of_its_own(bench: Bench) -> None:
    bench.server.sim.knobs.mandatory_fields = {"incident": {"short_description"}}
    counters, lines = bench.apply(row("a", None), row("b"))
    assert (counters.inserts, counters.errors) == (1, 1)
    assert "Data Policy" in (lines[0]["sys_import_state_comment"] or "")
    assert lines[0]["sys_row_error"] == SCRIPT_ERROR


def test_wrong_credentials_and_an_instance_that_is_down_end_the_set_and_it_goes_on_later(bench: Bench) -> None:
    rows = [row(f"k{number}") for number in range(30)]
    mapped = bench.mapped(list(enumerate(rows, 1)))
    bench.server.faults.add({"kind": "unauthorized_401", "write": True, "committed": False, "after": 10})
    with bench.target() as target, pytest.raises(CredentialsError):
        target.apply(mapped)
    bench.server.faults.clear()
    bench.server.faults.add({"kind": "html_503", "after": 5})
    bench.settings = {"max_retries": 1, "max_wait": 0.05}
    with bench.target() as target, pytest.raises(InstanceUnavailable):
        target.apply(mapped)
    bench.server.faults.clear()
    counters, _ = bench.apply(*rows)
    assert (counters.inserts, counters.accounted) == (30, 30)
    assert len(bench.by_key()) == 30


def test_references_are_looked_up_made_left_out_or_rejected(server: SimulatorServer, tmp_path: Path) -> None:
    user = server.sim.rows("sys_user")[0]
    for on_missing, states in (("create", ["inserted"] * 3), ("ignore", ["inserted"] * 3),
                               ("reject", ["inserted", "error", "error"])):  # fmt: skip
        reference = {"table": "sys_user", "by": "user_name", "on_missing": on_missing}
        fields = {"correlation_id": "id", "caller_id": {"source": "caller", "reference": reference}}
        bench = Bench(server, tmp_path / on_missing, declared(transform={"fields": fields}))
        callers = (user["user_name"].upper(), f"new.{on_missing}", f"NEW.{on_missing}")
        rows = [{"correlation_id": f"{on_missing}{i}", "caller_id": caller} for i, caller in enumerate(callers)]
        _, lines = bench.apply(*rows)
        assert [state for state, _ in told(lines)] == states
        known = [bench.by_key().get(f"{on_missing}{i}", [{}])[0].get("caller_id", "") for i in range(3)]
        made = [each["sys_id"] for each in server.sim.rows("sys_user") if each["user_name"] == f"new.{on_missing}"]
        assert known == [user["sys_id"], *(made * 2 or ["", ""])]
        assert len(made) == (on_missing == "create")
        if on_missing == "reject":
            assert told(lines)[1] == ("error", "caller_id: new.reject is not in sys_user.user_name")


def test_a_domain_is_matched_within_and_written(server: SimulatorServer, tmp_path: Path) -> None:
    one, two = (Bench(server, tmp_path / name, declared(domain=name * 32)) for name in "ab")
    assert one.apply(row("dom", "one"))[0].inserts == 1
    assert two.apply(row("dom", "two"))[0].inserts == 1
    assert one.apply(row("dom", "one"), load="20261122T020000Z")[0].ignored == 1
    domains = {each["sys_domain"]: each["short_description"] for each in one.by_key()["dom"]}
    assert domains == {"a" * 32: "one", "b" * 32: "two"}


def test_a_field_that_the_table_lacks_is_told_before_anything_is_written(bench: Bench) -> None:
    with bench.target() as target:
        target.check(pa.schema([pa.field("short_description", pa.string())]))
        with pytest.raises(ConfigError, match="u_nothing"):
            target.check(pa.schema([pa.field("short_description", pa.string()), pa.field("u_nothing", pa.string())]))


def test_values_of_types_are_compared_as_what_they_are(bench: Bench) -> None:
    fields = [("correlation_id", pa.string()), ("active", pa.bool_()), ("reassignment_count", pa.int64()),
              ("opened_at", pa.timestamp("us"))]  # fmt: skip
    moment = pa.scalar("2026-11-21 02:00:00").cast(pa.timestamp("us")).as_py()
    typed = {"correlation_id": "t", "active": True, "reassignment_count": 7, "opened_at": moment}
    for load, state in (("20261121T020000Z", "inserts"), ("20261122T020000Z", "ignored")):
        mapped = bench.mapped([(1, typed)], load=load, types=dict(fields))
        with bench.target() as target:
            assert target.apply(mapped).counters.as_dict()[state] == 1
    [record] = bench.by_key()["t"]
    assert (record["active"], record["reassignment_count"], record["opened_at"]) == ("true", "7", "2026-11-21 02:00:00")
    mapped = bench.mapped([(1, typed | {"reassignment_count": None, CLEARED: ["reassignment_count"]})],
                          load="20261123T020000Z", types=dict(fields))  # fmt: skip
    with bench.target() as target:
        assert target.apply(mapped).counters.updates == 1
    assert bench.by_key()["t"][0]["reassignment_count"] in ("", "0")


def test_a_key_whose_reference_is_not_found_touches_no_record(server: SimulatorServer, tmp_path: Path) -> None:
    reference = {"table": "sys_user", "by": "user_name", "on_missing": "ignore"}
    fields = {"caller_id": {"source": "caller", "reference": reference}, "short_description": "text"}
    bench = Bench(server, tmp_path, declared(transform={"fields": fields}, coalesce="caller_id"))
    server.sim.insert("incident", {"caller_id": "", "short_description": "of nobody"})
    before = bench.records()
    assert told(bench.apply({"caller_id": "ghost", "short_description": "of a ghost"})[1]) == [
        ("skipped", "caller_id is empty")
    ]
    assert bench.records() == before


def test_a_sys_id_that_another_record_has_is_an_error_of_the_row(bench: Bench) -> None:
    bench.apply(row("a"))
    taken = bench.by_key()["a"][0]["sys_id"]
    mine = "c0" * 16
    rows = [row("b", sys_id=taken), row("c", sys_id=mine), row("d", sys_id="A" * 32), row("e", sys_id="x")]
    states = told(bench.apply(*rows, load="20261122T020000Z")[1])
    assert [state for state, _ in states] == ["error", "inserted", "error", "error"]
    assert "another record has this sys_id" in (states[0][1] or "")
    assert {key: [each["sys_id"] for each in found] for key, found in bench.by_key().items()} == {
        "a": [taken], "c": [mine],
    }  # fmt: skip


def test_values_that_the_instance_keeps_in_another_way_are_no_updates(bench: Bench) -> None:
    caller = bench.server.sim.rows("sys_user")[0]["name"]
    assert bench.apply(row("a", caller_id=caller))[0].inserts == 1
    assert bench.apply(row("a", caller_id=caller), load="20261122T020000Z")[0].ignored == 1
    assert bench.apply(row("a", "new", caller_id=caller), load="20261123T020000Z")[0].updates == 1


def test_spaces_around_a_key_make_no_second_record(bench: Bench) -> None:
    assert bench.apply(row("abc"), row("abc  "))[0].inserts == 1
    assert bench.apply(row(" abc "), load="20261122T020000Z")[0].inserts == 0


def test_keys_longer_than_an_address_and_keys_with_many_likenesses_are_found(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance_lookup, "_MOST", 3)
    rows = [row("k" * 9_000), row("k" * 8_999), *(row(f"{number}^") for number in range(12))]
    for load, counted in (("20261121T020000Z", "inserts"), ("20261122T020000Z", "ignored")):
        assert bench.apply(*rows, load=load)[0].as_dict()[counted] == len(rows)


def test_a_field_that_the_account_does_not_see_ends_the_set_before_anything_is_written(bench: Bench) -> None:
    bench.apply(row("a"))
    bench.server.sim.knobs.hidden_fields = {"incident": {"short_description"}}
    bench.server.requests.clear()
    with pytest.raises(ForbiddenError, match=r"incident\.short_description"):
        bench.apply(row("a", "two"), row("b"), load="20261122T020000Z")
    assert not [each for each in bench.server.requests if each.kind == "write"]


def test_a_set_that_died_leaves_the_last_version_of_a_key(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first version was refused at first, so that a later one made the record; taken up, the first is accepted."""
    bench.server.sim.knobs.mandatory_fields = {"incident": {"urgency"}}
    mapped = bench.mapped([(1, row("a", "old", urgency=None)), (2, row("a", "new", urgency="1"))])
    with monkeypatch.context() as dying:
        dying.setattr(Journal, "done", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with bench.target() as target, pytest.raises(KeyboardInterrupt):
            target.apply(mapped)
    assert [each["short_description"] for each in bench.by_key()["a"]] == ["new"]
    with bench.target() as target:
        target.apply(mapped)
    assert [each["short_description"] for each in bench.by_key()["a"]] == ["new"]


def test_records_that_the_account_may_not_read_are_not_taken_for_missing_ones(bench: Bench) -> None:
    fields = pa.schema([pa.field("number", pa.string())])
    knobs = bench.server.sim.knobs
    for hiding in ({"denied_tables": {"incident"}}, {"hidden_rows": [HiddenRows("incident", fraction=1.0)]}):
        bench.server.sim.knobs = replace(knobs, **hiding)
        with bench.target() as target, pytest.raises(ForbiddenError, match="sees none of"):
            target.check(fields)
    bench.server.sim.knobs = knobs
    empty = Bench(bench.server, bench.root, declared(table="change_task"))
    with empty.target() as target:
        target.check(fields)  # nothing is hidden of a table without records


def test_a_reference_that_stores_what_a_new_record_lacks_is_refused(server: SimulatorServer, tmp_path: Path) -> None:
    reference = {"table": "cmn_department", "by": "name", "value": "id", "on_missing": "create"}
    fields = {"correlation_id": "id", "short_description": {"source": "department", "reference": reference}}
    bench = Bench(server, tmp_path, declared(transform={"fields": fields}))
    with bench.target() as target, pytest.raises(ConfigError, match="cannot be made"):
        target.check(pa.schema([pa.field("correlation_id", pa.string())]))

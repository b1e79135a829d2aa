"""Tables without a usable sys_id: read by a key of their own, every row once, or the pull says what is wrong."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from snow_assets.errors import ConfigError, FixFirst, SliceFailed, SnowError
from snow_assets.pulls import Failed, make_plan, publish, reconcile
from snow_assets.pulls.records import digest_of
from snow_assets.servicenow.exchange import Page, Procedure
from snow_assets.servicenow.keyed import KeyedState
from snow_assets.simulator import HiddenRows, Simulator, SimulatorServer
from snow_assets.simulator.select import select
from snow_assets_tests.pulls.conftest import Workbench

VIEW = "u_membership"  # the members of groups, joined with users and groups
FIELDS = ("mem_sys_id", "usr_name", "grp_name", "mem_user", "mem_sys_created_on")
KEYS = [("mem_sys_id",), ("grp_name", "usr_user_name", "mem_sys_id"), ("grp_sys_id", "usr_user_name")]


def people() -> dict[str, list[dict[str, str]]]:
    """240 members: 40 users, each in 6 of 8 groups, no user twice in one group."""
    users = [
        {"sys_id": f"{at:02x}" * 16, "user_name": f"user{at}", "name": f"User {at}", "active": str(at % 5 > 0).lower()}
        for at in range(40)
    ]
    groups = [
        {"sys_id": f"a{at}" * 16, "name": f"Group {at}", "active": str(at % 2 > 0).lower(), "description": "of people"}
        for at in range(8)
    ]
    members = [
        {
            "sys_id": hashlib.md5(f"{user} {step}".encode(), usedforsecurity=False).hexdigest(),
            "user": users[user]["sys_id"],
            "group": groups[(user + step) % 8]["sys_id"],
            "sys_created_on": f"2026-03-01 {step:02}:{user:02}:00",
        }
        for user in range(40)
        for step in range(6)
    ]
    return {"sys_user": users, "sys_user_group": groups, "sys_user_grmember": members}


@pytest.fixture
def members() -> Iterator[SimulatorServer]:
    """An instance of its own, whose view has 240 rows."""
    with Simulator(tables=people()).serve() as server:
        yield server


def bench(server: SimulatorServer, folder: Path, **config: Any) -> Workbench:
    return Workbench(server, folder / "data", **{
        "name": "members", "table": VIEW, "fields": FIELDS, "key": ("mem_sys_id",), "page_size": 50, **config,
    })  # fmt: skip


def shown(server: SimulatorServer, query: str = "") -> Counter[str]:
    """The members whose rows the view has now, by the simulator's own data."""
    name, _, value = query.partition("=")
    return Counter(row["mem_sys_id"] for row in server.sim.rows(VIEW) if not name or row.get(name) == value)


def landed(pulled: Workbench, plan_id: str) -> Counter[str]:
    records = pulled.landed_records(pulled.landing.read_plan(plan_id))
    return Counter(text(record["mem_sys_id"]) for record in records)


def text(cell: Any) -> str:
    return str(cell["value"]) if isinstance(cell, dict) else str(cell)


@pytest.mark.parametrize("key", KEYS, ids=len)
@pytest.mark.parametrize("display_value", ["all", "false"])
def test_a_view_lands_whole_by_one_field_or_several(
    members: SimulatorServer, tmp_path: Path, key: tuple[str, ...], display_value: str
) -> None:
    pulled = bench(members, tmp_path, key=key, display_value=display_value)
    totals = pulled.pull_all()
    plan = pulled.landing.read_plan(totals.plan)
    assert landed(pulled, totals.plan) == shown(members)
    rows = sum(shown(members).values())
    assert (totals.counted, totals.landed, totals.hidden, totals.missing, totals.slices) == (rows, rows, 0, 0, 1)
    assert plan.fields == (*(name for name in key if name not in FIELDS), *FIELDS)  # and no sys_id is made up
    files = [pulled.landing.parquet(file.path) for file in pulled.landing.all_landed(plan).values()]
    assert digest_of(files, plan.display_value) == totals.digest


def test_the_receipt_says_how_it_was_read(members: SimulatorServer, tmp_path: Path) -> None:
    pulled = bench(members, tmp_path)
    totals = pulled.pull_all()
    [difference] = totals.differences
    assert (difference.cause, difference.rows) == ("read_by_key", 0)
    receipt = pulled.landing.store.read(f"{totals.plan}/totals.html").decode()
    assert "may have landed under both keys" in receipt


def test_the_dataset_is_read_by_others(members: SimulatorServer, tmp_path: Path) -> None:
    pulled = bench(members, tmp_path)
    totals = pulled.pull_all()
    [path] = DeltaTable(pulled.landing.location).file_uris()
    assert pq.read_table(path).num_rows == totals.landed
    with duckdb.connect() as connection:
        found = connection.execute(f"select count(distinct mem_sys_id.value) from '{path}'").fetchall()
    assert found == [(totals.landed,)]


def test_all_columns_of_a_view(members: SimulatorServer, tmp_path: Path) -> None:
    pulled = bench(members, tmp_path, fields=None)
    totals = pulled.pull_all()
    plan = pulled.landing.read_plan(totals.plan)
    assert "sys_id" not in plan.fields
    assert {"mem_sys_id", "usr_user_name", "grp_description"} <= set(plan.fields)
    assert landed(pulled, totals.plan) == shown(members)


@pytest.mark.parametrize("query", ["grp_active=true", "grp_active=true^NQusr_active=false", "usr_name=nobody"])
def test_a_query_of_a_view(members: SimulatorServer, tmp_path: Path, query: str) -> None:
    pulled = bench(members, tmp_path, query=query)
    totals = pulled.pull_all()
    truth = shown(members, "grp_active=true") if "active" in query else Counter()
    if "NQ" in query:
        truth |= shown(members, "usr_active=false")
    assert landed(pulled, totals.plan) == truth


FAULTS: list[dict[str, Any]] = [
    {"kind": "error_500", "every": 4},
    {"kind": "execution_time_in_200", "every": 3},
    {"kind": "truncated", "every": 4},
    {"kind": "null_body", "every": 4},
    {"kind": "unauthorized_401", "every": 4, "after": 2, "times": 2},
    {"kind": "doubled_row", "every": 4},
    {"kind": "reversed_rows", "every": 2},
    {"kind": "row_null", "every": 4},
    {"kind": "missing_fields", "fields": "mem_sys_id", "every": 4},
    {"kind": "missing_fields", "fields": "usr_name", "every_row": True, "fresh": False, "times": 2},
    {"kind": "short_page", "rows": 7, "every": 3},
    {"kind": "lost_rows", "rows": 5, "every": 3},
    {"kind": "empty_page", "every": 3},
    {"kind": "repeated_page", "every": 3, "after": 1},
    {"kind": "foreign_row", "every": 3, "after": 1, "times": 6},
    {"kind": "count_absent"},
    {"kind": "count_lie", "delta": -100},
    {"kind": "count_lie", "delta": 100},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(map(str, fault.values())))
def test_a_fault_loses_no_row(members: SimulatorServer, tmp_path: Path, fault: dict[str, Any]) -> None:
    pulled = bench(members, tmp_path)
    plan = pulled.plan().plan
    members.faults.add({"table": VIEW, **fault})
    assert [result.error for result in pulled.land(plan, max_retries=8) if isinstance(result, Failed)] == []
    totals = reconcile(plan, pulled.landing, pulled.pull)
    assert landed(pulled, plan.plan_id) == shown(members)
    assert totals.missing == 0
    assert totals.hidden == (None if "count" in fault["kind"] else 0)
    assert all(set(record) == set(plan.fields) for record in pulled.landed_records(plan))


@pytest.mark.parametrize("share", [0.03, 0.4])
def test_hidden_rows_are_numbered(members: SimulatorServer, tmp_path: Path, share: float) -> None:
    rule = HiddenRows(VIEW, fraction=share)
    members.sim.knobs.hidden_rows.append(rule)
    pulled = bench(members, tmp_path, page_size=20)
    plan = pulled.plan().plan
    members.faults.add({"kind": "lost_rows", "rows": 2, "every": 3, "table": VIEW})
    assert [result.error for result in pulled.land(plan) if isinstance(result, Failed)] == []
    totals = reconcile(plan, pulled.landing, pulled.pull)
    members.faults.clear()
    members.sim.knobs.hidden_rows.clear()
    every, found = shown(members), landed(pulled, plan.plan_id)
    assert set(found.values()) == {1}
    assert totals.hidden == sum(every.values()) - sum(found.values()) > 0
    assert found <= every


def test_an_instance_that_caps_every_page(
    members: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never sends more than 20 rows, whatever the limit: steps of the limit alone would pass over the rest."""
    whole = select

    def capped(table: str, query: Any, scope: Any, offset: int, limit: int, **others: Any) -> Any:
        return whole(table, query, scope, offset, min(limit, 20), **others)

    monkeypatch.setattr("snow_assets.simulator.tables.select", capped)
    pulled = bench(members, tmp_path)
    totals = pulled.pull_all()
    assert landed(pulled, totals.plan) == shown(members)
    assert totals.hidden == 0


def test_one_sweep_alone_is_not_believed(members: SimulatorServer, tmp_path: Path) -> None:
    """A row that the pages and the first sweep miss is neither lost nor called hidden."""
    pulled = bench(members, tmp_path)
    plan = pulled.plan().plan
    missed = members.sim.rows(VIEW)[60]["sys_id"]
    members.faults.add({"kind": "lost_rows", "lost": missed, "sys_id": missed, "table": VIEW, "times": 2})
    assert [result.error for result in pulled.land(plan) if isinstance(result, Failed)] == []
    assert landed(pulled, plan.plan_id) == shown(members)
    assert reconcile(plan, pulled.landing, pulled.pull).hidden == 0


def test_rows_that_come_and_go_while_it_is_read(members: SimulatorServer, tmp_path: Path) -> None:
    """A change comes with each of the first requests: rows before it vanish, others come."""
    pulled = bench(members, tmp_path, key=("usr_user_name", "mem_sys_id"), page_size=50)
    plan = pulled.plan().plan
    sim = members.sim
    before = shown(members)
    users = [row["sys_id"] for row in sim.rows("sys_user")]
    touched: set[str] = set()
    ids = sorted(before)

    def disturb(number: int) -> None:
        member = ids[number * 7 % len(ids)]
        if member in touched:
            return
        touched.add(member)
        if number % 3:
            sim.delete("sys_user_grmember", member)
        else:
            group = sim.rows("sys_user_group")[0]["sys_id"]
            touched.add(sim.insert("sys_user_grmember", user=users[number % len(users)], group=group))

    numbers = iter(range(30))

    def watch(asked: Any) -> None:
        if asked.path.endswith(VIEW) and (number := next(numbers, None)) is not None:
            disturb(number)

    sim.watchers.append(watch)
    assert [result.error for result in pulled.land(plan) if isinstance(result, Failed)] == []
    totals = reconcile(plan, pulled.landing, pulled.pull)
    found = landed(pulled, plan.plan_id)
    assert set(found.values()) == {1}
    assert set(before) - touched <= set(found)
    assert totals.counted is not None
    assert totals.counted + sum(difference.rows for difference in totals.differences) == totals.landed


def test_a_key_that_names_two_rows_fails_with_its_value(members: SimulatorServer, tmp_path: Path) -> None:
    group, user = members.sim.rows("sys_user_group")[0], members.sim.rows("sys_user")[0]
    for _ in range(2):
        members.sim.insert("sys_user_grmember", user=user["sys_id"], group=group["sys_id"])
    pulled = bench(members, tmp_path, key=("grp_sys_id", "usr_user_name"))
    plan = pulled.plan().plan
    [failed] = [result for result in pulled.land(plan, max_retries=1) if isinstance(result, Failed)]
    assert isinstance(failed.error, ConfigError)
    assert failed.error.key == "key"
    assert user["user_name"] in str(failed.error)
    assert failed.error.exit_code == 2


def test_two_rows_of_one_key_on_either_side_of_a_page_border(members: SimulatorServer, tmp_path: Path) -> None:
    names = sorted(row["mem_sys_id"] for row in members.sim.rows(VIEW))
    twin = next(row for row in members.sim.rows(VIEW) if row["mem_sys_id"] == names[49])
    user = members.sim.rows("sys_user")[0]["sys_id"]
    # The key here is the creation date, which all rows but two have to themselves.
    for number, name in enumerate(names):
        date = f"2026-01-01 {number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}"
        members.sim.store.update("sys_user_grmember", name, {"sys_created_on": date}, quiet=True)
    date = "2026-01-01 00:00:49"
    members.sim.insert("sys_user_grmember", user=user, group=twin["mem_group"], sys_created_on=date)
    pulled = bench(members, tmp_path, key=("mem_sys_created_on",), page_size=50)
    [failed] = [result for result in pulled.land(pulled.plan().plan, max_retries=0) if isinstance(result, Failed)]
    assert isinstance(failed.error, ConfigError)
    assert date in str(failed.error)


def test_keys_that_cannot_stand_in_a_query(members: SimulatorServer, tmp_path: Path) -> None:
    """Carets, scripts, blanks, commas, an empty value: rows that were lost are read once more instead."""
    odd = [
        "a^b",
        "javascript:gs.getUserID()",
        " padded ",
        "",
        "x,y,z",
        "line\nbreak",
        "x" * 255,
        "日本 '\"%_\\",
        "A^ORB",
    ]
    users = members.sim.rows("sys_user")[: len(odd)]
    for user, name in zip(users, odd, strict=True):
        members.sim.update("sys_user", user["sys_id"], user_name=name)
    group = members.sim.rows("sys_user_group")[-1]["sys_id"]
    for user in users:
        if not any(r["mem_user"] == user["sys_id"] and r["mem_group"] == group for r in members.sim.rows(VIEW)):
            members.sim.insert("sys_user_grmember", user=user["sys_id"], group=group)
    pulled = bench(members, tmp_path, key=("usr_user_name", "grp_sys_id"), page_size=50)
    plan = pulled.plan().plan
    for row in [row for row in members.sim.rows(VIEW) if row["mem_group"] == group and row.get("usr_user_name") in odd]:
        members.faults.add({"kind": "lost_rows", "lost": row["sys_id"], "table": VIEW, "times": 1})
    assert [result.error for result in pulled.land(plan) if isinstance(result, Failed)] == []
    totals = reconcile(plan, pulled.landing, pulled.pull)
    assert landed(pulled, plan.plan_id) == shown(members)
    assert "repaired" in [difference.cause for difference in totals.differences]


def test_keys_that_differ_in_case_alone_are_two_rows(members: SimulatorServer, tmp_path: Path) -> None:
    one, two = members.sim.rows("sys_user")[:2]
    members.sim.update("sys_user", one["sys_id"], user_name="Abel")
    members.sim.update("sys_user", two["sys_id"], user_name="ABEL")
    group = members.sim.rows("sys_user_group")[0]["sys_id"]
    for user in (one, two):
        if not any(r["mem_user"] == user["sys_id"] and r["mem_group"] == group for r in members.sim.rows(VIEW)):
            members.sim.insert("sys_user_grmember", user=user["sys_id"], group=group)
    pulled = bench(members, tmp_path, key=("grp_sys_id", "usr_user_name"))
    plan = pulled.plan().plan
    lost = next(r for r in members.sim.rows(VIEW) if r["mem_user"] == one["sys_id"] and r["mem_group"] == group)
    members.faults.add({"kind": "lost_rows", "lost": lost["sys_id"], "table": VIEW, "times": 1})
    assert [result.error for result in pulled.land(plan) if isinstance(result, Failed)] == []
    assert landed(pulled, plan.plan_id) == shown(members)


@pytest.mark.parametrize("unreadable", ["fail", "skip"])
def test_a_row_that_fails_alone_is_named(members: SimulatorServer, tmp_path: Path, unreadable: str) -> None:
    pulled = bench(members, tmp_path, unreadable_rows=unreadable)
    plan = pulled.plan().plan
    poison = members.sim.rows(VIEW)[123]
    members.faults.add({"kind": "execution_time_500", "sys_id": poison["sys_id"], "asks": "usr_name"})
    failed = [result.error for result in pulled.land(plan, max_retries=1) if isinstance(result, Failed)]
    if unreadable == "fail":
        assert poison["mem_sys_id"] in str(failed[0])
        return
    assert failed == []
    totals = reconcile(plan, pulled.landing, pulled.pull)
    skipped = [difference for difference in totals.differences if difference.cause == "unreadable"]
    assert [(difference.rows, difference.sys_ids) for difference in skipped] == [(-1, (poison["mem_sys_id"],))]
    assert totals.missing == 0


@pytest.mark.slow
def test_sweeps_that_never_agree_fail_loudly(members: SimulatorServer, tmp_path: Path) -> None:
    """Without a count, and with other rows lost each time, nothing can be believed."""
    pulled = bench(members, tmp_path)
    plan = pulled.plan().plan
    victim = members.sim.rows(VIEW)[100]
    members.faults.add({"kind": "lost_rows", "lost": victim["sys_id"], "fresh": False, "table": VIEW})
    members.faults.add({"kind": "lost_rows", "lost": victim["sys_id"], "query": victim["mem_sys_id"], "table": VIEW})
    [failed] = [result for result in pulled.land(plan) if isinstance(result, Failed)]
    assert isinstance(failed.error, SliceFailed)
    assert "did not settle" in str(failed.error)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"key": None}, ["set key", VIEW]),
        ({"key": ("no_such_field", "mem_sys_id")}, ["key", "no_such_field"]),
        ({"key": ("sys_id",)}, ["key", "sys_id"]),
        ({"fields": ("sys_id", "usr_name")}, ["fields", "sys_id"]),
        ({"query": "sys_id=abc"}, ["query", "sys_id"]),
        ({"display_value": "true"}, ["display_value"]),
    ],
)
def test_what_cannot_work_is_one_line_and_writes_nothing(
    members: SimulatorServer, tmp_path: Path, config: dict[str, Any], says: list[str]
) -> None:
    pulled = bench(members, tmp_path, **config)
    with pulled.client() as client, pytest.raises(FixFirst) as caught:
        make_plan(pulled.pull, client, pulled.landing)
    line = str(caught.value)
    assert "\n" not in line
    assert all(word in line for word in says)
    assert not (tmp_path / "data").exists()


def test_a_hidden_key_field_is_named(members: SimulatorServer, tmp_path: Path) -> None:
    members.sim.knobs.hidden_fields[VIEW] = {"mem_sys_id"}
    pulled = bench(members, tmp_path)
    with pulled.client() as client, pytest.raises(ConfigError, match="mem_sys_id"):
        make_plan(pulled.pull, client, pulled.landing)


def test_a_row_without_sys_id_once_is_not_taken_for_a_view(members: SimulatorServer, tmp_path: Path) -> None:
    pulled = bench(members, tmp_path, table="sys_user_grmember", fields=("user",), key=None)
    members.faults.add(
        {"kind": "missing_fields", "table": "sys_user_grmember", "fields": "sys_id", "every_row": True, "times": 2}
    )
    totals = pulled.pull_all()
    assert totals.landed == len(members.sim.rows("sys_user_grmember"))


def test_another_key_is_another_plan(members: SimulatorServer, tmp_path: Path) -> None:
    first = bench(members, tmp_path).plan().plan
    second = bench(members, tmp_path, key=("grp_sys_id", "usr_user_name")).plan()
    assert not second.continued
    assert second.plan.fingerprint != first.fingerprint


def test_publishing_again_with_fewer_rows_is_refused(members: SimulatorServer, tmp_path: Path) -> None:
    pulled = bench(members, tmp_path)
    pulled.pull_all()
    for row in members.sim.rows("sys_user_grmember")[:80]:
        members.sim.delete("sys_user_grmember", row["sys_id"])
    plan = pulled.plan(new=True).plan
    pulled.land(plan)
    totals = reconcile(plan, pulled.landing, pulled.pull)
    with pytest.raises(SnowError, match="fell"):
        publish(plan, totals, pulled.landing, pulled.pull)


def test_json_lines_are_the_views_records(members: SimulatorServer, tmp_path: Path) -> None:
    pulled = bench(members, tmp_path, display_value="false", fields=("mem_sys_id", "grp_name"))
    plan = pulled.landing.read_plan(pulled.pull_all().plan)
    truth = [{"mem_sys_id": row["mem_sys_id"], "grp_name": row["grp_name"]} for row in members.sim.rows(VIEW)]
    assert sorted(map(json.dumps, pulled.landed_records(plan))) == sorted(map(json.dumps, truth))


@pytest.mark.parametrize("times", [1, 3, None], ids=["once", "thrice", "lasting"])
@pytest.mark.parametrize("key", [("number",), ("number", "state")], ids=len)
def test_numbers_do_not_make_other_rows_of_the_same(tmp_path: Path, times: int | None, key: tuple[str, ...]) -> None:
    """JSON numbers among the values: a row keeps the key by which it is known, though its sys_id is there, too."""
    with Simulator(rows={"incident": 120}, seed=5).serve() as server:
        fields = ("sys_id", "number", "state")
        pulled = bench(server, tmp_path, table="incident", key=key, fields=fields, display_value="false")
        plan = pulled.plan().plan
        rule: dict[str, Any] = {"kind": "numbers", "table": "incident", "narrow": False}
        server.faults.add(rule if times is None else {**rule, "times": times, "after": 1})
        assert [result.error for result in pulled.land(plan) if isinstance(result, Failed)] == []
        totals = reconcile(plan, pulled.landing, pulled.pull)
        found = Counter(record["sys_id"] for record in pulled.landed_records(plan))
        assert found == Counter(row["sys_id"] for row in server.sim.rows("incident"))
        assert [difference.cause for difference in totals.differences] == ["read_by_key"]


@pytest.mark.parametrize("at", [19, 39, 99, 119])
def test_two_rows_of_one_key_at_every_border_of_capped_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """It caps pages at 20 rows, so that pages and sweeps have the same borders, and one page never shows both."""
    whole = select

    def capped(table: str, query: Any, scope: Any, offset: int, limit: int, **others: Any) -> Any:
        return whole(table, query, scope, offset, min(limit, 20), **others)

    monkeypatch.setattr("snow_assets.simulator.tables.select", capped)
    with Simulator(rows={"incident": 121}, seed=5).serve() as server:
        rows = sorted(server.sim.rows("incident"), key=lambda row: row["number"])
        server.sim.update("incident", rows[at + 1]["sys_id"], number=rows[at]["number"])
        pulled = bench(
            server, tmp_path, table="incident", key=("number",), fields=("number",), page_size=20, retry_backoff=0.01
        )
        [failed] = [result for result in pulled.land(pulled.plan().plan, max_retries=1) if isinstance(result, Failed)]
    assert isinstance(failed.error, ConfigError)
    assert rows[at]["number"] in str(failed.error)


def test_a_row_that_is_handed_on_twice_fails_the_slice(
    members: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sabotage: what has landed is forgotten for a moment, and a page of it is taken once more."""
    deliver = KeyedState.deliver
    spoilt: list[int] = []

    def twice(self: KeyedState, page: Page) -> Procedure[int]:
        if not spoilt and self.keys:
            spoilt.append(1)
            kept, self.keys = self.keys, set()
            yield from deliver(self, Page(page.records[:1], page.ids[:1], page.size))
            self.keys = kept
        return (yield from deliver(self, page))

    monkeypatch.setattr(KeyedState, "deliver", twice)
    pulled = bench(members, tmp_path)
    [failed] = [result for result in pulled.land(pulled.plan().plan) if isinstance(result, Failed)]
    assert isinstance(failed.error, SliceFailed)
    assert "241 rows were handed on, of 240 keys" in str(failed.error)

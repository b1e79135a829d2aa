"""The simulator replays a log while it is read, and brings back, reclassifies and forgets what it is told to."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from snow_assets.simulator import Knobs, Simulator, SimulatorServer
from snow_assets.simulator.event_log import EventLog
from snow_assets_tests.warehouse.replay_log import Truth, Version, late_versions, read_log, texts_of, write_small_log


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "log.csv.gz"
    write_small_log(path, incidents=150, seed=3)
    return path


@pytest.fixture(scope="module")
def versions(log: Path) -> list[Version]:
    return read_log(log)


def middle(versions: list[Version]) -> datetime:
    return versions[len(versions) // 2].updated


def shown(sim: Simulator) -> dict[str, tuple[str, str]]:
    return {row["number"]: (row["sys_updated_on"], row["sys_mod_count"]) for row in sim.rows("incident")}


def expected(truth: Truth) -> dict[str, tuple[str, str]]:
    return {number: (row["sys_updated_on"], row["sys_mod_count"]) for number, row in truth.rows.items()}


def count(server: SimulatorServer) -> int:
    url = f"{server.url}/api/now/table/incident?sysparm_fields=sys_id&sysparm_limit=1"
    answer = requests.get(url, auth=(server.username, server.password), timeout=10)
    return int(answer.headers["X-Total-Count"])


def test_versions_are_committed_one_by_one_and_the_clock_follows(log: Path, versions: list[Version]) -> None:
    sim = Simulator(event_log=log, at=middle(versions))
    sim.clock.stop()
    truth = Truth(versions)
    truth.commit(sim.replayed)
    for _ in range(30):
        assert sim.advance() == 1
        truth.commit(sim.replayed)
        assert shown(sim) == expected(truth)
        assert sim.clock.now() == max(middle(versions), truth.commits[sim.replayed - 1][0])


def test_versions_are_committed_with_every_third_request(log: Path, versions: list[Version]) -> None:
    with Simulator(event_log=log, at=middle(versions)).serve() as server:
        sim = server.sim
        begin = sim.replayed
        with sim.replaying(versions=4, requests=3):
            for _ in range(7):
                count(server)
        assert sim.replayed == begin + 8
        count(server)
        assert sim.replayed == begin + 8


def test_no_version_is_committed_after_the_end_of_a_replay(log: Path, versions: list[Version]) -> None:
    with Simulator(event_log=log, at=middle(versions)).serve() as server:
        sim = server.sim
        until = middle(versions) + timedelta(hours=3)
        with sim.replaying(until, versions=1000):
            count(server)
        assert sim.replayed == Truth(versions).due(until)


def test_readers_see_whole_versions_while_a_thread_commits(log: Path, versions: list[Version]) -> None:
    written = {(v.number, texts_of(v)["sys_updated_on"], str(v.mods), texts_of(v)["category"]) for v in versions}
    fields = ("number", "sys_updated_on", "sys_mod_count", "category")
    with Simulator(event_log=log, at=middle(versions)).serve() as server:
        seen: Counter[tuple[str, ...]] = Counter()

        def read() -> None:
            url = f"{server.url}/api/now/table/incident?sysparm_limit=1000&sysparm_fields={','.join(fields)}"
            rows = requests.get(url, auth=(server.username, server.password), timeout=10).json()["result"]
            seen.update(tuple(row[name] for name in fields) for row in rows)

        with server.sim.replaying_by_time(per_second=2000):
            while server.sim.replayed < len(versions):
                readers = [threading.Thread(target=read) for _ in range(3)]
                for reader in readers:
                    reader.start()
                for reader in readers:
                    reader.join()
        assert set(seen) <= written
        assert {v.number: str(v.mods) for v in versions} == {n: mods for n, (_, mods) in shown(server.sim).items()}


def test_late_commits_keep_their_old_clock_and_the_order_of_a_row(log: Path, versions: list[Version]) -> None:
    late = late_versions(0.3, 1800, seed=4)
    sim = Simulator(event_log=EventLog(log, late), at=middle(versions))
    sim.clock.stop()
    truth = Truth(versions, late)
    truth.commit(sim.replayed)
    assert shown(sim) == expected(truth)
    overdue = 0
    for hours in range(1, 60):
        moment = middle(versions) + timedelta(hours=hours)
        sim.move_to(moment)
        truth.commit(truth.due(moment))
        assert shown(sim) == expected(truth)
        overdue += Truth(versions).due(moment) - truth.position
    assert overdue > 0


def test_a_share_of_versions_is_late_by_a_knob(log: Path, versions: list[Version]) -> None:
    prompt = Simulator(event_log=log, at=middle(versions))
    for seed in (1, 2):
        late = Simulator(
            event_log=log, at=middle(versions), knobs=Knobs(late_commits=0.5, late_seconds=90_000), seed=seed
        )
        again = Simulator(
            event_log=log, at=middle(versions), knobs=Knobs(late_commits=0.5, late_seconds=90_000), seed=seed
        )
        assert late.replayed < prompt.replayed
        assert shown(late) == shown(again)


def test_a_row_comes_back_as_it_was_and_the_delete_log_still_shows_it() -> None:
    sim = Simulator({"incident": 20}, seed=2)
    row = sim.rows("incident")[7]
    sim.delete("incident", row["sys_id"])
    assert sim.undelete(row["sys_id"]) == row
    assert row in sim.rows("incident")
    [entry] = [one for one in sim.rows("sys_audit_delete") if one["documentkey"] == row["sys_id"]]
    assert entry["tablename"] == "incident"
    [audit] = [one for one in sim.rows("sys_audit") if one.get("fieldname") == "RECOVERED"]
    assert audit["documentkey"] == row["sys_id"]
    with pytest.raises(KeyError):
        sim.undelete(row["sys_id"])


def test_classes_can_be_left_out_of_the_delete_log() -> None:
    sim = Simulator({"incident": 20, "problem": 20}, seed=2, knobs=Knobs(unlogged_deletes={"problem"}))
    gone = {table: sim.rows(table)[0]["sys_id"] for table in ("incident", "problem")}
    archived = sim.rows("incident")[1]["sys_id"]
    for table, sys_id in gone.items():
        sim.delete(table, sys_id)
    sim.delete("incident", archived, log=False)
    logged = {row["documentkey"] for row in sim.rows("sys_audit_delete")}
    assert logged & {*gone.values(), archived} == {gone["incident"]}


def test_a_reclassified_row_loses_the_columns_that_its_class_does_not_have() -> None:
    sim = Simulator({"incident": 20}, seed=2)
    old = next(row for row in sim.rows("incident") if row.get("caller_id"))
    new = sim.reclassify("incident", old["sys_id"], "change_request")
    assert old["sys_id"] not in {row["sys_id"] for row in sim.rows("incident")}
    assert "caller_id" not in new
    assert (new["number"], int(new["sys_mod_count"])) == (old["number"], int(old["sys_mod_count"]) + 1)
    with pytest.raises(ValueError, match="cannot become"):
        sim.reclassify("task", old["sys_id"], "sys_user")


def test_the_delete_log_is_pruned_up_to_a_moment() -> None:
    sim = Simulator({"incident": 20}, seed=2, at=datetime(2026, 3, 1, tzinfo=UTC))
    sim.delete("incident", sim.rows("incident")[0]["sys_id"])
    moments = sorted(row["sys_created_on"] for row in sim.rows("sys_audit_delete"))
    horizon = datetime.fromisoformat(moments[len(moments) // 2]).replace(tzinfo=UTC)
    pruned = sim.prune_deletions(horizon)
    left = [row["sys_created_on"] for row in sim.rows("sys_audit_delete")]
    assert pruned == len(moments) - len(left) > 0
    assert min(left) == moments[len(moments) // 2]


def test_quiet_changes_and_restored_versions_move_no_clock_forward() -> None:
    sim = Simulator({"incident": 5}, seed=2)
    old = sim.rows("incident")[0]
    quiet = sim.update("incident", old["sys_id"], quiet=True, short_description="changed by a script")
    assert (quiet["sys_updated_on"], quiet["sys_mod_count"]) == (old["sys_updated_on"], old["sys_mod_count"])
    sim.update("incident", old["sys_id"], short_description="changed by a person")
    sim.restore("incident", old)
    assert sim.rows("incident")[0] == old


def test_rows_and_the_log_are_steered_over_http(log: Path, versions: list[Version]) -> None:
    with Simulator(event_log=log, at=middle(versions)).serve() as server:
        sim, row = server.sim, server.sim.rows("incident")[0]
        begin = sim.replayed

        def post(what: str, body: str) -> dict[str, object]:
            request = urllib.request.Request(f"{server.url}/simulator/{what}", body.encode(), method="POST")
            with urllib.request.urlopen(request, timeout=10) as answer:
                found: dict[str, object] = json.load(answer)
                return found

        assert post("log", "5")["replayed"] == begin + 5
        sys_id = row["sys_id"]
        post("rows", json.dumps({"reclassify": sys_id, "table": "incident", "into": "change_request"}))
        post("rows", json.dumps({"delete": sys_id, "table": "change_request"}))
        assert sim.store.find("task", sys_id) is None
        post("rows", json.dumps({"undelete": sys_id}))
        assert sim.store.find("change_request", sys_id) is not None
        assert post("rows", json.dumps({"prune": "2030-01-01"})) == {"pruned": 0}
        for body in ("{}", "no", json.dumps({"undelete": "nobody"}), json.dumps({"prune": "yesterday"})):
            answer = requests.post(f"{server.url}/simulator/rows", data=body, timeout=10)
            assert answer.status_code in (400, 404)

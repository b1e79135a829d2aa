"""An instance whose rows change while it is read."""

from __future__ import annotations

import random
import threading

from snow_assets.simulator import Simulator, SimulatorServer

from .conftest import ask

QUERIES = ["", "state=1", "stateIN6,7^NQpriority=1", "caller_id.nameLIKEa", "active=true^ORDERBYDESCopened_at",
           "sys_id>=8^state!=7", "sys_mod_count>3^ORDERBYnumber"]  # fmt: skip


def changed_at_random(sim: Simulator, rng: random.Random, steps: int) -> None:
    """Inserts, updates, reclassifications and deletions."""
    for _ in range(steps):
        rows = sim.rows("incident")
        one = rng.choice(rows)["sys_id"]
        match rng.randrange(6):
            case 0:
                sim.insert("incident", state=rng.choice("167"), priority="1", caller_id=rows[0].get("caller_id", ""))
            case 1:
                sim.delete("incident", one)
            case 2:
                sim.update("incident", one, sys_class_name="problem")
            case 3:
                sim.update("sys_user", rng.choice(sim.rows("sys_user"))["sys_id"], name=rng.choice(("Zoe", "Bo")))
            case _:
                sim.update("incident", one, state=rng.choice("1267"), priority=rng.choice("1234"))


def answers(server: SimulatorServer) -> list[set[str]]:
    return [
        {row["sys_id"] for row in ask(server, f"table/{table}", sysparm_query=query, sysparm_fields="sys_id").rows}
        for table in ("incident", "task", "problem")
        for query in QUERIES
    ]


def test_remembered_results_equal_fresh_ones() -> None:
    rng = random.Random(5)
    with Simulator({"incident": 150}, seed=5).serve() as server:
        for _ in range(4):
            answers(server)
            changed_at_random(server.sim, rng, 25)
            store = server.sim.store
            tables: dict[str, list[dict[str, str]]] = {}
            for root in ("task", "sys_user"):
                for row in store.rows_of(root).values():
                    tables.setdefault(store.class_of(root, row), []).append(dict(row))
            with Simulator(tables=tables, at=server.sim.clock.now()).serve() as fresh:
                assert answers(server) == answers(fresh)


def test_reading_by_key_while_others_write() -> None:
    """Whoever pages by sys_id gets every row that is left alone, once, whatever happens to the others."""
    with Simulator({"incident": 1_200}, seed=6).serve() as server:
        sim = server.sim
        everyone = [row["sys_id"] for row in sim.rows("incident")]
        restless = set(random.Random(6).sample(everyone, 300))
        stop = threading.Event()

        def write() -> None:
            rng = random.Random(7)
            targets = sorted(restless)
            while not stop.is_set() and targets:
                one = targets.pop(rng.randrange(len(targets)))
                sim.update("incident", one, state="2")
                if rng.random() < 0.5:
                    sim.delete("incident", one)
                sim.insert("incident", state="1")

        found: list[list[str]] = []

        def read() -> None:
            last, seen = "", []
            while True:
                query = f"sys_id>{last}^ORDERBYsys_id" if last else "ORDERBYsys_id"
                rows = ask(
                    server, "table/incident", sysparm_query=query, sysparm_limit=50, sysparm_fields="sys_id,state"
                ).rows
                if not rows:
                    break
                seen += [row["sys_id"] for row in rows]
                last = seen[-1]
            found.append(seen)

        writer = threading.Thread(target=write)
        readers = [threading.Thread(target=read) for _ in range(3)]
        for thread in (writer, *readers):
            thread.start()
        for thread in readers:
            thread.join()
        stop.set()
        writer.join()
    assert len(found) == 3
    for seen in found:
        assert seen == sorted(set(seen))
        assert set(everyone) - restless <= set(seen)


def test_churn_updates_rows_while_it_lasts() -> None:
    with Simulator({"incident": 20}, seed=8).serve() as server:
        before = server.sim.rows("incident")
        with server.sim.churn("incident", per_second=500):
            while server.sim.rows("incident") == before:
                pass
        after = server.sim.rows("incident")
        assert server.sim.rows("incident") == after
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert all(int(new["sys_mod_count"]) > int(old["sys_mod_count"]) for old, new in changed)

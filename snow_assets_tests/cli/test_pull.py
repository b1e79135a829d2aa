"""Pulls that do not end well, and go on."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.cli.conftest import PULLS, ROWS, Folder, variables_of
from snow_assets_tests.conftest import Hold


def test_a_failed_slice_is_named_and_the_next_pull_asks_for_it_alone(folder: Folder, server: SimulatorServer) -> None:
    spoiled = server.sim.rows("incident")[ROWS // 2]["sys_id"]
    server.faults.add(kind="error_500", sys_id=spoiled, request="list", narrow=False)
    first = folder.call("pull", "incidents", "--json")
    assert first.code == 1, first
    data = first.json
    assert (data["published"], data["retryable"], data["slices"]["failed"]) == (False, True, 1)
    (failed,) = data["failed"]
    assert failed["slice"] in first.err
    (missing,) = data["differences"]
    assert (missing["cause"], missing["rows"]) == ("not_landed", data["landed"] - ROWS)
    assert failed["slice"] in missing["evidence"]
    assert "server_error" in first.err
    assert folder.call("files", "incidents").code == 2

    server.faults.clear()
    before = len(server.requests)
    second = folder.call("pull", "incidents", "--json")
    assert second.code == 0, second
    assert second.json["plan"] == data["plan"]
    assert second.json["landed"] == ROWS
    asked = [entry for entry in list(server.requests)[before:] if "number" in entry.params.get("sysparm_fields", "")]
    pages = [entry for entry in asked if "sysparm_suppress_pagination_header" in entry.params]
    assert len(pages) <= 4, pages


def test_an_outage_is_told_once_with_what_it_cost(folder: Folder, server: SimulatorServer) -> None:
    """What failed is told; what was not asked for after it is one line, however many slices that is."""
    folder.write(f"{PULLS}  slow: {{table: incident, max_workers: 1}}\n")
    pages: list[Any] = []

    def goes_down(asked: Any) -> None:
        if asked.params.get("sysparm_fields") != "sys_id" and "sys_id>=" in asked.params.get("sysparm_query", ""):
            pages.append(asked)
            if len(pages) == 3:
                server.faults.add(kind="html_503")

    server.sim.watchers.append(goes_down)
    before = len(server.requests)
    try:
        done = folder.call("pull", "slow", "--json")
    finally:
        server.sim.watchers.remove(goes_down)
    assert done.code == 1, done
    data = done.json
    failed = [each for each in data["failed"] if "gateway_error" in each["cause"] and "not asked" not in each["cause"]]
    *causes, rest, last = done.err.splitlines()
    assert len(causes) == len(failed) == 1, done.err
    assert "the instance is down" in causes[0]
    landed, total = data["slices"]["landed"], data["slices"]["total"]
    assert rest == f"{total - landed - 1} more slices were not asked for, since the run was stopped"
    assert "nothing is published" in last
    assert (data["error"]["key"], data["error"]["value"]) == ("SNOW_INSTANCE_URL", server.url)
    assert [each["cause"] for each in data["differences"]] == ["not_landed", "not_landed"]
    assert sum(each["rows"] for each in data["differences"]) == data["landed"] - ROWS
    # Two more ask whether the instance answers, and whether the table is there.
    assert data["requests"] == len(server.requests) - before - 2


@contextmanager
def slow_once_a_slice_has_landed(server: SimulatorServer, landing: Path) -> Iterator[threading.Event]:
    """Then nothing more is answered until the event is set, and slowly from there on: no pull is through too soon."""
    go_on = threading.Event()

    def watch(asked: Any) -> None:
        if asked.path.endswith("/incident") and list(landing.glob("*/*.parquet")):
            go_on.wait(60)
            time.sleep(0.3)

    server.sim.watchers.append(watch)
    try:
        yield go_on
    finally:
        go_on.set()
        server.sim.watchers.remove(watch)


@pytest.mark.slow
def test_a_signal_keeps_what_landed(folder: Folder, server: SimulatorServer) -> None:
    folder.write("pulls: {incidents: {table: incident, page_size: 50, max_workers: 1, retry_backoff: 0.01}}")
    command = folder.command("pull", "incidents", "--json")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    landing = folder.path / "data" / "incidents"
    with (
        slow_once_a_slice_has_landed(server, landing) as go_on,
        subprocess.Popen(command, cwd=folder.path, env=folder.environment, **pipes) as process,  # type: ignore[call-overload]
    ):
        _wait_for_a_slice(landing, process)
        process.send_signal(signal.SIGTERM)
        go_on.set()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "what has landed stays" in err
    assert "Traceback" not in err
    found = folder.call("status", "incidents", "--json").json
    assert found["state"] == "unfinished"
    assert found["running"] is None
    done = folder.call("pull", "incidents", "--json")
    assert done.code == 0, done
    assert done.json["plan"] == found["plan"]
    assert done.json["landed"] == ROWS


@pytest.mark.slow
def test_a_killed_pull_is_gone_on_with(folder: Folder, server: SimulatorServer) -> None:
    """A kill leaves a run that nobody ends and a slot that nobody frees; the next pull must not wait for either."""
    folder.write("pulls: {incidents: {table: incident, page_size: 50, max_workers: 1, retry_backoff: 0.01}}")
    landing = folder.path / "data" / "incidents"
    with (
        slow_once_a_slice_has_landed(server, landing),
        subprocess.Popen(
            folder.command("pull", "incidents"), cwd=folder.path, env=folder.environment, stderr=subprocess.DEVNULL
        ) as process,
    ):
        _wait_for_a_slice(landing, process)
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    landed = len(list(landing.glob("*/*.parquet")))
    done = folder.run("pull", "incidents", "--json")
    assert (done.code, done.err) == (0, ""), done
    assert done.json["landed"] == ROWS
    assert landed >= 1
    runs = folder.path / ".dagster"
    assert _unfinished_runs(runs) == []


def _unfinished_runs(home: Path) -> list[str]:
    import dagster as dg

    with dg.DagsterInstance.from_config(str(home)) as instance:
        return [run.run_id for run in instance.get_runs() if not run.is_finished]


def _wait_for_a_slice(landing: Path, process: subprocess.Popen[Any]) -> None:
    while process.poll() is None and not list(landing.glob("*/*.parquet")):
        time.sleep(0.05)


def test_a_live_run_of_the_same_pull_is_left_alone(folder: Folder, another_process: Hold) -> None:
    with another_process(folder.path / "data", "active"):
        done = folder.call("pull", "active", "--json")
    assert done.code == 1, done
    assert "snow-assets pull, process 1" in done.err
    assert done.json["retryable"] is True


RUN_SLICES = """
import sys
import dagster as dg
from snow_assets.assets.keys import PullNames, range_tags
from snow_assets.dagster_home import write_dagster_home
from snow_assets.definitions import defs

home = write_dagster_home(__import__("pathlib").Path(".dagster"))
with dg.DagsterInstance.from_config(str(home)) as instance:
    jobs = defs()
    jobs.resolve_job_def("pull_incidents").execute_in_process(instance=instance)
    keys = instance.get_dynamic_partitions(PullNames("incidents").partitions_name)
    print("planned", flush=True)
    sys.stdin.readline()
    jobs.resolve_job_def("slices_incidents").execute_in_process(instance=instance, tags=range_tags(keys[0], keys[-1]))
"""


@pytest.mark.slow
def test_beside_a_run_of_the_daemon_a_pull_names_the_run_and_how_to_watch_it(
    folder: Folder, server: SimulatorServer
) -> None:
    folder.write("pulls: {incidents: {table: incident, page_size: 10, slice_rows: 20, max_workers: 1}}")
    command = [sys.executable, "-c", RUN_SLICES]
    note = folder.path / "data" / ".incidents.lease-holder"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, cwd=folder.path, env=folder.environment, **pipes) as process:  # type: ignore[call-overload]
        try:
            assert process.stdout.readline() == "planned\n"
            server.faults.add(kind="latency", seconds=3.0, request="list", narrow=False, table="incident")
            process.stdin.write("\n")
            process.stdin.flush()
            while process.poll() is None and not (note.is_file() and note.read_text()):
                time.sleep(0.05)
            holder = note.read_text()
            done = folder.call("pull", "incidents", "--json")
            running = folder.call("status", "incidents", "--json").json["running"]
        finally:
            process.kill()
    assert done.code == 1, done
    assert holder.startswith("Dagster run ")
    assert f"is being worked on by {holder}" in done.err
    assert "under Runs in Dagster's UI" in done.err
    assert "snow-assets status incidents" in done.err
    assert len(done.err.splitlines()) == 1
    assert done.json["retryable"] is True
    assert running == holder


def test_several_pulls_go_on_after_one_that_cannot_work(folder: Folder) -> None:
    folder.write("pulls: {bad: {table: nosuch}, good: {table: sys_user_group}}")
    done = folder.call("pull", "--all", "--json")
    assert done.code == 2, done
    bad, good = done.json["pulls"]
    assert (bad["published"], good["published"]) == (False, True)
    assert done.json["error"]["value"] == "nosuch"


def test_a_plan_whose_rows_fell_is_published_only_when_it_is_named(folder: Folder) -> None:
    folder.write("pulls: {groups: {table: sys_user_group}}")
    with Simulator({"sys_user_group": 40}, seed=1).serve() as many:
        variables = variables_of(many)
        assert folder.call("pull", "groups", **variables).code == 0
        for row in many.sim.rows("sys_user_group")[:20]:
            many.sim.delete("sys_user_group", row["sys_id"])
        refused = folder.call("pull", "groups", "--json", **variables)
        assert refused.code == 2, refused
        plan = refused.json["plan"]
        assert f"--accept {plan}" in refused.err
        wrong = folder.call("pull", "groups", "--accept", "20200101T000000Z", **variables)
        assert (wrong.code, plan in wrong.err) == (2, True)
        before = len(many.requests)
        accepted = folder.call("pull", "groups", "--accept", plan, "--json", **variables)
        assert accepted.code == 0, accepted
        assert accepted.json["plan"] == plan
        assert accepted.json["published"] is True
        assert len(many.requests) - before <= 1

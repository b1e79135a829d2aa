"""The commands that read what was published, and those that ask the instance."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import click
import pyarrow.parquet as pq
import pytest

import snow_assets
from snow_assets.cli.main import COMMANDS
from snow_assets.simulator import SimulatorServer
from snow_assets_tests.cli.conftest import ROWS, Folder


def test_help_and_version_import_neither_dagster_nor_the_data_libraries() -> None:
    code = (
        "import sys\nfrom snow_assets.cli.main import run\n"
        "assert run(['--help']) == 0 and run(['pull', '--help']) == 0 and run(['--version']) == 0\n"
        "heavy = {'dagster', 'pyarrow', 'duckdb', 'deltalake', 'requests', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_the_common_options(command: str) -> None:
    from snow_assets.cli import main

    found = main.snow_assets.get_command(click.Context(main.snow_assets), command)
    assert found is not None
    for each in leaves(found, click.Context(main.snow_assets)):
        options = {option for parameter in each.params for option in parameter.opts}
        assert {"--pulls", "--data", "--log-level", "--json"} <= options, each.name


def leaves(command: click.Command, above: click.Context) -> list[click.Command]:
    """The command, or those of a group."""
    if not isinstance(command, click.Group):
        return [command]
    context = click.Context(command, parent=above)
    found = [command.get_command(context, name) for name in command.list_commands(context)]
    assert all(found)
    return [leaf for each in found if each for leaf in leaves(each, context)]


def test_a_pull_prints_the_object_that_scripts_rely_on(pulled: Folder) -> None:
    done = pulled.call("pull", "active", "--json", "--new")
    assert (done.code, done.err) == (0, "")
    data = done.json
    expected = {"pull", "plan", "as_of", "counted", "landed", "hidden", "duplicates", "missing", "slices", "requests"}
    assert expected | {"retries", "seconds", "published", "retryable", "differences"} <= set(data)
    assert data["slices"]["total"] == data["slices"]["landed"]
    assert data["slices"]["failed"] == 0
    assert (data["published"], data["retryable"]) == (True, False)
    assert data["counted"] == data["landed"] > 0
    assert (data["hidden"], data["duplicates"], data["missing"]) == (0, 0, 0)


def test_files_hold_the_published_rows(pulled: Folder) -> None:
    files = pulled.call("files", "incidents").out.split()
    assert sum(pq.read_metadata(file).num_rows for file in files) == ROWS
    assert pulled.call("files", "incidents", "--json").json["files"] == files


def rows_read(lines: list[str]) -> list[str]:
    """How many rows the lines that ``table`` prints give, each with names of its own, in one fresh interpreter."""
    codes = [f"{line.split(':', 1)[1].strip()}; print(len(rows))" for line in lines]
    run = "import sys\nfor code in sys.argv[1:]:\n    exec(code, {})"
    done = subprocess.run([sys.executable, "-c", run, *codes], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_lines_that_table_prints_read_the_rows(pulled: Folder) -> None:
    location, *lines = pulled.call("table", "incidents").out.splitlines()
    assert location == str(pulled.path / "data" / "incidents")
    assert [line.split(":")[0] for line in lines] == ["duckdb", "polars", "pandas"]
    assert rows_read(lines[:1]) == [str(ROWS)]


@pytest.mark.slow
def test_every_command_reads_a_data_folder_with_an_odd_name(folder: Folder) -> None:
    odd = ("--data", "mé data #1?")
    assert folder.call("pull", "active", *odd).code == 0
    rows = folder.call("jsonl", "active", *odd).out.count("\n")
    files = folder.call("files", "active", *odd).out.splitlines()
    assert sum(pq.read_metadata(file).num_rows for file in files) == rows > 0
    assert folder.call("sql", "select count(*) from active", *odd).out.split()[1] == str(rows)
    assert rows_read(folder.call("table", "active", *odd).out.splitlines()[1:]) == [str(rows)] * 3


def test_sql_sees_flat_views_and_structs(pulled: Folder, server: SimulatorServer) -> None:
    truth = [row.get("priority", "") for row in server.sim.rows("incident")]
    done = pulled.call("sql", "select priority, count(*) from incidents group by 1 order by 1")
    rows = list(csv.reader(io.StringIO(done.out)))[1:]
    assert rows == [[value, str(truth.count(value))] for value in sorted(set(truth))]
    shown = pulled.call("sql", "select distinct priority_display p from incidents order by 1 limit 1", "--json").json
    assert shown == {"columns": ["p"], "rows": [["1 - Critical"]]}
    same = "select count(*) from incidents f join incidents_raw r on f.sys_id = r.sys_id.value"
    assert pulled.call("sql", same).out.split()[1] == str(ROWS)
    wrong = pulled.call("sql", "select * from nosuch")
    assert wrong.code == 2
    assert "incidents_raw" in wrong.err


def test_read_gives_arrow(pulled: Folder) -> None:
    data = str(pulled.path / "data")
    table = snow_assets.read("active", data=data)
    assert table.column_names == ["sys_id", "number", "state", "caller_id"]
    flat = snow_assets.read("active", data=data, columns=["state", "caller_id"], flat=True)
    assert flat.column_names == ["state", "state_display", "caller_id", "caller_id_display"]
    assert flat.num_rows == table.num_rows
    assert set(flat.column("state").to_pylist()) <= {"1", "2", "3", "4", "5", "6"}


def test_jsonl_gives_the_raw_records(pulled: Folder, server: SimulatorServer) -> None:
    import requests

    path = pulled.path / "out.jsonl"
    done = pulled.call("jsonl", "incidents", "--out", str(path), "--json")
    assert done.json == {"pull": "incidents", "file": str(path), "rows": ROWS}
    landed = {record["sys_id"]["value"]: record for record in map(json.loads, path.open())}
    url = f"{server.url}/api/now/table/incident"
    params = {"sysparm_display_value": "all", "sysparm_limit": "1000"}
    answer = requests.get(url, params=params, auth=(server.username, server.password), timeout=30).json()["result"]
    assert landed == {record["sys_id"]["value"]: record for record in answer}
    assert pulled.call("jsonl", "incidents").out == path.read_text()


def test_status_tells_where_pulls_stand(pulled: Folder, folder: Folder) -> None:
    found = pulled.call("status", "incidents", "--json").json
    assert (found["state"], found["published"]["rows"]) == ("published", ROWS)
    assert [each["state"] for each in folder.call("status", "--json").json["pulls"]] == ["none", "none"]
    assert not (folder.path / "data").exists()


def test_status_tells_of_the_other_pulls_where_the_plan_of_one_is_damaged(folder: Folder) -> None:
    plan = folder.path / "data" / "active" / "20261120T020000Z" / "plan.json"
    plan.parent.mkdir(parents=True)
    plan.write_text("{")
    done = folder.call("status", "--json")
    assert done.code == 2
    assert [each["state"] for each in done.json["pulls"]] == ["none", "error"]
    assert done.json["pulls"][1]["error"] == done.json["error"]
    assert done.json["error"]["hint"] == "start a new plan with snow-assets pull active --new"
    assert "incidents" in folder.call("status").out


def test_count_check_and_plan_ask_and_write_nothing(folder: Folder) -> None:
    assert folder.call("count", "incident").out == f"{ROWS}\n"
    found = folder.call("check", "--json").json
    assert (found["account"], found["sign_in"], found["time_zone"]) == ("admin", "basic", "US/Pacific")
    honoured = [(each["pull"], each["readable"], each["query_honoured"]) for each in found["pulls"]]
    assert honoured == [("incidents", True, None), ("active", True, True)]
    planned = folder.call("plan", "incidents", "--json").json
    assert (planned["counted"], planned["slices"]) == (ROWS, 7)
    assert planned["requests"] > 7
    assert planned["bytes"] > 100_000
    assert sorted(path.name for path in folder.path.iterdir()) == ["pulls.yaml"]


def test_check_names_the_pull_that_cannot_work(folder: Folder) -> None:
    folder.write("pulls:\n  good: {table: incident}\n  bad: {table: incident, query: nosuch=1}\n")
    done = folder.call("check")
    assert done.code == 2
    assert "pulls.bad.query 'nosuch'" in done.out
    assert "readable" in done.out


def test_init_writes_a_folder_that_works(folder: Folder) -> None:
    (folder.path / "pulls.yaml").unlink()
    folder.write("SNOW_USERNAME=kept\n", ".env")
    done = folder.call("init", "--from", "incident,sys_user")
    assert done.code == 0, done.err
    written = (folder.path / "pulls.yaml").read_text()
    assert f"# Incident: {ROWS} rows" in written
    assert folder.call("validate", "--json").json["pulls"] == ["incidents", "sys_user"]
    env = (folder.path / ".env").read_text()
    assert env == f"SNOW_USERNAME=kept\nDAGSTER_HOME={folder.path / '.dagster'}\n"
    assert {".env.example", ".gitignore", "workspace.yaml", ".dagster"} <= {p.name for p in folder.path.iterdir()}
    named = folder.call("init", "--pulls", "second.yaml")
    assert named.code == 0, named.err
    assert folder.call("validate", "--pulls", "second.yaml").code == 0
    unknown = folder.call("init", "--from", "nosuch", "--pulls", "other/pulls.yaml")
    assert unknown.code == 2
    assert not (folder.path / "other").exists()


def test_init_works_without_an_instance(tmp_path: Path) -> None:
    empty = Folder(tmp_path)
    done = empty.call("init")
    assert done.code == 0, done.err
    assert empty.call("validate", "--json").json["pulls"] == ["incidents"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_simulate_prints_what_env_needs_and_ends_by_a_signal(tmp_path: Path, number: int, code: int) -> None:
    made = Folder(tmp_path)
    command = made.command("simulate", "--rows", "incident=20")
    with subprocess.Popen(command, env=made.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(3)]
        variables = dict(line.split("=", 1) for line in lines)
        counted = made.run("count", "incident", **variables)
        process.send_signal(number)
        assert process.wait(30) == code
    assert counted.out == "20\n"

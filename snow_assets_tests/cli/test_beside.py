"""``snow-assets corpus`` and ``snow-assets attachments``: what they print, and how they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.cli.conftest import Folder, variables_of
from snow_assets_tests.pulls.conftest import Workbench

PULLS = """\
defaults: {retry_backoff: 0.01, max_retries: 0}
pulls:
  incidents: {table: incident, attachments: {max_size: 100kB}}
  plain: {table: incident}
"""


@pytest.fixture(scope="module")
def attached() -> Iterator[SimulatorServer]:
    rows = {"incident": 40, "change_request": 10, "kb_knowledge": 0, "sys_attachment": 40}
    with Simulator(rows=rows, seed=3).serve() as server:
        yield server


@pytest.fixture
def here(attached: SimulatorServer, tmp_path: Path) -> Folder:
    """A folder in which nothing is published yet."""
    attached.faults.clear()
    made = Folder(tmp_path, variables_of(attached))
    made.write(PULLS)
    return made


def publish(here: Folder, server: SimulatorServer) -> None:
    Workbench(server, here.path / "data").pull_all()


@pytest.mark.slow
def test_attachments_come_and_one_that_fails_is_named(here: Folder, attached: SimulatorServer) -> None:
    publish(here, attached)
    ids = {row["sys_id"] for row in attached.sim.rows("incident")}
    victim = next(row["sys_id"] for row in attached.sim.rows("sys_attachment") if row["table_sys_id"] in ids)
    attached.faults.add({"kind": "error_500", "request": "file", "sys_id": victim})
    done = here.call("attachments", "incidents", "--json")
    assert (done.code, done.json["failed"], done.json["retryable"]) == (1, 1, True)
    assert done.json["failures"][0]["sys_id"] == victim
    assert done.err.startswith("error: file ")

    attached.faults.clear()
    done = here.call("attachments", "incidents")
    assert (done.code, done.err) == (0, "")
    first, *_, last = done.out.splitlines()
    assert first.startswith(f"{json.loads(here.call('sql', SQL, '--json').out)['rows'][0][0]} files landed")
    assert last == str(here.path / "data/incidents.attachments/attachments.parquet")


SQL = "select count(*) from 'data/incidents.attachments/attachments.parquet' where state = 'landed'"


def test_a_corpus_is_written_once_and_told_again(here: Folder, attached: SimulatorServer) -> None:
    publish(here, attached)
    first = here.call("corpus", "incidents", "--json")
    again = here.call("corpus", "incidents", "--json")
    assert (first.code, first.json["rows"], first.json["changed"]) == (0, 40, True)
    assert {**first.json, "changed": False} == again.json
    told = here.call("corpus", "incidents").out.splitlines()
    assert told[0] == f"40 rows of plan {first.json['plan']}, 40 counted"
    assert told[1:] == [file["location"] for file in first.json["files"]]
    assert here.call("corpus", "incidents", "--again", "--json").json["changed"] is True


@pytest.mark.parametrize("command", ["corpus", "attachments"])
def test_where_nothing_is_published_nothing_is_made(here: Folder, command: str) -> None:
    done = here.call(command, "incidents")
    assert (done.code, done.out) == (2, "")
    assert "nothing is published" in done.err
    assert [path.name for path in here.path.iterdir()] == ["pulls.yaml"]


def test_a_pull_that_does_not_ask_for_attachments_is_told_how(here: Folder, attached: SimulatorServer) -> None:
    Workbench(attached, here.path / "data", name="plain").pull_all()
    done = here.call("attachments", "plain")
    assert done.code == 2
    assert "attachments: true" in done.err

"""The server as a process, a proxy and a fixture; attachments; compression."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener, urlopen

import pytest

from snow_assets.simulator import Knobs, Simulator, SimulatorServer

from .conftest import Ask, ask

BASIC = {"Authorization": "Basic YWRtaW46YWRtaW4="}


def test_it_is_a_proxy_for_any_host(small: SimulatorServer) -> None:
    opener = build_opener(ProxyHandler({"http": small.url}))
    url = "http://dev1.service-now.com/api/now/table/incident?sysparm_limit=2&sysparm_query=number=INC0001"
    with opener.open(Request(url, headers=BASIC), timeout=10) as answer:
        row = json.load(answer)["result"][0]
    assert row["caller_id"]["link"].startswith("http://dev1.service-now.com/api/now/table/sys_user/")
    assert small.requests[-1].path == "/api/now/table/incident"


def test_connect_is_refused(small: SimulatorServer) -> None:
    with socket.create_connection(("127.0.0.1", small.port), timeout=10) as client:
        client.sendall(b"CONNECT dev1.service-now.com:443 HTTP/1.1\r\nHost: dev1.service-now.com:443\r\n\r\n")
        assert client.recv(1_000).startswith(b"HTTP/1.1 403")


def test_one_connection_serves_many_requests(small: SimulatorServer) -> None:
    head = "GET /api/now/stats/incident?sysparm_count=true HTTP/1.1\r\nHost: x\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in BASIC.items()) + "\r\n"
    with socket.create_connection(("127.0.0.1", small.port), timeout=10) as client:
        client.sendall(head.encode() * 3)
        received = b""
        while received.count(b'"count":"7"') < 3:
            received += client.recv(65_536)
    assert received.count(b"HTTP/1.1 200 OK") == 3


def test_nonsense_does_not_harm_the_server(small: SimulatorServer, get: Ask) -> None:
    with socket.create_connection(("127.0.0.1", small.port), timeout=10) as client:
        client.sendall(b"hello\r\n\r\n")
        assert client.recv(1_000) == b""
    assert get("table/incident").status == 200


def test_a_fault_of_the_simulator_is_a_500(small: SimulatorServer, get: Ask, caplog: pytest.LogCaptureFixture) -> None:
    small.sim.knobs.hidden_rows = [None]  # type: ignore[list-item]
    got = get("table/incident")
    assert (got.status, got.error[0]) == (500, "Unexpected error")
    assert "AttributeError" in caplog.text


def test_compression(get: Ask, knobs: Knobs) -> None:
    packed = get("table/incident", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(packed.body))["result"]) == 7
    knobs.gzip_up_to = 100
    assert "Content-Encoding" not in get("table/incident", headers={"Accept-Encoding": "gzip"}).headers
    assert "Content-Encoding" not in get("table/incident").headers


def test_bodies_come_in_chunks_or_with_a_length(get: Ask, knobs: Knobs) -> None:
    assert get("table/incident").headers["Transfer-Encoding"] == "chunked"
    knobs.chunked = False
    got = get("table/incident")
    assert int(got.headers["Content-Length"]) == len(got.body)


def test_attachments(generated: SimulatorServer) -> None:
    listed = ask(generated, "attachment", sysparm_query="table_name=incident", sysparm_limit=5)
    assert int(listed.headers["X-Total-Count"]) >= len(listed.rows) == 5
    for row in listed.rows:
        assert row["download_link"] == f"{generated.url}/api/now/attachment/{row['sys_id']}/file"
        file = ask(generated, f"attachment/{row['sys_id']}/file")
        assert (len(file.body), file.headers["Content-Type"]) == (int(row["size_bytes"]), row["content_type"])
        assert hashlib.sha256(file.body).hexdigest() == row["hash"]
        assert json.loads(file.headers["X-Attachment-Metadata"]) == row
        assert ask(generated, f"attachment/{row['sys_id']}").json["result"] == row
    assert ask(generated, "attachment/nope/file").status == 404


def test_as_a_process(tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text('[{"kind": "html_503", "table": "problem"}]')
    command = [sys.executable, "-m", "snow_assets.simulator", "--rows", "incident=25", "--seed", "4",
               "--at", "2026-05-01T12:00:00Z", "--faults", str(faults)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url, user, password = process.stdout.readline().split()
        assert (user, password) == ("admin", "admin")
        request = Request(f"{url}/api/now/stats/incident?sysparm_count=true", headers=BASIC)
        with urlopen(request, timeout=10) as answer:
            assert json.load(answer)["result"]["stats"]["count"] == "25"
            assert answer.headers["Date"].startswith("Fri, 01 May 2026 12:00:")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_closing_ends_hanging_requests(small: SimulatorServer) -> None:
    small.faults.add(kind="hang")
    with socket.create_connection(("127.0.0.1", small.port), timeout=10) as client:
        head = "GET /api/now/table/incident HTTP/1.1\r\nHost: x\r\n"
        client.sendall((head + "".join(f"{name}: {value}\r\n" for name, value in BASIC.items()) + "\r\n").encode())
        while not small.faults.rules()[0].hits:
            pass
        small.close()
        assert client.recv(1_000) == b""
    small.close()


def test_the_fixture_of_the_plugin(tmp_path: Path) -> None:
    test = tmp_path / "test_mine.py"
    test.write_text(
        "import pytest\n"
        "def test_default(snow_simulator):\n"
        "    assert len(snow_simulator.sim.rows('incident')) == 200\n"
        "@pytest.mark.snow_simulator(rows={'incident': 50}, seed=7)\n"
        "def test_marked(snow_simulator):\n"
        "    assert len(snow_simulator.sim.rows('incident')) == 50\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "snow_assets.simulator.pytest_plugin", "--strict-markers",
               "-p", "no:cacheprovider", str(test)]  # fmt: skip
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # named here, whether or not it is installed
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=alone)
    assert "2 passed" in ran.stdout, ran.stdout + ran.stderr


def test_knobs_over_http(small: SimulatorServer, get: Ask) -> None:
    def knobs(document: object) -> Any:
        return get("/simulator/knobs", method="POST", login="", body=json.dumps(document))

    hidden = [{"table": "incident", "sys_ids": ["01" * 16]}]
    got = knobs({"invalid_terms": "no_rows", "latency": 0, "hidden_rows": hidden,
                 "hidden_fields": {"task": ["priority"]}, "rate_rules": [{"limit": 50}]})  # fmt: skip
    assert got.json["knobs"]["hidden_rows"][0]["sys_ids"] == ["01" * 16]
    assert "accounts" not in get("/simulator/knobs", login="").json["knobs"]
    assert get("table/incident", sysparm_query="nope=1").rows == []
    rows = get("table/incident", sysparm_fields="number,priority")
    assert len(rows.rows) == 6
    assert "priority" not in rows.rows[0]
    assert rows.headers["X-RateLimit-Limit"] == "50"
    refused: list[object] = [
        {"nope": 1},
        {"latency": "fast"},
        {"hidden_rows": [{"tabel": "incident"}]},
        [],
        {"accounts": {}},
    ]
    for wrong in refused:
        assert knobs(wrong).error[0] == "Invalid knob"
    assert small.sim.knobs.rate_rules[0].limit == 50


HEADER = (
    "number,incident_state,active,reassignment_count,reopen_count,sys_mod_count,made_sla,caller_id,opened_by,opened_at,"
    "sys_created_by,sys_created_at,sys_updated_by,sys_updated_at,contact_type,location,category,subcategory,u_symptom,"
    "cmdb_ci,impact,urgency,priority,assignment_group,assigned_to,knowledge,u_priority_confirmation,notify,problem_id,"
    "rfc,vendor,caused_by,closed_code,resolved_by,resolved_at,closed_at"
)


def version(number: int, count: int, state: str, updated: str) -> str:
    known = {
        "number": f"INC{number:07d}", "incident_state": state, "active": "true", "sys_mod_count": str(count),
        "caller_id": f"Caller {number}", "opened_at": "1/3/2016 10:00", "sys_created_at": "1/3/2016 10:00",
        "sys_updated_at": updated, "priority": "3 - Moderate",
    }  # fmt: skip
    return ",".join(known.get(name, "?") for name in HEADER.split(","))


def test_an_event_log_is_replayed(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    lines = [version(1, 0, "New", "1/3/2016 10:00"), version(1, 1, "Active", "2/3/2016 10:00"),
             version(2, 0, "New", "3/3/2016 10:00")]  # fmt: skip
    log.write_text("\n".join([HEADER, *lines]) + "\n")

    def states() -> list[str]:
        got = ask(server, "table/incident", sysparm_query="ORDERBYnumber", sysparm_fields="state,caller_id.name")
        assert all(row["caller_id.name"].startswith("Caller") for row in got.rows)
        return [row["state"] for row in got.rows]

    with Simulator(event_log=log, at=datetime.fromisoformat("2016-03-01T12:00:00+00:00")).serve() as server:
        assert states() == ["1"]
        moved = ask(server, "/simulator/clock", method="POST", body="2016-03-02 12:00:00", login="")
        assert moved.json["now"].startswith("2016-03-02T12:00:0")
        assert states() == ["2"]
        assert server.sim.move_to(datetime.fromisoformat("2016-03-04T00:00:00+00:00")) == 1
        assert states() == ["2", "1"]
        assert ask(server, "/simulator/clock", method="POST", body="2016-03-01", login="").status == 400

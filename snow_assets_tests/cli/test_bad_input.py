"""What must be fixed first gives one clear line, exit code 2, and nothing in the data folder."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from snow_assets.servicenow.client import Client
from snow_assets.simulator import SimulatorServer
from snow_assets_tests.cli.bad_input import CASES, SECRET, Case
from snow_assets_tests.cli.conftest import Folder

Snapshot = dict[str, tuple[int, bytes | None]]


def snapshot(folder: Path) -> Snapshot:
    """Everything below ``folder``, with times and contents."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
    }


def prepare(folder: Folder, case: Case) -> None:
    """Write what the case gives."""
    files = {**case.files, **({} if case.pulls is None else {"pulls.yaml": case.pulls})}
    for name, content in files.items():
        path = folder.path / name
        path.parent.mkdir(exist_ok=True)
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_mistake_is_one_line_and_changes_nothing(folder: Folder, server: SimulatorServer, case: Case) -> None:
    """The line names key, value and the way out; exit code 2; ``--json`` says the same."""
    prepare(folder, case)
    before = snapshot(folder.path)
    command, *others = (each.replace("{port}", str(server.port)) for each in case.arguments)
    done = (folder.run if case.real else folder.call)(command, "--json", *others, **case.variables)

    assert done.code == 2, done
    assert snapshot(folder.path) == before
    line, end, more = done.err.partition("\n")
    assert (line[:7], end, more) == ("error: ", "\n", ""), done.err
    for word in case.named:
        assert word in line
    assert SECRET not in done.err + done.out
    error = done.json["error"]
    assert error["key"]
    assert error["message"]
    assert error["hint"], line
    assert " ".join(error["message"].split()) in line
    assert done.json["retryable"] is False


def test_a_host_that_refuses_may_be_tried_again(folder: Folder) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = folder.call("pull", "incidents", "--json", SNOW_INSTANCE_URL=f"http://127.0.0.1:{port}")
    assert done.code == 1, done
    assert done.json["retryable"] is True
    assert done.json["error"]["key"] == "SNOW_INSTANCE_URL"
    assert done.json["error"]["value"] == f"http://127.0.0.1:{port}"
    assert len(done.err.strip().splitlines()) == 1
    assert not (folder.path / "data").exists()


@pytest.mark.parametrize(
    ("variables", "key", "value"),
    [
        ({"SNOW_PASSWORD": "geheim"}, "SNOW_USERNAME", "admin"),
        ({"SNOW_TOKEN": "geheim"}, "SNOW_TOKEN", ""),
        ({"SNOW_API_KEY": "geheim"}, "SNOW_API_KEY", ""),
        ({"SNOW_CLIENT_ID": "a-client", "SNOW_CLIENT_SECRET": "geheim"}, "SNOW_CLIENT_ID", "a-client"),
    ],
)
def test_what_was_refused_is_named(folder: Folder, variables: Mapping[str, str], key: str, value: str) -> None:
    done = folder.call("check", "--json", **variables)
    assert done.code == 2, done
    assert (done.json["error"]["key"], done.json["error"]["value"]) == (key, value)
    assert "geheim" not in done.out + done.err


def test_a_request_that_fails_names_its_table(
    folder: Folder, server: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = Client.__init__.__kwdefaults__  # of a command without a pull
    assert waits is not None
    monkeypatch.setitem(waits, "retry_backoff", 0.01)
    server.faults.add(kind="error_500", table="incident")
    done = folder.call("count", "incident", "--json", "--log-level", "error")
    assert done.code == 1, done
    assert (done.json["error"]["key"], done.json["error"]["value"]) == ("table", "incident")


def test_every_problem_of_a_file_is_listed(folder: Folder) -> None:
    path: Path = folder.write("pulls:\n  a: {table: x, pge_size: 1}\n  b: {}\n  c: {table: y, query: JOINx}\n")
    done = folder.call("validate", "--json")
    assert done.code == 2
    assert [problem["key"] for problem in done.json["problems"]] == ["pulls.a.pge_size", "pulls.b.table"]
    assert done.err.count(str(path)) == 2


def test_validate_finds_what_needs_no_network(folder: Folder) -> None:
    folder.write(
        "instance:\n  url: http://dev1.example.com\n  proxy: foo\n  ca_bundle: nosuch.pem\n"
        "pulls:\n  a:\n    table: x\n    query: RLQUERYx\n"
    )
    found = folder.call("validate", "--json", SNOW_INSTANCE_URL="", SNOW_PASSWORD="")
    assert found.code == 2
    lines = found.err.splitlines()
    named = [
        ("SNOW_PASSWORD", "SNOW_USERNAME"),
        ("instance.url", "line 2"),
        ("instance.proxy", "line 3"),
        ("instance.ca_bundle", "nosuch.pem", "line 4"),
        ("pulls.a.query", "line 8"),
    ]
    assert len(lines) == len(named), lines
    for line, words in zip(lines, named, strict=True):
        assert all(word in line for word in words), line
    plain_http = folder.call("validate", SNOW_INSTANCE_URL="http://dev1.example.com", SNOW_PASSWORD="")
    assert "SNOW_INSTANCE_URL 'http://dev1.example.com'" in plain_http.err

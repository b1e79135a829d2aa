"""What must be fixed first gives one clear line, exit code 2, and nothing in the data folder."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from snow_assets.simulator import SimulatorServer
from snow_assets_tests.cli.conftest import Folder

# A case: pulls.yaml, variables, what the line must name.
CASES: dict[str, tuple[str, Mapping[str, str], tuple[str, ...]]] = {
    "wrong password": ("", {"SNOW_PASSWORD": "geheim"}, ("credentials", "SNOW_USERNAME", "admin")),
    "unknown host": (
        "",
        {"SNOW_INSTANCE_URL": "https://no-such-instance.invalid"},
        ("unknown_host", "no-such-instance.invalid"),
    ),
    "not a url": ("", {"SNOW_INSTANCE_URL": "dev1"}, ("SNOW_INSTANCE_URL", "dev1", "https://")),
    "no instance": ("", {"SNOW_INSTANCE_URL": ""}, ("SNOW_INSTANCE_URL",)),
    "half of the credentials": ("", {"SNOW_PASSWORD": ""}, ("SNOW_PASSWORD", "SNOW_USERNAME")),
    "unknown table": ("pulls: {incidents: {table: incidnt}}", {}, ("table", "incidnt")),
    "unknown key": ("pulls: {incidents: {table: incident, pge_size: 5}}", {}, ("pge_size", "line 1", "page_size?")),
    "unknown field in the query": (
        "pulls: {incidents: {table: incident, query: nosuch=1^active=true}}",
        {},
        ("query", "nosuch", "drop"),
    ),
    "unknown field": ("pulls: {incidents: {table: incident, fields: [nosuch]}}", {}, ("fields", "nosuch")),
    "a query that nobody can slice": (
        "pulls: {incidents: {table: incident, query: 123TEXTQUERY321=mail}}",
        {},
        ("query", "123TEXTQUERY321"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_pull_that_cannot_work_says_so_in_one_line(folder: Folder, case: str) -> None:
    pulls, variables, named = CASES[case]
    if pulls:
        folder.write(pulls)
    done = folder.run("pull", "incidents", "--json", **variables)
    assert done.code == 2, done
    lines = done.err.strip().splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("error: ")
    for word in named:
        assert word in lines[0]
    assert "geheim" not in done.err + done.out
    assert {"key", "value", "hint"} <= set(done.json["error"])
    assert done.json["retryable"] is False
    assert not (folder.path / "data").exists()


def test_an_unwritable_data_folder_is_named(folder: Folder) -> None:
    (folder.path / "file").write_text("not a folder")
    done = folder.run("pull", "incidents", "--data", "file/data", "--json")
    assert done.code == 2, done
    assert done.json["error"]["key"] == "data"
    assert str(folder.path / "file") in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert (folder.path / "file").read_text() == "not a folder"


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


def test_a_request_that_fails_names_its_table(folder: Folder, server: SimulatorServer) -> None:
    server.faults.add(kind="error_500", table="incident")
    done = folder.call("count", "incident", "--json", "--log-level", "error")
    assert done.code == 1, done
    assert (done.json["error"]["key"], done.json["error"]["value"]) == ("table", "incident")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("pul",), "pull?"),
        (("pull",), "--all"),
        (("pull", "incidents", "--all"), "--all"),
        (("pull", "incident"), "did you mean incidents?"),
        (("pull", "incidents", "--accept", "20200101T000000Z"), "--accept"),
        (("files",), "NAME"),
        (("files", "incidents"), "nothing is published"),
        (("sql", "select * from incidents"), "nothing is published"),
        (("status", "incident"), "did you mean incidents?"),
        (("validate", "--pulls", "nosuch.yaml"), "nosuch.yaml"),
        (("count", "incident", "--query", "nosuch=1"), "nosuch"),
        (("count", "a/b"), "a/b"),
        (("simulate", "--rows", "incident"), "incident"),
        (("simulate", "--rows", "nosuch=5"), "nosuch"),
        (("simulate", "--at", "yesterday"), "yesterday"),
        (("init",), "exists already"),
        (("jsonl", "incidents", "--out", "no/such/folder/x"), "--out"),
        (("status", "--log-level", "loud"), "loud"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_arguments(folder: Folder, arguments: tuple[str, ...], named: str) -> None:
    before = sorted(path.name for path in folder.path.iterdir())
    done = folder.call(*arguments, "--json")
    assert done.code == 2, done
    assert named in done.err
    assert "Traceback" not in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert done.json["error"]["message"]
    assert sorted(path.name for path in folder.path.iterdir()) == before


def test_every_problem_of_a_file_is_listed(folder: Folder) -> None:
    path: Path = folder.write("pulls:\n  a: {table: x, pge_size: 1}\n  b: {}\n  c: {table: y, query: JOINx}\n")
    done = folder.call("validate", "--json")
    assert done.code == 2
    assert [problem["key"] for problem in done.json["problems"]] == ["pulls.a.pge_size", "pulls.b.table"]
    assert done.err.count(str(path)) == 2


def test_validate_finds_what_needs_no_network(folder: Folder) -> None:
    folder.write(
        "instance:\n  url: http://dev1.example.com\n  proxy: foo\n  ca_bundle: nosuch.pem\n"
        "defaults:\n  key: [number]\n"
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
        ("pulls.a.query", "line 10"),
        ("pulls.a.key", "number", "line 6"),
    ]
    assert len(lines) == len(named), lines
    for line, words in zip(lines, named, strict=True):
        assert all(word in line for word in words), line
    plain_http = folder.call("validate", SNOW_INSTANCE_URL="http://dev1.example.com", SNOW_PASSWORD="")
    assert "SNOW_INSTANCE_URL 'http://dev1.example.com'" in plain_http.err

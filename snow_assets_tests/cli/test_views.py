"""A database view through the command line: planned, pulled by its key, looked at, written out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from snow_assets.simulator import Simulator
from snow_assets_tests.cli.conftest import Folder, variables_of
from snow_assets_tests.pulls.test_keyed import VIEW, people

PULLS = """\
defaults: {page_size: 100, retry_backoff: 0.01, max_retries: 1}
pulls:
  members: {table: u_membership, key: [grp_name, usr_user_name], fields: [mem_sys_id, usr_name]}
  unnamed: {table: u_membership}
  misnamed: {table: u_membership, key: [mem_sysid]}
  shown: {table: u_membership, key: [mem_sys_id], display_value: "true"}
"""


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    with Simulator(tables=people()).serve() as server:
        folder = Folder(tmp_path_factory.mktemp("views"), variables_of(server))
        folder.write(PULLS)
        yield folder


def test_a_view_from_plan_to_json_lines(views: Folder) -> None:
    planned = views.call("plan", "members", "--json").json
    assert (planned["counted"], planned["slices"], planned["at_a_time"]) == (240, 1, 1)
    assert planned["fields"] == ["grp_name", "usr_user_name", "mem_sys_id", "usr_name"]

    done = views.call("pull", "members", "--json")
    assert done.code == 0, done.err
    told = done.json
    assert (told["counted"], told["landed"], told["missing"], told["published"]) == (240, 240, 0, True)
    assert [difference["cause"] for difference in told["differences"]] == ["read_by_key"]

    [file] = views.call("files", "members").out.split()
    assert Path(file).is_file()
    assert "published" in views.call("status", "members").out
    lines = views.call("jsonl", "members").out.splitlines()
    assert len({json.loads(line)["mem_sys_id"]["value"] for line in lines}) == 240
    counted = views.call("sql", "select count(distinct mem_sys_id) as n from members", "--json")
    assert "240" in counted.out
    assert views.call("count", VIEW, "--query", "grp_active=true").out.strip() == "120"


@pytest.mark.parametrize(
    ("pull", "words"),
    [
        ("unnamed", ["table 'u_membership'", "set key"]),
        ("misnamed", ["key 'mem_sysid'", "no such field"]),
        ("shown", ["display_value 'true'"]),
    ],
)
def test_what_cannot_be_pulled_is_one_line_with_exit_code_2(views: Folder, pull: str, words: list[str]) -> None:
    for command in ("plan", "pull"):
        done = views.call(command, pull)
        assert done.code == 2, (command, done)
        [line] = [line for line in done.err.splitlines() if "u_membership" in line or "display_value" in line]
        assert all(word in line for word in words), line
    assert not (views.path / "data" / pull).exists()


def test_validate_says_so_without_asking(views: Folder) -> None:
    done = views.call("validate", SNOW_INSTANCE_URL="http://127.0.0.1:9")
    assert done.code == 2
    assert "pulls.shown.display_value" in done.err + done.out
    assert "misnamed" not in done.err

"""The demonstration, and that it touches nothing of the user's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from snow_assets.cli.demo_files import PULLS
from snow_assets_tests.cli.conftest import Folder


def in_this_process(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdout: Any, **_: Any
) -> subprocess.CompletedProcess[str]:
    """What the demonstration starts, without the start of an interpreter and of Dagster for each command."""
    assert command[:3] == [sys.executable, "-m", "snow_assets.cli.main"]
    done = Folder(cwd, dict(env)).call(*command[3:])
    stdout.write(done.out)
    sys.stderr.write(done.err)
    return subprocess.CompletedProcess(command, done.code)


@pytest.mark.parametrize(
    "processes", [pytest.param(True, marks=pytest.mark.slow, id="processes"), pytest.param(False, id="one process")]
)
def test_the_demonstration_pulls_fails_resumes_and_sums_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: bool
) -> None:
    made = Folder(tmp_path, {"SNOW_INSTANCE_URL": "https://mine.invalid", "SNOW_USERNAME": "me", "SNOW_PASSWORD": "x"})
    own = made.write("pulls: {mine: {table: incident}}")
    (tmp_path / "data").mkdir()
    if not processes:
        monkeypatch.setattr("snow_assets.cli.demo.PULLS", PULLS.replace("retry_backoff: 0.05", "retry_backoff: 0.001"))
        monkeypatch.setattr("snow_assets.cli.demo.subprocess", SimpleNamespace(run=in_this_process))
    done = (made.run if processes else made.call)("demo", "--rows", "4000", "--json")
    assert done.code == 0, done.err
    pulls = {each["pull"]: each for each in done.json["pulls"]}
    assert set(pulls) == {"incidents", "incidents_active", "incidents_closed"}
    assert pulls["incidents"]["landed"] == 4000
    assert sum(pulls["incidents"]["faults"].values()) >= 3
    assert " slices failed, " in done.err
    assert all(Path(each["receipt"]).is_file() for each in pulls.values())
    imports = {each["import"]: each for each in done.json["imports"]}
    assert {name: each["inserts"] for name, each in imports.items()} == {
        "locations": 40,
        "people": 400,
        "incidents": 3000,
        "sites_to_instance": 40,
        "people_to_instance": 400,
        "incidents_to_instance": 3002,
    }
    assert [imports["incidents"][each] for each in ("errors", "rejected")] == [2, 1]
    assert imports["people"]["updates"] == 40
    with duckdb.connect(str(tmp_path / "demo" / "data" / "targets.duckdb"), read_only=True) as connection:
        callers = "select count(*) from incidents join people on people.sys_id = caller_id where opened_at is not null"
        assert connection.execute(callers).fetchone() == (3000,)
    assert (own.read_text(), list((tmp_path / "data").iterdir())) == ("pulls: {mine: {table: incident}}", [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "demo", "pulls.yaml"]
    assert (tmp_path / "demo" / "workspace.yaml").is_file()


def test_a_folder_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    made = Folder(tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").write_text("years of work")
    done = made.call("demo", "--json")
    assert done.code == 2
    assert done.json["error"]["key"] == "--folder"
    assert (tmp_path / "demo" / "thesis.txt").read_text() == "years of work"

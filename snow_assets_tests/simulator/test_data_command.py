"""``python -m snow_assets.simulator``: what it prints, what it refuses, and that a signal ends it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from snow_assets.simulator.__main__ import main

ROOT = Path(__file__).parents[2]


def test_it_serves_until_a_signal_comes(tmp_path: Path) -> None:
    faults = tmp_path / "faults.yaml"
    faults.write_text("- {kind: html_503, times: 1}\n", encoding="utf-8")
    command = [sys.executable, "-m", "snow_assets.simulator", "--rows", "incident=7", "--at", "2026-03-11T12:00:00"]
    with subprocess.Popen([*command, "--faults", str(faults)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url, user, password = process.stdout.readline().split()
        with requests.Session() as session:
            session.auth, session.trust_env = (user, password), False
            assert session.get(f"{url}/api/now/table/incident").status_code == 503
            answer = session.get(f"{url}/api/now/table/incident")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert answer.headers["X-Total-Count"] == "7"
    assert answer.headers["Date"].startswith("Wed, 11 Mar 2026 12:0")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "incident"], "'incident' is not TABLE=N"),
        (["--rows", "incident=-4"], "is not TABLE=N"),
        (["--rows", "incidents=4"], "did you mean incident"),
        (["--at", "yesterday"], "yesterday"),
        (["--event-log", "/nowhere/log.csv"], "/nowhere/log.csv"),
        (["--faults", "/nowhere/faults.yaml"], "/nowhere/faults.yaml"),
    ],
)
def test_one_line_says_what_is_wrong(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]

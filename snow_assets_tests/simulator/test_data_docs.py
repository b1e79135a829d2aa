"""docs/simulator.md: its Python runs as it stands, and its list of faults is the simulator's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from snow_assets.simulator.fault_kinds import KINDS
from snow_assets.simulator.faults import read_rules
from snow_assets.simulator.knobs import Knobs

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/simulator.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.strip().splitlines()[-1].strip()[:40])
def test_examples_run(code: str, tmp_path: Path) -> None:
    path = tmp_path / "test_example.py"
    path.write_text(code, encoding="utf-8")
    # The fixture is found by the installed package's entry point; naming the plugin too does no harm.
    runner = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if "def test_" in code else []
    environment = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    if runner:
        environment["PYTEST_PLUGINS"] = "snow_assets.simulator.pytest_plugin"
    run = subprocess.run(
        [sys.executable, *runner, str(path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_all_kinds_of_fault_are_listed() -> None:
    rows = TEXT.partition("| group | kinds |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"`(\w+)`", rows)) == sorted(KINDS)


def test_the_rules_shown_are_rules() -> None:
    for text in blocks("yaml"):
        for rule in read_rules(text):
            assert rule["kind"] in KINDS


def test_the_knobs_named_exist() -> None:
    rows = TEXT.partition("| knob | default | else |\n")[2].partition("\n\n")[0]
    named = {name for line in rows.splitlines()[1:] for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert named
    assert all(hasattr(Knobs(), name) for name in named)

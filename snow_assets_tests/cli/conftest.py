"""The real command in a process of its own, against one simulated instance."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from snow_assets.simulator import Simulator, SimulatorServer

ROWS = 700

PULLS = """\
defaults: {page_size: 100, retry_backoff: 0.01, max_retries: 1}
pulls:
  incidents: {table: incident}
  active: {table: incident, query: active=true, fields: [number, state, caller_id]}
"""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on stdout."""
        return json.loads(self.out)


@dataclass
class Folder:
    """A working folder, and the command run in it. The machine's own settings do not shine through."""

    path: Path
    variables: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snow_assets.cli.main", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SNOW_", "DAGSTER_"))}
        return {**kept, **self.variables}

    def run(self, *arguments: str, **variables: str) -> Done:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.path,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def call(self, *arguments: str, **variables: str) -> Done:
        """Like ``run``, in this process: for commands whose start is not what is tested."""
        from snow_assets.cli.main import run

        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        root = logging.getLogger()
        before = (Path.cwd(), dict(os.environ), root.handlers[:], root.level)
        os.environ.clear()
        os.environ.update({**self.environment, **variables})
        os.chdir(self.path)
        try:
            with warnings.catch_warnings(), redirect_stdout(out), redirect_stderr(err):
                code = run(arguments)
        finally:
            os.chdir(before[0])
            os.environ.clear()
            os.environ.update(before[1])
            root.handlers[:] = before[2]
            root.setLevel(before[3])
        return Done(code, *(_text(stream) for stream in (out, err)))

    def write(self, text: str, name: str = "pulls.yaml") -> Path:
        path = self.path / name
        path.write_text(text, encoding="utf-8")
        return path


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


@pytest.fixture(scope="session")
def server() -> Iterator[SimulatorServer]:
    with Simulator({"incident": ROWS}, seed=7).serve() as running:
        yield running


def variables_of(server: SimulatorServer) -> dict[str, str]:
    return {"SNOW_INSTANCE_URL": server.url, "SNOW_USERNAME": server.username, "SNOW_PASSWORD": server.password}


@pytest.fixture
def folder(tmp_path: Path, server: SimulatorServer) -> Iterator[Folder]:
    """A folder with two pulls and credentials; faults are cleared afterwards."""
    made = Folder(tmp_path, variables_of(server))
    made.write(PULLS)
    yield made
    server.faults.clear()


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory, server: SimulatorServer) -> Folder:
    """A folder in which both pulls have been published."""
    made = Folder(tmp_path_factory.mktemp("pulled"), variables_of(server))
    made.write(PULLS)
    done = made.call("pull", "--all")
    assert (done.code, done.err) == (0, ""), done
    return made

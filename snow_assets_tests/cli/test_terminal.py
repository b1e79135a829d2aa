"""On a terminal: a progress bar, on stderr alone; in a shell: completion."""

from __future__ import annotations

import os
import pty
import re
import subprocess

import pytest

from snow_assets_tests.cli.conftest import ROWS, Folder


def on_a_terminal(folder: Folder, *arguments: str, **variables: str) -> tuple[str, str]:
    """stdout, and what a terminal as stderr got."""
    ours, theirs = pty.openpty()
    environment = {**folder.environment, "TERM": "xterm-256color", "COLUMNS": "160", **variables}
    with subprocess.Popen(
        folder.command(*arguments), cwd=folder.path, env=environment, stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                read = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not read:
                break
            shown += read
        assert process.stdout is not None
        out = process.stdout.read()
        assert process.wait(60) == 0, shown
    os.close(ours)
    return out.decode(), shown.decode()


@pytest.mark.slow
def test_a_pull_draws_rows_and_slices_on_stderr(folder: Folder) -> None:
    out, shown = on_a_terminal(folder, "pull", "incidents", NO_COLOR="1")
    assert out.startswith(f"incidents: {ROWS} rows published")
    assert "\x1b" not in out
    assert f"{ROWS}/{ROWS} rows" in shown
    assert "slices 7/7" in shown or "slices 8/8" in shown
    assert "rows/s" in shown
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", shown)  # NO_COLOR


def test_the_shell_completes_commands_and_pulls(folder: Folder) -> None:
    def complete(words: str, index: int) -> list[str]:
        variables = {"_SNOW_ASSETS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(index)}
        return [line.split(",", 1)[1] for line in folder.run(**variables).out.splitlines()]

    assert complete("snow-assets pu", 1) == ["pull"]
    assert complete("snow-assets pull in", 2) == ["incidents"]

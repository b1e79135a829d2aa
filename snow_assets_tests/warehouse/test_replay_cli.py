"""The same by the real command: each sync a process of its own, each verdict from what it left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snow_assets.config import PullConfig
from snow_assets.pulls import Landing, Plan
from snow_assets.pulls.current import Current, current
from snow_assets.pulls.sweep import Sweep, read_sweep
from snow_assets.simulator import SimulatorServer
from snow_assets_tests.cli.conftest import Done, Folder, variables_of
from snow_assets_tests.warehouse.replay_log import FIELDS, read_log, write_small_log
from snow_assets_tests.warehouse.replay_stories import Fate, begun, told

KEYS = ("table", "query", "mode", "deletes", "page_size", "slice_rows", "max_workers", "retry_backoff", "verify_every")


class Commands:
    """Syncs by ``snow-assets pull`` in a folder of its own."""

    def __init__(self, path: Path) -> None:
        self.folder = Folder(path)
        self.done: list[Done] = []

    def __call__(self, server: SimulatorServer, pull: PullConfig, landing: Landing) -> tuple[Plan, Sweep, Current]:
        config = {"fields": list(FIELDS), **{key: getattr(pull, key) for key in KEYS}}
        self.folder.write(json.dumps({"pulls": {pull.name: config}}))  # JSON is YAML
        done = self.folder.run("pull", pull.name, **variables_of(server))
        self.done.append(done)
        assert done.code == 0, done.err
        rows = current(landing)
        assert rows is not None
        swept = read_sweep(landing, rows.plan)
        assert swept is not None
        return landing.read_plan(rows.plan), swept, rows


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_syncs_by_the_command_equal_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.csv.gz"
    write_small_log(log, incidents=600)
    commands = Commands(tmp_path)
    with begun(log, read_log(log), tmp_path / "data", syncing=commands) as story:
        side = story.side("active", query="active=true", deletes="both")
        told(story, 1, 3, lambda _: None, Fate(1))
        assert [line.wrongs for line in story.lines if line.wrongs] == []
        story.delete(min(story.truth.rows))
        story.sim.prune_deletions(story.now)
        story.sync(side)
        assert story.lines[-1].wrongs == []
        assert "unknown before" in commands.done[-1].err + commands.done[-1].out

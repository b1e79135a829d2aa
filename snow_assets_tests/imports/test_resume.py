"""What a process that died leaves is taken up by another: the same target, and counters that add up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from snow_assets.errors import ConfigError, ImportFailed, LoadUnfinished, TransformFailed
from snow_assets.imports import flow
from snow_assets.imports.contract import Counters
from snow_assets.imports.workspace import Workspace
from snow_assets_tests.imports.crashing import DEAD, POINTS
from snow_assets_tests.imports.loads import Imports, numbered

ROWS = [(f"k{i % 30}", f"name {i}") for i in range(90)]  # each key three times: the last one wins
QUICK = ("committed",)
WHOLE = "SELECT id, name, sys_domain, sys_mod_count >= 0 FROM people ORDER BY id"


@pytest.mark.parametrize(
    "point", [pytest.param(each, marks=[] if each in QUICK else pytest.mark.slow) for each in POINTS]
)
def test_a_process_that_dies_anywhere_is_taken_up_by_another(imports: Imports, tmp_path: Path, point: str) -> None:
    keys: dict[str, Any] = {"partition": {"key": "id"}}
    config = imports.declare("people", ROWS, **keys)
    imports.declare("after", [("a", "b")], parent="people")
    declared = json.dumps({"people": keys, "after": {"parent": "people"}})
    command = [sys.executable, "-m", "snow_assets_tests.imports.crashing", str(tmp_path), point, declared]
    died = subprocess.run(command, check=False, capture_output=True, text=True)
    assert died.returncode == DEAD, died.stderr
    with imports.open() as workspace:
        finished = flow.resume(workspace, "people")
        assert finished[0].load.state == "processed"
        assert finished[0].counters.total == finished[0].counters.accounted == 90
        assert [each.load.name for each in finished] == ["people", "after"]
        again = flow.finish(config, workspace, finished[0].load.load_id)
        assert (again.counters, again.released) == (finished[0].counters, None)
    assert imports.target(WHOLE) == [(f"k{i}", f"name {i + 60}", "global", True) for i in sorted(range(30), key=str)]
    assert imports.target("SELECT count(*) FROM after") == [(1,)]


def failing(imports: Imports, tmp_path: Path, *, fail: bool, **keys: Any) -> None:
    """An import whose third set fails in its hook."""
    body = "    if context.set_no == 3:\n        raise ValueError('no')\n" if fail else "    pass\n"
    (tmp_path / "hooks.py").write_text(f"def start(context):\n{body}")
    transform = {"fields": {"id": "id", "name": "name"}, "hooks": {"on_start": f"{tmp_path}/hooks.py:start"}}
    imports.declare("people", numbered(20), transform=transform, **keys)


def states(workspace: Workspace) -> list[tuple[str, str, int]]:
    sets = workspace.books.sets(workspace.load("people"))
    return [(each.job.type, each.job.state, each.job.retry_count) for each in sets if each.job]


def test_a_set_that_failed_is_resumed_alone(imports: Imports, tmp_path: Path) -> None:
    failing(imports, tmp_path, fail=True)
    with imports.open() as workspace:
        [failed] = flow.run_import(workspace, "people")
        assert failed.load.state == "error"
        assert list(failed.failed) == [f"{failed.load.load_id}/0003"]
        assert "ValueError: no" in failed.load.error
        assert failed.counters == Counters(15, inserts=15)
        failing(imports, tmp_path, fail=False)
    with imports.open() as workspace:
        [resumed] = flow.resume(workspace, "people")
        assert (resumed.load.state, resumed.counters) == ("processed", Counters(20, inserts=20))
        done = ("regular", "completed", 0)
        assert states(workspace) == [done, done, ("resuming", "completed", 1), done]
    assert imports.target("SELECT count(*) FROM people") == [(20,)]


def test_a_reprocess_applies_all_rows_again_and_doubles_none(imports: Imports) -> None:
    config = imports.declare("people", numbered(20), coalesce=[])
    with imports.open() as workspace:
        [first] = flow.run_import(workspace, "people")
        assert first.counters == Counters(20, inserts=20)
        again = flow.reprocess(workspace, "people", set_nos=[2])
        assert again.counters == Counters(20, inserts=15, ignored=5)
        assert states(workspace)[1] == ("reprocessing", "completed", 0)
        again = flow.reprocess(workspace, "people")
        assert again.counters == Counters(20, ignored=20)
        assert flow.finish(config, workspace, first.load.load_id).counters == again.counters
    assert imports.target("SELECT count(*) FROM people") == [(20,)]


@pytest.mark.slow
def test_an_older_load_is_not_put_over_a_newer_one_unless_forced(imports: Imports) -> None:
    imports.declare("people", numbered(4))
    with imports.open() as workspace:
        [old] = flow.run_import(workspace, "people")
        [new] = flow.run_import(workspace, "people")
        for again in (flow.resume, flow.reprocess):
            with pytest.raises(ConfigError, match=rf"load {new.load.load_id} is newer"):
                again(workspace, "people", old.load.load_id)
        assert flow.reprocess(workspace, "people", old.load.load_id, force=True).counters.total == 4


def test_a_set_of_a_finished_load_is_not_there_for_the_taking(imports: Imports) -> None:
    config = imports.declare("people", numbered(4))
    with imports.open() as workspace:
        [done] = flow.run_import(workspace, "people")
        with pytest.raises(LoadUnfinished, match=r"is processed \(snow-assets imports resume people"):
            list(flow.transform(config, workspace, done.load.load_id, [1]))
        with pytest.raises(ConfigError, match="no such import set"):
            flow.reprocess(workspace, "people", set_nos=[9])


def test_a_load_keeps_the_domain_that_it_was_staged_in(imports: Imports) -> None:
    config = imports.declare("people", numbered(4), domain="north")
    with imports.open() as workspace:
        load = flow.stage(config, workspace)
        assert load.sys_domain == "north"
        config = imports.declare("people", domain="south")
        with pytest.raises(ConfigError, match="was staged in the domain north"):
            list(flow.transform(config, workspace, load.load_id))


def test_a_set_that_a_live_worker_has_is_left_to_it(imports: Imports) -> None:
    config = imports.declare("people", numbered(4))
    with imports.open() as workspace:
        load = flow.stage(config, workspace)
        with imports.open() as other, other.working(load, 2):
            outcomes = {each.set_no: each for each in flow.transform(config, workspace, load.load_id)}
        assert [outcomes[i].state for i in (1, 2, 3, 4)] == ["done", "failed", "done", "done"]
        assert isinstance(outcomes[2].error, LoadUnfinished)
        with pytest.raises(LoadUnfinished, match="is loaded and not finished"):
            flow.finish(config, workspace, load.load_id)
        [rest] = flow.transform(config, workspace, load.load_id)
        assert (rest.set_no, rest.state, rest.last) == (2, "done", True)
        assert flow.finish(config, workspace, load.load_id).counters.total == 4


def test_counters_that_do_not_add_up_are_loud_and_name_the_set(
    imports: Imports, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = imports.declare("people", numbered(8))
    with imports.open() as workspace:
        load = flow.stage(config, workspace)
        done = workspace.books.done

        def loses(taken: Any, applied: Any, seconds: float) -> None:
            lost = (
                Counters(2, inserts=1) if applied.counters.total == 2 and taken.job.endswith("2") else applied.counters
            )
            done(taken, type(applied)(applied.attempt, lost), seconds)

        monkeypatch.setattr(workspace.books, "done", loses)
        list(flow.transform(config, workspace, load.load_id))
        with pytest.raises(ImportFailed, match=rf"import set {load.load_id}/0002 has 2 rows, 1 have an outcome"):
            flow.finish(config, workspace, load.load_id)
        assert workspace.load("people").state == "error"


def test_what_fails_all_sets_is_told_for_each(imports: Imports) -> None:
    config = imports.declare(
        "people", numbered(4), transform={"sql": "SELECT *, CAST('x' || id AS INTEGER) AS n FROM staging"}
    )
    with imports.open() as workspace:
        load = flow.stage(config, workspace)
        outcomes = list(flow.transform(config, workspace, load.load_id))
        assert {each.state for each in outcomes} == {"failed"}
        assert all(isinstance(each.error, ConfigError | TransformFailed) for each in outcomes)
        assert sum(each.last for each in outcomes) == 1

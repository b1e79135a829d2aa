"""A log replayed while delta pulls follow it: current rows and history equal its truth. `make replay` prints it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from snow_assets_tests import replay
from snow_assets_tests.warehouse.replay import Line, Story
from snow_assets_tests.warehouse.replay_log import Version, read_log, write_small_log
from snow_assets_tests.warehouse.replay_stories import begun, fateful, plain


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "log.csv.gz"
    write_small_log(path, incidents=600)
    return path


@pytest.fixture(scope="module")
def versions(log: Path) -> list[Version]:
    return read_log(log)


def silent(_: Line) -> None:
    """Nobody looks on."""


def wrongs(story: Story) -> list[str]:
    return [
        f"{line.pull} at {line.moment}, {line.kind}: {'; '.join(line.wrongs)}" for line in story.lines if line.wrongs
    ]


def test_current_rows_and_history_equal_the_log(log: Path, versions: list[Version], tmp_path: Path) -> None:
    story = plain(log, versions, tmp_path, seed=1, deltas=4, tell=silent)
    assert wrongs(story) == []
    assert {"base", "delta", "delta, busy", "split", "verify"} <= {line.kind for line in story.lines}
    assert sum(line.left for line in story.lines if line.pull == "active") > 20
    assert sum(line.mended for line in story.lines if "busy" not in line.kind) == 0
    assert not any(line.unknown for line in story.lines)


@pytest.mark.slow
def test_deletions_and_other_classes_equal_what_was_done(log: Path, versions: list[Version], tmp_path: Path) -> None:
    story = fateful(log, versions, tmp_path, seed=1, deltas=2, tell=silent, ways=("by_both",))
    assert wrongs(story) == []
    assert min(len(story.truth.deleted), len(story.truth.reclassified)) > 0
    assert all(any(line.deleted for line in story.lines if line.pull == name) for name in story.sides)
    assert any(line.mended for line in story.lines)


def test_a_wrong_row_is_told(log: Path, versions: list[Version], tmp_path: Path) -> None:
    with begun(log, versions, tmp_path) as story:
        side = story.side("incidents")
        story.sync(side)
        first, second = sorted(story.truth.rows)[:2]
        story.truth.change(first, category="never seen")
        story.truth.delete(second, story.now)
        [differs, gone] = sorted(story.sync(side).wrongs)
        assert differs == f"1 differ in category: ['{first}']"
        assert gone == f"1 should be gone: ['{second}']"


def test_where_there_is_no_log_nothing_is_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay.main(["--log", str(tmp_path / "none.csv")]) == 2
    assert "SNOW_EVENT_LOG" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(replay.real_log() is None, reason="the real event log is not here")
@pytest.mark.parametrize(("tale", "deltas"), [(plain, 30), (fateful, 12)])
def test_the_real_log_equals_its_truth(tale: Callable[..., Story], deltas: int, tmp_path: Path) -> None:
    log = replay.real_log()
    assert log is not None
    assert wrongs(tale(log, read_log(log), tmp_path, seed=1, deltas=deltas, tell=silent)) == []

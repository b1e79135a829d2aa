"""A process that is killed between any two steps leaves what the next one needs: same rows, once, nothing half done."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from snow_assets.pulls import Landing, published, pull_status, read_totals
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.pulls.asked import only_of, ranges_asked
from snow_assets_tests.pulls.crashing import NAME, POINTS, Scene, by_cli, by_dagster, by_library, in_a_process

ROWS = 1_000
Drive = Callable[..., None]


@pytest.fixture(scope="module")
def still() -> Iterator[SimulatorServer]:
    """An instance whose rows do not change."""
    with Simulator(rows={"incident": ROWS}, seed=5).serve() as server:
        yield server


@pytest.fixture(scope="module")
def undisturbed(still: SimulatorServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the rows."""
    scene = _scene(still, tmp_path_factory.mktemp("undisturbed"))
    assert in_a_process(by_library, scene) == 0
    return _digest(Landing.open(str(scene.data), NAME))


def _scene(server: SimulatorServer, folder: Path) -> Scene:
    return Scene(folder / "data", server.url, server.username, server.password)


def _digest(landing: Landing) -> str:
    dataset = published(landing)
    assert dataset is not None
    totals = read_totals(landing, dataset.plan)
    assert totals is not None
    with duckdb.connect() as connection:
        query = f"select count(*), count(distinct sys_id.value) from read_parquet({list(dataset.files)})"
        assert connection.execute(query).fetchall() == [(ROWS, ROWS)]
    return totals.digest


def _crash_and_go_on(scene: Scene, drive: Drive, point: str) -> Landing:
    """Kill a pull at ``point``, look at what it left, and pull again."""
    landing = Landing.open(str(scene.data), NAME)
    retiring = "old plan" in point
    if retiring:  # there must be one to remove: unfinished, with some slices
        assert in_a_process(drive, scene, "between rename and event") == -signal.SIGKILL
    assert in_a_process(drive, scene, point, retiring) == -signal.SIGKILL
    left = pull_status(NAME, landing)
    assert left.running is None
    plan = landing.latest_plan()
    if plan is not None:
        assert all(landing.is_intact(file) for file in landing.all_landed(plan).values())
    assert in_a_process(drive, scene) == 0
    if plan is not None and left.state != "published":
        assert pull_status(NAME, landing).plan == plan.plan_id, "the plan did not go on"
    return landing


def _nothing_is_left_over(landing: Landing) -> None:
    root = Path(landing.location)
    assert [path.name for path in root.parent.rglob(".*")] == []
    kept = {path.name for path in root.iterdir()} - {"_delta_log"}
    assert kept == set(landing.plan_ids())


# Of neighbours one is among the quick ones; all are beside Dagster's and the command's.
ALSO = {
    "before a slice's temp file",
    "between link and unlink",
    "before plan.json has its name",
    "in totals.json",
    "before old plans are removed",
}


@pytest.mark.parametrize(
    "point", [pytest.param(point, marks=pytest.mark.slow) if point in ALSO else point for point in POINTS]
)
def test_a_pull_that_was_killed_goes_on(still: SimulatorServer, tmp_path: Path, undisturbed: str, point: str) -> None:
    landing = _crash_and_go_on(_scene(still, tmp_path), by_library, point)
    assert _digest(landing) == undisturbed
    _nothing_is_left_over(landing)
    assert len(landing.plan_ids()) == (2 if point == "after the commit" else 1)


EVERY = [(drive, point) for drive in (by_cli, by_dagster) for point in (*POINTS, "before the partitions are added")]


@pytest.mark.slow
@pytest.mark.parametrize(("drive", "point"), EVERY)
def test_a_run_of_dagster_that_was_killed_is_gone_on_with(
    still: SimulatorServer, tmp_path: Path, undisturbed: str, drive: Drive, point: str
) -> None:
    landing = _crash_and_go_on(_scene(still, tmp_path), drive, point)
    assert _digest(landing) == undisturbed
    if drive is by_cli:
        _nothing_is_left_over(landing)


IN_TURNS = [(by_library, by_cli), (by_library, by_dagster), (by_cli, by_library), (by_dagster, by_library)]


@pytest.mark.slow
@pytest.mark.parametrize(("begins", "finishes"), IN_TURNS)
def test_a_pull_that_was_killed_is_gone_on_with_by_another_driver(
    still: SimulatorServer, tmp_path: Path, undisturbed: str, begins: Drive, finishes: Drive
) -> None:
    scene = _scene(still, tmp_path)
    landing = Landing.open(str(scene.data), NAME)
    assert in_a_process(begins, scene, "between rename and event") == -signal.SIGKILL
    plan = landing.latest_plan()
    assert plan is not None
    missing = set(plan.slices) - set(landing.all_landed(plan))
    assert 0 < len(missing) < len(plan.slices)
    still.requests.clear()

    assert in_a_process(finishes, scene) == 0

    assert only_of(missing, ranges_asked(still))
    assert pull_status(NAME, landing).published_plan == plan.plan_id
    assert _digest(landing) == undisturbed

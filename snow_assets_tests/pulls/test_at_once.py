"""Several drivers of one landing at the same time: one works, the others wait or refuse, and nothing is spoiled."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snow_assets.errors import LandingError, LeaseHeld, RunAgain, SnowError
from snow_assets.pulls import Failed, Landed, Landing, land_slices, lease, pull_status, reconcile
from snow_assets.pulls.lease import lease_holder
from snow_assets.pulls.writer import SliceWriter
from snow_assets.simulator import SimulatorServer
from snow_assets_tests.pulls.conftest import Workbench
from snow_assets_tests.pulls.crashing import NAME, Scene, by_library, die, in_a_process

HELD = 7


def _scene(bench: Workbench) -> Scene:
    return Scene(bench.data, bench.server.url, bench.server.username, bench.server.password)


def _pull_or_refuse(scene: Scene) -> None:
    """Exit code 7 where another one holds the lease, and is named."""
    import os

    try:
        by_library(scene)
    except LeaseHeld as error:
        os._exit(HELD if "test process" in str(error) else 8)


def test_a_second_pull_refuses_and_names_the_first(own: Workbench) -> None:
    with lease(own.landing, "test process"):
        plan = own.plan().plan
        own.land(plan, plan.slices[:2])
        before = own.asked()
        assert in_a_process(_pull_or_refuse, _scene(own)) == HELD
        assert own.asked() == before
        own.land(plan)
        reconcile(plan, own.landing, own.pull)
    assert in_a_process(_pull_or_refuse, _scene(own)) == 0
    assert pull_status(NAME, own.landing).published_rows == 1200


def _take_and_die(scene: Scene) -> None:
    with lease(Landing.open(str(scene.data), NAME), "somebody"):
        die()


def test_the_lease_of_a_dead_process_holds_nobody(own: Workbench) -> None:
    own.data.mkdir()
    assert in_a_process(_take_and_die, _scene(own)) == -9
    assert [path.name for path in sorted(own.data.iterdir())] == [".incidents.lease", ".incidents.lease-holder"]
    assert lease_holder(own.landing) is None
    with lease(own.landing, "the next one"):
        assert lease_holder(own.landing) == "the next one"
    assert lease_holder(own.landing) is None


def _count_up(scene: Scene, times: int) -> None:
    """Add one to a file so many times, without any care but the lease."""
    landing, counter = Landing.open(str(scene.data), NAME), scene.data / "counter"
    done = 0
    while done < times:
        try:
            with lease(landing, "counting"):
                counter.write_text(str(int(counter.read_text()) + 1))
            done += 1
        except LeaseHeld:
            continue


def test_the_lease_has_one_holder_at_a_time(own: Workbench) -> None:
    own.data.mkdir()
    (own.data / "counter").write_text("0")
    scene, codes = _scene(own), []

    def one() -> None:
        codes.append(in_a_process(_count_up, scene, 30))

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        lease_holder(own.landing)  # whoever asks must not take it from them
    for thread in threads:
        thread.join()
    assert codes == [0, 0, 0]
    assert (own.data / "counter").read_text() == "90"


def test_two_processes_that_pull_at_once_leave_one_dataset(own: Workbench) -> None:
    scene, codes = _scene(own), []
    threads = [threading.Thread(target=lambda: codes.append(in_a_process(_pull_or_refuse, scene))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 in codes
    assert set(codes) <= {0, 8}  # 8: refused, by the name of the other process
    status = pull_status(NAME, own.landing)
    assert (status.state, status.published_rows) == ("published", 1200)
    plan = own.landing.latest_plan()
    assert plan is not None
    assert len(own.ids(plan)) == 1200
    assert [path.name for path in own.data.rglob(".*")] == []


def test_two_landings_without_a_lease_still_land_every_row_once(own: Workbench) -> None:
    """The library may be called without one: what has landed is never overwritten, whoever was first."""
    plan = own.plan().plan
    results: list[list[Landed | Failed]] = []
    threads = [threading.Thread(target=lambda: results.append(own.land(plan))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = {result.error.message for each in results for result in each if isinstance(result, Failed)}
    assert told <= {"another run landed it meanwhile"}
    totals = reconcile(plan, own.landing, own.pull)
    assert (totals.landed, len(own.ids(plan))) == (1200, 1200)
    assert [path.name for path in own.data.rglob(".*")] == []


def test_slices_of_a_plan_that_was_retired_meanwhile_are_refused_by_name(own: Workbench) -> None:
    old = own.plan().plan
    own.land(old, old.slices[:1])
    new = own.plan(new=True)
    assert new.retired == (old.plan_id,)
    with pytest.raises(LandingError, match=old.plan_id):
        own.landing.read_plan(old.plan_id)
    own.land(new.plan)
    assert reconcile(new.plan, own.landing, own.pull).landed == 1200


def test_two_pulls_share_a_folder(small: SimulatorServer, tmp_path: Path) -> None:
    benches = [Workbench(small, tmp_path / "data", name=name, page_size=100, slice_rows=200) for name in ("one", "two")]
    found: list[int] = []

    def pull(bench: Workbench) -> None:
        with lease(bench.landing, bench.pull.name):
            found.append(bench.pull_all().landed)

    threads = [threading.Thread(target=pull, args=(bench,)) for bench in benches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1200, 1200]


@contextmanager
def _breaking(error: BaseException, patch: pytest.MonkeyPatch, times: int) -> Iterator[None]:
    """Raise ``error`` in the threads that write slices, so many times."""
    original, lock, left = SliceWriter.add, threading.Lock(), [times]

    def add(self: SliceWriter, *arguments: object) -> None:
        with lock:
            left[0] -= 1
            broken = left[0] >= 0
        if broken:
            raise error
        original(self, *arguments)  # type: ignore[arg-type]

    with patch.context() as patched:
        patched.setattr(SliceWriter, "add", add)
        yield


@pytest.mark.parametrize(
    ("error", "times"), [(SystemExit(3), 1), (SystemExit(3), 1000), (MemoryError(), 1), (GeneratorExit(), 1)]
)
def test_a_thread_that_dies_fails_its_slice_by_name(
    own: Workbench, monkeypatch: pytest.MonkeyPatch, error: BaseException, times: int
) -> None:
    plan = own.plan().plan
    with _breaking(error, monkeypatch, times), own.client() as client:
        results = list(land_slices(plan, plan.slices, own.pull, client, own.landing))
    assert {result.slice for result in results} == set(plan.slices)
    assert len(results) == len(plan.slices)
    failed = [result for result in results if isinstance(result, Failed)]
    assert len(failed) == min(times, len(plan.slices))
    for result in failed:
        told: SnowError = result.error
        assert isinstance(told, RunAgain)
        assert result.slice.name in str(told)
        assert type(error).__name__ in str(told)
    assert [path.name for path in own.data.rglob(".*")] == []
    assert not [result for result in own.land(plan) if isinstance(result, Failed)]
    assert reconcile(plan, own.landing, own.pull).landed == 1200

"""A disk that is full, or not ours to write: exit code 2 naming the folder; what landed stays, and the pull goes on."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snow_assets.errors import LandingError
from snow_assets.pulls import Failed, Landed, Landing, publish, pull_status, reconcile
from snow_assets.simulator import SimulatorServer
from snow_assets_tests.pulls.conftest import Workbench
from snow_assets_tests.pulls.crashing import NAME, Scene, by_cli, by_library, in_a_process

NOBODY = 65534
FULL = "File too large|No space left"


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Every file of this process ends at ``size`` bytes: the system says EFBIG, as a quota does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def _scratch(bench: Workbench) -> list[str]:
    return [path.name for path in bench.data.rglob(".*")]


def test_a_full_disk_at_the_plan_is_named_and_leaves_nothing(own: Workbench) -> None:
    with files_of_at_most(100), pytest.raises(LandingError, match=f"{own.data}.*({FULL})"):
        own.plan()
    assert _scratch(own) == []
    assert own.landing.plan_ids() == []
    assert own.pull_all().landed == 1200


@pytest.mark.slow
def test_a_full_disk_in_a_slice_is_named_once_and_what_landed_stays(own: Workbench) -> None:
    plan = own.plan().plan
    own.land(plan, plan.slices[:2])
    with files_of_at_most(3000):
        results = own.land(plan)
    failed = [result.error for result in results if isinstance(result, Failed)]
    assert len(failed) == len(plan.slices) - 2
    told = [error for error in failed if isinstance(error, LandingError)]
    assert told
    assert all(str(own.data) in str(error) and error.exit_code == 2 for error in told)
    assert _scratch(own) == []
    assert pull_status(NAME, own.landing).landed == 2
    again = own.land(plan)
    assert sum(isinstance(result, Landed) and result.adopted for result in again) == 2
    assert reconcile(plan, own.landing, own.pull).landed == 1200


@pytest.mark.parametrize("stage", ["totals", "the commit"])
def test_a_full_disk_after_the_slices_is_named_and_nothing_is_published(own: Workbench, stage: str) -> None:
    plan = own.plan().plan
    own.land(plan)
    if stage == "totals":
        with files_of_at_most(200), pytest.raises(LandingError, match=f"{own.data}.*({FULL})"):
            reconcile(plan, own.landing, own.pull)
    totals = reconcile(plan, own.landing, own.pull)
    with files_of_at_most(200), pytest.raises(LandingError, match=str(own.data)):
        publish(plan, totals, own.landing, own.pull)
    assert _scratch(own) == []
    assert pull_status(NAME, own.landing).state == "complete"
    assert publish(plan, totals, own.landing, own.pull).rows == 1200


def _by_cli_with(scene: Scene, room: int) -> None:
    """As the command ends: the error's exit code, and its line in a file."""
    from snow_assets.cli.failures import as_snow_error

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        by_cli(scene)
    except Exception as error:  # noqa: BLE001 - as the last boundary of the command
        found = as_snow_error(error)
        (scene.data.parent / "said").write_text(str(found)[: room // 2])
        os._exit(found.exit_code)


@pytest.mark.parametrize("room", [3_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_the_command_ends_with_2_where_dagsters_records_or_the_landing_do_not_fit(
    small: SimulatorServer, tmp_path: Path, room: int
) -> None:
    scene = Scene(tmp_path / "data", small.url, small.username, small.password)
    assert in_a_process(_by_cli_with, scene, room) == 2
    said = (tmp_path / "said").read_text()
    assert str(tmp_path) in said
    assert in_a_process(by_cli, scene) == 0
    assert pull_status(NAME, Landing.open(str(scene.data), NAME)).published_rows == 1200


@contextmanager
def a_small_disk() -> Iterator[Path]:
    """A file system of 1 MiB; skipped where this process may not mount one: the limits above are tested anywhere."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("mounting is not allowed here")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_without_space_left(small: SimulatorServer) -> None:
    with a_small_disk() as disk:
        bench = Workbench(small, disk / "data", page_size=100, slice_rows=200)
        plan = bench.plan().plan
        ballast = disk / "ballast"
        with ballast.open("wb") as file:
            for block in (b"x" * 4096,) * 236:
                file.write(block)
        told = [result.error for result in bench.land(plan) if isinstance(result, Failed)]
        assert any("No space left on device" in str(error) and str(disk) in str(error) for error in told), told
        assert _scratch(bench) == []
        ballast.unlink()
        assert not [result for result in bench.land(plan) if isinstance(result, Failed)]
        assert reconcile(plan, bench.landing, bench.pull).landed == 1200


def _as_nobody(work: Callable[[Scene], None], scene: Scene) -> None:
    """Run as a user whom permission bits hold, whoever runs the tests."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        work(scene)
    except LandingError as error:
        told = any(reason in str(error) for reason in ("not writable", "Permission denied"))
        os._exit(2 if told and str(scene.data) in str(error) else 3)


def _status(scene: Scene) -> None:
    found = pull_status(NAME, Landing.open(str(scene.data), NAME))
    os._exit(0 if (found.state, found.landed) == ("unfinished", 2) else 4)


def test_a_folder_that_may_only_be_read_is_named_and_its_status_can_be_told(own: Workbench) -> None:
    plan = own.plan().plan
    own.land(plan, plan.slices[:2])
    scene = Scene(own.data, own.server.url, own.server.username, own.server.password)
    folders = [own.data, own.data / NAME, own.data / NAME / plan.plan_id]
    for parent in own.data.parents[:4]:  # pytest's folders are its user's own, one more where it has workers
        parent.chmod(parent.stat().st_mode | 0o055)
    for folder in folders:
        folder.chmod(0o555)
    before = sorted(str(path) for path in own.data.rglob("*"))
    try:
        assert in_a_process(_as_nobody, by_library, scene) == 2
        (own.data / ".incidents.lease").touch() if os.geteuid() == 0 else None
        assert in_a_process(_as_nobody, _status, scene) == 0
    finally:
        for folder in folders:
            folder.chmod(0o755)
    (own.data / ".incidents.lease").unlink(missing_ok=True)
    assert sorted(str(path) for path in own.data.rglob("*")) == before
    assert own.pull_all().landed == 1200

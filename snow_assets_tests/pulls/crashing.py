"""Whole pulls in processes of their own that kill themselves at a chosen point. Nothing of this is in the product.

Processes are forked from a server that has imported everything, so that a pull costs no start.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

NAME = "incidents"
DEADLINE = 240.0  # of a child
JOB_WAIT = 3 * 3600.0  # the reconciler's clock is put forward by so much at each of its ticks


@dataclass(frozen=True)
class Scene:
    """One pull in one folder."""

    data: Path
    url: str
    username: str
    password: str

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "table": "incident",
            "fields": ["number", "state", "short_description"],
            "page_size": 100,
            "slice_rows": 200,
            "max_workers": 2,
            "retry_backoff": 0.01,
        }

    @property
    def variables(self) -> dict[str, str]:
        return {
            "SNOW_INSTANCE_URL": self.url,
            "SNOW_USERNAME": self.username,
            "SNOW_PASSWORD": self.password,
            "SNOW_DATA_DIR": str(self.data),
            "DAGSTER_HOME": str(self.home),
        }

    @property
    def home(self) -> Path:
        return self.data.parent / ".dagster"


def in_a_process(work: Callable[..., None], *arguments: Any) -> int:
    """Run ``work`` in a process of its own; returns its exit code, negative for a signal."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["snow_assets_tests.pulls.crashing_preload"])
    process = context.Process(target=work, args=arguments, daemon=True)
    process.start()
    process.join(DEADLINE)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"{work.__name__} {arguments} hung")
    return process.exitcode


def by_library(scene: Scene, point: str = "", new: bool = False) -> None:
    """What a Python program runs, without Dagster."""
    from snow_assets.config import PullConfig
    from snow_assets.pulls.library import pull_to
    from snow_assets.servicenow.client import Client

    die_at(point)
    pull = PullConfig(name=NAME, **scene.settings)
    with Client(scene.url, username=scene.username, password=scene.password) as client:
        pull_to(scene.data / NAME, client, pull=pull, new=new)


def by_cli(scene: Scene, point: str = "", new: bool = False) -> None:
    """What ``snow-assets pull`` runs."""
    from snow_assets.assets.local import run_pull
    from snow_assets.config import Environment, Settings

    die_at(point)
    os.environ.update(scene.variables)
    settings = Settings(pulls={NAME: scene.settings}, path=scene.data.parent / "pulls.yaml")
    outcome = run_pull(settings, Environment(scene.variables, scene.data.parent), NAME, new=new)
    if outcome.error is not None:
        raise outcome.error


def by_dagster(scene: Scene, point: str = "", new: bool = False) -> None:
    """The plan job, then what the reconciler asks for, as the daemon runs it; runs of dead processes are ended."""
    import dagster as dg

    import snow_assets.sensors
    from snow_assets.config import Environment, Settings
    from snow_assets.dagster_home import write_dagster_home
    from snow_assets.definitions import build_definitions
    from snow_assets.pulls import Landing

    die_at(point)
    os.environ.update(scene.variables)
    write_dagster_home(scene.home)
    clock = [time.time()]
    setattr(snow_assets.sensors, "time", SimpleNamespace(time=lambda: clock[0]))  # noqa: B010 - no name of the module
    settings = Settings(pulls={NAME: scene.settings}, path=scene.data.parent / "pulls.yaml")
    definitions = build_definitions(settings, Environment(scene.variables, scene.data.parent))
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

    def run(job: str, tags: Mapping[str, str] | None = None, config: Mapping[str, Any] | None = None) -> None:
        resolved = definitions.resolve_job_def(job)
        resolved.execute_in_process(
            instance=instance, tags=dict(tags or {}), run_config={**(config or {}), **quiet}, raise_on_error=False
        )

    with dg.DagsterInstance.get() as instance:
        for dead in instance.get_runs():
            if not dead.is_finished:
                instance.report_run_failed(dead, "its process is gone")  # as run monitoring does, and frees its slot
                instance.event_log_storage.free_concurrency_slots_for_run(dead.run_id)
        if new or not Landing.open(str(scene.data), NAME).plan_ids():
            run(f"pull_{NAME}", config={"ops": {f"servicenow__{NAME}__plan": {"config": {"new": new}}}})
        sensor = definitions.get_repository_def().get_sensor_def("reconciler")
        for _ in range(10):
            clock[0] += JOB_WAIT
            with dg.build_sensor_context(instance=instance) as context:
                ticked = sensor(context)
            assert isinstance(ticked, dg.SensorResult)
            for request in ticked.run_requests or ():
                assert request.job_name is not None
                run(request.job_name, request.tags, request.run_config)
            if not ticked.run_requests:
                return
        raise AssertionError("the reconciler did not come to an end")


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    while True:  # a signal to oneself may take an instant
        time.sleep(60)


def _wrap(
    owner: Any,
    name: str,
    wanted: Callable[..., bool],
    *,
    before: bool,
    nth: int = 1,
    half: Callable[..., Any] | None = None,
) -> None:
    """Die before or after the ``nth`` call of ``owner.name`` whose arguments are ``wanted``; ``half`` runs instead."""
    original, calls = getattr(owner, name), [0]

    def instead(*arguments: Any, **options: Any) -> Any:
        if not wanted(*arguments):
            return original(*arguments, **options)
        calls[0] += 1
        if calls[0] != nth:
            return original(*arguments, **options)
        if half is not None:
            half(*arguments)
        elif not before:
            original(*arguments, **options)
        die()

    setattr(owner, name, instead)


def _to(ending: str) -> Callable[..., bool]:
    return lambda _source, target, *_: str(target).endswith(ending)


def _half_write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content[: len(content) // 2])


def _half_remove(folder: Path, **_: Any) -> None:
    next(iter(sorted(folder.iterdir()))).unlink()


def die_at(point: str) -> None:
    """Arrange for this process to kill itself at ``point``, one of ``POINTS``; never where it is empty."""
    import dagster as dg

    from snow_assets.pulls import dataset
    from snow_assets.pulls.stores import LocalStore
    from snow_assets.pulls.writer import SliceWriter

    def always(*_: Any) -> bool:
        return True

    arrange: dict[str, Callable[[], None]] = {
        "before a slice's temp file": lambda: _wrap(
            LocalStore, "scratch", lambda _, path: path.endswith(".parquet"), before=True, nth=3
        ),
        "in a slice's temp file": lambda: _wrap(SliceWriter, "add", always, before=False, nth=4),
        "between temp file and rename": lambda: _wrap(os, "link", _to(".parquet"), before=True, nth=3),
        "between link and unlink": lambda: _wrap(os, "link", _to(".parquet"), before=False, nth=3),
        "between rename and event": lambda: _wrap(
            LocalStore, "commit", lambda _, __, path: path.endswith(".parquet"), before=False, nth=3
        ),
        "in plan.json": lambda: _wrap(
            Path, "write_bytes", lambda path, _: path.name.startswith(".plan.json"), before=True, half=_half_write
        ),
        "before plan.json has its name": lambda: _wrap(os, "link", _to("plan.json"), before=True),
        "after plan.json": lambda: _wrap(LocalStore, "create", always, before=False),
        "before the partitions are added": lambda: _wrap(
            dg.DagsterInstance, "add_dynamic_partitions", always, before=True
        ),
        "in totals.json": lambda: _wrap(
            Path, "write_bytes", lambda path, _: path.name.startswith(".totals.json"), before=True, half=_half_write
        ),
        "between totals.json and the commit": lambda: _wrap(dataset, "_commit", always, before=True),
        "after the commit": lambda: _wrap(dataset, "_commit", always, before=False),
        "before old plans are removed": lambda: _wrap(LocalStore, "remove_folder", always, before=True),
        "in the removal of an old plan": lambda: _wrap(shutil, "rmtree", always, before=True, half=_half_remove),
    }
    if point:
        arrange[point]()


POINTS = (
    "before a slice's temp file",
    "in a slice's temp file",
    "between temp file and rename",
    "between link and unlink",
    "between rename and event",
    "in plan.json",
    "before plan.json has its name",
    "after plan.json",
    "in totals.json",
    "between totals.json and the commit",
    "after the commit",
    "before old plans are removed",
    "in the removal of an old plan",
)

"""The job ``maintenance``: one step per pull, dry when asked, never beside a run of the pull."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from snow_assets.assets import maintenance
from snow_assets.assets.keys import PullNames, plan_of, run_tags
from snow_assets.assets.maintenance import prune_pull
from snow_assets.config import Environment, Settings, load_settings
from snow_assets.definitions import build_definitions
from snow_assets.errors import ConfigError, LeaseHeld
from snow_assets_tests.assets.conftest import Location, settings
from snow_assets_tests.conftest import Hold
from snow_assets_tests.pulls.conftest import Workbench

NAMES = PullNames("incidents")
LATER = timedelta(days=40)


def _settings(folder: Path, text: str) -> Settings:
    path = folder / "pulls.yaml"
    path.write_text(text)
    return load_settings(path)


def _schedules(found: Settings, folder: Path) -> list[dg.ScheduleDefinition]:
    repository = build_definitions(found, Environment({}, folder)).get_repository_def()
    return [each for each in repository.schedule_defs if each.job_name == "maintenance"]


PULLS = "pulls:\n  a: {table: incident, keep: 30d}\n  b: {table: incident}\n  c: {table: incident, mode: delta}\n"


def test_one_job_for_the_pulls_that_need_it_each_night(tmp_path: Path) -> None:
    found = _settings(tmp_path, PULLS)
    [schedule] = _schedules(found, tmp_path)
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 4 * * *", "UTC")
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    job = build_definitions(found, Environment({}, tmp_path)).resolve_job_def("maintenance")
    assert {node.name for node in job.nodes} == {"maintain_a", "maintain_c"}

    own = _settings(tmp_path, PULLS + "maintenance: {cron: 0 3 * * *, timezone: Europe/Berlin}\n")
    [schedule] = _schedules(own, tmp_path)
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 3 * * *", "Europe/Berlin")
    assert _schedules(_settings(tmp_path, "pulls:\n  b: {table: incident}\n"), tmp_path) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [("{cron: 61 * * * *}", "line 5"), ("{crom: 0 3 * * *}", "did you mean cron"), ("[weekly]", "not a map")],
)
def test_a_wrong_schedule_is_told_by_its_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as failure:
        _settings(tmp_path, f"{PULLS}maintenance: {text}\n")
    assert failure.value.key.startswith("maintenance")


@pytest.fixture
def pulled(location: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
    """Two published plans of a full pull that keeps 30 days; for the job it is 40 days later."""
    location.settings = settings(tmp_path, keep="30d")
    bench = Workbench(location.server, Path(location.environment.data_dir), page_size=50, slice_rows=50)
    for _ in range(2):
        bench.pull_all()
        location.instance.add_dynamic_partitions(NAMES.partitions_name, location.plan.partition_keys)
    _later(monkeypatch)
    return location


def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Later:
            return cls.fromtimestamp((datetime.now(UTC) + LATER).timestamp(), tz)

    monkeypatch.setattr(maintenance, "datetime", Later)


def _maintain(location: Location, **config: Any) -> dict[str, Any]:
    """Run the job; returns the metadata of its step."""
    job = location.definitions.resolve_job_def("maintenance")
    result = job.execute_in_process(instance=location.instance, run_config=config, raise_on_error=False)
    assert result.success
    [output] = [event for event in result.all_node_events if event.event_type is dg.DagsterEventType.STEP_OUTPUT]
    data: Any = output.event_specific_data
    return {name: value.value for name, value in data.metadata.items()}


def _plans(location: Location) -> set[str]:
    return {plan_of(key) for key in location.instance.get_dynamic_partitions(NAMES.partitions_name)}


def test_a_dry_run_shows_what_the_real_one_then_removes(pulled: Location) -> None:
    old, new = pulled.landing.plan_ids()
    told = _maintain(pulled, dry_run=True)
    slices = len(pulled.landing.read_plan(old).slices)
    assert (told["dry_run"], told["plans"], told["versions"], told["partition_keys"]) == (True, 1, 1, slices)
    assert old in told["named"]
    assert (pulled.landing.plan_ids(), _plans(pulled)) == ([old, new], {old, new})

    done = _maintain(pulled)
    assert {**done, "dry_run": True, "before": 0} == {**told, "before": 0}
    assert (pulled.landing.plan_ids(), _plans(pulled)) == ([new], {new})
    assert _maintain(pulled)["plans"] == 0


def test_a_pull_that_another_process_works_on_is_left_alone_and_told(
    pulled: Location, another_process: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snow_assets.assets.leases._GRACE_SECONDS", 0.0)
    before = pulled.landing.store.sizes("")
    with another_process(pulled.environment.data_dir, "incidents"):
        told = _maintain(pulled)
    assert "snow-assets pull, process 1" in told["left_alone"]
    assert pulled.landing.store.sizes("") == before


def test_queued_runs_of_the_pull_come_first(pulled: Location) -> None:
    before = pulled.landing.store.sizes("")
    job = pulled.definitions.resolve_job_def("slices_incidents")
    run = pulled.instance.create_run_for_job(job, tags=run_tags("incidents", "slices"))
    assert run.run_id[:8] in _maintain(pulled)["left_alone"]
    with pytest.raises(LeaseHeld, match="is left alone"):
        prune_pull(pulled.instance, pulled.landing, pulled.pull, datetime.now(UTC) + LATER)
    assert pulled.landing.store.sizes("") == before


def test_keys_stay_where_the_data_folder_is_another_one(pulled: Location) -> None:
    plans = _plans(pulled)
    moved = replace(pulled.landing, store=pulled.landing.beside("elsewhere"))
    assert prune_pull(pulled.instance, moved, pulled.pull, datetime.now(UTC) + LATER).nothing
    assert _plans(pulled) == plans

"""A small simulated instance, a Dagster instance, and the definitions between them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from snow_assets.assets.due import Due
from snow_assets.assets.keys import PullNames
from snow_assets.config import Environment, PullConfig, Settings
from snow_assets.definitions import build_definitions
from snow_assets.pulls import Landing, Plan
from snow_assets.resources import LandingResource
from snow_assets.sensors import evaluate, run_requests
from snow_assets.simulator import Simulator, SimulatorServer

ROWS = 120
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
FIELDS = ["number", "state", "short_description"]


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": ROWS, "problem": 10}, seed=1).serve() as server:
        yield server


@dataclass
class Location:
    """A code location over one landing folder, driven by hand instead of by the daemon."""

    server: SimulatorServer
    settings: Settings
    environment: Environment
    instance: dg.DagsterInstance
    now: float = field(default_factory=time.time)
    _built: tuple[Settings, Environment, dg.Definitions] | None = None

    @property
    def definitions(self) -> dg.Definitions:
        """Those of the settings and the environment that stand here now."""
        if self._built is None or self._built[0] is not self.settings or self._built[1] is not self.environment:
            self._built = (self.settings, self.environment, build_definitions(self.settings, self.environment))
        return self._built[2]

    @property
    def landing(self) -> Landing:
        return Landing.open(self.environment.data_dir, "incidents")

    @property
    def plan(self) -> Plan:
        plan = self.landing.latest_plan()
        assert plan is not None
        return plan

    @property
    def pull(self) -> PullConfig:
        return self.settings.pulls["incidents"]

    def run(
        self, job: str, *, tags: Mapping[str, str] | None = None, config: Mapping[str, Any] | None = None
    ) -> dg.ExecuteInProcessResult:
        resolved = self.definitions.resolve_job_def(job)
        return resolved.execute_in_process(
            instance=self.instance,
            tags=dict(tags or {}),
            run_config={**(config or {}), **QUIET},
            raise_on_error=False,
        )

    def tick(self) -> Due:
        """What the reconciler finds due for the pull."""
        landing = LandingResource(data=self.environment.data_dir)
        [(_, due)] = evaluate([self.pull], landing, self.instance, now=self.now)
        return due

    def follow(self, due: Due) -> dg.ExecuteInProcessResult:
        """Run what is due, as the daemon would."""
        [request] = run_requests("incidents", due, self.pull.mode)
        assert request.job_name is not None
        return self.run(request.job_name, tags=request.tags, config=request.run_config)

    def statuses(self) -> dict[str, str]:
        """The status of each slice as the UI shows it."""
        names = PullNames("incidents")
        keys = self.instance.get_dynamic_partitions(names.partitions_name)
        found = self.instance.get_status_by_partition(names.slices, keys, names.partitions) or {}
        return {key: status.value if status else "MISSING" for key, status in found.items()}

    def break_slice(self, index: int) -> str:
        """Make every request for the rows of one slice fail; returns its partition key."""
        piece = self.plan.slices[index]
        rows = [row["sys_id"] for row in self.server.sim.rows("incident")]
        inside = next(sys_id for sys_id in rows if sys_id > (piece.lo or ""))
        self.server.sim.faults.add({"kind": "error_500", "table": "incident", "covers": inside})
        return self.plan.partition_keys[index]

    def asked(self) -> list[str]:
        """Queries of the list requests since the last clear."""
        return [entry.query for entry in self.server.requests.find(kind="list") if entry.path.endswith("/incident")]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def location(
    simulator: SimulatorServer, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Location:
    simulator.sim.faults.clear()
    simulator.requests.clear()
    variables = {
        "SNOW_INSTANCE_URL": simulator.url,
        "SNOW_USERNAME": simulator.username,
        "SNOW_PASSWORD": simulator.password,
        "SNOW_DATA_DIR": str(tmp_path / "data"),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Location(simulator, settings(tmp_path), Environment(variables, tmp_path), instance)


def settings(folder: Path, **changes: Any) -> Settings:
    """One pull of incidents in slices of 20 rows."""
    pull = {
        "table": "incident",
        "fields": FIELDS,
        "page_size": 10,
        "slice_rows": 20,
        "max_retries": 0,
        "retry_backoff": 0.01,
        **changes,
    }
    return Settings(pulls={"incidents": pull}, path=folder / "pulls.yaml")

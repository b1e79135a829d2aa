"""A pull against a real simulated instance, step by step."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from snow_assets.config import Credentials, PullConfig
from snow_assets.pulls import (
    Failed,
    Landed,
    Landing,
    Plan,
    Planned,
    Totals,
    bring_up,
    land_slices,
    make_plan,
    publish,
    reconcile,
    sweep,
)
from snow_assets.pulls.records import json_lines, raw_records
from snow_assets.servicenow.client import Client
from snow_assets.simulator import Simulator, SimulatorServer

FIELDS = ("sys_id", "number", "state", "short_description", "caller_id", "opened_at", "watch_list", "work_notes")

ROWS, PAGE = 1_800, 75  # of the instance that is shared, and of ``workbench``


class Workbench:
    """One pull of ``incident`` (unless told otherwise) into a folder, with the client's waits kept short."""

    def __init__(self, server: SimulatorServer, data: Path, **config: Any) -> None:
        self.server = server
        self.sim: Simulator = server.sim
        settings: dict[str, Any] = {"name": "incidents", "table": "incident", "fields": FIELDS, "retry_backoff": 0.01}
        self.pull = PullConfig(**{**settings, **config})
        self.data = data
        self.landing = Landing.open(str(data), self.pull.name)

    @contextmanager
    def client(self, **settings: Any) -> Iterator[Client]:
        credentials = Credentials(username=self.server.username, password=self.server.password)
        given = {"retry_backoff": self.pull.retry_backoff, "max_retries": self.pull.max_retries, "timeout": (2.0, 5.0)}
        with Client(self.server.url, credentials, **{**given, **settings}) as client:
            yield client

    def plan(self, *, new: bool = False) -> Planned:
        with self.client() as client:
            return make_plan(self.pull, client, self.landing, new=new)

    def land(self, plan: Plan, slices: Sequence[Any] | None = None, **settings: Any) -> list[Landed | Failed]:
        with self.client(**settings) as client:
            return list(land_slices(plan, plan.slices if slices is None else slices, self.pull, client, self.landing))

    def pull_all(self, **settings: Any) -> Totals:
        """Plan, slices, totals and dataset, with all that a delta pull has besides; every slice must land."""
        plan = self.plan(new=True).plan
        failed = [result for result in self.land(plan, **settings) if isinstance(result, Failed)]
        assert not failed, failed[0].error
        if plan.is_delta:
            with self.client(**settings) as client:
                sweep(plan, self.pull, client, self.landing)
        totals = reconcile(plan, self.landing, self.pull)
        publish(plan, totals, self.landing, self.pull)
        if plan.mode == "delta":
            bring_up(self.landing, self.pull)
        return totals

    def landed_records(self, plan: Plan) -> list[dict[str, Any]]:
        """The records of a plan's files, rebuilt key for key, in slice order."""
        files = self.landing.all_landed(plan).values()
        return [
            record
            for file in files
            for record in map(json.loads, json_lines(raw_records(self.landing.parquet(file.path), plan.display_value)))
        ]

    def ids(self, plan: Plan) -> Counter[str]:
        """How often each sys_id landed."""
        return Counter(sys_id_of(record) for record in self.landed_records(plan))

    def asked(self) -> int:
        """Requests that the instance has seen."""
        return len(self.server.requests)


def sys_id_of(record: dict[str, Any]) -> str:
    sys_id = record["sys_id"]
    return str(sys_id["value"] if isinstance(sys_id, dict) else sys_id)


def read_plainly(
    server: SimulatorServer, table: str, fields: Sequence[str], display_value: str, query: str = ""
) -> list[dict[str, Any]]:
    """Every row as the instance answers it, read by a reader that shares nothing with ours."""
    records: list[dict[str, Any]] = []
    while True:
        answer = requests.get(
            f"{server.url}/api/now/table/{table}",
            params={
                "sysparm_query": f"{query}^ORDERBYsys_id",
                "sysparm_fields": ",".join(fields),
                "sysparm_display_value": display_value,
                "sysparm_limit": "10000",
                "sysparm_offset": str(len(records)),
            },
            auth=(server.username, server.password),
            timeout=60,
        )
        page = answer.json()["result"]
        records += page
        if not page:
            return records


@pytest.fixture(scope="session")
def instance() -> Iterator[SimulatorServer]:
    """An instance for tests that only read. Faults are cleared by ``workbench``."""
    with Simulator(rows={"incident": ROWS}, seed=7).serve() as server:
        yield server


@pytest.fixture
def small() -> Iterator[SimulatorServer]:
    """A small instance of its own, for tests that change rows or rights."""
    with Simulator(rows={"incident": 1_200}, seed=11).serve() as server:
        yield server


@pytest.fixture
def workbench(instance: SimulatorServer, tmp_path: Path) -> Iterator[Workbench]:
    """Twelve slices of two pages, of the instance that is shared."""
    yield Workbench(instance, tmp_path / "data", page_size=PAGE, slice_rows=2 * PAGE)
    instance.faults.clear()


@pytest.fixture
def own(small: SimulatorServer, tmp_path: Path) -> Workbench:
    """Slices of 200 rows, pages of 100, of an instance that the test may change."""
    return Workbench(small, tmp_path / "data", page_size=100, slice_rows=200)

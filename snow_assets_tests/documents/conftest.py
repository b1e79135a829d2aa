"""An instance for loaders, and what pulls of it have published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from snow_assets.documents.published import Published
from snow_assets.pulls.library import pull_to
from snow_assets.servicenow.client import Client
from snow_assets.simulator import Knobs, Simulator, SimulatorServer

INCIDENTS, RELATIONS = 150, 240


@pytest.fixture(scope="package")
def desk_of_all() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": INCIDENTS, "cmdb_rel_ci": RELATIONS}, seed=7).serve() as server:
        yield server


@pytest.fixture
def desk(desk_of_all: SimulatorServer) -> SimulatorServer:
    """An instance that tests only read, without faults and with all knobs as they ship."""
    desk_of_all.faults.clear()
    desk_of_all.sim.knobs = Knobs()
    desk_of_all.requests.clear()
    return desk_of_all


@pytest.fixture
def client(desk: SimulatorServer) -> Iterator[Client]:
    with Client(desk.url, username="admin", password="admin", page_size=40, retry_backoff=0.01) as client:
        yield client


@pytest.fixture(scope="package")
def data(desk_of_all: SimulatorServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Landings of incidents, their journals, servers and the relations of these."""
    folder: Path = tmp_path_factory.mktemp("published")
    with Client(desk_of_all.url, username="admin", password="admin", retry_backoff=0.01) as client:
        pull_to(folder / "incidents", client, table="incident", page_size=40)
        pull_to(folder / "entries", client, table="sys_journal_field")
        pull_to(folder / "servers", client, table="cmdb_ci_server")
        pull_to(folder / "relations", client, table="cmdb_rel_ci", fields=["parent", "child", "type"])
    return str(folder)


@pytest.fixture
def incidents(data: str) -> Published:
    return Published("incidents", data, journals="entries")

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

from snow_assets.config import Credentials
from snow_assets.servicenow.client import Client
from snow_assets.simulator import Knobs, Simulator, SimulatorServer

ADMIN = Credentials.model_validate({"username": "admin", "password": "admin"})
ClientFactory = Callable[..., Client]


@pytest.fixture(scope="module")
def shared_instance() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": 300}, seed=7).serve() as server:
        yield server


@pytest.fixture
def instance(shared_instance: SimulatorServer) -> SimulatorServer:
    """A simulated instance of 300 incidents without faults and with all knobs as they ship; tests only read it."""
    shared_instance.faults.clear()
    shared_instance.sim.knobs = Knobs()
    shared_instance.requests.clear()
    return shared_instance


@pytest.fixture
def client_of(instance: SimulatorServer) -> Iterator[ClientFactory]:
    """Makes clients of ``instance`` that wait for next to nothing; they are closed at the end."""
    made: list[Client] = []

    def make(credentials: Credentials = ADMIN, **settings: Any) -> Client:
        quick: dict[str, Any] = {"retry_backoff": 0.01, "page_size": 50, "timeout": (2.0, 10.0)}
        made.append(Client(instance.url, credentials, **(quick | settings)))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(client_of: ClientFactory) -> Client:
    return client_of()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A throw-away certificate authority."""
    return trustme.CA()


@pytest.fixture(scope="module")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of its certificate."""
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)

"""One token request for all, whether threads or tasks ask at once: by the instance's own log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from snow_assets.config import Credentials
from snow_assets.errors import CredentialsError
from snow_assets.servicenow.aio import AsyncClient
from snow_assets.servicenow.auth import Auth, TokenHolder
from snow_assets.servicenow.client import Client
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.servicenow.scripted import Asked, Connection, scripted

WORKERS = 16
OAUTH = Credentials.model_validate({"client_id": "client", "client_secret": "secret"})
Between = Callable[[Auth], None]


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": 10}).serve() as running:
        yield running


def by_threads(url: str, between: Between) -> None:
    with Client(url, OAUTH, retry_backoff=0.01) as client, ThreadPoolExecutor(WORKERS) as pool:
        for _ in range(2):
            counts = list(pool.map(lambda _: client.get_count("incident"), range(3 * WORKERS)))
            assert counts == [10] * 3 * WORKERS
            between(client._transport.auth)


def by_tasks(url: str, between: Between) -> None:
    async def main() -> None:
        async with AsyncClient(url, OAUTH, retry_backoff=0.01) as client:
            for _ in range(2):
                counts = await asyncio.gather(*(client.aget_count("incident") for _ in range(3 * WORKERS)))
                assert counts == [10] * 3 * WORKERS
                between(client._transport.auth)

    asyncio.run(main())


def tokens_asked_for(server: SimulatorServer) -> int:
    return sum(entry.path == "/oauth_token.do" for entry in server.requests)


@pytest.mark.parametrize("ends", ["expires", "is revoked"])
@pytest.mark.parametrize("ask", [by_threads, by_tasks], ids=["threads", "asyncio"])
def test_one_request_for_a_token_serves_all_and_one_more_when_it_ends(
    server: SimulatorServer, ask: Callable[[str, Between], None], ends: str
) -> None:
    asked: list[int] = []

    def end_the_token(auth: Auth) -> None:
        asked.append(tokens_asked_for(server))
        if ends == "expires":
            server.sim.clock.advance(seconds=3600)
            assert isinstance(auth, TokenHolder)
            auth._clock = lambda: time.monotonic() + 3600
        else:
            server.sim.tokens.revoke()

    ask(server.url, end_the_token)
    assert asked == [1, 2]


def test_a_refused_grant_is_asked_for_once_by_all_tasks(server: SimulatorServer) -> None:
    wrong = Credentials.model_validate({"client_id": "client", "client_secret": "MARKED"})

    async def main() -> list[int | BaseException]:
        async with AsyncClient(server.url, wrong, retry_backoff=0.01) as client:
            asking = [client.aget_count("incident") for _ in range(WORKERS)]
            return await asyncio.gather(*asking, return_exceptions=True)

    for error in asyncio.run(main()):
        assert isinstance(error, CredentialsError)
        assert "MARKED" not in str(error) + repr(error)
    assert [entry.path for entry in server.requests] == ["/oauth_token.do"]


def test_the_turn_goes_on_where_the_task_that_asks_is_cancelled() -> None:
    def script(asked: Asked, connection: Connection) -> None:
        if asked.path != "/oauth_token.do":
            connection.answer(200, b'{"result":{"stats":{"count":"7"}}}')
        elif len(instance.asked) == 1:
            connection.until_closed()
        else:
            connection.answer(200, b'{"access_token":"T","expires_in":1799}')

    async def main() -> None:
        async with AsyncClient(instance.url, OAUTH, retry_backoff=0.01) as client:
            first = asyncio.create_task(client.aget_count("incident"))
            while not instance.asked:
                await asyncio.sleep(0.01)
            second = asyncio.create_task(client.aget_count("incident"))
            await asyncio.sleep(0)
            first.cancel()
            assert await second == 7
            assert first.cancelled()

    with scripted(script) as instance:
        asyncio.run(main())
        assert instance.paths == ["/oauth_token.do", "/oauth_token.do", "/api/now/stats/incident"]

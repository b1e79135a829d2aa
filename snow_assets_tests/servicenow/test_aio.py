from __future__ import annotations

import asyncio
import gc
import gzip
import hashlib
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from snow_assets.config import Credentials
from snow_assets.errors import Cancelled, ConfigError, ForbiddenError, LandingError, SnowError
from snow_assets.servicenow import account, attachments
from snow_assets.servicenow.aio import AsyncClient
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.exchange import Answer, Request, Tally
from snow_assets.servicenow.records import IncompleteWarning
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.servicenow.conftest import ADMIN
from snow_assets_tests.servicenow.scripted import Asked, Connection, scripted

T = TypeVar("T")
COUNT = json.dumps({"result": {"stats": {"count": "7"}}}).encode()
OAUTH = Credentials.model_validate({"client_id": "client", "client_secret": "secret"})
QUICK: dict[str, Any] = {"retry_backoff": 0.01, "page_size": 10, "timeout": (10.0, 30.0)}


def using(url: str, use: Callable[[AsyncClient], Awaitable[T]], credentials: Credentials = ADMIN, **settings: Any) -> T:
    """What ``use`` returns, with a client in an event loop that complains of whatever is left behind."""
    left: list[str] = []

    async def main() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: left.append(context["message"]))
        async with AsyncClient(url, credentials, **(QUICK | settings)) as client:
            found = await use(client)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others
        return found

    found = asyncio.run(main())
    assert not left
    return found


def truth(instance: SimulatorServer) -> list[str]:
    return sorted(row["sys_id"] for row in instance.sim.rows("incident"))


async def ids_of(records: Any) -> list[str]:
    return [record["sys_id"] async for record in records]


def test_count_record_and_clock(instance: SimulatorServer) -> None:
    first = truth(instance)[0]

    async def use(client: AsyncClient) -> None:
        assert await client.aget_count("incident") == 300
        record = await client.aget_record("incident", first, fields=["sys_id", "number"], display_value="all")
        assert record["sys_id"]["value"] == first
        assert abs((await client.aclock()).timestamp() - time.time()) < 3600
        assert repr(client).startswith("<AsyncClient of http://127.0.0.1:")

    using(instance.url, use)


@pytest.mark.parametrize("method", ["aget_records", "aconcurrent_get_records"])
def test_all_records_that_match_come_once_and_are_reported(method: str, instance: SimulatorServer) -> None:
    async def use(client: AsyncClient) -> None:
        records = getattr(client, method)("incident", "ORDERBYDESCnumber", ["number"], display_value="false")
        ids = await ids_of(records)
        assert sorted(ids) == truth(instance)
        assert (ids == truth(instance)) or method != "aget_records"
        report = records.report
        assert (report.ended, report.counted, report.delivered, report.hidden) == ("complete", 300, 300, 0)
        assert report.requests == len(instance.requests)
        some = getattr(client, method)("incident", fields=["number"], limit=25)
        assert (len(await ids_of(some)), some.report.ended) == (25, "limit")

    using(instance.url, use)


def test_no_cookie_is_ever_sent(instance: SimulatorServer) -> None:
    async def use(client: AsyncClient) -> None:
        await ids_of(client.aconcurrent_get_records("incident", fields=["number"]))

    using(instance.url, use)
    sessions = [entry.session for entry in instance.requests]
    assert len(sessions) > 30
    assert len(set(sessions)) == len(sessions), "each request has a session of its own"


FAULTS = ("error_500", "html_503", "reset", "truncated", "null_body", "rate_limited_429", "lost_rows", "empty_body")


def faulty(rows: int) -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": rows}, seed=11).serve() as server:
        yield server


@pytest.fixture(scope="module")
def faulty_instance() -> Iterator[SimulatorServer]:
    yield from faulty(8_000)


@pytest.fixture(scope="module")
def large_faulty_instance() -> Iterator[SimulatorServer]:
    yield from faulty(50_000)


def all_four_agree(server: SimulatorServer, page_size: int) -> None:
    """Each of the four ways reads the same set of records from an instance that fails in the same way."""
    settings: dict[str, Any] = {"retry_backoff": 0.01, "page_size": page_size, "max_retries": 6}
    found: list[set[tuple[str, ...]]] = []

    def keep(rows: list[dict[str, Any]]) -> None:
        found.append({tuple(map(str, row.values())) for row in rows})
        assert len(found[-1]) == len(rows), "each once"

    def strike() -> None:
        server.faults.clear()
        for kind in FAULTS:
            more = {"retry_after": 0} if kind == "rate_limited_429" else {}
            server.faults.add({"kind": kind, "probability": 0.02, "seed": 5, "request": "list", **more})

    fields = ["number", "state", "caller_id", "sys_updated_on"]
    for method in ("get_records", "concurrent_get_records"):
        with Client(server.url, ADMIN, max_workers=4, **settings) as client:
            client.get_count("incident")
            strike()
            keep(list(getattr(client, method)("incident", fields=fields)))
        server.faults.clear()

    async def use(client: AsyncClient) -> None:
        for method in ("aget_records", "aconcurrent_get_records"):
            await client.aget_count("incident")
            strike()
            records = getattr(client, method)("incident", fields=fields)
            keep([record async for record in records])
            assert records.report.ended == "complete"
            server.faults.clear()

    using(server.url, use, concurrency=4, **settings)
    assert len(found) == 4
    assert {row[0] for row in found[0]} == set(truth(server)) or len(found[0]) == len(truth(server))
    assert found[0] == found[1] == found[2] == found[3]


def test_four_ways_read_the_same_records_under_the_same_faults(faulty_instance: SimulatorServer) -> None:
    all_four_agree(faulty_instance, 200)


@pytest.mark.slow
def test_four_ways_read_the_same_50_000_records_under_the_same_faults(large_faulty_instance: SimulatorServer) -> None:
    all_four_agree(large_faulty_instance, 500)


@pytest.mark.parametrize("way", ["break", "aclose", "dropped"])
@pytest.mark.parametrize("method", ["aget_records", "aconcurrent_get_records"])
def test_a_consumer_that_stops_stops_the_requests(
    method: str, way: str, instance: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(client: AsyncClient) -> None:
        more = {"concurrency": 3} if method == "aconcurrent_get_records" else {}
        sent: list[Request] = []
        send = client._transport.send

        async def counted(request: Request) -> Answer:
            sent.append(request)
            return await send(request)

        monkeypatch.setattr(client._transport, "send", counted)
        records = getattr(client, method)("incident", fields=["number"], page_size=2, **more)
        if way == "break":
            async with records:
                async for _ in records:
                    break
        else:
            await anext(records)
        if way == "aclose":
            await records.aclose()
        if way == "dropped":
            del records
            gc.collect()
            while len(asyncio.all_tasks()) > 1:  # the loop closes it
                await asyncio.sleep(0.01)
        else:
            assert records.report.ended == "closed"
            assert records.report.delivered == 1
            with pytest.raises(StopAsyncIteration):
                await anext(records)
        asked = len(sent)
        assert asked < 60, "150 pages would have been asked for"
        assert await client.aget_count("incident") == 300, "the client itself goes on"
        assert len(sent) == asked + 1

    using(instance.url, use)


def test_a_slow_consumer_slows_the_tasks_down(instance: SimulatorServer) -> None:
    async def use(client: AsyncClient) -> None:
        async with client.aconcurrent_get_records("incident", fields=["number"], page_size=2, concurrency=2) as records:
            await anext(records)
            seen = -1
            while seen != len(instance.requests):  # until nothing more is asked for
                seen = len(instance.requests)
                await asyncio.sleep(0.3)
            assert seen < 60
            assert len(await ids_of(records)) == 299

    using(instance.url, use)


@pytest.mark.parametrize("method", ["aget_records", "aconcurrent_get_records"])
def test_a_loop_that_ends_closes_what_is_still_read(method: str, instance: SimulatorServer) -> None:
    left: list[str] = []
    client = AsyncClient(instance.url, ADMIN, **QUICK)
    records = getattr(client, method)("incident", fields=["number"], page_size=2)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: left.append(context["message"]))
        await anext(records)
        await client._transport.close()

    asyncio.run(main())
    assert not left
    assert records.report.ended == "closed"
    assert client.governor.admitted(threading.Event()) is None, "no place was lost"
    client.governor.release(None)


async def at_rest(seen: Callable[[], tuple[int, int]]) -> int:
    """What was asked for once nothing is under way, however often all tasks have their turn; both are seen."""
    (_, asked), turns = seen(), 0
    while turns < 20:
        await asyncio.sleep(0.005)
        turns = turns + 1 if seen() == (0, asked) else 0
        _, asked = seen()
    return asked


@pytest.mark.parametrize("limit", [None, 40])
def test_tasks_read_a_page_each_and_one_more_ahead_and_none_beyond_a_limit(
    limit: int | None, instance: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(client: AsyncClient) -> None:
        send = client._transport.send
        under_way = asked = 0

        async def counted(request: Request) -> Answer:
            nonlocal under_way, asked
            under_way += 1
            asked += request.purpose == "page"
            try:
                return await send(request)
            finally:
                under_way -= 1

        monkeypatch.setattr(client._transport, "send", counted)
        more: dict[str, Any] = {"page_size": 5, "concurrency": 3, "limit": limit}
        async with client.aconcurrent_get_records("incident", fields=["number"], **more) as records:
            await anext(records)
            assert await at_rest(lambda: (under_way, asked)) == 1 + 1 + 3
            for _ in range(0 if limit is None else limit - 1):
                await anext(records)
            if limit is not None:
                assert await at_rest(lambda: (under_way, asked)) <= 8 + 3

    using(instance.url, use)


def test_a_consumer_that_is_cancelled_leaves_nothing_behind(instance: SimulatorServer) -> None:
    async def use(client: AsyncClient) -> None:
        begun = asyncio.Event()
        records = client.aconcurrent_get_records("incident", fields=["number"], page_size=2, concurrency=4)

        async def consume() -> None:
            async with records:
                async for _ in records:
                    begun.set()

        instance.sim.knobs.latency = 0.05
        task = asyncio.create_task(consume())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        instance.sim.knobs.latency = 0.0
        assert records.report.ended == "closed"
        assert await client.aget_count("incident") == 300
        assert client.governor.snapshot()["highest_in_flight"] <= 16
        await all_places_are_free(client)

    using(instance.url, use)


async def all_places_are_free(client: AsyncClient) -> None:
    """As many requests as the governor ever lets through can be sent at once."""
    stop = threading.Event()
    limit = client.governor.snapshot()["limit"]
    for _ in range(limit):
        assert client.governor.admitted(stop) is None
    for _ in range(limit):
        client.governor.release(None)


def test_a_task_that_is_cancelled_while_it_waits_for_leave_takes_no_place(instance: SimulatorServer) -> None:
    async def use(client: AsyncClient) -> None:
        instance.sim.knobs.latency = 0.1
        tasks = [asyncio.create_task(client.aget_count("incident")) for _ in range(12)]
        await asyncio.sleep(0)
        await asyncio.sleep(0.02)
        for task in tasks[::2]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert found[1::2] == [300] * 6
        assert all(isinstance(one, asyncio.CancelledError) for one in found[::2])
        await all_places_are_free(client)

    using(instance.url, use)


def test_an_error_in_a_task_reaches_the_consumer_by_its_name(instance: SimulatorServer) -> None:
    async def use(client: AsyncClient) -> None:
        await client.aget_count("incident")
        instance.faults.add(kind="query_forbidden_403", request="list", after=3)
        for method in (client.aconcurrent_get_records, client.aget_records):
            records = method("incident", fields=["number"])
            with pytest.raises(ForbiddenError, match="incident"):
                await ids_of(records)
            assert records.report.ended == "failed"

    using(instance.url, use)


def test_ranges_that_fail_are_told_where_that_was_asked_for(instance: SimulatorServer) -> None:
    async def use(client: AsyncClient) -> None:
        await client.aget_count("incident")
        instance.faults.add(kind="null_body", request="list", narrow=False, after=5)
        records = client.aconcurrent_get_records("incident", fields=["number"], on_incomplete="warn")
        with pytest.warns(IncompleteWarning, match="incomplete") as warned:
            ids = await ids_of(records)
        assert warned[0].filename == __file__
        report = records.report
        assert report.ended == "incomplete"
        assert report.failed
        assert len(ids) == report.delivered < 300

    using(instance.url, use, max_retries=1)


def test_one_429_with_a_time_holds_tasks_and_threads_alike() -> None:
    answered: list[float] = []

    def script(_: Asked, connection: Connection) -> None:
        answered.append(time.monotonic())
        if len(answered) == 1:
            connection.answer(429, Retry_After="1")
        else:
            connection.answer(200, COUNT)

    async def use(client: AsyncClient) -> None:
        first = asyncio.create_task(client.aget_count("incident"))
        while not client.governor.snapshot()["pauses"]:
            await asyncio.sleep(0.01)
        with Client(client.url, ADMIN, retry_backoff=0.01) as threads:
            assert threads.governor is client.governor
            both = asyncio.gather(client.aget_count("incident"), asyncio.to_thread(threads.get_count, "incident"))
            assert [*await both, await first] == [7, 7, 7]
        assert min(answered[1:]) - answered[0] >= 0.9
        assert client.governor.snapshot()["pauses"] == 1

    with scripted(script) as server:
        using(server.url, use)


def test_cancelling_ends_what_waits_in_every_task() -> None:
    async def use(client: AsyncClient) -> None:
        tasks = [asyncio.create_task(client.aget_count("incident")) for _ in range(4)]
        while not client.governor.snapshot()["pauses"]:
            await asyncio.sleep(0.01)
        client.cancel(ForbiddenError("no right", key="table", value="incident"))
        for one in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(one, Cancelled)
            assert "no right" in str(one)

    with scripted(lambda _, connection: connection.answer(429, Retry_After="600")) as server:
        using(server.url, use, max_wait=3600)


def test_closing_the_client_ends_what_is_under_way() -> None:
    async def main(url: str) -> None:
        client = AsyncClient(url, ADMIN, **QUICK)
        task = asyncio.create_task(client.aget_count("incident"))
        while not server.asked:
            await asyncio.sleep(0.01)
        await client.aclose()
        with pytest.raises(SnowError):
            await task
        with pytest.raises(Cancelled):
            await client.aget_count("incident")

    with scripted(lambda _, connection: connection.until_closed()) as server:
        asyncio.run(main(server.url))
        assert len(server.asked) == 1


def test_a_client_belongs_to_one_event_loop(instance: SimulatorServer) -> None:
    client = AsyncClient(instance.url, ADMIN, **QUICK)

    async def first() -> None:
        assert await client.aget_count("incident") == 300
        await client._transport.close()  # as the end of its loop would

    asyncio.run(first())
    with pytest.raises(ConfigError, match=r"another event loop.*asyncio\.run"):
        asyncio.run(client.aget_count("incident"))


def test_a_tally_tells_why_a_task_waited(instance: SimulatorServer) -> None:
    async def use(client: AsyncClient) -> None:
        await client.aget_count("incident")
        instance.faults.add(kind="html_503", times=2)
        tally = Tally()
        await client.arun(account.clock(client.policy, tally), tally=tally)
        assert (tally.requests, tally.retries) == (3, 2)
        assert {"answer", "backoff", "governor"} <= set(tally.waited)

    using(instance.url, use)


def test_what_cannot_be_asked_is_refused_before_anything_is_sent(instance: SimulatorServer) -> None:
    async def use(client: AsyncClient) -> None:
        calls: list[Callable[[], object]] = [
            lambda: client.aget_records("incident", "state=1^^x=2"),
            lambda: client.aget_records("incident", page_size=0),
            lambda: client.aconcurrent_get_records("incident", concurrency=0),
        ]
        for call in calls:
            with pytest.raises(SnowError):
                call()
        with pytest.raises(ConfigError):
            await client.aget_count("")

    using(instance.url, use)
    assert len(instance.requests) == 0


@pytest.mark.parametrize(
    "settings", [{"concurrency": 0}, {"page_size": 0}, {"timeout": 0}, {"proxy": "socks5://MARKED@proxy"}]
)
def test_settings_that_cannot_work_are_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        AsyncClient("https://acme.service-now.com", ADMIN, **settings)
    assert caught.value.key in settings
    assert "MARKED" not in str(caught.value)


def test_a_client_shows_no_secret() -> None:
    proxy = "http://u:MARKED@127.0.0.1:1"
    client = AsyncClient("https://acme.service-now.com", Credentials.model_validate({"token": "MARKED"}), proxy=proxy)
    assert repr(client) == "<AsyncClient of https://acme.service-now.com, bearer>"
    assert "MARKED" not in repr(vars(client)) + repr(vars(client._transport))


def test_without_aiohttp_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(ConfigError, match=r"snow_assets\[async\]"):
        AsyncClient("https://acme.service-now.com", ADMIN)


def test_a_file_goes_to_the_disk(tmp_path: Path) -> None:
    data = b"0123456789abcdef" * 100_000
    wanted = attachments.described("a" * 32, str(len(data)), hashlib.sha256(data).hexdigest())

    def script(_: Asked, connection: Connection) -> None:
        connection.answer(200, gzip.compress(data, 1), Content_Encoding="gzip", Content_Type="text/plain")

    async def use(client: AsyncClient) -> None:
        fetched = await client.arun(attachments.download(wanted, tmp_path / "file", client.policy, Tally()))
        assert (fetched.size, fetched.proven) == (len(data), True)
        with pytest.raises(LandingError, match="cannot be written"):
            await client.arun(attachments.download(wanted, tmp_path / "no" / "file", client.policy, Tally()))

    with scripted(script) as server:
        using(server.url, use)
    assert (tmp_path / "file").read_bytes() == data

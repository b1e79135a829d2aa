"""``AsyncClient`` and its transport for tests that know only threads: each call runs an event loop until it is done.

So what a test claims of the client of threads, it claims of the one of asyncio as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self, TypeVar

from snow_assets.config import Credentials
from snow_assets.servicenow.aio import AsyncClient
from snow_assets.servicenow.aio_transport import AsyncTransport
from snow_assets.servicenow.exchange import Answer, Page, Procedure, Request, Tally
from snow_assets.servicenow.records import Report
from snow_assets.servicenow.route import Route
from snow_assets.servicenow.writing import ImportResult, InsertedRows

T = TypeVar("T")


class _Awaited:
    """A thing of asyncio, its event loop, and its end."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    async def _end(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._runner.run(self._end())
        self._runner.close()


class AwaitedTransport(_Awaited):
    def __init__(self, route: Route, credentials: Credentials) -> None:
        super().__init__()
        self.transport = AsyncTransport(route, credentials, 4)

    def send(self, request: Request) -> Answer:
        return self._runner.run(self.transport.send(request))

    async def _end(self) -> None:
        await self.transport.close()


class AwaitedClient(_Awaited):
    def __init__(self, url: str, credentials: Credentials, *, max_workers: int = 16, **settings: Any) -> None:
        super().__init__()
        self.client = AsyncClient(url, credentials, concurrency=max_workers, **settings)
        self.policy = self.client.policy
        self.governor = self.client.governor
        self.report: Report | None = None

    def get_count(self, table: str, query: str = "") -> int:
        return self._runner.run(self.client.aget_count(table, query))

    def get_record(self, table: str, sys_id: str, **how: Any) -> dict[str, Any]:
        return self._runner.run(self.client.aget_record(table, sys_id, **how))

    def get_records(self, *what: Any, **how: Any) -> list[dict[str, Any]]:
        return self._runner.run(self._all(self.client.aget_records, *what, **how))

    def concurrent_get_records(self, *what: Any, max_workers: int | None = None, **how: Any) -> list[dict[str, Any]]:
        return self._runner.run(self._all(self.client.aconcurrent_get_records, *what, concurrency=max_workers, **how))

    def create_record(self, *what: Any, **how: Any) -> dict[str, Any]:
        return self._runner.run(self.client.acreate_record(*what, **how))

    def update_record(self, *what: Any) -> dict[str, Any]:
        return self._runner.run(self.client.aupdate_record(*what))

    def delete_record(self, *what: Any) -> None:
        self._runner.run(self.client.adelete_record(*what))

    def import_row(self, *what: Any, **how: Any) -> ImportResult:
        return self._runner.run(self.client.aimport_row(*what, **how))

    def import_rows(self, *what: Any, **how: Any) -> InsertedRows:
        return self._runner.run(self.client.aimport_rows(*what, **how))

    def run(
        self, procedure: Procedure[T], deliver: Callable[[Page], None] | None = None, tally: Tally | None = None
    ) -> T:
        return self._runner.run(self.client.arun(procedure, deliver, tally))

    async def _all(self, method: Callable[..., Any], *what: Any, **how: Any) -> list[dict[str, Any]]:
        async with method(*what, **how) as records:
            try:
                return [record async for record in records]
            finally:
                self.report = records.report

    async def _end(self) -> None:
        await self.client.aclose()

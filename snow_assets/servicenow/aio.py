"""The client of one instance under asyncio: the twin of ``Client``. Needs the extra ``async``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from snow_assets.errors import Cancelled
from snow_assets.extras import need
from snow_assets.servicenow import account as asking
from snow_assets.servicenow import aio_streams
from snow_assets.servicenow.aio_driver import AsyncDeliver, AsyncDriver
from snow_assets.servicenow.aio_streams import AsyncRecords
from snow_assets.servicenow.closing import AsyncClosing
from snow_assets.servicenow.core import ClientCore, ClientSettings, ReadingOptions, at_least, checked_name
from snow_assets.servicenow.exchange import DisplayValue, Procedure, Tally
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.writing import ImportResult, InsertedRows

if TYPE_CHECKING:
    from snow_assets.config import Credentials

__all__ = ["AsyncClient", "AsyncRecords"]

T = TypeVar("T")


class AsyncClient(ClientCore, AsyncClosing):
    """Reads and writes one instance, from any number of tasks of one event loop; an async context manager.

    ::

        async with AsyncClient("https://acme.service-now.com", username="u", password="p") as client:
            async for record in client.aconcurrent_get_records("incident", "active=true", fields=["number"]):
                ...

    What it asks, believes and repeats is what ``Client`` does, and both share the bound of requests in flight at one
    instance. It neither keeps nor sends a cookie, so no two requests share a session of the instance.

    Args:
        instance_url: address of the instance; plain http only to loopback, unless ``allow_http``.
        credentials: who signs in, as for ``Client``.
        concurrency: requests in flight at most; how many really are follows from what the instance bears.

    The other settings are those of ``Client``. Without ``async with``, ``await aclose()`` at the end. It belongs to the
    event loop in which it is first used; in another one its methods raise ``ConfigError``.

    Raises ``ConfigError`` or ``CredentialsError`` for what cannot work. Methods raise ``SnowError``.
    """

    def __init__(
        self,
        instance_url: str,
        credentials: Credentials | None = None,
        *,
        concurrency: int = 16,
        **settings: Unpack[ClientSettings],
    ) -> None:
        need("aiohttp", "async")
        from snow_assets.servicenow.aio_transport import AsyncTransport  # noqa: PLC0415 - it needs the extra

        super().__init__(instance_url, credentials, at_least("concurrency", concurrency, 1), **settings)
        self._transport = AsyncTransport(self.route, self.credentials, self.max_workers)
        self._driver = AsyncDriver(self._transport, self.governor, self.budget)

    async def __aenter__(self) -> Self:
        self._transport.must_be_of_this_loop()
        return self

    @property
    def concurrency(self) -> int:
        """Requests in flight at most."""
        return self.max_workers

    async def aget_count(self, table: str, query: str = "") -> int:
        """As ``Client.get_count``."""
        return await self.arun(asking.count(checked_name(table), EncodedQuery.parse(query), self.policy, Tally()))

    async def aget_record(
        self, table: str, sys_id: str, fields: Sequence[str] | None = None, display_value: DisplayValue | None = None
    ) -> dict[str, Any]:
        """As ``Client.get_record``."""
        return await self.arun(self.record(table, sys_id, fields, display_value))

    def aget_records(
        self,
        table: str,
        query: str = "",
        fields: Sequence[str] | None = None,
        display_value: DisplayValue | None = None,
        page_size: int | None = None,
        **options: Unpack[ReadingOptions],
    ) -> AsyncRecords:
        """As ``Client.get_records``: every record that matches, once, ordered by sys_id, one request at a time."""
        question = self.question(table, query, fields, display_value, page_size, **options)
        return aio_streams.in_order(self._driver, question, self.seen)

    def aconcurrent_get_records(
        self,
        table: str,
        query: str = "",
        fields: Sequence[str] | None = None,
        display_value: DisplayValue | None = None,
        page_size: int | None = None,
        concurrency: int | None = None,
        **options: Unpack[ReadingOptions],
    ) -> AsyncRecords:
        """As ``Client.concurrent_get_records``: in the order in which pages come, by ``concurrency`` tasks.

        A page per task and one more wait for the consumer, then the tasks wait for it. When its ``aclose`` returns,
        nothing is under way any more.
        """
        workers = at_least("concurrency", self.max_workers if concurrency is None else concurrency, 1)
        question = self.question(table, query, fields, display_value, page_size, **options)
        return aio_streams.as_completed(self._driver, question, workers, self.seen)

    async def acreate_record(
        self, table: str, record: Mapping[str, Any], *, sys_id: str | None = None
    ) -> dict[str, Any]:
        """As ``Client.create_record``."""
        return await self.arun(self.created(table, record, sys_id))

    async def aupdate_record(self, table: str, sys_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """As ``Client.update_record``."""
        return await self.arun(self.updated(table, sys_id, changes))

    async def adelete_record(self, table: str, sys_id: str) -> None:
        """As ``Client.delete_record``."""
        await self.arun(self.deleted(table, sys_id))

    async def aimport_row(self, staging_table: str, row: Mapping[str, Any], *, coalesces: bool = False) -> ImportResult:
        """As ``Client.import_row``."""
        return await self.arun(self.imported(staging_table, row, coalesces=coalesces))

    async def aimport_rows(
        self, staging_table: str, rows: Sequence[Mapping[str, Any]], *, run_after: str = "", coalesces: bool = False
    ) -> InsertedRows:
        """As ``Client.import_rows``."""
        return await self.arun(self.inserted(staging_table, rows, run_after=run_after, coalesces=coalesces))

    async def aclock(self) -> datetime:
        """As ``Client.clock``."""
        return await self.arun(asking.clock(self.policy, Tally())) or datetime.now(UTC)

    async def arun(self, procedure: Procedure[T], deliver: AsyncDeliver | None = None, tally: Tally | None = None) -> T:
        """Drive ``procedure`` in this task and return its result.

        Each page is handed to ``deliver``; where that returns an awaitable, it is awaited. ``tally`` gets the seconds
        spent waiting for leave to send.
        """
        return await self._driver.run(procedure, deliver, Tally() if tally is None else tally)

    def cancel(self, reason: BaseException) -> None:
        """Whatever is queued or waiting in any task of this client raises ``Cancelled`` at once, naming ``reason``.

        What is already under way at the instance ends as it does. The client cannot be used afterwards.
        """
        self._driver.cancel(reason)

    async def aclose(self) -> None:
        """Cancel what waits, and close every connection."""
        self._driver.cancel(Cancelled("the client was closed"))
        await self._transport.close()

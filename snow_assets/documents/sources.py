"""Clients as sources of records, and of what belongs to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from snow_assets.documents import journals
from snow_assets.documents.cells import cell_of
from snow_assets.documents.wanted import Ask, Wanted
from snow_assets.errors import ConfigError, ForbiddenError
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.records import Records

if TYPE_CHECKING:
    from snow_assets.servicenow.aio import AsyncClient, AsyncRecords

_CHUNK = 100


class ClientSource:
    """Reads from an instance."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.url = client.url
        self.chunk = min(client.page_size, _CHUNK)

    def records(self, wanted: Wanted, workers: int | None) -> Records:
        """In order of the sys_ids, or as pages come, with so many workers."""
        if workers is None:
            return self._client.get_records(**wanted.arguments())
        return self._client.concurrent_get_records(**wanted.arguments(), max_workers=workers)

    def answer(self, ask: Ask) -> Mapping[str, Any]:
        """What was asked for, by sys_id."""
        if ask.kind == "journals":
            return self._journals(ask)
        raise NotImplementedError(ask.kind)

    def _journals(self, ask: Ask) -> Mapping[str, Any]:
        records = self._client.get_records(**journals.arguments(_ids(ask), ask.about))
        try:
            found = journals.by_record(records)
        except ForbiddenError as error:
            raise journals.refused(error) from error
        journals.must_be_readable(records.report.delivered, records.report.hidden)
        return found


class AsyncSource:
    """Reads from an instance under asyncio."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.url = client.url

    def records(self, wanted: Wanted) -> AsyncRecords:
        """As pages come."""
        return self._client.aconcurrent_get_records(**wanted.arguments())

    async def answer(self, ask: Ask) -> Mapping[str, Any]:
        """What was asked for, by sys_id."""
        if ask.kind == "journals":
            return await self._journals(ask)
        raise NotImplementedError(ask.kind)

    async def _journals(self, ask: Ask) -> Mapping[str, Any]:
        records = self._client.aget_records(**journals.arguments(_ids(ask), ask.about))
        try:
            found = journals.by_record([record async for record in records])
        except ForbiddenError as error:
            raise journals.refused(error) from error
        journals.must_be_readable(records.report.delivered, records.report.hidden)
        return found


def _ids(ask: Ask) -> list[str]:
    return [cell_of(record, "sys_id").value for record in ask.records]


def not_a_connection(connection: object) -> ConfigError:
    """What is said of something that nothing can be read from."""
    hint = "give a Client, an AsyncClient or Published(...)"
    return ConfigError("nothing can be read from it", key="connection", value=type(connection).__name__, hint=hint)

"""Clients as sources of records, and of what belongs to them."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from snow_assets.documents import bodies, journals
from snow_assets.documents.ahead import AHEAD
from snow_assets.documents.cells import Record
from snow_assets.documents.wanted import Ask, Wanted, ids_of
from snow_assets.servicenow.attachments import Described
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.records import Records

if TYPE_CHECKING:
    from snow_assets.documents.cmdb import RelationGraph
    from snow_assets.servicenow.aio import AsyncClient
    from snow_assets.servicenow.aio_streams import AsyncRecords

_CHUNK: Final = 100


class ClientSource:
    """Reads from an instance, for one reading."""

    ahead = AHEAD

    def __init__(self, client: Client) -> None:
        self._client = client
        self._graph: RelationGraph | None = None
        self.entries = journals.Readings()
        self._lock = threading.Lock()
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
        if ask.kind == "bodies":
            return self._bodies(ask)
        with self._lock:
            if self._graph is None:
                from snow_assets.documents.cmdb import RelationGraph  # noqa: PLC0415 - Arrow takes long to load

                self._graph = RelationGraph.read(self._client)
        return {sys_id: self._graph.relations_of(sys_id) for sys_id in ids_of(ask)}

    def _journals(self, ask: Ask) -> Mapping[str, Any]:
        records = self._client.get_records(**journals.arguments(ids_of(ask), ask.about))
        with journals.reading():
            found = journals.by_record(records)
        self.entries.add(records.report)
        return found

    def _bodies(self, ask: Ask) -> Mapping[str, Any]:
        found = list(bodies.texts_among(ask))
        with tempfile.TemporaryDirectory(prefix="snow_assets-") as folder, ThreadPoolExecutor(bodies.AT_ONCE) as crew:

            def fetch(pair: tuple[Record, Described]) -> str | None:
                path = Path(folder, pair[1].sys_id)
                return self._client.run(bodies.body(*pair, path, self._client.policy))

            texts = crew.map(fetch, found)
            return {wanted.sys_id: text for (_, wanted), text in zip(found, texts, strict=True)}


class AsyncSource:
    """Reads from an instance under asyncio, for one reading."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._graph: RelationGraph | None = None
        self.entries = journals.Readings()
        self._lock = asyncio.Lock()
        self.url = client.url

    def records(self, wanted: Wanted, tasks: int | None) -> AsyncRecords:
        """As pages come, by so many tasks; by as many as the client has."""
        return self._client.aconcurrent_get_records(**wanted.arguments(), concurrency=tasks)

    async def answer(self, ask: Ask) -> Mapping[str, Any]:
        """What was asked for, by sys_id."""
        if ask.kind == "journals":
            return await self._journals(ask)
        if ask.kind == "bodies":
            return await self._bodies(ask)
        async with self._lock:
            if self._graph is None:
                from snow_assets.documents.cmdb import RelationGraph  # noqa: PLC0415 - Arrow takes long to load

                self._graph = await RelationGraph.aread(self._client)
        return {sys_id: self._graph.relations_of(sys_id) for sys_id in ids_of(ask)}

    async def _journals(self, ask: Ask) -> Mapping[str, Any]:
        records = self._client.aget_records(**journals.arguments(ids_of(ask), ask.about))
        with journals.reading():
            found = journals.by_record([record async for record in records])
        self.entries.add(records.report)
        return found

    async def _bodies(self, ask: Ask) -> Mapping[str, Any]:
        found = list(bodies.texts_among(ask))
        leave = asyncio.Semaphore(bodies.AT_ONCE)

        async def fetch(pair: tuple[Record, Described], path: Path) -> str | None:
            async with leave:
                return await self._client.arun(bodies.body(*pair, path, self._client.policy))

        with tempfile.TemporaryDirectory(prefix="snow_assets-") as folder:
            tasks = [asyncio.ensure_future(fetch(pair, Path(folder, pair[1].sys_id))) for pair in found]
            try:
                texts = await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return {wanted.sys_id: text for (_, wanted), text in zip(found, texts, strict=True)}

"""Documents as LangChain's users have them: found again in a vector store, and kept up with ``index``."""

from __future__ import annotations

import asyncio
import importlib
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from langchain_core.document_loaders import BaseLoader
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_core.vectorstores import InMemoryVectorStore

from snow_assets.documents import langchain as adapters
from snow_assets.documents.langchain import ServiceNowIncidentLoader, ServiceNowLoader, ServiceNowTableLoader
from snow_assets.documents.loaders import IncidentLoader
from snow_assets.documents.published import Published
from snow_assets.errors import ConfigError, ForbiddenError
from snow_assets.pulls.library import pull_to
from snow_assets.servicenow.aio import AsyncClient
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.records import IncompleteWarning
from snow_assets.simulator import SimulatorServer
from snow_assets_tests.documents.adapting import NAMED, ROWS, WORDS, reading, serving, vector


class BagOfWords(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return vector(text)


class Index:
    """A vector store that is kept up with LangChain's own means."""

    def __init__(self) -> None:
        self.store = InMemoryVectorStore(BagOfWords())
        self.records = InMemoryRecordManager("servicenow")

    def bring_up(self, documents: Any, cleanup: Any = "full") -> dict[str, int]:
        """What was added, skipped and deleted; what was not is left out."""
        figures = index(
            documents, self.records, self.store, cleanup=cleanup, source_id_key="source", key_encoder="sha256"
        )
        return figures_of(figures)

    async def abring_up(self, documents: Any) -> dict[str, int]:
        figures = await aindex(
            documents, self.records, self.store, cleanup="full", source_id_key="source", key_encoder="sha256"
        )
        return figures_of(figures)

    def found(self, query: str) -> str:
        """The number of the record that fits best."""
        (best,) = self.store.similarity_search(query, k=1)
        return str(best.metadata["number"])


def figures_of(figures: Any) -> dict[str, int]:
    return {name.removeprefix("num_"): number for name, number in figures.items() if number}


@pytest.fixture
def instance() -> Iterator[SimulatorServer]:
    with serving() as server:
        yield server


@pytest.fixture
def client(instance: SimulatorServer) -> Iterator[Client]:
    with reading(instance) as client:
        yield client


def test_an_incident_is_found_by_its_words_with_all_its_metadata(
    client: Client, instance: SimulatorServer, tmp_path: Path
) -> None:
    row = instance.sim.rows("incident")[17]
    instance.sim.update("incident", row["sys_id"], short_description=WORDS)
    loader = ServiceNowIncidentLoader(client, include_journals=True, include_raw=True)
    store = InMemoryVectorStore(BagOfWords())
    ids = store.add_documents(loader.load())
    assert sorted(ids) == [f"incident/{each['sys_id']}" for each in instance.sim.rows("incident")]
    store.dump(str(tmp_path / "store.json"))
    again = InMemoryVectorStore.load(str(tmp_path / "store.json"), BagOfWords())
    (best,) = again.similarity_search("garbled telemetry of the zeppelin, hangar nine", k=1)
    assert best.id == f"incident/{row['sys_id']}"
    (ours,) = IncidentLoader(client, f"number={row['number']}", include_journals=True, include_raw=True).load()
    assert best.page_content == ours.page_content
    assert best.metadata == {**ours.metadata, "source": ours.metadata["url"]}


def test_an_index_follows_the_instance(client: Client, instance: SimulatorServer) -> None:
    loader, mine = ServiceNowIncidentLoader(client), Index()
    assert mine.bring_up(loader) == {"added": ROWS}
    assert mine.bring_up(loader) == {"skipped": ROWS}
    assert asyncio.run(mine.abring_up(loader)) == {"skipped": ROWS}
    changed, gone = instance.sim.rows("incident")[3], instance.sim.rows("incident")[4]
    instance.sim.update("incident", changed["sys_id"], short_description=WORDS)
    instance.sim.delete("incident", gone["sys_id"])
    assert mine.bring_up(loader) == {"added": 1, "skipped": ROWS - 2, "deleted": 2}  # the old version is one of them
    assert mine.found(WORDS) == changed["number"]
    assert mine.found(gone["number"]) != gone["number"]
    assert len(mine.store.store) == ROWS - 1


def test_an_index_is_kept_up_from_changes_alone(client: Client, instance: SimulatorServer) -> None:
    loader, mine = ServiceNowIncidentLoader(client), Index()
    mine.bring_up(loader.concurrent_lazy_load(max_workers=2))
    before = instance.sim.clock.now() - timedelta(seconds=5)
    changed = instance.sim.rows("incident")[3]
    instance.sim.update("incident", changed["sys_id"], short_description=WORDS)
    assert mine.bring_up(loader.load_since(before), "incremental") == {"added": 1, "deleted": 1}
    assert mine.bring_up(asyncio.run(loader.aload_since(before)), "incremental") == {"skipped": 1}
    assert mine.found(WORDS) == changed["number"]
    assert len(mine.store.store) == ROWS


def test_a_reading_that_fails_deletes_nothing_from_an_index(client: Client, instance: SimulatorServer) -> None:
    loader, mine = ServiceNowIncidentLoader(client), Index()
    mine.bring_up(loader)
    last = instance.sim.rows("incident")[-1]["sys_id"]
    instance.faults.add(kind="query_forbidden_403", request="list", sys_id=last)
    with pytest.raises(ForbiddenError):
        mine.bring_up(loader)
    assert len(mine.store.store) == ROWS


def test_every_way_of_loading_gives_the_same_documents(client: Client) -> None:
    loader = ServiceNowLoader(IncidentLoader(client, "active=true"))
    assert isinstance(loader, BaseLoader)
    expected = {each.id: each for each in loader.load()}
    assert 0 < len(expected) < ROWS

    async def read() -> list[list[Any]]:
        return [
            await loader.aload(),
            [each async for each in loader.alazy_load()],
            await loader.aconcurrent_load(),
            [each async for each in loader.aconcurrent_lazy_load()],
        ]

    threaded = [loader.concurrent_load(max_workers=2), list(loader.concurrent_lazy_load())]
    for documents in [list(loader.lazy_load()), *threaded, *asyncio.run(read())]:
        assert {each.id: each for each in documents} == expected
        assert len(documents) == len(expected)


def test_asynchronous_clients_and_published_pulls_give_the_same_documents(
    client: Client, instance: SimulatorServer, tmp_path: Path
) -> None:
    mine = Index()
    assert mine.bring_up(ServiceNowIncidentLoader(client)) == {"added": ROWS}

    async def read() -> None:
        async with AsyncClient(instance.url, username="admin", password="admin", page_size=20) as connection:
            loader = ServiceNowIncidentLoader(connection)
            assert await mine.abring_up(loader) == {"skipped": ROWS}
            with pytest.raises(ConfigError, match="alazy_load"):
                loader.load()

    asyncio.run(read())
    pull_to(tmp_path / "incidents", client, table="incident")
    published = Published("incidents", data=str(tmp_path))
    assert mine.bring_up(ServiceNowIncidentLoader(published)) == {"skipped": ROWS}
    assert asyncio.run(mine.abring_up(ServiceNowIncidentLoader(published))) == {"skipped": ROWS}


def test_options_of_the_reading_are_handed_on(client: Client, instance: SimulatorServer) -> None:
    loader = ServiceNowIncidentLoader(client)
    assert len(loader.load(limit=3)) == len(loader.concurrent_load(limit=3)) == 3
    assert loader.load_since(datetime.now(UTC) + timedelta(days=1)) == []
    with loader.lazy_load() as documents:
        next(documents)
        assert documents.report.delivered >= 1
        documents.close()
        assert documents.report.ended == "closed"
    last = instance.sim.rows("incident")[-1]["sys_id"]
    instance.faults.add(kind="error_500", request="list", sys_id=last)
    some = loader.concurrent_lazy_load(on_incomplete="warn")
    with pytest.warns(IncompleteWarning):
        assert len(list(some)) < ROWS
    assert not some.report.complete


def test_each_table_has_a_loader_by_its_name(client: Client) -> None:
    for name, table in NAMED.items():
        loader = getattr(adapters, f"ServiceNow{name}Loader")(connection=client)
        (found,) = loader.load(limit=1)
        assert found.id == f"{table}/{found.metadata['sys_id']}"
        assert found.page_content
    assert [each.metadata["table"] for each in ServiceNowTableLoader(client, "sys_user").load(limit=1)] == ["sys_user"]
    options = {"query": "ORDERBYnumber", "fields": ["number"], "content_template": "{{ number }}"}
    (templated,) = ServiceNowIncidentLoader(client, **options).load(limit=1)
    assert templated.page_content == templated.metadata["number"]
    with pytest.raises(ConfigError, match="include_journal"):
        ServiceNowIncidentLoader(client, include_journal=True)


def test_source_tells_records_apart_whatever_fields_they_have(client: Client, instance: SimulatorServer) -> None:
    instance.sim.add_column("incident", "source", label="Source")
    for row in instance.sim.rows("incident"):
        instance.sim.update("incident", row["sys_id"], source="Monitoring")
    documents = ServiceNowTableLoader(client, "incident", fields=["source"]).load()
    assert len({each.metadata["source"] for each in documents}) == ROWS
    assert {each.metadata["field_source"] for each in documents} == {"Monitoring"}


def test_without_langchain_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_core", None)
    monkeypatch.delitem(sys.modules, adapters.__name__)
    with pytest.raises(ConfigError, match=r"langchain_core.*pip install 'snow_assets\[langchain\]'"):
        importlib.import_module(adapters.__name__)


def test_nothing_else_imports_the_frameworks() -> None:
    code = (
        "import sys, snow_assets, snow_assets.documents.loaders; "
        "sys.exit(any(name.partition('.')[0] in ('langchain_core', 'llama_index') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

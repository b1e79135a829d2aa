"""Documents as LlamaIndex's users have them: found again in an index, split, kept up, told to models in part."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import BaseNode, Document, MetadataMode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore
from pydantic import PrivateAttr

from snow_assets.documents import llamaindex as adapters
from snow_assets.documents.llamaindex import ServiceNowIncidentReader, ServiceNowReader, ServiceNowTableReader
from snow_assets.documents.loaders import IncidentLoader
from snow_assets.documents.published import Published
from snow_assets.errors import ConfigError
from snow_assets.pulls.library import pull_to
from snow_assets.servicenow.aio import AsyncClient
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.records import IncompleteWarning
from snow_assets.simulator import SimulatorServer
from snow_assets_tests.documents.adapting import NAMED, ROWS, WORDS, reading, serving, vector


class BagOfWords(BaseEmbedding):
    """Keeps what it is given."""

    _seen: list[str] = PrivateAttr(default_factory=list)

    @property
    def seen(self) -> list[str]:
        return self._seen

    def _get_text_embedding(self, text: str) -> list[float]:
        self._seen.append(text)
        return vector(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        return vector(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return vector(query)


@pytest.fixture
def instance() -> Iterator[SimulatorServer]:
    with serving() as server:
        yield server


@pytest.fixture
def client(instance: SimulatorServer) -> Iterator[Client]:
    with reading(instance) as client:
        yield client


def best(index: Any, query: str) -> BaseNode:
    (found,) = index.as_retriever(similarity_top_k=1).retrieve(query)
    node: BaseNode = found.node
    return node


def test_an_incident_is_found_by_its_words_with_all_its_metadata(
    client: Client, instance: SimulatorServer, tmp_path: Path
) -> None:
    row = instance.sim.rows("incident")[17]
    instance.sim.update("incident", row["sys_id"], short_description=WORDS)
    reader = ServiceNowIncidentReader(client, include_journals=True, include_raw=True)
    index = VectorStoreIndex.from_documents(reader.load_data(), embed_model=BagOfWords())
    index.storage_context.persist(str(tmp_path))
    again = load_index_from_storage(StorageContext.from_defaults(persist_dir=str(tmp_path)), embed_model=BagOfWords())
    node = best(again, "garbled telemetry of the zeppelin, hangar nine")
    assert node.ref_doc_id == f"incident/{row['sys_id']}"
    (ours,) = IncidentLoader(client, f"number={row['number']}", include_journals=True, include_raw=True).load()
    assert node.get_content(MetadataMode.NONE) in ours.page_content
    assert node.metadata == ours.metadata


def test_models_are_told_what_reads_and_embeddings_what_tells_records_apart(client: Client) -> None:
    model = BagOfWords()
    documents = ServiceNowIncidentReader(client, include_raw=True).load_data()
    nodes = SentenceSplitter().get_nodes_from_documents(documents)
    VectorStoreIndex(nodes, embed_model=model)
    embedded, told = "\n".join(model.seen), "\n".join(node.get_content(MetadataMode.LLM) for node in nodes)
    assert len(model.seen) == len(nodes)
    ids = {value for each in documents for key, value in each.metadata.items() if key.endswith("sys_id")}
    assert len(ids) > ROWS
    assert not any(sys_id in embedded for sys_id in ids)
    assert "_sys_id: " not in told
    assert documents[0].metadata["url"] in told
    assert "nav_to.do" not in embedded
    for document in documents:
        assert f"number: {document.metadata['number']}" in embedded
        assert f"sys_updated_on: {document.metadata['sys_updated_on']}" in told
    assert "sys_updated_on" not in embedded


def test_metadata_leave_room_in_small_chunks(client: Client, instance: SimulatorServer) -> None:
    first = instance.sim.rows("incident")[0]["sys_id"]
    instance.sim.update("incident", first, short_description=f"{WORDS}. " * 60)
    splitter = SentenceSplitter(chunk_size=256, chunk_overlap=20)
    wide = ServiceNowTableReader(client, "incident", include_raw=True).load_data(limit=5)
    long = adapters.ServiceNowKBReader(client, include_raw=True).load_data(limit=5)
    for document in wide + long:
        nodes = splitter.get_nodes_from_documents([document])
        assert all(node.metadata == document.metadata for node in nodes)
        longest = max(len(node.get_content(MetadataMode.LLM)) for node in nodes)
        assert longest < 256 * 6


def test_an_index_is_refreshed_with_what_changed(client: Client, instance: SimulatorServer) -> None:
    reader, model = ServiceNowIncidentReader(client), BagOfWords()
    index = VectorStoreIndex.from_documents(reader.load_data(), embed_model=model)
    assert not any(index.refresh_ref_docs(reader.load_data()))
    changed = instance.sim.rows("incident")[3]
    before = instance.sim.clock.now() - timedelta(seconds=5)
    instance.sim.update("incident", changed["sys_id"], short_description=WORDS)
    assert index.refresh_ref_docs(reader.load_data_since(before)) == [True]
    assert index.refresh_ref_docs(asyncio.run(reader.aload_data_since(before))) == [False]
    assert best(index, WORDS).ref_doc_id == f"incident/{changed['sys_id']}"


def test_a_pipeline_passes_over_what_it_has_and_deletes_what_is_gone(client: Client, instance: SimulatorServer) -> None:
    reader, store = ServiceNowIncidentReader(client), SimpleVectorStore()
    pipeline = IngestionPipeline(
        transformations=[SentenceSplitter(), BagOfWords()],
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
        vector_store=store,
    )

    def run() -> set[str | None]:
        return {node.ref_doc_id for node in pipeline.run(documents=reader.load_data())}

    assert len(run()) == ROWS
    assert run() == set()
    changed, gone = instance.sim.rows("incident")[3], instance.sim.rows("incident")[4]
    instance.sim.update("incident", changed["sys_id"], short_description=WORDS)
    instance.sim.delete("incident", gone["sys_id"])
    assert run() == {f"incident/{changed['sys_id']}"}
    kept = set(store.data.text_id_to_ref_doc_id.values())
    assert kept == {f"incident/{row['sys_id']}" for row in instance.sim.rows("incident")}


def test_every_way_of_loading_gives_the_same_documents(client: Client) -> None:
    reader = ServiceNowReader(IncidentLoader(client, "active=true"))
    assert isinstance(reader, BaseReader)
    expected = {each.id_: each for each in reader.load_data()}
    assert 0 < len(expected) < ROWS

    async def read() -> list[list[Any]]:
        return [
            await reader.aload_data(),
            [each async for each in reader.alazy_load_data()],
            await reader.aconcurrent_load_data(),
            [each async for each in reader.aconcurrent_lazy_load_data()],
        ]

    threaded = [reader.concurrent_load_data(max_workers=2), list(reader.concurrent_lazy_load_data())]
    for documents in [list(reader.lazy_load_data()), *threaded, *asyncio.run(read())]:
        assert {each.id_: each for each in documents} == expected
        assert len(documents) == len(expected)


def test_asynchronous_clients_and_published_pulls_give_the_same_documents(
    client: Client, instance: SimulatorServer, tmp_path: Path
) -> None:
    ours = ServiceNowIncidentReader(client, include_raw=True)
    index = VectorStoreIndex.from_documents(ours.load_data(), embed_model=BagOfWords())

    async def read() -> list[Document]:
        async with AsyncClient(instance.url, username="admin", password="admin", page_size=20) as connection:
            return await ServiceNowIncidentReader(connection, include_raw=True).aload_data()

    pull_to(tmp_path / "incidents", client, table="incident")
    reader = ServiceNowIncidentReader(Published("incidents", data=str(tmp_path)), include_raw=True)
    since = ours.load_data_since(datetime(2000, 1, 1, tzinfo=UTC))
    for documents in (since, asyncio.run(read()), reader.load_data(), asyncio.run(reader.aload_data())):
        assert index.refresh_ref_docs(documents) == [False] * ROWS


def test_options_of_the_reading_are_handed_on(client: Client, instance: SimulatorServer) -> None:
    reader = ServiceNowIncidentReader(client)
    assert len(reader.load_data(limit=3)) == len(reader.concurrent_load_data(limit=3)) == 3
    assert reader.load_data_since(datetime.now(UTC) + timedelta(days=1)) == []
    with reader.lazy_load_data() as documents:
        next(documents)
    assert documents.report.ended == "closed"
    last = instance.sim.rows("incident")[-1]["sys_id"]
    instance.faults.add(kind="error_500", request="list", sys_id=last)
    with pytest.warns(IncompleteWarning):
        assert len(reader.concurrent_load_data(on_incomplete="warn")) < ROWS


def test_each_table_has_a_reader_by_its_name(client: Client) -> None:
    for name, table in NAMED.items():
        reader = getattr(adapters, f"ServiceNow{name}Reader")(connection=client)
        (found,) = reader.load_data(limit=1)
        assert found.id_ == f"{table}/{found.metadata['sys_id']}"
        assert found.text
    (user,) = ServiceNowTableReader(client, "sys_user").load_data(limit=1)
    assert user.metadata["table"] == "sys_user"
    with pytest.raises(ConfigError, match="include_journal"):
        ServiceNowIncidentReader(client, include_journal=True)


def test_keys_to_exclude_can_be_named(client: Client) -> None:
    reader = ServiceNowIncidentReader(
        client, excluded_llm_metadata_keys=["state"], excluded_embed_metadata_keys=["number"]
    )
    (document,) = reader.load_data(limit=1)
    assert "state: " not in document.get_content(MetadataMode.LLM)
    assert f"sys_id: {document.metadata['sys_id']}" in document.get_content(MetadataMode.LLM)
    assert "number: " not in document.get_content(MetadataMode.EMBED)


def test_without_llamaindex_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "llama_index"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "llama_index", None)
    monkeypatch.delitem(sys.modules, adapters.__name__)
    with pytest.raises(ConfigError, match=r"llama_index.*pip install 'snow_assets\[llamaindex\]'"):
        importlib.import_module(adapters.__name__)

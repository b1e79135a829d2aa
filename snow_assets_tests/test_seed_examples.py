"""What the examples of snowloader's pages on concurrent and async reading do, done here by the same arguments.

Only imports and names of classes differ from what its users have written (docs/coming-from-snowloader.md), and the one
recipe that reached into its private parts calls ``pull_to``. The truth is the simulator's own tables.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from snow_assets import AsyncClient, Client, Document, IncidentLoader, pull_to
from snow_assets.errors import RunAgain
from snow_assets.simulator import Simulator, SimulatorServer

INCIDENTS = 400
PEOPLE = {"assignment_group", "caller_id", "assigned_to"}
CLOSED_FIELDS = ["sys_id", "number", "short_description", "close_notes", "state", "opened_at", "resolved_at", *PEOPLE]
OPEN_FIELDS = ["sys_id", "number", "short_description", "state", "priority", "category", "caller_id", "opened_at"]

Row = Mapping[str, str]
Which = Callable[[Row], bool]


@pytest.fixture(scope="module")
def instance() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": INCIDENTS}, seed=3).serve() as server:
        yield server


@pytest.fixture
def signed_in(instance: SimulatorServer) -> dict[str, Any]:
    return {"instance_url": instance.url, "username": "admin", "password": "admin"}


def ids(instance: SimulatorServer, which: Which) -> set[str]:
    """sys_ids of the incidents that really are so: never none, never all, so that a dropped filter shows."""
    found = {row["sys_id"] for row in instance.sim.rows("incident") if which(row)}
    assert 0 < len(found) < INCIDENTS
    return found


def once(sys_ids: Iterable[str]) -> set[str]:
    """The sys_ids, none of which came twice."""
    found = list(sys_ids)
    assert len(found) == len(set(found))
    return set(found)


def ids_of(documents: Iterable[Document | Any]) -> set[str]:
    return once(document.metadata["sys_id"] for document in documents)


def is_resolved(row: Row) -> bool:
    return row["state"] == "6"


def is_active(row: Row) -> bool:
    return row["active"] == "true"


def stored(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def test_threads_bring_every_record_that_the_count_promises(
    instance: SimulatorServer, signed_in: dict[str, Any]
) -> None:
    query = "state=6^close_notesISNOTEMPTY"
    with Client(**signed_in, page_size=20) as conn:
        total = conn.get_count("incident", query=query)
        got = once(record["sys_id"] for record in conn.concurrent_get_records("incident", query=query, max_workers=16))
        by_keyword = conn.concurrent_get_records(table="incident", query=query, max_workers=16)
        assert once(record["sys_id"] for record in by_keyword) == got
    assert got == ids(instance, lambda row: is_resolved(row) and bool(row.get("close_notes")))
    assert total == len(got)


def test_a_loader_reads_by_threads_all_at_once_or_one_by_one(
    instance: SimulatorServer, signed_in: dict[str, Any]
) -> None:
    with Client(**signed_in, page_size=20, max_retries=5, display_value="all") as conn:
        loader = IncidentLoader(connection=conn, query="state=6")
        loaded = loader.concurrent_load(max_workers=16)
        index = {document.id: document for document in loader.concurrent_lazy_load(max_workers=16)}
    assert ids_of(loaded) == ids(instance, is_resolved)
    assert index == {document.id: document for document in loaded}
    for row in instance.sim.rows("incident"):
        if is_resolved(row):
            document = index[f"incident/{row['sys_id']}"]
            assert row["number"] in document.page_content
            assert (document.metadata["number"], document.metadata["state_value"]) == (row["number"], "6")


def test_asyncio_loads_all_documents(instance: SimulatorServer, signed_in: dict[str, Any]) -> None:
    async def load() -> list[Document]:
        async with AsyncClient(**signed_in, page_size=20, concurrency=16) as conn:
            loader = IncidentLoader(connection=conn, query="active=true")
            return await loader.aload()

    documents = asyncio.run(load())
    assert ids_of(documents) == ids(instance, is_active)
    with Client(**signed_in) as conn:
        threaded = IncidentLoader(connection=conn, query="active=true").load()
    assert {each.id: each.content_hash for each in documents} == {each.id: each.content_hash for each in threaded}


def test_asyncio_streams_documents(instance: SimulatorServer, signed_in: dict[str, Any]) -> None:
    async def stream() -> list[str]:
        async with AsyncClient(**signed_in, page_size=20) as conn:
            return [document.id async for document in IncidentLoader(connection=conn).alazy_load()]

    assert once(asyncio.run(stream())) == {f"incident/{row['sys_id']}" for row in instance.sim.rows("incident")}


def test_what_changed_since_yesterday(instance: SimulatorServer, signed_in: dict[str, Any]) -> None:
    since = datetime.now(UTC) - timedelta(days=1)

    async def changed() -> list[Document]:
        async with AsyncClient(**signed_in) as conn:
            return await IncidentLoader(connection=conn).aload_since(since)

    with Client(**signed_in) as conn:
        by_thread = IncidentLoader(connection=conn).load_since(since)
    expected = ids(instance, lambda row: row["sys_updated_on"] >= stored(since))
    assert ids_of(asyncio.run(changed())) == ids_of(by_thread) == expected


def test_langchain_gets_its_own_documents(instance: SimulatorServer, signed_in: dict[str, Any]) -> None:
    from langchain_core.documents import Document as OfLangChain

    from snow_assets.documents.langchain import ServiceNowIncidentLoader

    async def load() -> list[OfLangChain]:
        async with AsyncClient(**signed_in) as conn:
            return await ServiceNowIncidentLoader(connection=conn, query="active=true").aload()

    documents = asyncio.run(load())
    assert {type(document) for document in documents} == {OfLangChain}
    assert ids_of(documents) == ids(instance, is_active)


def test_llamaindex_gets_its_own_documents(instance: SimulatorServer, signed_in: dict[str, Any]) -> None:
    from llama_index.core.schema import Document as OfLlamaIndex

    from snow_assets.documents.llamaindex import ServiceNowIncidentReader

    since = datetime.now(UTC) - timedelta(days=1)

    async def load() -> tuple[list[OfLlamaIndex], list[OfLlamaIndex]]:
        async with AsyncClient(**signed_in) as conn:
            reader = ServiceNowIncidentReader(connection=conn)
            return await reader.aload_data(), await reader.aload_data_since(since)

    everything, changed = asyncio.run(load())
    assert {type(document) for document in everything} == {OfLlamaIndex}
    assert ids_of(everything) == {row["sys_id"] for row in instance.sim.rows("incident")}
    assert ids_of(changed) == ids(instance, lambda row: row["sys_updated_on"] >= stored(since))


def write_corpus(conn: Client, query: str, fields: list[str], output: Path) -> tuple[int, int | None]:
    """The recipe: raw records as lines of JSON, their number and the instance's own; called again, it goes on."""
    pulled = pull_to(output.with_suffix(""), conn, table="incident", query=query, fields=fields, max_workers=16)
    return pulled.to_jsonl(output), pulled.counted


def test_two_corpora_are_pulled_with_resume(
    instance: SimulatorServer, signed_in: dict[str, Any], tmp_path: Path
) -> None:
    closed = "stateIN6,7^close_notesISNOTEMPTY^sys_updated_on>=javascript:gs.daysAgoStart(730)^ORDERBYsys_created_on"
    open_ones = "stateIN1,2,3,4,5^opened_at>=javascript:gs.daysAgoStart(60)^ORDERBYsys_created_on"
    with Client(**signed_in, page_size=50, display_value="all", max_retries=5) as conn:
        made = {
            name: (write_corpus(conn, query, fields, tmp_path / f"{name}.jsonl"), fields)
            for name, query, fields in (("closed", closed, CLOSED_FIELDS), ("active", open_ones, OPEN_FIELDS))
        }
    now = instance.sim.clock.now()
    certain: dict[str, Which] = {
        "closed": lambda row: (
            row["state"] in "67"
            and bool(row.get("close_notes"))
            and row["sys_updated_on"] >= stored(now - timedelta(days=729))
        ),
        "active": lambda row: row["state"] in "12345" and row["opened_at"] >= stored(now - timedelta(days=59)),
    }
    possible: dict[str, Which] = {  # the day begins in the account's time zone: the instance knows when
        "closed": lambda row: row["state"] in "67" and row["sys_updated_on"] >= stored(now - timedelta(days=732)),
        "active": lambda row: row["state"] in "12345" and row["opened_at"] >= stored(now - timedelta(days=62)),
    }
    for name, ((written, counted), fields) in made.items():
        records = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        got = once(record["sys_id"]["value"] for record in records)
        assert ids(instance, certain[name]) <= got <= ids(instance, possible[name])
        assert written == counted == len(records)
        assert {field for record in records for field in record} == set(fields)
        assert any("link" in record["caller_id"] for record in records)  # the whole structure of a reference


def test_the_same_recipe_run_again_asks_for_the_rest_alone(
    instance: SimulatorServer, signed_in: dict[str, Any], tmp_path: Path
) -> None:
    output = tmp_path / "corpus.jsonl"
    active = sorted(ids(instance, is_active))
    instance.faults.add(kind="error_500", request="list", sys_id=active[len(active) // 2])
    try:
        with Client(**signed_in, page_size=20, max_retries=0, retry_backoff=0.01) as conn:
            with pytest.raises(RunAgain):
                write_corpus(conn, "active=true", OPEN_FIELDS, output)
            assert not output.exists()
    finally:
        instance.faults.clear()
    with Client(**signed_in, page_size=20) as conn:
        pulled = pull_to(tmp_path / "corpus", conn, table="incident", query="active=true", fields=OPEN_FIELDS)
    assert 0 < pulled.adopted < len(pulled.dataset.files)
    assert once(record["sys_id"]["value"] for record in pulled.records()) == set(active)

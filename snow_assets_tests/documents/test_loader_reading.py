"""How documents are read: journals and relations in bulk, from instances and from what is published, in every way."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from snow_assets.documents import journals
from snow_assets.documents.document import Document
from snow_assets.documents.loader import Connection, Loader
from snow_assets.documents.loaders import AttachmentLoader, CMDBLoader, IncidentLoader, TableLoader
from snow_assets.documents.published import Published
from snow_assets.documents.sources import ClientSource
from snow_assets.errors import ConfigError, ForbiddenError, RequestFailed
from snow_assets.pulls.library import pull_to
from snow_assets.servicenow.aio import AsyncClient
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.records import IncompleteWarning
from snow_assets.simulator import HiddenRows, Simulator, SimulatorServer

INCIDENTS, RELATIONS = 150, 240


def told(documents: Iterable[Document]) -> list[tuple[str, str]]:
    return sorted((document.id, document.content_hash) for document in documents)


def asked(server: SimulatorServer, table: str) -> int:
    return sum(entry.path.endswith(f"/table/{table}") for entry in server.requests)


def under_asyncio(server: SimulatorServer, work: Callable[[AsyncClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with AsyncClient(
            server.url, username="admin", password="admin", page_size=40, concurrency=4, retry_backoff=0.01
        ) as client:
            return await work(client)

    return asyncio.run(run())


def entries_of(server: SimulatorServer, sys_id: str) -> list[dict[str, str]]:
    rows = (row for row in server.sim.rows("sys_journal_field") if row["element_id"] == sys_id)
    return sorted(map(dict, rows), key=lambda row: (row["sys_created_on"], row["sys_id"]))


def test_journals_are_told_oldest_first_with_author_and_time(client: Client, desk: SimulatorServer) -> None:
    labels = {"comments": "Additional comments", "work_notes": "Work notes"}
    with_entries = 0
    for document in IncidentLoader(client, include_journals=True).load():
        expected = [
            f"{row['sys_created_on'][:16]} UTC, {row['sys_created_by']}, {labels[row['element']]}:\n"
            f"{row['value'].strip()}"
            for row in entries_of(desk, document.metadata["sys_id"])
        ]
        _, heading, journal = document.page_content.partition("\n\nJournal:\n\n")
        assert bool(heading) is bool(expected)
        assert journal == "\n\n".join(expected)
        with_entries += bool(expected)
    assert 20 < with_entries < INCIDENTS


def test_journals_are_read_for_many_records_at_once(client: Client, desk: SimulatorServer) -> None:
    IncidentLoader(client, include_journals=True).load()
    assert asked(desk, "sys_journal_field") <= 5 * 3, "150 records in batches of 60"
    assert max(len(entry.query) for entry in desk.requests) < 4_200


@pytest.mark.parametrize("refusal", ["closed", "denied", "hidden"])
def test_journals_that_may_not_be_read_are_never_left_out_in_silence(
    refusal: str, client: Client, desk: SimulatorServer
) -> None:
    knobs = desk.sim.knobs
    if refusal == "hidden":
        knobs.hidden_rows = [HiddenRows("sys_journal_field", fraction=1.0)]
    else:
        setattr(knobs, f"{refusal}_tables", {"sys_journal_field"})
    with pytest.raises(ForbiddenError, match=r"sys_journal_field.*include_journals"):
        IncidentLoader(client, include_journals=True).load()
    with pytest.raises(ForbiddenError, match="sys_journal_field"):
        under_asyncio(desk, lambda aclient: IncidentLoader(aclient, include_journals=True).aload())
    assert len(IncidentLoader(client).load()) == INCIDENTS


def test_journals_that_fail_raise_and_the_report_says_so(client: Client, desk: SimulatorServer) -> None:
    desk.faults.add(kind="error_500", table="sys_journal_field")
    documents = IncidentLoader(client, include_journals=True).lazy_load()
    with pytest.raises(RequestFailed):
        list(documents)
    assert documents.report.ended == "failed"


def test_entries_that_are_hidden_are_in_the_report_and_what_they_cost(client: Client, desk: SimulatorServer) -> None:
    desk.sim.knobs.hidden_rows = [HiddenRows("sys_journal_field", fraction=0.2)]
    documents = IncidentLoader(client, include_journals=True).lazy_load()
    shown = sum(
        len(re.findall(r" UTC, .*, (?:Work notes|Additional comments):\n", each.page_content)) for each in documents
    )
    entries = sum(len(entries_of(desk, row["sys_id"])) for row in desk.sim.rows("incident"))
    report = documents.report
    assert report.complete
    assert f"{entries - shown:,} journal entries are hidden" in report.differences[-1].evidence
    assert sum(cause.rows for cause in report.differences) == 0
    assert report.requests == len(desk.requests)


@pytest.mark.parametrize("workers", [None, 4])
def test_entries_of_some_records_may_be_hidden_however_these_are_put_together(
    workers: int | None, client: Client, desk: SimulatorServer
) -> None:
    first = {
        row["sys_id"] for row in sorted(desk.sim.rows("incident"), key=lambda row: row["sys_id"])[: journals.BATCH]
    }
    entries = {row["sys_id"] for row in desk.sim.rows("sys_journal_field") if row["element_id"] in first}
    desk.sim.knobs.hidden_rows = [HiddenRows("sys_journal_field", sys_ids=frozenset(entries))]
    loader = IncidentLoader(client, include_journals=True)
    documents = loader.lazy_load() if workers is None else loader.concurrent_lazy_load(workers)
    assert len(list(documents)) == INCIDENTS
    assert f"{len(entries):,} journal entries are hidden" in documents.report.differences[-1].evidence


def ways(loader: Callable[[Connection], Loader], client: Client, desk: SimulatorServer) -> Iterator[list[Document]]:
    yield loader(client).load()
    yield loader(client).concurrent_load(4)
    yield asyncio.run(loader(client).aload())
    yield asyncio.run(loader(client).aconcurrent_load(4))
    yield under_asyncio(desk, lambda aclient: loader(aclient).aload())
    yield under_asyncio(desk, lambda aclient: loader(aclient).aconcurrent_load(2))


@pytest.mark.parametrize(
    "loader",
    [
        lambda connection: IncidentLoader(connection, include_journals=True, include_raw=True),
        lambda connection: CMDBLoader(
            connection, "nameSTARTSWITHwin", ci_class="cmdb_ci_server", include_relationships=True
        ),
        lambda connection: AttachmentLoader(connection, "content_typeSTARTSWITHtext", text=True),
    ],
    ids=["journals", "relations", "texts"],
)
def test_every_way_of_reading_gives_the_same_documents(
    loader: Callable[[Connection], Loader], client: Client, desk: SimulatorServer
) -> None:
    first, *others = [told(found) for found in ways(loader, client, desk)]
    assert first
    assert len(set(first)) == len(first)
    assert all(other == first for other in others)


def test_what_is_published_gives_the_documents_of_the_instance(client: Client, incidents: Published, data: str) -> None:
    def journals(connection: Connection) -> Loader:
        return IncidentLoader(connection, include_journals=True, include_raw=True)

    there = journals(client).load()
    assert len(there) == INCIDENTS
    assert journals(incidents).load() == there
    assert journals(incidents).concurrent_load() == there
    assert asyncio.run(journals(incidents).aload()) == there
    some: dict[str, Any] = {"fields": ["state", "caller_id"], "expand_references": False}
    assert IncidentLoader(incidents, **some).load() == IncidentLoader(client, **some).load()
    assert TableLoader(incidents, "incident").load() == TableLoader(client, "incident").load()
    servers = Published("servers", data, relations="relations")
    there = CMDBLoader(client, ci_class="cmdb_ci_server", include_relationships=True).load()
    assert told(CMDBLoader(servers, ci_class="cmdb_ci_server", include_relationships=True).load()) == told(there)


def test_a_moment_and_a_limit_choose_among_what_is_published(client: Client, incidents: Published) -> None:
    moments = sorted(document.metadata["sys_updated_on"] for document in IncidentLoader(client).load())
    since = datetime.fromisoformat(moments[100])
    there = IncidentLoader(client).load_since(since)
    assert len(there) == 50
    assert told(IncidentLoader(incidents).load_since(since)) == told(there)
    assert told(asyncio.run(IncidentLoader(incidents).aload_since(since))) == told(there)
    assert told(IncidentLoader(client).concurrent_lazy_load(since=since)) == told(there)
    assert IncidentLoader(incidents).load(limit=7) == IncidentLoader(client).load(limit=7)
    with pytest.raises(ConfigError, match="time zone"):
        IncidentLoader(incidents).load_since(since.replace(tzinfo=None))


def test_what_cannot_be_read_of_the_published_is_told(
    client: Client, incidents: Published, data: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="query 'active=true'"):
        IncidentLoader(incidents, "active=true").load()
    with pytest.raises(ConfigError, match=r"of table incident, not of problem"):
        TableLoader(incidents, "problem").load()
    with pytest.raises(ConfigError, match=r"does not land caller_id.email"):
        IncidentLoader(incidents, fields=["caller_id.email"]).load()
    with pytest.raises(ConfigError, match=r"journals.*Published\('incidents', journals="):
        IncidentLoader(Published("incidents", data), include_journals=True).load()
    with pytest.raises(ConfigError, match=r"not of sys_journal_field"):
        IncidentLoader(Published("incidents", data, journals="servers"), include_journals=True).load()
    with pytest.raises(ConfigError, match=r"relations.*Published"):
        CMDBLoader(Published("servers", data), ci_class="cmdb_ci_server", include_relationships=True).load()
    with pytest.raises(ConfigError, match=r"attachments are not published"):
        AttachmentLoader(incidents, text=True)
    with pytest.raises(ConfigError, match=r"nothing is published"):
        IncidentLoader(Published("nothing", data)).load()
    pull_to(tmp_path / "codes", client, table="incident", fields=["number"], display_value="false")
    with pytest.raises(ConfigError, match=r"display_value: false.*display_value: all"):
        IncidentLoader(Published("codes", str(tmp_path))).load()


@pytest.mark.parametrize("options", [{"limit": -1}, {"on_incomplete": "wrn"}])
def test_what_makes_no_sense_is_refused_of_what_is_published_too(
    options: dict[str, Any], client: Client, incidents: Published
) -> None:
    for connection in (client, incidents):
        with pytest.raises(ConfigError, match=next(iter(options))):
            IncidentLoader(connection).lazy_load(**options)


def test_of_a_delta_pull_the_current_rows_are_read(tmp_path: Path) -> None:
    with (
        Simulator(rows={"incident": 40}, seed=5).serve() as server,
        Client(server.url, username="admin", password="admin", retry_backoff=0.01) as client,
    ):
        pull_to(tmp_path / "incidents", client, table="incident", mode="delta")
        changed, gone = (row["sys_id"] for row in server.sim.rows("incident")[:2])
        server.sim.update("incident", changed, short_description="Changed meanwhile")
        server.sim.delete("incident", gone)
        pull_to(tmp_path / "incidents", client, table="incident", mode="delta")
        pull_to(tmp_path / "entries", client, table="sys_journal_field")
        published = Published("incidents", str(tmp_path), journals="entries")
        here = IncidentLoader(published, include_journals=True).load()
        assert here == IncidentLoader(client, include_journals=True).load()
        assert len(here) == 39


def test_relations_are_read_once_for_all_items(client: Client, desk: SimulatorServer) -> None:
    documents = CMDBLoader(client, ci_class="cmdb_ci_server", include_relationships=True).load()
    assert asked(desk, "cmdb_rel_ci") <= 4 * RELATIONS // 40, "a sweep of 40 rows a page, and its proofs"
    with_relations = [document for document in documents if document.metadata["relationships"]]
    assert with_relations
    rows = desk.sim.rows("cmdb_rel_ci")
    for document in with_relations[:20]:
        sys_id = document.metadata["sys_id"]
        others = {row["child"] for row in rows if row["parent"] == sys_id}
        others |= {row["parent"] for row in rows if row["child"] == sys_id}
        relations = document.metadata["relationships"]
        assert {relation["target_sys_id"] for relation in relations} == others
        assert all(relation["target"] in document.page_content for relation in relations)


def test_the_first_document_comes_with_the_first_page(client: Client, desk: SimulatorServer) -> None:
    documents = IncidentLoader(client).lazy_load()
    next(documents)
    pages = [entry for entry in desk.requests if entry.params.get("sysparm_display_value") == "all"]
    assert len(pages) == 1
    assert documents.report.ended == "running"
    documents.close()
    before = len(desk.requests)
    assert documents.report.ended == "closed"
    assert documents.report.delivered == 1
    assert list(documents) == []
    assert len(desk.requests) == before


def test_a_reading_that_is_closed_among_its_documents_is_not_called_complete(client: Client) -> None:
    documents = IncidentLoader(client, include_journals=True).lazy_load(limit=50)
    for _ in range(10):
        next(documents)
    documents.close()
    report = documents.report
    assert (report.ended, report.delivered, report.complete) == ("closed", 10, False)


def test_reports_count_documents(client: Client, incidents: Published) -> None:
    for connection in (client, incidents):
        documents = IncidentLoader(connection).lazy_load()
        assert len(list(documents)) == INCIDENTS
        report = documents.report
        assert report.complete
        assert (report.counted, report.delivered) == (INCIDENTS, INCIDENTS)
        limited = IncidentLoader(connection).lazy_load(limit=3)
        assert len(list(limited)) == 3
        assert limited.report.ended == "limit"


def test_a_range_that_fails_is_warned_of_where_that_was_asked_for(client: Client, desk: SimulatorServer) -> None:
    desk.faults.add(kind="error_500", table="incident", request="list", after=3)
    with pytest.raises(RequestFailed):
        IncidentLoader(client).load()
    desk.faults.clear()
    desk.faults.add(kind="error_500", table="incident", request="list", after=3)
    with pytest.warns(IncompleteWarning):
        found = IncidentLoader(client).load(on_incomplete="warn")
    assert len(found) < INCIDENTS


def test_methods_without_asyncio_name_their_twins_for_an_async_client(desk: SimulatorServer) -> None:
    async def work(client: AsyncClient) -> None:
        loader = IncidentLoader(client)
        for method, twin in (("load", "alazy_load"), ("concurrent_load", "aconcurrent_lazy_load")):
            with pytest.raises(ConfigError, match=twin):
                getattr(loader, method)()

    under_asyncio(desk, work)
    with pytest.raises(ConfigError, match="Client"):
        IncidentLoader("https://acme.service-now.com")  # type: ignore[arg-type]


def test_a_loop_goes_on_while_a_thread_reads(
    client: Client, desk: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on, held = threading.Event(), threading.Event()
    journals = ClientSource.answer

    def waiting(self: ClientSource, ask: Any) -> Any:
        held.set()
        assert going_on.wait(30), "the loop was blocked"
        return journals(self, ask)

    async def run() -> None:
        documents = IncidentLoader(client, include_journals=True).alazy_load()
        first = asyncio.ensure_future(anext(documents))
        assert await asyncio.to_thread(held.wait, 30)
        going_on.set()  # only a loop that is free comes here
        await first
        await documents.aclose()
        assert (documents.report.ended, documents.report.delivered) == ("closed", 1)

    monkeypatch.setattr(ClientSource, "answer", waiting)
    asyncio.run(run())
    asked_for = len(desk.requests)
    assert client.get_count("incident") == INCIDENTS, "the client itself goes on"
    assert len(desk.requests) == asked_for + 1, "nothing else is asked for once it is closed"


def test_threads_end_when_a_loop_stops_early(desk: SimulatorServer) -> None:
    def reading() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith(("answers", "records-"))]

    async def run(client: Client) -> None:
        documents = IncidentLoader(client, include_journals=True).aconcurrent_lazy_load(2)
        await anext(documents)
        await documents.aclose()
        for thread in reading():
            await asyncio.to_thread(thread.join, 30)
            assert not thread.is_alive()
        assert documents.report.ended == "closed"

    with Client(desk.url, username="admin", password="admin", page_size=5) as client:
        asyncio.run(run(client))

"""What a document says and what it is, per table, against the rows of the instance."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest

from snow_assets.documents import loaders
from snow_assets.documents.document import Document
from snow_assets.documents.loader import Loader
from snow_assets.documents.loaders import (
    AttachmentLoader,
    CatalogLoader,
    CMDBLoader,
    IncidentLoader,
    JournalLoader,
    KnowledgeBaseLoader,
    ProblemLoader,
    RelationshipLoader,
    TableLoader,
)
from snow_assets.errors import ConfigError
from snow_assets.servicenow.client import Client
from snow_assets.simulator import Simulator, SimulatorServer

Row = Mapping[str, str]
NAMED = [each for each in vars(loaders).values() if isinstance(each, type) and issubclass(each, Loader)]
OF_A_TABLE = [each for each in NAMED if each not in (Loader, TableLoader)]
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
STORED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


@pytest.fixture
def own() -> Iterator[tuple[Simulator, Client]]:
    """An instance that the test may change, and a client of it."""
    with Simulator(rows={"incident": 12}, seed=3).serve() as server:
        server.sim.knobs.accounts["admin"].date_format = "dd/MM/yyyy"
        with Client(server.url, username="admin", password="admin", retry_backoff=0.01) as client:
            yield server.sim, client


def people_see(client: Client, table: str, sys_id: str) -> dict[str, Any]:
    """What the instance itself shows and stores of a record."""
    return client.get_record(table, sys_id, display_value="all")


def one(loader: Loader) -> Document:
    found = loader.load()
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("kind", OF_A_TABLE, ids=lambda kind: kind.__name__)
def test_documents_of_every_table_hold_labels_to_read_and_typed_metadata(
    kind: type[Loader], client: Client, desk: SimulatorServer
) -> None:
    documents = kind(client).load(limit=30)
    assert len(documents) == 30
    for document in documents:
        metadata, table = document.metadata, kind(client).table
        seen = people_see(client, table, metadata["sys_id"]) if document in documents[:3] else {}
        assert document.id == f"{table}/{metadata['sys_id']}"
        assert metadata["url"] == f"{desk.url}/nav_to.do?uri={table}.do%3Fsys_id%3D{metadata['sys_id']}"
        assert json.loads(json.dumps(metadata)) == metadata
        assert all(isinstance(value, str | int | float) for value in metadata.values())
        assert not any(isinstance(value, str) and STORED.fullmatch(value) for value in metadata.values())
        assert "" not in metadata.values()
        assert not re.search(r"\b[0-9a-f]{32}\b", document.page_content), "an id is nothing to read"
        assert "{'" not in document.page_content
        assert "\n\n\n" not in document.page_content
        for name, cell in seen.items():
            if "link" in cell and name in metadata:
                assert metadata[name] == cell["display_value"]
                assert metadata[f"{name}_sys_id"] == cell["value"]
            elif STORED.fullmatch(cell["value"]) and name in metadata and f"{name}_seconds" not in metadata:
                assert ISO.fullmatch(metadata[name])
                assert metadata[name] == cell["value"].replace(" ", "T") + "Z"


def test_an_incident_reads_as_people_see_it(own: tuple[Simulator, Client]) -> None:
    sim, client = own
    caller = sim.rows("sys_user")[0]["sys_id"]
    sim.insert(
        "incident",
        number="INC1",
        short_description="No mail",
        description="Since noon.\nEverywhere.",
        state="2",
        priority="1",
        caller_id=caller,
        active="true",
        opened_at="2026-03-01 23:30:00",
        reassignment_count="1234",
        business_duration="1970-01-02 04:46:44",
        close_notes="",
    )
    document = one(IncidentLoader(client, "number=INC1"))
    name = people_see(client, "incident", document.metadata["sys_id"])["caller_id"]["display_value"]
    assert document.page_content.startswith("Incident INC1: No mail\nState: In Progress\nPriority: 1 - Critical\n")
    assert f"\nCaller: {name}\nOpened: 2026-03-01 23:30 UTC" in document.page_content
    assert document.page_content.endswith("\n\nDescription:\nSince noon.\nEverywhere.")
    metadata = document.metadata
    expected = {
        "number": "INC1",
        "state": "In Progress",
        "state_value": "2",
        "caller_id": name,
        "caller_id_sys_id": caller,
        "opened_at": "2026-03-01T23:30:00Z",
        "active": True,
        "reassignment_count": 1234,
        "business_duration": "1 Day 4 Hours 46 Minutes",
        "business_duration_seconds": 103_604,
    }
    assert {key: metadata[key] for key in expected} == expected
    assert "close_notes" not in metadata
    assert "description" not in metadata, "it is the content"
    assert not any(key.startswith("opened_at_") for key in metadata)
    plain = one(IncidentLoader(client, "number=INC1", expand_references=False)).metadata
    assert plain == {key: value for key, value in metadata.items() if not key.endswith(("_value", "_seconds"))
                     and not (key.endswith("_sys_id"))}  # fmt: skip


def test_an_article_is_text(own: tuple[Simulator, Client]) -> None:
    sim, client = own
    html = (
        "<head><title>Untold</title></head><style>p {color: red}</style><template>Untold</template>"
        "<h2>Reset</h2><p>Open <a href='https://x.example/a?b=1&amp;c=2'>the page</a>"
        " &amp; wait.<script>alert('no')</script></p>\r\n<p>&nbsp;</p><p></p><p></p><ul><li>one</li><li>two</li></ul>"
        "<table><tr><th>Error</th><th>Do</th></tr><tr><td>0x8</td><td>call_us</td></tr></table>"
        "<img src='data:image/png;base64,AAAA' alt='the dialog'>"
    )
    sim.insert("kb_knowledge", number="KB1", short_description="Mail", text=html, workflow_state="published")
    document = one(KnowledgeBaseLoader(client, "number=KB1"))
    body = document.page_content.partition("Article:\n")[2]
    assert body == (
        "## Reset\n\nOpen [the page](https://x.example/a?b=1&c=2) & wait.\n\n- one\n- two\n\n"
        "| Error | Do |\n| --- | --- |\n| 0x8 | call_us |\n\nthe dialog"
    )
    assert "text" not in document.metadata
    assert document.metadata["workflow_state"] == "Published"


def test_html_stands_in_problems_and_catalog_items_too(client: Client) -> None:
    for loader in (ProblemLoader(client), CatalogLoader(client)):
        assert not any(re.search(r"<(?:p|ul|li)>|&\w+;", document.page_content) for document in loader.load())


def test_a_relation_names_both_ends_and_both_ways(client: Client) -> None:
    document = RelationshipLoader(client).load(limit=1)[0]
    metadata = document.metadata
    down, up = metadata["type"].split("::")
    parent, child = metadata["parent"], metadata["child"]
    assert document.page_content == f"{parent} -> {down} -> {child}\n{child} -> {up} -> {parent}"


def test_a_journal_entry_is_its_text(client: Client, desk: SimulatorServer) -> None:
    document = JournalLoader(client, "element=work_notes").load(limit=1)[0]
    row = next(row for row in desk.sim.rows("sys_journal_field") if row["sys_id"] == document.metadata["sys_id"])
    head, _, text = document.page_content.partition("\n")
    assert head == f"Work notes on {row['name']}, {row['sys_created_on'][:16]} UTC, {row['sys_created_by']}:"
    assert text == row["value"].strip()
    assert document.metadata["element_id"] == row["element_id"]


def test_a_table_that_nobody_described_shows_what_reads_as_text(client: Client) -> None:
    document = TableLoader(client, "sys_user", "user_nameSTARTSWITHa^emailISNOTEMPTY").load(limit=1)[0]
    assert document.page_content.startswith(f"User {document.metadata['name']}\n")
    assert f"Email: {document.metadata['email']}" in document.page_content
    assert isinstance(document.metadata["active"], bool)
    assert "Active" not in document.page_content


def test_journals_that_the_instance_shows_in_the_record_are_not_taken_for_its_fields(client: Client) -> None:
    shown = client.get_records("incident_task", "", ["work_notes"], "all")
    noted = {record["sys_id"]["value"] for record in shown if record["work_notes"]["display_value"]}
    documents = [each for each in TableLoader(client, "incident_task").load() if each.metadata["sys_id"] in noted]
    assert documents
    for document in documents:
        assert "Work notes" not in document.page_content
        assert not {"work_notes", "comments", "comments_and_work_notes"} & document.metadata.keys()


def test_content_fields_are_the_lines(client: Client) -> None:
    fields = ["email", "manager.name", "user_name"]
    document = TableLoader(client, "sys_user", "managerISNOTEMPTY", content_fields=fields).load(limit=1)[0]
    metadata = document.metadata
    assert document.page_content == (
        f"Email: {metadata['email']}\nManager name: {metadata['manager.name']}\nUser name: {metadata['user_name']}"
    )
    everything = TableLoader(client, "sys_user", "managerISNOTEMPTY", content_fields=["email"]).load(limit=1)[0]
    assert {"first_name", "manager", "manager_sys_id"} <= everything.metadata.keys()


@pytest.mark.parametrize("options", [{"fields": ["number", "no_such"]}, {"content_fields": ["no_such"]}])
@pytest.mark.parametrize("table", ["incident", "incident_task"])
def test_a_field_that_somebody_named_must_exist(table: str, options: dict[str, Any], client: Client) -> None:
    with pytest.raises(ConfigError, match="no_such"):
        TableLoader(client, table, **options).load(limit=1)


def test_fields_choose_what_is_read_and_the_record_stays_known(client: Client, desk: SimulatorServer) -> None:
    loader = IncidentLoader(client, "caller_idISNOTEMPTY", ["state", "caller_id.email"], include_raw=True)
    document = loader.load(limit=1)[0]
    row = next(row for row in desk.sim.rows("incident") if row["sys_id"] == document.metadata["sys_id"])
    assert document.page_content.startswith(f"Incident {row['number']}\nState: ")
    assert f"\nCaller email: {document.metadata['caller_id.email']}" in document.page_content
    asked = {"sys_id", "number", "sys_class_name", "sys_created_on", "sys_updated_on", "state", "caller_id.email"}
    assert document.metadata["raw"].keys() == asked
    assert document.metadata["sys_updated_on"] == row["sys_updated_on"].replace(" ", "T") + "Z"


def test_a_recipe_asks_only_for_what_the_table_has(client: Client, desk: SimulatorServer) -> None:
    document = CMDBLoader(client).load(limit=1)[0]
    assert document.page_content.startswith("Configuration item ")
    server = CMDBLoader(client, "osISNOTEMPTY", ci_class="cmdb_ci_server").load(limit=1)[0]
    assert "\nOperating system: " in server.page_content
    assert server.id.startswith("cmdb_ci_server/")
    asked = {
        entry.params["sysparm_fields"] for entry in desk.requests if entry.params.get("sysparm_display_value") == "all"
    }
    assert len(asked) == 2
    assert not any("wiki" in fields or "cpu_count" in fields for fields in asked if "os," not in fields)


def test_a_name_of_ours_gives_way_to_no_field(own: tuple[Simulator, Client]) -> None:
    sim, client = own
    sim.add_column("incident", "url", "string")
    sim.insert("incident", number="INC2", url="https://elsewhere.example")
    metadata = one(TableLoader(client, "incident", "number=INC2", ["url"])).metadata
    assert metadata["field_url"] == "https://elsewhere.example"
    assert "nav_to.do" in metadata["url"]


def test_a_template_sees_labels_and_values(client: Client, desk: SimulatorServer) -> None:
    template = "{{ number }} [{{ state }}={{ value.state }}] {{ sys_id }} {{ opened_at }}"
    document = IncidentLoader(client, content_template=template).load(limit=1)[0]
    row = next(row for row in desk.sim.rows("incident") if row["sys_id"] == document.metadata["sys_id"])
    state = document.metadata["state"]
    assert document.page_content == (
        f"{row['number']} [{state}={row['state']}] {row['sys_id']} {row['opened_at'][:16]} UTC"
    )


def test_a_template_may_place_the_journals(client: Client) -> None:
    loader = IncidentLoader(client, include_journals=True, content_template="{{ number }}|{{ journals }}")
    document = next(each for each in loader.load() if "Work notes" in each.page_content)
    assert re.match(r"INC\d+\|\d{4}-\d\d-\d\d \d\d:\d\d UTC, ", document.page_content)


def test_words_stay_words_whatever_they_look_like(own: tuple[Simulator, Client]) -> None:
    """An index takes the type of a field from the first record that it is given."""
    sim, client = own
    texts = ["true", "2026-03-01 10:00:00", "12", "12.5"]
    for text in texts:
        sim.insert("incident", number=f"INC{text}", short_description=text, description=text)
        sim.insert("sys_properties", name=f"x.{text}", value=text)
    incidents = {each.metadata["number"]: each for each in IncidentLoader(client, "numberSTARTSWITHINC").load()}
    properties = {each.metadata["name"]: each for each in TableLoader(client, "sys_properties", "nameLIKEx.").load()}
    for text in texts:
        document, other = incidents[f"INC{text}"], properties[f"x.{text}"]
        assert document.metadata["short_description"] == text
        assert document.page_content.startswith(f"Incident INC{text}: {text}\n")
        assert document.page_content.endswith(f"Description:\n{text}")
        assert other.metadata["value"] == text
        assert f"\nValue: {text}" in other.page_content


def test_decimals_are_decimals_also_where_they_are_whole(own: tuple[Simulator, Client]) -> None:
    sim, client = own
    for number, rating in (("KB1", "4"), ("KB2", "4.5"), ("KB3", "nan")):
        sim.insert("kb_knowledge", number=number, rating=rating, use_count="7", text="t", wiki="t")
    documents = [one(KnowledgeBaseLoader(client, f"number={name}")) for name in ("KB1", "KB2")]
    assert [repr(each.metadata["rating"]) for each in documents] == ["4.0", "4.5"]
    assert [repr(each.metadata["use_count"]) for each in documents] == ["7", "7"]
    assert documents[0].page_content.count("Article:") == 1, "two fields hold one text"


def test_a_broken_template_is_told_at_once_with_its_line(client: Client, desk: SimulatorServer) -> None:
    with pytest.raises(ConfigError, match="content_template"):
        IncidentLoader(client, content_template=5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        IncidentLoader(client, content_template="fine\n{% if state %}\n{{ number }")
    assert caught.value.key == "content_template"
    assert "line 3" in str(caught.value)
    assert not list(desk.requests)


@pytest.mark.parametrize(
    "expression",
    [
        "1 // 0",
        "number()",
        "number + 1",
        "caller_id.email",
        "number.__class__.__mro__",
        "range(10 ** 9)",
        "label['no' ~ number]",
    ],
)
def test_a_template_that_fails_names_the_record_and_the_line(expression: str, client: Client) -> None:
    template = "{{ number }}\n{{ %s }}\nend" % expression  # noqa: UP031 - braces
    with pytest.raises(ConfigError, match=r"line 2 fails on incident [0-9a-f]{32}"):
        IncidentLoader(client, content_template=template).load(limit=1)


@pytest.mark.parametrize("expression", ["no_such", "value.no_such", "label['no_such']", "value['caller_id.no_such']"])
@pytest.mark.parametrize("table", ["incident", "sys_user_group"])
def test_a_field_that_a_template_names_must_exist(expression: str, table: str, client: Client) -> None:
    template = "{{ %s }}" % expression  # noqa: UP031 - braces
    with pytest.raises(ConfigError, match="no_such"):
        TableLoader(client, table, content_template=template).load(limit=1)


def test_a_field_that_a_template_names_is_read(client: Client) -> None:
    template = "{% for each in [number] %}{{ each }} {{ sys_mod_count }} {{ label['caller_id.email'] }}{% endfor %}"
    for fields in (None, ["number"]):
        loader = IncidentLoader(client, "caller_id.emailISNOTEMPTY", fields, content_template=template)
        assert re.fullmatch(r"INC\d+ \d+ \S+@\S+", loader.load(limit=1)[0].page_content)


def test_a_library_that_is_missing_is_named_with_its_extra(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from snow_assets.documents import content

    content._converter.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "markdownify", None)
    with pytest.raises(ConfigError, match=r"markdownify.*pip install 'snow_assets\[documents\]'"):
        KnowledgeBaseLoader(client)
    IncidentLoader(client)


def test_loaders_of_an_instance_load_no_arrow() -> None:
    """It takes longer to load than all that they need."""
    asked = "import sys, snow_assets.documents.loaders; print({'pyarrow', 'duckdb', 'deltalake'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_attachments_tell_what_they_hang_on_and_their_text(client: Client, desk: SimulatorServer) -> None:
    documents = AttachmentLoader(client, text=True, max_size=1_000).load()
    rows = {row["sys_id"]: row for row in desk.sim.rows("sys_attachment")}
    assert len(documents) == len(rows)
    for document in documents:
        metadata = document.metadata
        row = rows[metadata["sys_id"]]
        assert document.page_content.startswith(f"Attachment {row['file_name']}\nType: {row['content_type']}\n")
        assert (metadata["table_name"], metadata["table_sys_id"]) == (row["table_name"], row["table_sys_id"])
        assert metadata["size_bytes"] == int(row["size_bytes"])
        is_text = row["content_type"].startswith("text/") and int(row["size_bytes"]) <= 1_000
        assert metadata["text_included"] is is_text
        assert (row["sys_id"] in document.page_content) is (is_text and int(row["size_bytes"]) > 0)
    assert {document.metadata["text_included"] for document in documents} == {True, False}


def test_secrets_never_stand_in_documents_or_errors(own: tuple[Simulator, Client]) -> None:
    sim, client = own
    sim.add_column("incident", "u_secret", "password2")
    sim.insert("incident", number="INC3", u_secret="s3cret-value")
    template = "{{ u_secret }}{{ value.u_secret }}{{ label.u_secret }}"
    told = one(IncidentLoader(client, "number=INC3", ["u_secret"], include_raw=True, content_template=template))
    assert told.page_content.strip("*") == ""
    assert "s3cret" not in json.dumps(told.metadata)
    document = one(IncidentLoader(client, "number=INC3", ["u_secret"]))
    assert document.metadata["number"] == "INC3"
    assert "s3cret" not in document.page_content
    assert "s3cret" not in json.dumps(document.metadata)
    assert "admin" not in repr(client).replace("admin@", "")


def test_moments_are_utc_whatever_the_account_sees(own: tuple[Simulator, Client]) -> None:
    _, client = own
    document = IncidentLoader(client, include_raw=True).load(limit=1)[0]
    raw = document.metadata["raw"]["sys_created_on"]
    assert "/" in raw["display_value"], "the account sees dd/MM/yyyy in its own zone"
    told = datetime.fromisoformat(document.metadata["sys_created_on"])
    assert told.strftime("%Y-%m-%d %H:%M:%S") == raw["value"]
    assert told.utcoffset() is not None

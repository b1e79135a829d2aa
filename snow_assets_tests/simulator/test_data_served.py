"""The generated data as a client meets it: over HTTP, by a plain client that knows nothing of the simulator."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from snow_assets.simulator import Simulator

Record = dict[str, Any]


class Client:
    """A bare reader: one session, no retries, no checks."""

    def __init__(self, url: str, session: requests.Session) -> None:
        self.url, self.session = url, session

    def list(self, table: str, query: str = "", mode: str = "all", **params: str) -> list[Record]:
        known = {"sysparm_query": query, "sysparm_display_value": mode, "sysparm_limit": "5000"}
        answer = self.session.get(f"{self.url}/api/now/table/{table}", params=known | params)
        answer.raise_for_status()
        rows: list[Record] = answer.json()["result"]
        return rows


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Simulator(rows={"incident": 1500}, seed=11).serve() as server, requests.Session() as session:
        session.auth = (server.username, server.password)
        session.trust_env = False
        yield Client(server.url, session)


def test_a_child_shows_its_own_choice_labels(client: Client) -> None:
    [row] = client.list("incident", "state=2", sysparm_limit="1", sysparm_fields="state,sys_class_name")
    assert row["state"] == {"display_value": "In Progress", "value": "2"}
    assert row["sys_class_name"] == {"display_value": "Incident", "value": "incident"}


def test_parents_list_the_rows_of_their_children(client: Client) -> None:
    classes = {row["sys_class_name"] for row in client.list("cmdb_ci", mode="false", sysparm_fields="sys_class_name")}
    assert {"cmdb_ci", "cmdb_ci_linux_server", "cmdb_ci_db_mysql_instance", "cmdb_ci_service_auto"} <= classes
    servers = {
        r["sys_class_name"] for r in client.list("cmdb_ci_server", mode="false", sysparm_fields="sys_class_name")
    }
    assert servers == {"cmdb_ci_server", "cmdb_ci_linux_server", "cmdb_ci_win_server"}


def test_values_that_are_no_sys_id_are_served(client: Client) -> None:
    [row] = client.list("incident", "sys_domain=global", sysparm_limit="1", sysparm_fields="sys_domain")
    assert row["sys_domain"]["value"] == "global"
    assert row["sys_domain"]["link"].endswith("/sys_user_group/global")


def test_dangling_references_keep_their_value_and_show_nothing(client: Client) -> None:
    rows = client.list("cmdb_rel_ci", sysparm_fields="child,type")
    assert any(row["child"]["display_value"] == "" and len(row["child"]["value"]) == 32 for row in rows)
    assert all("::" in row["type"]["display_value"] for row in rows)


def test_watch_lists_show_names_and_addresses(client: Client) -> None:
    rows = client.list("incident", "watch_listLIKE@", sysparm_fields="watch_list")
    assert rows
    for row in rows:
        shown = row["watch_list"]["display_value"].split(", ")
        assert shown[-1] == "watcher@example.com"
        assert len(shown) == len(row["watch_list"]["value"].split(","))


def test_amounts_are_shown_as_money(client: Client) -> None:
    rows = client.list("sc_cat_item", "price=1499", sysparm_fields="price")
    assert rows[0]["price"] == {"display_value": "$1,499.00", "value": "1499"}


def test_dictionary_references_go_by_name(client: Client) -> None:
    [row] = client.list("sys_dictionary", "name=incident^element=caller_id", mode="false")
    assert row["reference"]["value"] == "sys_user"
    assert row["reference"]["link"].endswith("/sys_db_object?name=sys_user")
    assert row["internal_type"]["link"].endswith("/sys_glide_object?name=reference")


def test_inheritance_can_be_followed_in_the_dictionary(client: Client) -> None:
    objects = {row["sys_id"]: row for row in client.list("sys_db_object", mode="false")}
    names = []
    row = next(one for one in objects.values() if one["name"] == "cmdb_ci_win_server")
    while row["super_class"]:
        row = objects[row["super_class"]["value"]]
        names.append(row["name"])
    assert names == ["cmdb_ci_server", "cmdb_ci_computer", "cmdb_ci_hardware", "cmdb_ci", "cmdb"]


def test_journals_are_read_from_their_table(client: Client) -> None:
    entries = client.list("sys_journal_field", "name=incident^element=comments", mode="false")
    entry = entries[0]
    [row] = client.list("incident", f"sys_id={entry['element_id']}", sysparm_fields="comments")
    assert row["comments"]["value"] == ""
    assert f" (Additional comments)\n{entry['value']}\n\n" in row["comments"]["display_value"]


def test_attachments_download_as_described(client: Client) -> None:
    for row in client.list("sys_attachment", mode="false")[:20]:
        answer = client.session.get(f"{client.url}/api/now/attachment/{row['sys_id']}/file")
        assert hashlib.sha256(answer.content).hexdigest() == row["hash"]
        assert len(answer.content) == int(row["size_bytes"])
        assert answer.headers["Content-Type"].startswith(row["content_type"])


def test_a_tied_sort_loses_rows_and_still_adds_up(client: Client) -> None:
    pages = [
        client.list("cmdb_ci", "ORDERBYsys_created_on", "false", sysparm_fields="sys_id", sysparm_limit="100",
                    sysparm_offset=str(offset))
        for offset in range(0, 1300, 100)
    ]  # fmt: skip
    ids = [row["sys_id"] for page in pages for row in page]
    everything = {row["sys_id"] for row in client.list("cmdb_ci", mode="false", sysparm_fields="sys_id")}
    assert len(ids) == len(everything)
    assert set(ids) < everything


@pytest.mark.parametrize(
    ("query", "low", "high"),
    [
        ("stateIN6,7^close_notesISNOTEMPTY^sys_updated_on>=javascript:gs.daysAgoStart(730)", 0.25, 0.75),
        ("stateIN1,2,3,4,5^opened_at>=javascript:gs.daysAgoStart(60)", 0.1, 0.5),
    ],
)
def test_the_corpora_match_a_good_share(client: Client, query: str, low: float, high: float) -> None:
    found = client.list("incident", query, "false", sysparm_fields="sys_id")
    assert low < len(found) / 1500 < high

"""Whatever is answered to a write, and whether or not it was carried out: it is there once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from snow_assets.errors import (
    ConfigError,
    CredentialsError,
    RequestFailed,
    UnknownTableError,
    WriteRefused,
    WriteUncertain,
)
from snow_assets.servicenow.client import Client
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets.simulator.views import VIEWS
from snow_assets_tests.servicenow.awaited import AwaitedClient
from snow_assets_tests.servicenow.conftest import ADMIN
from snow_assets_tests.servicenow.scripted import Asked, Connection, scripted

OURS, THEIRS = "a" * 32, "b" * 32
VIEW = next(iter(VIEWS))
QUICK: dict[str, Any] = {"retry_backoff": 0.001, "timeout": (2.0, 10.0)}
# What a write that was carried out may be answered with all the same.
LOST = (
    "error_500", "html_502", "html_503", "dropped_202", "null_body", "list_body", "empty_body", "no_content_204",
    "truncated", "truncated_length", "broken_gzip", "reset", "hang_up", "reset_inside_body", "no_http", "head_cut",
    "error_in_200", "hibernating", "login_page", "redirect", "plain_text", "query_forbidden_403", "execution_time_500",
    "request_timeout_408", "no_result",
)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": 5}, seed=3).serve() as server:
        yield server


@pytest.fixture(params=[Client, AwaitedClient], ids=["threads", "asyncio"])
def client(request: pytest.FixtureRequest, server: SimulatorServer) -> Iterator[Client]:
    server.faults.clear()
    with request.param(server.url, ADMIN, **QUICK) as made:
        yield made


def said(server: SimulatorServer, words: str) -> list[str]:
    return [row["sys_id"] for row in server.sim.rows("incident") if row["short_description"] == words]


def sent(server: SimulatorServer, method: str) -> int:
    return len(server.requests.find(method=method))


@pytest.mark.parametrize("kind", LOST)
def test_a_write_whose_answer_is_lost_is_there_once_and_not_sent_again(
    server: SimulatorServer, client: Client, kind: str
) -> None:
    server.faults.add({"kind": kind, "times": 1})
    server.requests.clear()
    made = client.create_record("incident", {"short_description": f"lost {kind}", "urgency": "1"})
    assert said(server, f"lost {kind}") == [made["sys_id"]]
    assert sent(server, "POST") == 1
    server.faults.add({"kind": kind, "times": 1})
    assert client.update_record("incident", made["sys_id"], {"urgency": "3"})["urgency"] == "3"
    assert [row["sys_mod_count"] for row in server.sim.rows("incident") if row["sys_id"] == made["sys_id"]] == ["1"]
    server.faults.add({"kind": kind, "times": 1})
    client.delete_record("incident", made["sys_id"])
    assert not said(server, f"lost {kind}")


def test_what_was_not_carried_out_is_sent_again(server: SimulatorServer, client: Client) -> None:
    server.faults.add({"kind": "overloaded_429", "times": 2})
    made = client.create_record("incident", {"short_description": "busy"}, sys_id=OURS)
    assert (made["sys_id"], said(server, "busy")) == (OURS, [OURS])
    client.delete_record("incident", OURS)


def test_a_record_that_is_not_wanted_is_refused_in_the_instances_own_words(client: Client) -> None:
    with pytest.raises(WriteRefused, match=rf"create of {VIEW}: forbidden \(Operation Failed: ACL"):
        client.create_record(VIEW, {})
    with pytest.raises(UnknownTableError):
        client.create_record("no_such_table", {})
    for change in (
        lambda: client.update_record("incident", THEIRS, {}),
        lambda: client.delete_record("incident", OURS),
    ):
        with pytest.raises(RequestFailed) as gone:
            change()
        assert gone.value.fault == "not_found"
    with pytest.raises(ConfigError, match="32 hex digits"):
        client.create_record("incident", {}, sys_id="X")


def test_a_second_record_of_the_same_sys_id_is_the_first(client: Client) -> None:
    first = client.create_record("incident", {"short_description": "first"}, sys_id=OURS)
    second = client.create_record("incident", {"short_description": "second"}, sys_id=OURS)
    assert second["short_description"] == first["short_description"] == "first"
    client.delete_record("incident", OURS)


def test_wrong_credentials_stop_at_once(server: SimulatorServer) -> None:
    server.requests.clear()
    with Client(server.url, username="admin", password="wrong", **QUICK) as stranger, pytest.raises(CredentialsError):
        stranger.create_record("incident", {"short_description": "never"})
    assert not said(server, "never")
    assert sent(server, "POST") == 1


class Stubborn:
    """An instance that gives every record a sys_id of its own, and loses the answers that ``lost`` names."""

    def __init__(self, *lost: int) -> None:
        self.made: list[str] = []
        self._lost = lost

    def __call__(self, asked: Asked, connection: Connection) -> None:
        if asked.method == "GET":
            found = [{"sys_id": each} for each in self.made if asked.path.endswith(each)]
            body: dict[str, Any] = (
                {"result": found[0]} if found else {"error": {"message": "No Record found"}, "status": "failure"}
            )
            connection.answer(200 if found else 404, json.dumps(body).encode())
            return
        self.made.append(f"{len(self.made) + 1:032x}")
        if len(self.made) in self._lost:
            connection.reset()
            return
        connection.answer(201, json.dumps({"result": {"sys_id": self.made[-1]}}).encode())


@pytest.mark.parametrize("kind", [Client, AwaitedClient])
def test_an_instance_that_gives_sys_ids_of_its_own_is_followed_and_never_asked_twice(kind: Any) -> None:
    stubborn = Stubborn(3)
    with scripted(stubborn) as server, kind(server.url, ADMIN, **QUICK) as client:
        assert client.create_record("incident", {}, sys_id=OURS)["sys_id"] == stubborn.made[0]
        assert client.create_record("incident", {}, sys_id=THEIRS)["sys_id"] == stubborn.made[1]
        looked = sum(asked.method == "GET" for asked in server.asked)
        assert looked == 1  # then it is known
        with pytest.raises(WriteUncertain, match="nobody can say"):
            client.create_record("incident", {}, sys_id="d" * 32)
        assert len(stubborn.made) == 3


def test_a_first_record_that_may_be_there_twice_is_told() -> None:
    stubborn = Stubborn(1)
    with scripted(stubborn) as listener, Client(listener.url, ADMIN, **QUICK) as client:
        with pytest.raises(WriteUncertain) as told:
            client.create_record("incident", {}, sys_id=OURS)
        assert told.value.value == stubborn.made[1]


def test_a_row_for_a_transform_map_is_sent_again_only_where_it_coalesces() -> None:
    posts: list[str] = []

    def script(asked: Asked, connection: Connection) -> None:
        posts.append(asked.path)
        if len(posts) % 2:
            connection.reset()
        elif asked.path.endswith("insertMultiple"):
            connection.answer(201, json.dumps({"import_set_id": OURS, "multi_import_set_id": THEIRS}).encode())
        else:
            entry = {"status": "ignored", "sys_id": OURS, "status_message": "No field values changed", "table": "t"}
            connection.answer(201, json.dumps({"import_set": "ISET1", "result": [entry]}).encode())

    kinds: tuple[Any, ...] = (Client, AwaitedClient)
    for kind in kinds:
        with scripted(script) as server, kind(server.url, ADMIN, **QUICK) as client:
            for call in (client.import_row, client.import_rows):
                row: Any = {"a": "b"} if call == client.import_row else [{"a": "b"}]
                with pytest.raises(WriteUncertain, match="may have been carried out"):
                    call("imp_user", row)
                assert len(posts) == 1
                posts.clear()
                told = call("imp_user", row, coalesces=True)
                assert len(posts) == 2
                posts.clear()
                assert OURS in (getattr(told, "sys_id", ""), getattr(told, "import_set_id", ""))

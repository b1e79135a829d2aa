from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from snow_assets.errors import CredentialsError, InstanceUnavailable, RequestFailed
from snow_assets.servicenow.account import Account, account, clock
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.dictionary import Column, ancestors, columns
from snow_assets.servicenow.exchange import Tally
from snow_assets.servicenow.honoured import visible_fields
from snow_assets.simulator import HiddenRows, SimulatorServer
from snow_assets.simulator.schema import columns_of
from snow_assets_tests.servicenow.conftest import ADMIN, ClientFactory


def who(client: Client, username: str = "") -> Account:
    return client.run(account(client.policy, Tally(), username=username))


def described(client: Client, table: str) -> dict[str, Column]:
    found = client.run(columns(table, client.policy, Tally()))
    assert found is not None
    return {column.name: column for column in found}


def test_the_clock_is_the_instances(client: Client, instance: SimulatorServer) -> None:
    far = datetime(2031, 5, 1, 12, 0, 0, tzinfo=UTC)
    instance.faults.add(kind="wrong_date", date="Thu, 01 May 2031 12:00:00 GMT")
    assert client.clock() == far


def test_without_a_date_this_machines_clock_stands_in(client: Client, instance: SimulatorServer) -> None:
    instance.faults.add(kind="wrong_date", date="")
    assert client.run(clock(client.policy, Tally())) is None
    assert datetime.now(UTC) - client.clock() < timedelta(minutes=5)


def test_the_instance_says_who_we_are(client: Client) -> None:
    found = who(client)
    assert found.user_name == "admin"
    assert len(found.sys_id) == 32
    assert found.time_zone
    assert found.date_format


def test_an_instance_that_drops_the_question_is_not_believed(client: Client, instance: SimulatorServer) -> None:
    # Without the term every user comes back, and the first of them is somebody else.
    user = next(row for row in instance.sim.rows("sys_user") if row["user_name"] != "admin")
    body = f'{{"result":[{{"sys_id":"{user["sys_id"]}","user_name":"{user["user_name"]}"}},{{"sys_id":"x"}}]}}'
    instance.faults.add(kind="answer", table="sys_user", query="javascript", status=200, body=body)
    assert who(client) == Account()
    by_name = who(client, "admin")
    assert (by_name.user_name, len(by_name.sys_id)) == ("admin", 32)


def test_where_users_may_not_be_read_only_the_name_is_known(client: Client, instance: SimulatorServer) -> None:
    instance.sim.knobs.denied_tables = {"sys_user"}
    assert who(client, "admin") == Account(user_name="admin")
    instance.sim.knobs.closed_tables = {"sys_user"}
    assert who(client, "admin") == Account(user_name="admin")
    assert who(client) == Account()


def test_credentials_and_outages_are_not_taken_for_an_unknown_account(
    client_of: ClientFactory, instance: SimulatorServer
) -> None:
    wrong = ADMIN.model_validate({"username": "admin", "password": "no"})
    with pytest.raises(CredentialsError):
        who(client_of(wrong))
    instance.faults.add(kind="html_503")
    with pytest.raises(InstanceUnavailable):
        who(client_of(max_retries=1))


def test_a_question_that_fails_is_not_taken_for_an_unknown_account(
    client_of: ClientFactory, instance: SimulatorServer
) -> None:
    client = client_of(max_retries=1)
    expected = who(client, "admin")
    # Asked in one way or the other, the answer is the same. Where neither comes, what is known would depend on luck.
    instance.faults.add(kind="error_500", table="sys_user", query="javascript")
    assert who(client, "admin") == expected
    instance.faults.add(kind="null_body", table="sys_user", query="user_name=admin")
    with pytest.raises(RequestFailed, match=r"account of sys_user.*null_body"):
        who(client, "admin")
    instance.faults.clear()
    instance.faults.add(kind="error_500", table="sys_user", query="javascript", times=2)
    assert who(client).sys_id == expected.sys_id


def test_a_zone_that_fails_to_come_is_not_taken_for_an_unknown_one(
    client_of: ClientFactory, instance: SimulatorServer
) -> None:
    body = '{"result":[{"sys_id":"x","user_name":"admin","time_zone":"","date_format":""}]}'
    instance.faults.add(kind="answer", table="sys_user", query="javascript", status=200, body=body)
    assert who(client_of(), "admin").time_zone
    instance.faults.add(kind="error_500", table="sys_properties")
    with pytest.raises(RequestFailed, match="account of sys_properties"):
        who(client_of(max_retries=1), "admin")


def test_a_table_extends_others(client: Client) -> None:
    assert client.run(ancestors("incident", client.policy, Tally())) == ("incident", "task")
    assert client.run(ancestors("nosuch", client.policy, Tally())) == ()


@pytest.mark.parametrize("table", ["incident", "cmdb_ci_linux_server", "sys_user"])
def test_columns_are_the_tables_own_and_inherited_ones(table: str, client: Client) -> None:
    found = described(client, table)
    expected = {column.name: column.type for column in columns_of(table)}
    assert {name: found[name].type for name in expected} == expected
    assert list(found) == sorted(found)


def test_a_column_knows_its_reference_label_and_length(client: Client) -> None:
    found = described(client, "incident")
    assert (found["caller_id"].type, found["caller_id"].reference) == ("reference", "sys_user")
    assert found["number"].max_length > 0
    assert found["caller_id"].label == "Caller"


def test_a_dictionary_that_may_not_be_read_is_unknown(client: Client, instance: SimulatorServer) -> None:
    for denied in ("sys_dictionary", "sys_db_object"):
        instance.sim.knobs.denied_tables = {denied}
        assert client.run(columns("incident", client.policy, Tally())) is None
    instance.sim.knobs.denied_tables = set()
    instance.sim.knobs.closed_tables = {"sys_db_object"}
    assert client.run(columns("incident", client.policy, Tally())) is None


def test_a_part_of_the_dictionary_is_unknown_too(client: Client, instance: SimulatorServer) -> None:
    system = {row["sys_id"] for row in instance.sim.rows("sys_dictionary") if row.get("element", "").startswith("sys_")}
    instance.sim.knobs.hidden_rows = [HiddenRows("sys_dictionary", sys_ids=frozenset(system))]
    assert client.run(columns("incident", client.policy, Tally())) is None


def test_a_visible_row_shows_which_fields_exist(client: Client) -> None:
    asked = ("sys_id", "number", "caller_id.name", "no_such_field")
    seen = client.run(visible_fields("incident", asked, client.policy, Tally()))
    assert set(seen or ()) == {"sys_id", "number", "caller_id.name"}
    every = client.run(visible_fields("incident", (), client.policy, Tally()))
    assert {"number", "short_description"} <= set(every or ())


@pytest.mark.parametrize("fields", [(), ("number", "short_description")])
def test_a_field_that_one_answer_lacks_is_asked_for_again(
    client: Client, instance: SimulatorServer, fields: tuple[str, ...]
) -> None:
    expected = client.run(visible_fields("incident", fields, client.policy, Tally()))
    instance.faults.add(kind="missing_fields", table="incident", times=1)
    assert client.run(visible_fields("incident", fields, client.policy, Tally())) == expected
    instance.faults.clear()
    instance.faults.add(kind="missing_fields", table="incident")
    found = client.run(visible_fields("incident", fields, client.policy, Tally()))
    assert set(expected or ()) - set(found or ()) == {"short_description"}


def test_fields_are_seen_behind_hidden_rows(client: Client, instance: SimulatorServer) -> None:
    ids = sorted(row["sys_id"] for row in instance.sim.rows("incident"))
    instance.sim.knobs.hidden_rows = [HiddenRows("incident", sys_ids=frozenset(ids[:-1]))]
    assert client.run(visible_fields("incident", ("number",), client.policy, Tally())) is not None
    instance.sim.knobs.hidden_rows = [HiddenRows("incident", sys_ids=frozenset(ids))]
    assert client.run(visible_fields("incident", ("number",), client.policy, Tally())) is None

"""What the dictionary says of columns, and which choices they have, on an instance whose columns change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from snow_assets.servicenow.client import Client
from snow_assets.servicenow.dictionary import Choice, Column, Description, choices, description
from snow_assets.servicenow.exchange import Tally
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets.simulator.knobs import HiddenRows
from snow_assets_tests.servicenow.conftest import ADMIN


@pytest.fixture
def instance() -> Iterator[SimulatorServer]:
    """An instance that the test may change."""
    with Simulator(rows={"incident": 5}, seed=7).serve() as server:
        yield server


@pytest.fixture
def client(instance: SimulatorServer) -> Iterator[Client]:
    with Client(instance.url, ADMIN, retry_backoff=0.01, max_retries=0, timeout=(2.0, 10.0)) as made:
        yield made


def described(client: Client, table: str) -> dict[str, Column]:
    return {column.name: column for column in whole(client, table).columns}


def whole(client: Client, table: str) -> Description:
    found = client.run(description(table, client.policy, Tally()))
    assert found is not None
    return found


def listed(client: Client, table: str, *elements: str, language: str = "en") -> dict[str, tuple[Choice, ...]] | None:
    chain = whole(client, table).chain
    return client.run(choices(chain, elements, client.policy, Tally(), language=language))


def labels(client: Client, table: str, element: str, language: str = "en") -> dict[str, str]:
    found = listed(client, table, element, language=language)
    assert found is not None
    return {choice.value: choice.label for choice in found.get(element, ())}


def test_a_column_says_where_it_is_defined_and_whether_its_values_are_listed(client: Client) -> None:
    found = described(client, "incident")
    assert (found["caller_id"].defined_in, found["caller_id"].mandatory) == ("incident", True)
    assert (found["number"].defined_in, found["number"].choice) == ("task", False)
    assert found["priority"].choice
    assert whole(client, "incident").chain == ("incident", "task")


def test_references_by_name_are_told_apart(client: Client, instance: SimulatorServer) -> None:
    instance.sim.add_column("incident", "u_class", "reference", reference="sys_db_object", reference_key="name")
    incident, dictionary, tables = (described(client, name) for name in ("incident", "sys_dictionary", "sys_db_object"))
    assert (incident["caller_id"].keyed_by, incident["u_class"].keyed_by) == ("sys_id", "name")
    assert incident["number"].keyed_by == ""
    assert (dictionary["internal_type"].keyed_by, dictionary["reference"].keyed_by) == ("name", "name")
    assert (tables["super_class"].reference, tables["super_class"].keyed_by) == ("sys_db_object", "sys_id")


def test_references_of_the_dictionary_are_by_name_also_where_it_does_not_say_so(
    client: Client, instance: SimulatorServer
) -> None:
    instance.sim.drop_column("sys_dictionary", "reference_key")
    found = described(client, "sys_dictionary")
    assert (found["internal_type"].keyed_by, found["reference"].keyed_by) == ("name", "name")


def test_a_childs_own_entry_wins_and_an_override_changes_no_type(client: Client, instance: SimulatorServer) -> None:
    assert instance.sim.rows("sys_dictionary_override")
    before = described(client, "incident")["short_description"]
    assert (before.type, before.defined_in) == ("string", "task")
    instance.sim.add_column("incident", "description", "html", "What happened")
    found = described(client, "incident")["description"]
    assert (found.type, found.label, found.defined_in) == ("html", "What happened", "incident")
    assert described(client, "problem")["description"].defined_in == "task"


def test_choices_are_inherited_until_a_table_has_a_set_of_its_own(client: Client, instance: SimulatorServer) -> None:
    of_task = labels(client, "task", "priority")
    assert of_task
    assert labels(client, "incident", "priority") == of_task
    instance.sim.change_column("incident", "priority", choices=(("1", "Now"), ("9", "Later")))
    assert labels(client, "incident", "priority") == {"1": "Now", "9": "Later"}
    assert labels(client, "problem", "priority") == of_task
    assert labels(client, "incident", "number") == {}


def test_choices_know_their_order_state_and_what_they_depend_on(client: Client, instance: SimulatorServer) -> None:
    instance.sim.add_column("incident", "u_color", choices=(("b", "Blue"), ("a", "Red")))
    rows = {row["value"]: row["sys_id"] for row in instance.sim.rows("sys_choice") if row.get("element") == "u_color"}
    instance.sim.update("sys_choice", rows["a"], inactive="true", dependent_value="software", sequence="1,200")
    found = listed(client, "incident", "u_color")
    assert found == {"u_color": (Choice("b", "Blue", 0), Choice("a", "Red", 1200, inactive=True, dependent="software"))}


def test_labels_come_in_the_language_that_is_asked_for_else_in_english(
    client: Client, instance: SimulatorServer
) -> None:
    shared = {"name": "incident", "element": "u_color", "inactive": "false"}
    instance.sim.add_column("incident", "u_color", choices=(("a", "Red"), ("b", "Blue")))
    for label, language in (("Rot", "de"), ("Rouge", "fr")):
        instance.sim.insert("sys_choice", {**shared, "value": "a", "label": label, "language": language})
    assert labels(client, "incident", "u_color", "de") == {"a": "Rot", "b": "Blue"}
    assert labels(client, "incident", "u_color") == {"a": "Red", "b": "Blue"}


def test_choices_that_may_not_be_read_or_are_too_many_are_unknown(
    client: Client, instance: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance.sim.knobs.closed_tables = {"sys_choice"}
    assert listed(client, "incident", "priority") is None
    instance.sim.knobs.closed_tables = set()
    monkeypatch.setattr("snow_assets.servicenow.dictionary._MOST_CHOICES", 3)
    assert listed(client, "incident", "priority") is None


def test_an_inactive_column_is_none(client: Client, instance: SimulatorServer) -> None:
    [entry] = [
        row for row in instance.sim.rows("sys_dictionary")
        if (row["name"], row.get("element")) == ("task", "close_notes")
    ]  # fmt: skip
    instance.sim.update("sys_dictionary", entry["sys_id"], active="false")
    assert "close_notes" not in described(client, "incident")


def test_a_dictionary_of_which_a_part_is_hidden_is_unknown(client: Client, instance: SimulatorServer) -> None:
    own = {row["sys_id"] for row in instance.sim.rows("sys_dictionary") if row.get("name") == "task"}
    instance.sim.knobs.hidden_rows = [HiddenRows("sys_dictionary", sys_ids=frozenset(own))]
    assert client.run(description("incident", client.policy, Tally())) is None

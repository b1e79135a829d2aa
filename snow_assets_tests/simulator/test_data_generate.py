"""What the generator promises: the same from the same seed, complete, consistent, and awkward where instances are."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import UTC, datetime

import pytest

from snow_assets.simulator.generate import ADMIN_ID, DEFAULT_ROWS, attachment_bytes, generate
from snow_assets.simulator.schema import SCHEMA, ancestors, columns_of, descendants, display_column

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
Tables = dict[str, list[dict[str, str]]]


@pytest.fixture(scope="module")
def tables() -> Tables:
    return generate({"incident": 3000}, 7, NOW)


def test_same_seed_gives_the_same_rows(tables: Tables) -> None:
    assert generate({"incident": 3000}, 7, NOW) == tables


def test_another_seed_gives_other_rows(tables: Tables) -> None:
    other = generate({"incident": 3000}, 8, NOW)
    assert other["incident"][0]["sys_id"] != tables["incident"][0]["sys_id"]
    assert other["sys_dictionary"] == tables["sys_dictionary"]


def test_more_rows_of_one_table_leave_the_others_alone(tables: Tables) -> None:
    fewer = generate({"incident": 10}, 7, NOW)
    for name in ("sys_user", "cmdb_ci", "problem", "kb_knowledge"):
        assert fewer[name] == tables[name]
    assert len(fewer["incident"]) == 10


def test_every_cell_is_a_filled_string_of_a_known_column(tables: Tables) -> None:
    for name, rows in tables.items():
        known = {column.name for column in columns_of(name)}
        for row in rows:
            assert row.keys() <= known, name
            assert {type(value) for value in row.values()} == {str}, name
            assert all(row.values()), name


def test_sys_ids_are_unique_within_a_hierarchy(tables: Tables) -> None:
    for root in [name for name, table in SCHEMA.items() if table.parent is None]:
        ids = [row["sys_id"] for name in (root, *descendants(root)) for row in tables.get(name, [])]
        assert len(ids) == len(set(ids)), root
    assert all(len(row["sys_id"]) == 32 and row["sys_id"] == row["sys_id"].lower() for row in tables["incident"])


def test_rows_stand_under_their_real_class(tables: Tables) -> None:
    for root in ("task", "cmdb_ci"):
        for name in (root, *descendants(root)):
            assert {row["sys_class_name"] for row in tables.get(name, [])} <= {name}


def test_every_declared_table_has_rows_by_default(tables: Tables) -> None:
    abstract = {"cmdb", "sys_metadata", "cmdb_ci_hardware", "cmdb_ci_database", "cmdb_ci_db_instance"}
    imports = {name for name in SCHEMA if "import_set" in name or name.startswith(("imp_", "sys_transform_"))}
    imports.add("sys_rest_insert_multiple")
    assert {name for name in SCHEMA if not tables.get(name)} == abstract | imports


def test_states_and_dates_agree(tables: Tables) -> None:
    for row in tables["incident"]:
        assert row["state"] == row["incident_state"]
        assert ("closed_at" in row) == (row["state"] in "78") == (row["active"] == "false")
        assert ("resolved_at" in row) == (row["state"] in "67")
        moments = [row["opened_at"], row.get("resolved_at"), row.get("closed_at")]
        present = [moment for moment in moments if moment]
        assert present == sorted(present)
        assert row["sys_created_on"] <= row["sys_updated_on"] <= "2026-11-20 08:00:00"


def test_both_corpora_have_a_good_share(tables: Tables) -> None:
    rows = tables["incident"]
    closed = [r for r in rows if r["state"] in "67" and r.get("close_notes") and r["sys_updated_on"] >= "2024-11-20"]
    active = [r for r in rows if r["state"] in "12345" and r["opened_at"] >= "2026-09-21"]
    assert 0.25 < len(closed) / len(rows) < 0.75
    assert 0.10 < len(active) / len(rows) < 0.50
    assert any(r["state"] in "67" and "close_notes" not in r for r in rows)


def test_ties_are_longer_than_a_page(tables: Tables) -> None:
    for column in ("sys_created_on", "sys_updated_on"):
        assert Counter(row[column] for row in tables["incident"]).most_common(1)[0][1] > 100
    items = [row for name in ("cmdb_ci", *descendants("cmdb_ci")) for row in tables.get(name, [])]
    moments = Counter(row["sys_created_on"] for row in items)
    assert len(items) > 500
    assert 0.2 < len(moments) / len(items) < 0.4
    assert moments.most_common(1)[0][1] > 100


def test_texts_hold_what_breaks_naive_readers(tables: Tables) -> None:
    text = "".join(row.get("description", "") + row.get("close_notes", "") for row in tables["incident"])
    for sample in ("\n", '"', "^", "🙏", "ユーザー", "<b>", "ß", "\t"):
        assert sample in text
    assert any("<table" in row.get("text", "") for row in tables["kb_knowledge"])
    assert any("description" not in row for row in tables["incident"])


def test_references_resolve_but_for_a_few(tables: Tables) -> None:
    users = {row["sys_id"] for row in tables["sys_user"]}
    items = {row["sys_id"] for name in ("cmdb_ci", *descendants("cmdb_ci")) for row in tables.get(name, [])}
    callers = [row["caller_id"] for row in tables["incident"] if "caller_id" in row]
    assert users.issuperset(callers)
    assert len(callers) < len(tables["incident"])
    targets = [row["cmdb_ci"] for row in tables["incident"] if "cmdb_ci" in row]
    dangling = sum(target not in items for target in targets)
    assert 0 < dangling < 0.05 * len(targets)
    assert any(row["child"] not in items for row in tables["cmdb_rel_ci"])
    assert {row["sys_domain"] for row in tables["incident"]} == {"global"}
    openers = {row["opened_by"] for row in generate({"incident": 6_000}, 7, NOW)["incident"]}
    assert openers - users == {"glide.maint"}


def test_watch_lists_are_plain_comma_lists(tables: Tables) -> None:
    lists = [row["watch_list"] for row in tables["incident"] if "watch_list" in row]
    assert any("," in text for text in lists)
    assert any("@" in text for text in lists)
    assert not any(" " in text for text in lists)


def test_admin_is_always_there() -> None:
    users = generate({"sys_user": 0}, 1, NOW)["sys_user"]
    admin = next(row for row in users if row["user_name"] == "admin")
    assert (admin["sys_id"], admin["time_zone"]) == (ADMIN_ID, "US/Pacific")


def test_attachments_match_their_metadata(tables: Tables) -> None:
    sizes = set()
    for row in tables["sys_attachment"]:
        content = attachment_bytes(row["sys_id"])
        sizes.add(len(content))
        assert str(len(content)) == row["size_bytes"]
        assert hashlib.sha256(content).hexdigest() == row["hash"]
        owner = {other["sys_id"] for other in tables[row["table_name"]]}
        assert row["table_sys_id"] in owner
    assert 0 in sizes
    assert max(sizes) > 50_000


def test_journals_belong_to_tasks(tables: Tables) -> None:
    for row in tables["sys_journal_field"]:
        assert row["element"] in ("work_notes", "comments")
    owners = {row["sys_id"] for name in ("task", *descendants("task")) for row in tables.get(name, [])}
    assert owners.issuperset(row["element_id"] for row in tables["sys_journal_field"])
    assert Counter(row["element_id"] for row in tables["sys_journal_field"]).most_common(1)[0][1] >= 5


def test_dictionary_describes_the_schema(tables: Tables) -> None:
    rows = tables["sys_dictionary"]
    collections = {row["name"] for row in rows if "element" not in row}
    assert collections == set(SCHEMA)
    caller = next(row for row in rows if (row["name"], row.get("element")) == ("incident", "caller_id"))
    assert (caller["internal_type"], caller["reference"]) == ("reference", "sys_user")
    assert not [row for row in rows if (row["name"], row.get("element")) == ("incident", "short_description")]
    override = next(row for row in tables["sys_dictionary_override"] if row["element"] == "short_description")
    assert (override["name"], override["base_table"]) == ("incident", "task")
    objects = {row["sys_id"]: row for row in tables["sys_db_object"]}
    incident = next(row for row in objects.values() if row["name"] == "incident")
    assert objects[incident["super_class"]]["name"] == "task"


def test_schema_is_as_wide_as_an_instance() -> None:
    assert 66 <= len(columns_of("task")) <= 75
    assert 88 <= len(columns_of("incident")) <= 100
    assert ancestors("cmdb_ci_linux_server")[-1] == "cmdb"
    assert "incident_task" not in descendants("incident")
    assert (display_column("incident"), display_column("sys_user"), display_column("cmdb_rel_ci")) == (
        "number",
        "name",
        "sys_id",
    )


def test_a_child_has_its_own_choices() -> None:
    def states(table: str) -> dict[str, str]:
        return dict(next(column.choices for column in columns_of(table) if column.name == "state"))

    assert states("incident")["2"] == "In Progress"
    assert states("task")["2"] == "Work in Progress"
    assert states("incident_task") == states("task")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"incidents": 5}, "did you mean incident"),
        ({"sys_dictionary": 5}, "cannot generate"),
        ({"incident": -1}, "cannot have -1 rows"),
    ],
)
def test_impossible_counts_are_refused(rows: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(rows, 1, NOW)


def test_an_instance_may_be_empty() -> None:
    tables = generate(dict.fromkeys(DEFAULT_ROWS, 0), 1, NOW)
    assert not tables["incident"]
    assert not tables["sys_journal_field"]
    assert tables["sys_dictionary"]

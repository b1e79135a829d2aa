"""Tables of a DuckDB file as targets: somebody's own, with constraints, domains, references; and made ones."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snow_assets.errors import ConfigError, TargetRefused
from snow_assets_tests.imports.targets.made_sets import Sets, an_import

OWN = (
    "CREATE TABLE people (sys_id VARCHAR PRIMARY KEY, email VARCHAR UNIQUE, name VARCHAR NOT NULL, "
    "age SMALLINT CHECK (age < 150))"
)


def test_rows_that_a_table_refuses_are_errors_with_its_words_and_the_others_are_applied(tmp_path: Path) -> None:
    sets = Sets(tmp_path, an_import(coalesce="email"), {"age": pa.int64()})
    sets.run(OWN)
    sets.run("INSERT INTO people VALUES ('1', 'old@x', 'Old', 80)")
    applied, told = sets.apply(
        {"email": "a@x", "name": "A", "age": 20},
        {"email": "b@x", "name": None, "age": 20},
        {"email": "c@x", "name": "C", "age": 151},
        {"email": "d@x", "name": "D", "age": 70000},
        {"email": "A@x", "name": "AAA", "age": 30},
        {"email": "a@x", "name": "AA", "age": 200},
        {"email": "old@x", "name": "Old", "age": 160},
    )
    assert [state for state, _ in told] == ["inserted", "error", "error", "error", "updated", "error", "error"]
    assert "NOT NULL" in str(told[1][1])
    assert "CHECK" in str(told[2][1])
    assert told[3][1] == "age: 70000 does not fit into a column of type SMALLINT"
    assert applied.counters.errors == 5
    found = sets.run("SELECT email, name, age FROM people ORDER BY email")
    assert found == [("A@x", "AAA", 30), ("old@x", "Old", 80)]


def test_records_that_are_refused_together_are_told_apart(tmp_path: Path) -> None:
    sets = Sets(tmp_path, an_import(coalesce="name"))
    sets.run(OWN)
    _, told = sets.apply(*({"name": f"N{at}", "email": f"e{at % 4}"} for at in range(6)))
    assert [state for state, _ in told] == ["inserted"] * 4 + ["error"] * 2
    assert all("UNIQUE" in str(comment) for state, comment in told if state == "error")


def test_a_set_whose_rows_are_all_refused_fails_and_nothing_is_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snow_assets.imports.coalesce_blame.MOST", 3)
    sets = Sets(tmp_path, an_import(coalesce="email"))
    sets.run(OWN)
    with pytest.raises(TargetRefused, match="NOT NULL"):
        sets.apply(*({"email": f"{at}@x"} for at in range(9)))
    assert sets.run("SELECT count(*) FROM people") == [(0,)]
    assert not list((tmp_path / "rows").glob("*"))


def test_a_field_that_a_table_of_ones_own_lacks_is_named_with_the_column_that_was_meant(tmp_path: Path) -> None:
    sets = Sets(tmp_path, an_import(coalesce="email"))
    sets.run(OWN)
    with pytest.raises(ConfigError, match="people") as caught:
        sets.apply({"email": "a@x", "nmae": "A"})
    assert (caught.value.key, caught.value.value, caught.value.hint) == ("field", "nmae", "did you mean name?")


def test_a_table_without_sys_id_is_refused_with_the_way_out(tmp_path: Path) -> None:
    sets = Sets(tmp_path, an_import(coalesce="email"))
    sets.run("CREATE TABLE people (email VARCHAR)")
    with pytest.raises(ConfigError, match="has no column sys_id") as caught:
        sets.apply({"email": "a@x"})
    assert "add a column sys_id" in caught.value.hint


def test_a_made_table_is_given_columns_that_appear_later(tmp_path: Path) -> None:
    sets = Sets(tmp_path, an_import(coalesce="email", target={"table": "people", "columns": {"age": "integer"}}))
    sets.apply({"email": "a@x", "age": "7"})
    sets.apply({"email": "b@x", "city": "Oslo"})
    assert sets.run("SELECT email, age, city FROM people ORDER BY email") == [("a@x", 7, None), ("b@x", None, "Oslo")]


def test_a_sys_id_of_another_domain_is_an_error_of_its_row_and_stays_untouched(tmp_path: Path) -> None:
    theirs = Sets(tmp_path, an_import(coalesce="sys_id", domain="acme"))
    theirs.apply({"sys_id": "1", "name": "theirs"})
    ours = Sets(tmp_path, an_import(name="ours", coalesce="sys_id", domain="initech"))
    _, told = ours.apply({"sys_id": "1", "name": "ours"}, {"sys_id": "2", "name": "ours"}, {"sys_id": "1", "name": "x"})
    assert [state for state, _ in told] == ["error", "inserted", "error"]
    assert "another domain" in str(told[0][1])
    by_name = Sets(tmp_path, an_import(name="mine", coalesce="name", domain="initech"))
    _, told = by_name.apply({"sys_id": "3", "name": "theirs"}, {"sys_id": "1", "name": "new"})
    assert [state for state, _ in told] == ["inserted", "error"]
    rows = ours.run("SELECT sys_id, name, sys_domain FROM people ORDER BY sys_id")
    assert rows == [("1", "theirs", "acme"), ("2", "ours", "initech"), ("3", "theirs", "initech")]


def test_a_domain_needs_a_column_for_it(tmp_path: Path) -> None:
    sets = Sets(tmp_path, an_import(coalesce="email", domain="acme"))
    sets.run(OWN)
    with pytest.raises(ConfigError, match="has no column sys_domain"):
        sets.apply({"email": "a@x", "name": "A"})


@pytest.mark.parametrize("missing", ["create", "ignore", "reject"])
def test_references_are_looked_up_within_the_domain(tmp_path: Path, missing: str) -> None:
    site = {"source": "site", "reference": {"table": "sites", "by": "name", "on_missing": missing}}
    also = {"source": "also", "reference": {"table": "sites", "by": "name", "on_missing": missing}}
    fields = {"email": "email", "site": site, "also": also}
    sets = Sets(tmp_path, an_import(coalesce="email", domain="acme", transform={"fields": fields}))
    sets.run("CREATE TABLE sites (sys_id VARCHAR PRIMARY KEY, name VARCHAR, sys_domain VARCHAR)")
    sets.run("INSERT INTO sites VALUES ('9', 'Oslo', 'acme'), ('5', 'OSLO', 'acme'), ('1', 'Oslo', 'global')")
    _, told = sets.apply(
        {"email": "a@x", "site": "oslo", "also": None},
        {"email": "b@x", "site": "Rome", "also": "ROME"},
        {"email": "a@x", "site": "NULL", "also": "Oslo"},
    )
    made = sets.run("SELECT sys_id, sys_domain FROM sites WHERE name = 'Rome'")
    people = sets.run("SELECT email, site, also FROM people ORDER BY email")
    assert people[0] == ("a@x", None, "5")
    if missing == "create":
        assert made == [(people[1][1], "acme")]
        assert people[1][1] == people[1][2]
    elif missing == "ignore":
        assert people[1] == ("b@x", None, None)
    else:
        assert told[1] == ("error", "site: Rome is not in sites.name")
        assert len(people) == 1
    assert sets.run("SELECT count(*) FROM sites") == [(4 if missing == "create" else 3,)]


def test_a_record_that_was_made_for_a_reference_may_be_renamed(tmp_path: Path) -> None:
    site = {"source": "site", "reference": {"table": "sites", "by": "name", "on_missing": "create"}}
    fields = {"email": "email", "site": site, "also": {**site, "source": "also"}}
    sets = Sets(tmp_path, an_import(coalesce="email", transform={"fields": fields}))
    sets.apply({"email": "a@x", "site": "Oslo", "also": None})
    sets.run("UPDATE sites SET name = 'Kristiania'")
    applied, _ = sets.apply({"email": "b@x", "site": "Oslo", "also": "oslo"}, {"email": "c@x", "site": "OSLO"})
    assert applied.counters.inserts == 2
    joined = "people p JOIN sites s ON s.sys_id = site LEFT JOIN sites a ON a.sys_id = also"
    assert sets.run(f"SELECT email, s.name, a.name FROM {joined} ORDER BY email") == [
        ("a@x", "Kristiania", None),
        ("b@x", "Oslo", "Oslo"),
        ("c@x", "Oslo", None),
    ]
    assert sets.run("SELECT count(*) FROM sites") == [(2,)]


@pytest.mark.parametrize(
    ("column", "refusal", "words"),
    [
        ("name VARCHAR, owner VARCHAR NOT NULL", TargetRefused, "NOT NULL constraint failed: sites"),
        ("name INTEGER", ConfigError, "is no text, and records are made from texts"),
    ],
)
def test_records_that_cannot_be_made_for_references_fail_the_set(
    tmp_path: Path, column: str, refusal: type[Exception], words: str
) -> None:
    site = {"source": "site", "reference": {"table": "sites", "by": "name", "on_missing": "create"}}
    sets = Sets(tmp_path, an_import(coalesce="email", transform={"fields": {"email": "email", "site": site}}))
    sets.run(f"CREATE TABLE sites (sys_id VARCHAR PRIMARY KEY, {column})")
    with pytest.raises(refusal, match=words):
        sets.apply({"email": "a@x", "site": "5"}, {"email": "b@x", "site": "05"}, {"email": "c@x", "site": None})
    assert sets.run("SELECT count(*) FROM sites") == [(0,)]


def test_a_row_may_empty_fields_that_are_not_text(tmp_path: Path) -> None:
    types = {"age": pa.int64(), "sys_import_cleared": pa.list_(pa.string())}
    sets = Sets(tmp_path, an_import(coalesce="email"), types)
    row = {"email": "a@x", "name": "A", "age": 7, "sys_import_cleared": []}
    sets.apply(row)
    applied, _ = sets.apply(
        {**row, "age": None},
        {**row, "age": None, "sys_import_cleared": ["age"]},
        {**row, "age": None, "sys_import_cleared": None},
        {**row, "name": "NULL"},
    )
    assert (applied.counters.ignored, applied.counters.updates) == (2, 2)
    assert sets.run("SELECT name, age FROM people") == [(None, 7)]


def test_rows_of_sets_that_were_skipped_or_wrong_before_stay_what_they_are(tmp_path: Path) -> None:
    sets = Sets(tmp_path, an_import(coalesce="email"))
    wrong = {"sys_import_state": "error", "sys_import_state_comment": "age: x is no number", "sys_row_error": 400}
    applied, told = sets.apply({"email": "a@x", **wrong}, {"email": "a@x", "sys_import_state": "skipped"})
    assert told == [("error", "age: x is no number"), ("skipped", None)]
    assert (applied.counters.errors, applied.counters.skipped) == (1, 1)
    assert sets.run("SELECT count(*) FROM people") == [(0,)]


def test_names_of_tables_and_fields_are_never_read_as_sql(tmp_path: Path) -> None:
    name = 'k" FROM x; --'
    sets = Sets(tmp_path, an_import(coalesce=name, target="select"))
    sets.apply({name: "a", "snow_k": "1", "order": "2", "r": "3"})
    sets.apply({name: "A", "snow_k": "1", "order": "2", "r": "4"})
    assert sets.run('SELECT snow_k, "order", r FROM "select"') == [("1", "2", "4")]


def test_an_empty_set_is_remembered(tmp_path: Path) -> None:
    sets = Sets(tmp_path, an_import(coalesce="email"))
    sets.apply({"email": "a@x"})
    schema = pq.read_schema(tmp_path / "mapped-people-1.parquet")
    mapped = sets.mapped([])
    pq.write_table(schema.empty_table(), mapped.mapped)
    target = sets.target()
    assert target.apply(mapped).counters.total == 0
    assert target.applied(mapped.key) is not None
    target.close()
    with duckdb.connect(sets.file) as connection:
        assert connection.execute("SELECT count(*) FROM snow_import_ledger").fetchone() == (2,)


def test_what_an_earlier_row_said_stays_where_later_ones_are_empty(tmp_path: Path) -> None:
    sets = Sets(tmp_path, an_import(coalesce="email"))
    applied, told = sets.apply(
        {"email": "a@x", "name": "A", "city": "Oslo"},
        {"email": "a@x", "name": "", "city": "Oslo"},
        {"email": "a@x", "name": None, "city": "Rome"},
    )
    assert [state for state, _ in told] == ["inserted", "ignored", "updated"]
    assert sets.run("SELECT name, city, sys_mod_count FROM people") == [("A", "Rome", 1)]
    assert applied.counters.accounted == 3


def test_a_made_table_keeps_nothing_in_memory_that_grows_with_it(tmp_path: Path) -> None:
    sets = Sets(tmp_path, an_import(coalesce="email"))
    sets.apply({"email": "a@x", "name": "A"})
    indexed = "SELECT count(*) FROM duckdb_constraints() WHERE table_name = 'people' AND constraint_type <> 'NOT NULL'"
    assert sets.run(indexed) == [(0,)]  # DuckDB holds the index of a key whole
    sets.apply({"email": "A@x", "name": "AA"}, {"email": "b@x", "name": "B"})
    assert sets.run("SELECT count(*), count(DISTINCT sys_id) FROM people") == [(2, 2)]

"""Sets are applied to a real PostgreSQL: whole, once, and with each value as it was."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from snow_assets.errors import ConfigError, TargetRefused
from snow_assets.imports.contract import Counters
from snow_assets_tests.imports.postgres.server import Database
from snow_assets_tests.imports.postgres.sets import PEOPLE, Rows, apply, mapped, people, states, target_of


def test_a_set_makes_the_table_and_fills_it(postgres: Database, tmp_path: Path) -> None:
    rows: Rows = [{"email": "a@x", "name": "Ann"}, {"email": "b@x", "name": None}, {"email": "A@x", "name": "Anna"}]
    given = mapped(tmp_path, rows)
    assert apply(people(), postgres.url, given) == Counters(3, inserts=2, updates=1)
    assert states(given) == ["inserted", "inserted", "updated"]
    assert postgres.run("SELECT email, name, sys_domain, sys_mod_count FROM people ORDER BY name") == [
        ("A@x", "Anna", "global", 1),
        ("b@x", None, "global", 0),
    ]


def test_a_second_load_updates_ignores_and_inserts(postgres: Database, tmp_path: Path) -> None:
    apply(people(), postgres.url, mapped(tmp_path, [{"email": "a@x", "name": "Ann"}, {"email": "b@x", "name": "Bob"}]))
    rows = [{"email": "A@X", "name": "Anna"}, {"email": "b@x", "name": "Bob"}, {"email": "c@x", "name": "Cid"}]
    given = mapped(tmp_path, rows, load_id="20261122T020000Z")
    assert apply(people(), postgres.url, given) == Counters(3, inserts=1, updates=1, ignored=1)
    assert postgres.run("SELECT name FROM people ORDER BY 1") == [("Anna",), ("Bob",), ("Cid",)]


def test_a_record_that_was_made_for_a_reference_may_be_renamed(postgres: Database, tmp_path: Path) -> None:
    site = {"source": "name", "reference": {"table": "sites", "by": "name", "on_missing": "create"}}
    config = people(transform={"fields": {"email": "email", "name": site}})
    apply(config, postgres.url, mapped(tmp_path, [{"email": "a@x", "name": "Oslo"}]))
    postgres.run("UPDATE sites SET name = 'Kristiania'")
    rows = [{"email": "b@x", "name": "Oslo"}, {"email": "c@x", "name": "OSLO"}]
    assert apply(config, postgres.url, mapped(tmp_path, rows, load_id="20261122T020000Z")) == Counters(2, inserts=2)
    told = "SELECT email, s.name FROM people p JOIN sites s ON s.sys_id = p.name ORDER BY email"
    assert postgres.run(told) == [("a@x", "Kristiania"), ("b@x", "Oslo"), ("c@x", "Oslo")]


def test_a_set_is_applied_once(postgres: Database, tmp_path: Path) -> None:
    first = mapped(tmp_path, [{"email": "a@x", "name": "Ann"}])
    assert apply(people(), postgres.url, first) == Counters(1, inserts=1)
    again = mapped(tmp_path, [{"email": "a@x", "name": "Eve"}], attempt="b")
    assert apply(people(), postgres.url, again) == Counters(1, inserts=1)
    assert not again.rows.exists()
    assert postgres.run("SELECT name FROM people") == [("Ann",)]


TYPED = pa.schema(
    [
        ("key", pa.string()),
        ("number", pa.int64()),
        ("price", pa.decimal128(38, 9)),
        ("share", pa.float64()),
        ("active", pa.bool_()),
        ("day", pa.date32()),
        ("moment", pa.timestamp("us")),
        ("note", pa.string()),
    ]
)
VALUES: Rows = [
    {"key": "empty"},
    {"key": "texts", "note": 'a "quoted"\r\ntext,\t\\N \\. with é and 😀'},
    {"key": "last", "number": 2**63 - 1, "price": Decimal("12345678901234567890123456789.123456789"), "share": 1e-300},
    {"key": "first", "number": -(2**63), "price": Decimal("-0.000000001"), "share": -0.1, "active": False},
    {
        "key": "days",
        "day": date(1, 1, 1),
        "moment": datetime.fromisoformat("9999-12-31 23:59:59.999999"),
        "active": True,
    },
]


def test_values_go_there_and_come_back_as_they_are(postgres: Database, tmp_path: Path) -> None:
    config = people(coalesce="key")
    apply(config, postgres.url, mapped(tmp_path, VALUES, TYPED), TYPED)
    named = ", ".join(f'"{name}"' for name in TYPED.names)
    found = postgres.run(
        f"SELECT {named} FROM people ORDER BY array_position(ARRAY['empty','texts','last','first'], key)"
    )
    assert [dict(zip(TYPED.names, row, strict=True)) for row in found] == [
        {**dict.fromkeys(TYPED.names), **row} for row in VALUES
    ]
    again = mapped(tmp_path, VALUES, TYPED, set_no=2)
    assert apply(config, postgres.url, again, TYPED) == Counters(5, ignored=5)


THEIRS = """
CREATE TABLE people (
    sys_id char(32) PRIMARY KEY DEFAULT md5(random()::text), email varchar(20) NOT NULL, uid uuid, extra jsonb,
    small smallint, price numeric(10, 2), ratio real, seen timestamptz, kind mood, doubled int GENERATED ALWAYS AS
    (small * 2) STORED
)
"""


def test_table_of_somebody_else_is_filled_as_it_is(postgres: Database, tmp_path: Path) -> None:
    postgres.run("CREATE TYPE mood AS ENUM ('ok', 'sad')", THEIRS)
    postgres.run("INSERT INTO people (email, seen, price) VALUES ('b@x', 'infinity', 1.5)")
    schema = pa.schema(
        [
            *(pa.field(name, pa.string()) for name in ("email", "uid", "extra", "kind")),
            ("small", pa.int64()), ("price", pa.decimal128(38, 9)), ("ratio", pa.float64()),
            ("seen", pa.timestamp("us")),
        ]
    )  # fmt: skip
    uid = "a81bc81b-dead-4e5d-abff-90865d1e13b1"
    rows: Rows = [
        {"email": "A@x", "uid": uid, "extra": '{"a": 1}', "kind": "ok", "small": 7, "price": Decimal("9.99")},
        {"email": "B@x", "ratio": 0.1, "seen": datetime.fromisoformat("2026-03-29 02:30:00")},
    ]
    assert apply(people(), postgres.url, mapped(tmp_path, rows, schema), schema) == Counters(2, inserts=1, updates=1)
    found = postgres.run(
        "SELECT email, uid::text, extra->>'a', kind::text, small, doubled, price::text, ratio::text, "
        "(seen AT TIME ZONE 'UTC')::text FROM people ORDER BY small"
    )
    assert found == [
        ("A@x", uid, "1", "ok", 7, 14, "9.99", None, None),
        ("B@x", None, None, None, None, None, "1.50", "0.1", "2026-03-29 02:30:00"),
    ]
    again = mapped(tmp_path, rows, schema, set_no=2)
    assert apply(people(), postgres.url, again, schema) == Counters(2, ignored=2)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ("CREATE TABLE people (email text, name text)", "has no column sys_id"),
        ("CREATE TABLE people (sys_id text, email text)", "name.*is no column of the table people"),
        ("CREATE VIEW people AS SELECT 'x' AS sys_id, 'x' AS email, 'x' AS name", "is a view, not a table"),
    ],
)
def test_table_that_cannot_hold_the_fields_is_refused(postgres: Database, made: str, words: str) -> None:
    postgres.run(made)
    with target_of(people(), postgres.url) as target, pytest.raises(ConfigError, match=words):
        target.check(PEOPLE)


def test_schema_that_is_not_there_is_named(postgres: Database) -> None:
    config = people(target={"schema": "Hr"})
    with target_of(config, postgres.url) as target, pytest.raises(ConfigError, match='schema "Hr" does not exist'):
        target.check(PEOPLE)


def test_table_lies_in_the_schema_that_is_named(postgres: Database, tmp_path: Path) -> None:
    postgres.run('CREATE SCHEMA "Hr"', "CREATE TABLE people (sys_id text)")
    config = people(target={"schema": "Hr", "table": "People"})
    assert apply(config, postgres.url, mapped(tmp_path, [{"email": "a@x", "name": "Ann"}])) == Counters(1, inserts=1)
    assert postgres.run('SELECT name FROM "Hr"."People"') == [("Ann",)]
    assert postgres.run('SELECT set_key FROM "Hr".snow_import_ledger') == [("people/20261121T020000Z/0001",)]
    assert postgres.run("SELECT count(*) FROM people") == [(0,)]


@pytest.mark.parametrize("made", [True, False])
def test_capitals_of_every_alphabet_are_one_key_with_their_small_letters(
    postgres: Database, tmp_path: Path, made: bool
) -> None:
    """In a table that was made here by the index, in another by a function of the session."""
    if not made:
        postgres.run("CREATE TABLE people (sys_id text, email text, name text)")
    keys = ["ÉVA@x", "ŁÓDŹ", "ЖУК", "ΟΔΟΣ", "plain"]
    apply(people(), postgres.url, mapped(tmp_path, [{"email": key, "name": "old"} for key in keys]))
    small = [key.translate({ord("Σ"): "σ"}).lower() for key in keys]
    given = mapped(tmp_path, [{"email": key, "name": "new"} for key in small], set_no=2)
    assert apply(people(), postgres.url, given) == Counters(5, updates=5)


def test_of_several_records_with_a_key_the_first_is_updated(postgres: Database, tmp_path: Path) -> None:
    postgres.run(
        "CREATE TABLE people (sys_id text, email text, name text)",
        "INSERT INTO people VALUES ('b', 'a@x', 'second'), ('B', 'A@x', 'first'), ('c', 'a@x', 'third')",
    )
    assert apply(people(), postgres.url, mapped(tmp_path, [{"email": "a@X", "name": "new"}])) == Counters(1, updates=1)
    assert postgres.run('SELECT name FROM people ORDER BY sys_id COLLATE "C"') == [("new",), ("second",), ("third",)]


def test_empty_keys_match_records_whose_key_is_empty(postgres: Database, tmp_path: Path) -> None:
    config = people(coalesce={"fields": ["email", "name"], "empty": "match"}, target={"columns": {}})
    schema = pa.schema([*PEOPLE, ("note", pa.string())])
    postgres.run(
        "CREATE TABLE people (sys_id text, email text, name text, note text)",
        "INSERT INTO people VALUES ('1', '', 'Ann', 'old'), ('2', NULL, NULL, 'old'), ('3', 'b@x', 'Bob', 'old')",
    )
    rows: Rows = [
        {"email": None, "name": "ann", "note": "new"},
        {"email": None, "name": None, "note": "new"},
        {"email": "b@x", "name": "Bob", "note": "new"},
        {"email": "b@x", "name": None, "note": "new"},
    ]
    assert apply(config, postgres.url, mapped(tmp_path, rows, schema), schema) == Counters(4, inserts=1, updates=3)


def test_rows_of_another_domain_are_neither_matched_nor_touched(postgres: Database, tmp_path: Path) -> None:
    rows: Rows = [{"email": "a@x", "name": "theirs"}]
    apply(people(domain="north"), postgres.url, mapped(tmp_path, rows))
    given = mapped(tmp_path, [{"email": "a@x", "name": "ours"}], load_id="20261122T020000Z")
    assert apply(people(domain="south"), postgres.url, given) == Counters(1, inserts=1)
    found = postgres.run("SELECT sys_domain, name FROM people ORDER BY 1")
    assert found == [("north", "theirs"), ("south", "ours")]


def test_row_that_the_database_refuses_leaves_nothing_half_done(postgres: Database, tmp_path: Path) -> None:
    postgres.run("CREATE TABLE people (sys_id text, email text, name text CHECK (name <> 'bad'))")
    rows: Rows = [{"email": "a@x", "name": "Ann"}, {"email": "b@x", "name": "bad"}]
    given = mapped(tmp_path, rows)
    with suppress(TargetRefused):  # or an error of its row
        assert apply(people(), postgres.url, given) == Counters(2, inserts=1, errors=1)
    assert postgres.run("SELECT count(*) FROM people WHERE name = 'bad'") == [(0,)]

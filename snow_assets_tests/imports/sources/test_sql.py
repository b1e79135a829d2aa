"""SQL queries and pulls as sources: SQLite, PostgreSQL, ADBC, and what a pull has published."""

from __future__ import annotations

import sqlite3
import traceback
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import psycopg2
import pyarrow as pa
import pytest

from snow_assets.errors import ConfigError, CredentialsError, InstanceUnavailable, SnowError, SourceError
from snow_assets.imports.sources import open_source, sql
from snow_assets.pulls.library import pull_to
from snow_assets.servicenow.client import Client
from snow_assets.simulator import Simulator
from snow_assets_tests.imports.postgres.server import Database, postgres, postgres_of_session
from snow_assets_tests.imports.sources.reading import Folder

__all__ = ["postgres", "postgres_of_session"]

SECRET = "s3cr#t/p@ss:word"
ENCODED = "s3cr%23t%2Fp%40ss%3Aword"


@pytest.fixture
def sqlite(folder: Folder) -> Folder:
    """A SQLite database of 25 rows, with its URL in ``STAFF``."""
    path = folder.path / "staff.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE staff (id INTEGER, name TEXT, pay REAL, photo BLOB, odd)")
    rows = [(number, f"n{number} 100%", number / 2, b"\x00\xff", None) for number in range(1, 26)]
    connection.executemany("INSERT INTO staff VALUES (?, ?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    folder.variables["STAFF"] = f"sqlite:///{path}"
    folder.variables["STAFF_FILE"] = str(path)
    return folder


def source(query: str, **others: Any) -> dict[str, Any]:
    return {"sql": query, "database": "STAFF", **others}


def test_sqlite_is_read_in_pieces_with_types(sqlite: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "BATCH", 7)
    found = sqlite.read(source("SELECT * FROM staff WHERE name LIKE '%00%%' ORDER BY id;"))
    assert found.columns == ("id", "name", "pay", "photo", "odd")
    assert found.rows == [(n, f"n{n} 100%", n / 2, b"\x00\xff", None) for n in range(1, 26)]
    assert [c.type for c in found.table.columns[2:]] == [
        pa.int64(),
        pa.string(),
        pa.float64(),
        pa.binary(),
        pa.string(),
    ]
    assert (set(found.files), set(found.lines)) == ({None}, {None})


def test_a_query_without_rows_has_its_columns(sqlite: Folder) -> None:
    found = sqlite.read(source("SELECT id, name FROM staff WHERE id < 0"))
    assert (found.columns, found.rows) == (("id", "name"), [])


def test_a_value_of_another_type_later_on_is_named(sqlite: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "BATCH", 5)
    with pytest.raises(SourceError) as caught:
        sqlite.read(source("SELECT CASE WHEN id = 13 THEN 'x' ELSE id END AS v FROM staff ORDER BY id"))
    assert "source.sql 'v': row 13 holds a str where rows before it hold int64" in str(caught.value)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT * FROM stuff", "source.sql: the database says: no such table: stuff"),
        ("SELECT id, id FROM staff", "column 'id': stands twice (source.sql"),
        ("DELETE FROM staff", "source.sql: returns no rows (write a SELECT)"),
    ],
)
def test_queries_that_cannot_be_are_refused_by_name(sqlite: Folder, query: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sqlite.read(source(query))
    assert told in str(caught.value)
    assert len(sqlite.read(source("SELECT id FROM staff")).rows) == 25


def test_a_database_that_nobody_names_is_refused(folder: Folder) -> None:
    with pytest.raises(ConfigError, match=r"source.database 'STAFF': is not set"):
        folder.read(source("SELECT 1"))


def test_adbc_gives_what_its_driver_gives(sqlite: Folder) -> None:
    given = {"sql": "SELECT id, name FROM staff ORDER BY id", "database": "STAFF_FILE", "driver": "adbc_driver_sqlite"}
    found = sqlite.read(given)
    assert found.rows == [(n, f"n{n} 100%") for n in range(1, 26)]
    assert found.table.schema.field("id").type == pa.int64()
    with pytest.raises(ConfigError, match=r"source.sql: the database says: .*no such table"):
        sqlite.read({**given, "sql": "SELECT * FROM stuff"})
    with pytest.raises(ConfigError, match=r"source.driver 'adbc_driver_none': is no ADBC driver that is installed"):
        sqlite.read({**given, "driver": "adbc_driver_none"})


def test_postgresql_columns_have_the_types_of_the_database(folder: Folder, postgres: Database) -> None:
    postgres.run(
        "CREATE TABLE staff (id int, big bigint, pay numeric(10,2), any_number numeric, born date, at timestamp, "
        "seen timestamptz, ok boolean, more jsonb, tags text[], name text, score double precision)",
        "INSERT INTO staff VALUES (1, 2^40, 12.5, 1.23456789012345678901234567890, '2026-11-21', "
        """'2026-11-21 01:02:03', '2026-11-21 01:02:03+01', true, '{"a": [1, "ä"]}', '{x,y}', '5%', 0.5)""",
        "INSERT INTO staff (id) SELECT generate_series(2, 12000)",
    )
    folder.variables["STAFF"] = postgres.url
    found = folder.read(source("SELECT * FROM staff WHERE name LIKE '%' OR id > 1 ORDER BY id"))
    types = {field.name: str(field.type) for field in found.table.schema}
    assert types["pay"] == "decimal128(10, 2)"
    assert (types["id"], types["born"], types["seen"], types["any_number"]) == (
        "int64", "date32[day]", "timestamp[us, tz=UTC]", "string",
    )  # fmt: skip
    row = dict(zip(found.columns, found.rows[0], strict=True))
    assert (row["big"], row["pay"], row["any_number"]) == (2**40, Decimal("12.50"), "1.23456789012345678901234567890")
    assert (row["born"], row["at"]) == (date(2026, 11, 21), datetime(2026, 11, 21, 1, 2, 3))  # noqa: DTZ001
    assert (row["seen"].hour, row["ok"], row["more"], row["tags"]) == (0, True, '{"a": [1, "ä"]}', '["x", "y"]')
    assert [each[0] for each in found.rows] == list(range(1, 12001))
    with pytest.raises(ConfigError, match=r'source.sql: the database says: relation "stuff" does not exist'):
        folder.read(source("SELECT * FROM stuff"))
    source_of_part = open_source(folder.config(source("SELECT * FROM staff")), folder.environment)
    next(source_of_part.batches())
    source_of_part.close()
    postgres.run("DROP TABLE staff")  # nobody holds it any more


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        (f"postgresql://u:{ENCODED}@127.0.0.1:1/db", InstanceUnavailable),
        (f"postgresql://u:{SECRET}@127.0.0.1:1/db", SnowError),
        (f"postgresql://u:{SECRET}@127.0.0.1:port/db", SnowError),
        (f"nothing://u:{ENCODED}@h/db", ConfigError),
        (f"u:{SECRET}@h", ConfigError),
        (f"postgresql://127.0.0.1:1/db?user=u&password={ENCODED}", InstanceUnavailable),
    ],
)
def test_a_password_is_never_told(folder: Folder, url: str, kind: type[SnowError]) -> None:
    folder.variables["STAFF"] = url
    with pytest.raises(kind) as caught:
        open_source(folder.config(source("SELECT 1")), folder.environment)
    told = "".join(traceback.format_exception(caught.value)) + str(caught.value.as_dict())
    for part in ("s3cr", "t/p", "p@ss", "word", "%40ss"):
        assert part not in told.replace("password", "").replace("SECRET", "")


def test_a_login_that_is_refused_is_told_as_one(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise psycopg2.OperationalError(f'FATAL: password authentication failed for user "u" ({SECRET})')

    folder.variables["STAFF"] = f"postgresql://u:{ENCODED}@127.0.0.1:1/db"
    monkeypatch.setattr(psycopg2, "connect", refuse)
    with pytest.raises(CredentialsError) as caught:
        open_source(folder.config(source("SELECT 1")), folder.environment)
    assert "source.database 'STAFF': cannot connect: FATAL: password authentication failed" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_pull_gives_values_and_display_values_of_its_published_rows(folder: Folder) -> None:
    folder.variables["SNOW_DATA_DIR"] = str(folder.path / "data")
    with pytest.raises(ConfigError, match=r"pull 'incidents': nothing is published"):
        folder.read({"pull": "incidents"})
    with (
        Simulator(rows={"incident": 30}, seed=7).serve() as server,
        Client(server.url, username="admin", password="admin") as client,
    ):
        pull_to(folder.path / "data" / "incidents", client, table="incident", fields=["number", "state"], page_size=10)
        rows = list(client.get_records("incident", fields=["sys_id", "number", "state"]))
    found = folder.read({"pull": "incidents"})
    assert found.columns == ("sys_id", "sys_id_display", "number", "number_display", "state", "state_display")
    assert len(found.rows) == len(rows) == 30
    assert any(state != shown for *_, state, shown in found.rows)
    with pytest.raises(ConfigError, match=r"coalesce 'numbr': .* has no such column .did you mean 'number'"):
        folder.read({"pull": "incidents"}, coalesce="numbr")

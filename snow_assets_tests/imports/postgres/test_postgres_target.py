"""Sets are applied to a real PostgreSQL: whole, once, and with each value as it was."""

from __future__ import annotations

from pathlib import Path

from snow_assets.imports.contract import Counters
from snow_assets_tests.imports.postgres.server import Database
from snow_assets_tests.imports.postgres.sets import Rows, apply, mapped, people, states


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


def test_a_set_is_applied_once(postgres: Database, tmp_path: Path) -> None:
    first = mapped(tmp_path, [{"email": "a@x", "name": "Ann"}])
    assert apply(people(), postgres.url, first) == Counters(1, inserts=1)
    again = mapped(tmp_path, [{"email": "a@x", "name": "Eve"}], attempt="b")
    assert apply(people(), postgres.url, again) == Counters(1, inserts=1)
    assert not again.rows.exists()
    assert postgres.run("SELECT name FROM people") == [("Ann",)]

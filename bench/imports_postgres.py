"""The PostgreSQL half of `imports`: a server, the bare MERGE, and whether each key is there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import psycopg2

from snow_assets_tests.imports.postgres.server import postgres_server

VARIABLE = "BENCH_DATABASE"
COLUMNS = "number varchar, name varchar, email varchar, city varchar, amount varchar, active varchar, line varchar"
TABLE = (
    f"CREATE TABLE people (sys_id varchar PRIMARY KEY, sys_domain varchar, {COLUMNS}, "
    "sys_created_on timestamp, sys_updated_on timestamp, sys_mod_count bigint)"
)
MERGE = """
MERGE INTO people t USING (SELECT DISTINCT ON (number) * FROM source ORDER BY number, line DESC) s
ON t.number = s.number
WHEN MATCHED THEN UPDATE SET name = s.name, email = s.email, city = s.city, amount = s.amount, active = s.active,
    line = s.line
WHEN NOT MATCHED THEN INSERT VALUES (md5(s.number), 'global', s.number, s.name, s.email, s.city, s.amount, s.active,
    s.line, now(), now(), 0)
"""


@contextmanager
def server() -> Iterator[str]:
    """The URL of a database of a new server with the settings that PostgreSQL comes with."""
    with tempfile.TemporaryDirectory(prefix="snow-bench-") as folder, postgres_server(Path(folder) / "pg") as found:
        found.run("ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")
        yield found.url()


def run(url: str, *statements: str) -> Any:
    """Run statements in one transaction; the first row of the last."""
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        found = cursor.fetchone() if cursor.description else None
    connection.close()
    return found


def merged(url: str, source: Path) -> None:
    """COPY into a temporary table, and one MERGE of the newest row of each key."""
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor, source.open("rb") as file:
        cursor.execute("SET work_mem = '64MB'")
        cursor.execute(f"{TABLE}; CREATE INDEX ON people (number)")
        cursor.execute(f"CREATE TEMP TABLE source ({COLUMNS}) ON COMMIT DROP")
        cursor.copy_expert("COPY source FROM STDIN (FORMAT csv, HEADER)", file, 1 << 20)
        cursor.execute("ANALYZE source")
        cursor.execute(MERGE)
    connection.close()


def check(url: str, source: Path, keys: int, newest: bool) -> None:
    """Each key once, with its last version where their order was kept; then the table goes."""
    found = run(url, "SELECT count(*), count(DISTINCT number), md5(string_agg(number || email, ',' ORDER BY number "
                     'COLLATE "C")) FROM people')  # fmt: skip
    assert found[:2] == (keys, keys), found
    if newest:
        with duckdb.connect() as connection:
            [(told,)] = connection.execute(
                "SELECT md5(string_agg(number || email, ',' ORDER BY number)) FROM (SELECT number, "
                f"arg_max(email, line) AS email FROM read_csv('{source}', all_varchar = true, header = true) "
                "GROUP BY number)"
            ).fetchall()
        assert found[2] == told
    run(url, "DROP TABLE people", "DROP TABLE IF EXISTS snow_import_ledger")

"""Connections that break, locks that are held, and writers that know nothing of ours: nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from snow_assets.config import Environment
from snow_assets.errors import ConfigError, InstanceUnavailable, SnowError, TargetBusy, TargetRefused
from snow_assets.imports.contract import Counters
from snow_assets.imports.targets import postgres_link
from snow_assets.imports.targets.postgres import open_postgres
from snow_assets.imports.targets.postgres_link import Link
from snow_assets.imports.targets.postgres_tables import advisory_lock
from snow_assets.imports.targets.postgres_writer import PostgresWriter
from snow_assets_tests.imports.postgres.server import Database
from snow_assets_tests.imports.postgres.sets import PEOPLE, VARIABLE, Rows, apply, mapped, people, states, target_of

ROWS: Rows = [{"email": f"{name}@x", "name": name} for name in ("ann", "bob", "cid")]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_link, "BACKOFF", 0.01)


def once(
    monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[PostgresWriter], None], before: bool = True
) -> None:
    """Before (or after) the first call of a method of the writer, something happens."""
    method, left = getattr(PostgresWriter, name), [1]

    def changed(writer: PostgresWriter, *given: Any) -> Any:
        due = bool(left and left.pop())
        if due and before:
            act(writer)
        found = method(writer, *given)
        if due and not before:
            act(writer)
        return found

    monkeypatch.setattr(PostgresWriter, name, changed)


def end(database: Database, connection: Any) -> None:
    """The server ends the process of a connection, as a restart or a failover does."""
    database.run(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 10000)")


def names(database: Database) -> list[str]:
    return [name for (name,) in database.run("SELECT name FROM people ORDER BY name")]


@pytest.mark.parametrize("step", ["remembered", "match", "insert", "remember"])
def test_connection_that_is_lost_inside_a_set_is_made_again(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    once(monkeypatch, step, lambda writer: end(postgres, writer._connection), before=step != "insert")
    given = mapped(tmp_path, ROWS)
    assert apply(people(), postgres.url, given) == Counters(3, inserts=3)
    assert states(given) == ["inserted"] * 3
    assert names(postgres) == ["ann", "bob", "cid"]


class Deaf:
    """A connection that is lost when it commits: ``heard`` says whether the server got that far."""

    def __init__(self, database: Database, connection: Any, heard: bool) -> None:
        self._database = database
        self._connection = connection
        self._heard = heard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def commit(self) -> None:
        if self._heard:
            self._connection.commit()
        end(self._database, self._connection)
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT 1")


@pytest.mark.parametrize("reprocess", [False, True])
@pytest.mark.parametrize("heard", [False, True])
def test_commit_without_an_answer_is_decided_by_the_ledger(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: bool, reprocess: bool
) -> None:
    given = mapped(tmp_path, ROWS, attempt="b", reprocess=reprocess)
    with target_of(people(), postgres.url) as target:
        target.check(PEOPLE)
        if reprocess:
            target.apply(mapped(tmp_path, [{**row, "name": "old"} for row in ROWS]))
        take, left = Link._taken, [1]

        def taken(link: Link) -> Any:
            found = take(link)
            return Deaf(postgres, found, heard) if left and left.pop() else found

        monkeypatch.setattr(Link, "_taken", taken)
        applied = target.apply(given)
    assert applied.attempt == "b"
    assert applied.counters == (Counters(3, updates=3) if reprocess else Counters(3, inserts=3))
    assert states(given) == ["updated" if reprocess else "inserted"] * 3
    found = postgres.run("SELECT name, sys_mod_count FROM people ORDER BY name")
    assert found == [(name, int(reprocess)) for name in ("ann", "bob", "cid")]


def test_server_that_stays_away_is_an_error_to_run_again(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    match = PostgresWriter.match

    def ended(writer: PostgresWriter, given: Any) -> None:
        end(postgres, writer._connection)
        match(writer, given)

    with target_of(people(), postgres.url) as target:
        target.check(PEOPLE)
        monkeypatch.setattr(PostgresWriter, "match", ended)
        with pytest.raises(InstanceUnavailable, match=f"{VARIABLE}.*tried {postgres_link.TRIES} times"):
            target.apply(mapped(tmp_path, ROWS))
    assert names(postgres) == []


@pytest.mark.parametrize("code", ["40P01", "40001"])
def test_transaction_that_the_server_gives_up_is_tried_again(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    raised = f"DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '{code}'; END $$"
    once(monkeypatch, "insert", lambda writer: writer._execute(raised))
    assert apply(people(), postgres.url, mapped(tmp_path, ROWS)) == Counters(3, inserts=3)


@contextmanager
def holding(database: Database, *statements: str) -> Iterator[int]:
    """Somebody else's transaction, which stays open; its process."""
    connection = psycopg2.connect(database.url, application_name="nightly report")
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        yield connection.info.backend_pid
    finally:
        connection.close()


def test_lock_that_is_held_for_too_long_names_who_holds_it(postgres: Database, tmp_path: Path) -> None:
    url = f"{postgres.url}&options=-c%20lock_timeout%3D100ms"
    number = advisory_lock("public", "people")
    with target_of(people(), url) as target:
        target.check(PEOPLE)
        with (
            holding(postgres, f"SELECT pg_advisory_xact_lock({number})") as holder,
            pytest.raises(TargetBusy, match=rf"people.*held by process {holder} \(nightly report, postgres"),
        ):
            target.apply(mapped(tmp_path, ROWS))
        assert target.apply(mapped(tmp_path, ROWS)).counters == Counters(3, inserts=3)


def test_rows_that_somebody_else_holds_are_waited_for_within_bounds(postgres: Database, tmp_path: Path) -> None:
    apply(people(), postgres.url, mapped(tmp_path, ROWS))
    url = f"{postgres.url}&options=-c%20lock_timeout%3D100ms"
    changed = mapped(tmp_path, [{**row, "name": "new"} for row in ROWS], set_no=2)
    with (
        target_of(people(), url) as target,
        holding(postgres, "UPDATE people SET name = 'theirs'"),
        pytest.raises(TargetBusy, match="lock timeout"),
    ):
        target.apply(changed)


def test_statement_that_takes_longer_than_allowed_is_an_error_to_run_again(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once(monkeypatch, "insert", lambda writer: writer._execute("SET LOCAL statement_timeout = 50; SELECT pg_sleep(9)"))
    with pytest.raises(TargetBusy, match="statement timeout"):
        apply(people(), postgres.url, mapped(tmp_path, ROWS))
    assert names(postgres) == []


def test_row_that_another_program_inserts_first_is_looked_for_again(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with target_of(people(), postgres.url) as target:
        target.check(PEOPLE)
    postgres.run("CREATE UNIQUE INDEX ON people (email)")
    theirs = "INSERT INTO people (sys_id, email, name) VALUES ('1', 'bob@x', 'theirs')"

    def insert(_: PostgresWriter) -> None:
        postgres.run(theirs)

    once(monkeypatch, "insert", insert)
    given = mapped(tmp_path, ROWS)
    assert apply(people(), postgres.url, given) == Counters(3, inserts=2, updates=1)
    assert states(given) == ["inserted", "updated", "inserted"]
    assert names(postgres) == ["ann", "bob", "cid"]


def test_set_that_was_dealt_by_key_meets_another_load(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It inserts without the lock, sees before it commits that another load was faster, and starts over."""
    config = people(partition={"key": "email"})
    other = mapped(tmp_path, [{"email": "BOB@x", "name": "theirs"}], import_name="others", set_no=2)
    with target_of(config, postgres.url) as target:
        target.check(PEOPLE)

        def apply_other(_: PostgresWriter) -> None:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(apply, config, postgres.url, other).result()

        once(monkeypatch, "insert", apply_other)
        given = mapped(tmp_path, ROWS)
        assert target.apply(given).counters == Counters(3, inserts=2, updates=1)
    assert states(given) == ["inserted", "updated", "inserted"]
    assert names(postgres) == ["ann", "bob", "cid"]


def test_missing_right_names_the_table(postgres: Database, tmp_path: Path) -> None:
    with target_of(people(), postgres.url) as target:
        target.check(PEOPLE)
    role = f"reader_{postgres.name}"
    postgres.run(f"CREATE ROLE {role} LOGIN", f"GRANT SELECT ON people TO {role}")
    with (
        target_of(people(), postgres.url.replace("postgres:hush-hush@", f"{role}@")) as target,
        pytest.raises(TargetRefused, match="permission denied for table people"),
    ):
        target.apply(mapped(tmp_path, ROWS))


def test_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(ConfigError, match=f"{VARIABLE}: is not set"):
        open_postgres(people(), Environment({}, Path.cwd()))


@pytest.mark.parametrize(
    "url",
    [
        "mysql://bob:hush-hush@host/db",
        "bob:hush-hush@host",
        "postgresql://bob:hush/hush-hush@host/db",
        "postgresql://bob:a@hush-hush@host/db",
        "postgresql://bob@host:hush-hush/db",
        "postgresql://bob:hush-hush@host/db?sslmod=require",
        "postgresql://bob:hush-hush@/db?host=/nowhere/hush",
        "postgresql://bob:hush-hush@127.0.0.1:1/db",
        "postgresql://bob:hush-hush@host.invalid/db",
    ],
)
def test_password_is_in_no_message_of_a_url_that_does_not_work(url: str) -> None:
    with pytest.raises(SnowError) as caught:
        open_postgres(people(), Environment({VARIABLE: url}, Path.cwd())).applied("people/1/0001")
    error: BaseException | None = caught.value
    while error is not None:
        assert "hush-hush" not in f"{error} {error!r} {error.__dict__}"
        error = error.__cause__ or error.__context__


def test_wrong_database_is_no_reason_to_wait(postgres: Database) -> None:
    url = postgres.url.replace(postgres.name, "nowhere")
    with pytest.raises(ConfigError, match='database "nowhere" does not exist'):
        open_postgres(people(), Environment({VARIABLE: url}, Path.cwd())).applied("people/1/0001")

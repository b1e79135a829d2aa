"""What a client is, whether threads or asyncio drive it: its settings, and what it asks. No I/O.

``Client`` and ``AsyncClient`` send; every rule about what is sent and what is believed is here or in procedures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict

from snow_assets.config import Credentials
from snow_assets.errors import ConfigError
from snow_assets.servicenow import writing
from snow_assets.servicenow.budget import RetryBudget
from snow_assets.servicenow.exchange import DisplayValue, Procedure, Request, Tally
from snow_assets.servicenow.governor import Governor, governor_of
from snow_assets.servicenow.pages import DictDecoder, check_object, is_hex
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.ranges import Seen
from snow_assets.servicenow.reading import CountTrial, Reading
from snow_assets.servicenow.records import AbsentFields, OnIncomplete, Question
from snow_assets.servicenow.retry import RetryPolicy, fetch
from snow_assets.servicenow.route import Route
from snow_assets.servicenow.since import must_be_aware
from snow_assets.servicenow.writing import Habits, ImportResult, InsertedRows

CURSOR = "sys_updated_on"


class ClientSettings(TypedDict, total=False):
    """What a client may be told by keyword, beside its address; see ``Client``."""

    username: str | None
    password: str | None
    client_id: str | None
    client_secret: str | None
    refresh_token: str | None
    token: str | None
    api_key: str | None
    page_size: int
    max_retries: int
    retry_backoff: float
    timeout: float | tuple[float, float]
    display_value: DisplayValue
    allow_http: bool
    proxy: str | None
    ca_bundle: str | None
    max_wait: float


class ReadingOptions(TypedDict, total=False):
    """How an iterator of records reads; see ``Client.get_records``."""

    since: datetime | None
    cursor: str
    limit: int | None
    on_incomplete: OnIncomplete
    absent_fields: AbsentFields


class ClientCore:
    """Settings of a client, checked; and its questions, as procedures or as what is ``Question``.

    Raises ``ConfigError`` or ``CredentialsError`` for what cannot work.
    """

    def __init__(
        self,
        instance_url: str,
        credentials: Credentials | None,
        max_workers: int,
        *,
        page_size: int = 1000,
        max_retries: int = 3,
        retry_backoff: float = 1.0,
        timeout: float | tuple[float, float] = (10.0, 90.0),
        display_value: DisplayValue = "true",
        allow_http: bool = False,
        proxy: str | None = None,
        ca_bundle: str | None = None,
        max_wait: float = 900.0,
        **parts: str | None,
    ) -> None:
        """``parts`` are those of the credentials."""
        self.credentials = credentials_given(credentials, **parts)
        self.route = Route.given(instance_url, checked_timeout(timeout), proxy, ca_bundle, allow_http=allow_http)
        self.url = self.route.url
        self.page_size = checked_page_size(page_size)
        self.max_workers = max_workers
        self.display_value = display_value
        self.budget = RetryBudget(at_least("max_retries", max_retries, 0), retry_backoff, max_wait, max_workers)
        self.policy = RetryPolicy(max_retries, retry_backoff, max_wait, budget=self.budget)
        self.governor: Governor = governor_of(self.url, self.max_workers)
        self.seen: Seen = {}
        self.habits = Habits({})
        self._trials: dict[str, CountTrial] = {}  # by table

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.url}, {self.credentials.kind}>"

    @property
    def username(self) -> str:
        """The user name that we sign in with; ``""`` where a token or key stands for it."""
        named = self.credentials.kind in ("basic", "oauth_password")
        return (self.credentials.username or "") if named else ""

    def record(
        self, table: str, sys_id: str, fields: Sequence[str] | None, display_value: DisplayValue | None
    ) -> Procedure[dict[str, Any]]:
        """One record."""
        params: dict[str, str] = {"sysparm_display_value": display_value or self.display_value}
        if fields:
            params["sysparm_fields"] = ",".join(checked_fields(fields))
        request = Request(f"/api/now/table/{checked_name(table)}/{checked_name(sys_id, 'sys_id')}", params, "record")
        return fetch(request, check_object, self.policy, Tally())

    def created(self, table: str, record: Mapping[str, Any], sys_id: str | None) -> Procedure[dict[str, Any]]:
        """A new record."""
        name = writing.new_sys_id() if sys_id is None else checked_sys_id(sys_id)
        return writing.create(checked_name(table), record, name, self.policy, Tally(), self.habits)

    def updated(self, table: str, sys_id: str, changes: Mapping[str, Any]) -> Procedure[dict[str, Any]]:
        """Changed fields of a record."""
        return writing.update(checked_name(table), checked_name(sys_id, "sys_id"), changes, self.policy, Tally())

    def deleted(self, table: str, sys_id: str) -> Procedure[bool]:
        """A record that goes."""
        return writing.delete(checked_name(table), checked_name(sys_id, "sys_id"), self.policy, Tally())

    def imported(self, staging_table: str, row: Mapping[str, Any], *, coalesces: bool) -> Procedure[ImportResult]:
        """A row for a transform map."""
        look = writing.send_again if coalesces else writing.never_again(f"row for {staging_table}")
        return writing.import_row(checked_name(staging_table, "staging_table"), row, self.policy, Tally(), look)

    def inserted(
        self, staging_table: str, rows: Sequence[Mapping[str, Any]], *, run_after: str, coalesces: bool
    ) -> Procedure[InsertedRows]:
        """Rows for a transform map, at once."""
        look = writing.send_again if coalesces else writing.never_again(f"{len(rows)} rows for {staging_table}")
        name = checked_name(staging_table, "staging_table")
        return writing.import_rows(name, rows, self.policy, Tally(), look, run_after=run_after)

    def question(
        self,
        table: str,
        query: str,
        fields: Sequence[str] | None,
        display_value: DisplayValue | None,
        page_size: int | None,
        *,
        since: datetime | None = None,
        cursor: str = CURSOR,
        limit: int | None = None,
        on_incomplete: OnIncomplete = "raise",
        absent_fields: AbsentFields = "raise",
    ) -> Question:
        """What an iterator of records reads. Raises ``ConfigError`` and ``QueryError``."""
        check_ending(limit, on_incomplete)
        if not isinstance(absent_fields, frozenset) and absent_fields not in ("raise", "skip"):
            raise ConfigError("unknown", key="absent_fields", value=absent_fields, hint="raise or skip")
        if since is not None:
            must_be_aware(since)
        size = self.page_size if page_size is None else checked_page_size(page_size)
        needed = ("sys_id",) if since is None else ("sys_id", checked_name(cursor, "cursor"))
        reading = Reading(
            table=checked_name(table),
            query=EncodedQuery.parse(query),
            fields=tuple(dict.fromkeys((*needed, *checked_fields(fields)))) if fields else (),
            display_value=display_value or self.display_value,
            page_size=size if limit is None else max(1, min(size, limit)),
            decoder=DictDecoder(),
            policy=self.policy,
            unreadable_rows="fail" if on_incomplete == "raise" else "skip",
            trial=self._trials.setdefault(table, CountTrial()),
        )
        return Question(reading, since, cursor, limit, on_incomplete, absent_fields)


def credentials_given(credentials: Credentials | None, **parts: str | None) -> Credentials:
    """The credentials of a client: an object, its parts, or else the ``SNOW_`` variables.

    Raises ``ConfigError`` where both are given, ``CredentialsError`` where parts are missing.
    """
    unknown = next((name for name in parts if name not in Credentials.VARIABLES), None)
    if unknown is not None:
        raise TypeError(f"a client has no setting {unknown!r}")
    given = {name: value for name, value in parts.items() if value is not None}
    if credentials is not None and given:
        hint = "give one of the two"
        raise ConfigError("is given beside credentials", key=next(iter(given)), hint=hint)
    if credentials is not None:
        return credentials
    return Credentials.given(**given) if given else Credentials.from_environment()


def checked_name(text: str, key: str = "table") -> str:
    """A name of the platform as it is. Raises ``ConfigError``."""
    if not text or not all(character.isalnum() or character in "_-$." for character in text):
        raise ConfigError("not a name of the platform", key=key, value=text, hint="letters, digits and _ only")
    return text


def checked_sys_id(sys_id: str) -> str:
    """32 lower-case hex digits, as a new record's sys_id has to be. Raises ``ConfigError``."""
    if not is_hex(sys_id):
        raise ConfigError("not a sys_id", key="sys_id", value=sys_id, hint="32 hex digits, in lower case")
    return sys_id


def check_ending(limit: int | None, on_incomplete: OnIncomplete) -> None:
    """Raise ``ConfigError`` for a limit or a way to end that makes no sense."""
    if on_incomplete not in ("raise", "warn"):
        raise ConfigError("unknown", key="on_incomplete", value=on_incomplete, hint="raise or warn")
    if limit is not None:
        at_least("limit", limit, 0)


def checked_fields(fields: Sequence[str], key: str = "fields") -> tuple[str, ...]:
    """Names of fields as they are. Raises ``ConfigError``, also for one text instead of several."""
    if isinstance(fields, str):
        raise ConfigError("is one text", key=key, value=fields, hint='give a list: ["number", "state"]')
    return tuple(checked_name(name, key) for name in fields)


def checked_page_size(page_size: int) -> int:
    """1 to 10,000. Raises ``ConfigError``."""
    if not 1 <= page_size <= 10_000:
        raise ConfigError("out of range", key="page_size", value=page_size, hint="1 to 10,000")
    return page_size


def checked_timeout(timeout: float | tuple[float, float]) -> tuple[float, float]:
    """Seconds to connect and to read. Raises ``ConfigError``."""
    connect, read = timeout if isinstance(timeout, tuple) else (10.0, timeout)
    if connect <= 0 or read <= 0:
        raise ConfigError(
            "must be above 0 seconds", key="timeout", value=timeout, hint="one number, or (connect, read)"
        )
    return float(connect), float(read)


def at_least(key: str, value: int, least: int) -> int:
    """``value`` as it is. Raises ``ConfigError`` where it is less than ``least``."""
    if value < least:
        raise ConfigError("too small", key=key, value=value, hint=f"at least {least}")
    return value

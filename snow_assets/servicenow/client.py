"""The client of one instance, for programs: counts, records, and complete sets of rows."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from snow_assets.errors import Cancelled, ConfigError
from snow_assets.servicenow import account as asking
from snow_assets.servicenow import streams
from snow_assets.servicenow.budget import RetryBudget
from snow_assets.servicenow.driver import Driver
from snow_assets.servicenow.exchange import DisplayValue, Page, Procedure, Request, Tally
from snow_assets.servicenow.governor import Governor, governor_of
from snow_assets.servicenow.pages import DictDecoder, check_object
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.reading import Reading
from snow_assets.servicenow.retry import RetryPolicy, fetch
from snow_assets.servicenow.session import Transport

if TYPE_CHECKING:
    from snow_assets.config import Credentials

T = TypeVar("T")


class Client:
    """Reads from one instance. Safe for threads; a context manager; knows nothing of Dagster.

    ::

        with Client("https://acme.service-now.com", Credentials(username="u", password="p")) as client:
            for record in client.get_records("incident", "active=true", fields=["number", "state"]):
                ...

    Args:
        url: address of the instance; plain http only to loopback, unless ``allow_http``.
        credentials: who signs in.
        page_size: rows per request, 1 to 10,000.
        max_workers: requests in flight at most; how many really are follows from what the instance bears.
        max_retries: how often one request is sent again.
        retry_backoff: seconds; the n-th wait is drawn from 0 to ``retry_backoff * 2 ** n``.
        timeout: seconds to connect and to read, or one number to read.
        display_value: ``"true"``, ``"false"`` or ``"all"``: which halves of a value are asked for.
        allow_http: talk plain http to other hosts than this one.
        proxy: URL of a proxy; else ``HTTPS_PROXY`` and the like are honoured.
        ca_bundle: file of the certificate authorities to trust.
        max_wait: seconds that the instance may make a request wait before ``InstanceUnavailable`` is raised.

    Raises ``ConfigError`` or ``CredentialsError`` for what cannot work. Methods raise ``SnowError``.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        page_size: int = 1000,
        max_workers: int = 16,
        max_retries: int = 3,
        retry_backoff: float = 1.0,
        timeout: float | tuple[float, float] = (10.0, 90.0),
        display_value: DisplayValue = "true",
        allow_http: bool = False,
        proxy: str | None = None,
        ca_bundle: str | None = None,
        max_wait: float = 900.0,
    ) -> None:
        self.page_size = _page_size(page_size)
        self.max_workers = _at_least("max_workers", max_workers, 1)
        self.display_value = display_value
        self.credentials = credentials
        self.budget = RetryBudget(_at_least("max_retries", max_retries, 0), retry_backoff, max_wait, max_workers)
        self.policy = RetryPolicy(max_retries, retry_backoff, max_wait, budget=self.budget)
        self._transport = Transport(
            url,
            credentials,
            timeout=_timeout(timeout),
            proxy=proxy,
            ca_bundle=ca_bundle,
            allow_http=allow_http,
        )
        self.url = self._transport.url
        self.governor: Governor = governor_of(self.url, self.max_workers)
        self._driver = Driver(self._transport, self.governor, self.budget)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self.url}, {self.credentials.kind}>"

    @property
    def username(self) -> str:
        """The user name that we sign in with; ``""`` where a token or key stands for it."""
        named = self.credentials.kind in ("basic", "oauth_password")
        return (self.credentials.username or "") if named else ""

    def get_count(self, table: str, query: str = "") -> int:
        """Rows of ``table`` that match, those included that the account may not read."""
        return self.run(asking.count(_name(table), EncodedQuery.parse(query), self.policy, Tally()))

    def get_record(
        self, table: str, sys_id: str, fields: Sequence[str] | None = None, display_value: DisplayValue | None = None
    ) -> dict[str, Any]:
        """One record. Raises ``RequestFailed`` with ``fault == "not_found"`` where none can be read."""
        params: dict[str, str] = {"sysparm_display_value": display_value or self.display_value}
        if fields:
            params["sysparm_fields"] = ",".join(fields)
        request = Request(f"/api/now/table/{_name(table)}/{_name(sys_id, 'sys_id')}", params, "record")
        return self.run(fetch(request, check_object, self.policy, Tally()))

    def get_records(
        self,
        table: str,
        query: str = "",
        fields: Sequence[str] | None = None,
        display_value: DisplayValue | None = None,
        page_size: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Every readable record that matches, once, ordered by sys_id, in this thread.

        ``sys_id`` is always among the fields; the query's own order is left out. An iterator that ends without an
        error was complete; one that cannot be raises ``SliceFailed``, ``RequestFailed`` or another ``SnowError``.
        """
        return streams.in_order(self._driver, self._reading(table, query, fields, display_value, page_size))

    def concurrent_get_records(
        self,
        table: str,
        query: str = "",
        fields: Sequence[str] | None = None,
        display_value: DisplayValue | None = None,
        page_size: int | None = None,
        max_workers: int | None = None,
    ) -> Generator[dict[str, Any], None, None]:
        """Like ``get_records``, on threads with a session each, in the order in which pages come.

        At most ``max_workers`` pages wait for the consumer, then the threads wait for it. Closing stops them.
        """
        workers = _at_least("max_workers", self.max_workers if max_workers is None else max_workers, 1)
        reading = self._reading(table, query, fields, display_value, page_size)
        return streams.as_completed(self._driver, reading, workers)

    def clock(self) -> datetime:
        """The instance's clock, as aware UTC; this machine's where the instance tells none."""
        return self.run(asking.clock(self.policy, Tally())) or datetime.now(UTC)

    def run(
        self, procedure: Procedure[T], deliver: Callable[[Page], None] | None = None, tally: Tally | None = None
    ) -> T:
        """Drive ``procedure`` in this thread, with the thread's own session, and return its result.

        Each page is handed to ``deliver``, which may work hard but must not wait for other threads. ``tally`` gets
        the seconds spent waiting for leave to send.
        """
        return self._driver.run(procedure, deliver, Tally() if tally is None else tally)

    def iterate(self, procedure: Procedure[T], tally: Tally | None = None) -> Generator[Page, None, T]:
        """Like ``run``, but the caller pulls the pages; the generator returns the result."""
        return self._driver.iterate(procedure, Tally() if tally is None else tally)

    def _reading(
        self,
        table: str,
        query: str,
        fields: Sequence[str] | None,
        display_value: DisplayValue | None,
        page_size: int | None,
    ) -> Reading:
        names = tuple(dict.fromkeys(("sys_id", *fields))) if fields else ()
        return Reading(
            table=_name(table),
            query=EncodedQuery.parse(query),
            fields=names,
            display_value=display_value or self.display_value,
            page_size=self.page_size if page_size is None else _page_size(page_size),
            decoder=DictDecoder(),
            policy=self.policy,
        )

    def spawn(self) -> Driver:
        """A driver that can be cancelled on its own, and is cancelled with this client."""
        return self._driver.spawn()

    def cancel(self, reason: BaseException) -> None:
        """Whatever is queued or waiting in any thread of this client raises ``Cancelled`` at once, naming ``reason``.

        What is already under way at the instance ends as it does. The client cannot be used afterwards.
        """
        self._driver.cancel(reason)

    def close(self) -> None:
        """Cancel what waits, and close every connection."""
        self._driver.cancel(Cancelled("the client was closed"))
        self._transport.close()


def _name(text: str, key: str = "table") -> str:
    if not text or not all(character.isalnum() or character in "_-$." for character in text):
        raise ConfigError("not a name of the platform", key=key, value=text, hint="letters, digits and _ only")
    return text


def _page_size(page_size: int) -> int:
    if not 1 <= page_size <= 10_000:
        raise ConfigError("out of range", key="page_size", value=page_size, hint="1 to 10,000")
    return page_size


def _timeout(timeout: float | tuple[float, float]) -> tuple[float, float]:
    connect, read = timeout if isinstance(timeout, tuple) else (10.0, timeout)
    if connect <= 0 or read <= 0:
        raise ConfigError(
            "must be above 0 seconds", key="timeout", value=timeout, hint="one number, or (connect, read)"
        )
    return float(connect), float(read)


def _at_least(key: str, value: int, least: int) -> int:
    if value < least:
        raise ConfigError("too small", key=key, value=value, hint=f"at least {least}")
    return value

"""The client of one instance, for programs: counts, records, and complete sets of rows."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from copy import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from snow_assets.errors import Cancelled
from snow_assets.servicenow import account as asking
from snow_assets.servicenow import streams
from snow_assets.servicenow.closing import Closing
from snow_assets.servicenow.core import ClientCore, ClientSettings, ReadingOptions, at_least, checked_name
from snow_assets.servicenow.driver import Driver
from snow_assets.servicenow.exchange import DisplayValue, Page, Procedure, Tally
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.records import Records
from snow_assets.servicenow.session import Transport
from snow_assets.servicenow.writing import ImportResult, InsertedRows

if TYPE_CHECKING:
    from snow_assets.config import Credentials

T = TypeVar("T")


class Client(ClientCore, Closing):
    """Reads and writes one instance. Safe for threads; a context manager; knows nothing of Dagster.

    ::

        with Client("https://acme.service-now.com", username="u", password="p") as client:
            for record in client.get_records("incident", "active=true", fields=["number", "state"]):
                ...

    Args:
        instance_url: address of the instance; plain http only to loopback, unless ``allow_http``.
        credentials: who signs in. Or give its parts: ``username`` and ``password``, ``client_id`` and so on. Without
            either, the ``SNOW_`` variables of the environment and ``.env`` are read.
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
        instance_url: str,
        credentials: Credentials | None = None,
        *,
        max_workers: int = 16,
        **settings: Unpack[ClientSettings],
    ) -> None:
        super().__init__(instance_url, credentials, at_least("max_workers", max_workers, 1), **settings)
        self._transport = Transport(self.route, self.credentials)
        self._driver = Driver(self._transport, self.governor, self.budget)

    def get_count(self, table: str, query: str = "") -> int:
        """Rows of ``table`` that match, those included that the account may not read."""
        return self.run(asking.count(checked_name(table), EncodedQuery.parse(query), self.policy, Tally()))

    def get_record(
        self, table: str, sys_id: str, fields: Sequence[str] | None = None, display_value: DisplayValue | None = None
    ) -> dict[str, Any]:
        """One record. Raises ``RequestFailed`` with ``fault == "not_found"`` where none can be read."""
        return self.run(self.record(table, sys_id, fields, display_value))

    def get_records(
        self,
        table: str,
        query: str = "",
        fields: Sequence[str] | None = None,
        display_value: DisplayValue | None = None,
        page_size: int | None = None,
        **options: Unpack[ReadingOptions],
    ) -> Records:
        """Every readable record that matches, once, ordered by sys_id, in this thread.

        ``sys_id`` is always among the fields, and so is ``cursor`` where ``since`` is given; the query's own order is
        left out. An iterator that ends without an
        error was complete; one that cannot be raises ``SliceFailed``, ``RequestFailed`` or another ``SnowError``. Its
        ``report`` tells what was counted, delivered, hidden and missing.

        Args:
            table: name of the table.
            query: encoded query. A field in it that the table lacks is a ``QueryError``: the instance would drop it.
            fields: names; all where none are given.
            display_value: instead of the client's.
            page_size: instead of the client's.
            since: aware; only rows whose ``cursor`` lies at it, in whole seconds, or after it. (With
                ``display_value="true"`` some earlier ones too, where the instance reads moments in another zone than
                UTC.)
            cursor: the date-time field that ``since`` is held against.
            limit: the most records. A reading that ends there is not proven.
            on_incomplete: ``warn``: ranges that fail do not end the reading; an ``IncompleteWarning`` and the report
                name them. Credentials, rights and outages always raise.
            absent_fields: ``skip`` leaves out fields that the table lacks instead of raising ``ConfigError``; a
                ``frozenset`` of names leaves out these.
        """
        question = self.question(table, query, fields, display_value, page_size, **options)
        return streams.in_order(self._driver, question, self.seen)

    def concurrent_get_records(
        self,
        table: str,
        query: str = "",
        fields: Sequence[str] | None = None,
        display_value: DisplayValue | None = None,
        page_size: int | None = None,
        max_workers: int | None = None,
        **options: Unpack[ReadingOptions],
    ) -> Records:
        """Like ``get_records``, on threads with a session each, in the order in which pages come.

        A page per thread and one more wait for the consumer, then the threads wait for it. Closing stops them: what is
        under way at the instance ends as it does, and nothing more is asked for.
        """
        workers = at_least("max_workers", self.max_workers if max_workers is None else max_workers, 1)
        question = self.question(table, query, fields, display_value, page_size, **options)
        return streams.as_completed(self._driver, question, workers, self.seen)

    def create_record(self, table: str, record: Mapping[str, Any], *, sys_id: str | None = None) -> dict[str, Any]:
        """Create a record, once however often it has to be sent; the record as the instance made it.

        ``sys_id`` (32 hex digits; a new one where none is given) is what the record is to have. Raises
        ``WriteRefused`` where the instance does not want it.
        """
        return self.run(self.created(table, record, sys_id))

    def update_record(self, table: str, sys_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Set fields of a record; the record as it is then. Raises ``WriteRefused``; ``RequestFailed`` without one."""
        return self.run(self.updated(table, sys_id, changes))

    def delete_record(self, table: str, sys_id: str) -> None:
        """Delete a record. Raises ``WriteRefused``; ``RequestFailed`` (``not_found``) where there was none."""
        self.run(self.deleted(table, sys_id))

    def import_row(self, staging_table: str, row: Mapping[str, Any], *, coalesces: bool = False) -> ImportResult:
        """Post a row to a staging table, and what its transform map made of it.

        ``coalesces``: the map has coalesce fields, so that a row that may have arrived can be sent again. Without, it
        is not, and ``WriteUncertain`` is raised.
        """
        return self.run(self.imported(staging_table, row, coalesces=coalesces))

    def import_rows(
        self, staging_table: str, rows: Sequence[Mapping[str, Any]], *, run_after: str = "", coalesces: bool = False
    ) -> InsertedRows:
        """Post rows at once (insertMultiple); the instance transforms them later, after the import set ``run_after``.

        Keys are labels of columns, unless the instance is set up otherwise. ``coalesces`` as for ``import_row``.
        """
        return self.run(self.inserted(staging_table, rows, run_after=run_after, coalesces=coalesces))

    def clock(self, tally: Tally | None = None) -> datetime:
        """The instance's clock, as aware UTC; this machine's where the instance tells none."""
        return self.run(asking.clock(self.policy, Tally() if tally is None else tally)) or datetime.now(UTC)

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

    def spawn(self) -> Driver:
        """A driver that can be cancelled on its own, and is cancelled with this client."""
        return self._driver.spawn()

    def fork(self) -> Self:
        """A client over the same connections that can be cancelled on its own, and ends with this one. Not to close."""
        child = copy(self)
        child._driver = self._driver.spawn()  # noqa: SLF001 - of this class
        return child

    def cancel(self, reason: BaseException) -> None:
        """Whatever is queued or waiting in any thread of this client raises ``Cancelled`` at once, naming ``reason``.

        What is already under way at the instance ends as it does. The client cannot be used afterwards.
        """
        self._driver.cancel(reason)

    def close(self) -> None:
        """Cancel what waits, and close every connection."""
        self._driver.cancel(Cancelled("the client was closed"))
        self._transport.close()

"""Whole rows that no window shows, fetched by their sys_ids into files beside the slices of a plan."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from snow_assets.config import PullConfig
from snow_assets.errors import RequestFailed, SliceFailed
from snow_assets.pulls.fetching import reading_of
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.ledger import Difference, Ledger
from snow_assets.pulls.plan import Plan, Slice
from snow_assets.pulls.sight import LACKING
from snow_assets.pulls.sweep_record import MendedFile
from snow_assets.pulls.writer import SliceWriter
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.decoding import StructDecoder
from snow_assets.servicenow.driver import Driver
from snow_assets.servicenow.exchange import Page, Tally
from snow_assets.servicenow.fan_out import fan_out
from snow_assets.servicenow.proof import BATCH, hidden_fields, read_named
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.reading import is_of_the_row, lacking, row_failed

PAGE: Final = 1_000  # rows fetched, sorted and written at a time
FILE_ROWS: Final = 100_000
EVERYTHING: Final = Slice(0, None, None)
_NAME: Final = re.compile(r"mended-(\d+)\.parquet")


@dataclass(slots=True)
class Mended:
    """What was fetched: ``why`` counts rows by why they were fetched.

    ``lost`` rows were gone, or did not match any more, when they were asked for; ``unreadable`` ones fail even alone.
    """

    files: list[MendedFile] = field(default_factory=list)
    why: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    unreadable: int = 0
    cost: Tally = field(default_factory=Tally)


def mend(
    pages: Iterable[list[tuple[str, str]]], plan: Plan, pull: PullConfig, client: Client, landing: Landing
) -> Mended:
    """Fetch the rows of the plan's own query with these sys_ids, in order of the sys_ids, each at most once.

    ``pages`` hold sys_ids and why they are fetched. Raises ``SliceFailed`` where a row is there and does not come, and
    names the row that cannot be read unless ``unreadable_rows`` says skip.
    """
    mending = _Mending(plan, pull, client, landing)
    try:
        for page in pages:
            mending.add(dict(page))
        mending.close()
    finally:
        mending.abandon()
    return mending.mended


class _Mending:
    """Rows on their way into files."""

    def __init__(self, plan: Plan, pull: PullConfig, client: Client, landing: Landing) -> None:
        self.mended = Mended()
        self._plan = plan
        self._pull = pull
        self._client = client
        self._landing = landing
        self._decoder = StructDecoder(plan.fields)
        reading = reading_of(plan, pull, client, self._decoder)
        self._reading = replace(reading, query=EncodedQuery.parse(plan.base_query))
        self._writer: SliceWriter | None = None
        self._started = datetime.now(UTC)
        self._clock = time.monotonic()
        self._costs = Tally()  # of the file that is being written
        self._lacking: set[str] = set()
        self._skipped: list[str] = []
        names = landing.store.list(plan.plan_id)
        self._number = max((int(match[1]) for name in names if (match := _NAME.fullmatch(name))), default=0)

    def add(self, why: dict[str, str]) -> None:
        """Fetch a page of rows and write what came, in order."""
        asked = sorted(why)
        batches = [asked[start : start + BATCH] for start in range(0, len(asked), BATCH)]
        fetched = fan_out(self._client, self._pull.max_workers, self._fetch, batches, self._costs)
        rows = sorted((row for some in fetched for row in some), key=lambda row: row[0])
        ids = [sys_id for sys_id, _ in rows]
        if len(set(ids)) != len(ids) or not set(ids) <= why.keys():
            raise SliceFailed("other rows came than were asked for", key="plan", value=self._plan.plan_id)
        skipped, self._skipped = len(self._skipped), []
        self.mended.unreadable += skipped
        self.mended.lost += len(asked) - len(ids) - skipped
        self.mended.why.update(why[sys_id] for sys_id in ids)
        if not rows:
            return
        page = Page([record for _, record in rows], ids, 0)
        self._lacking |= lacking(self._reading, page, self._lacking)
        self._open().add(page)
        if self._open().rows >= FILE_ROWS:
            self.close()

    def _fetch(self, driver: Driver, batch: Sequence[str], tally: Tally) -> list[tuple[str, Any]]:
        """Rows by sys_id; where one of them cannot be read, each alone."""
        pages: list[Page] = []
        try:
            _, _, pending = driver.run(read_named(self._reading, batch, tally), pages.append, tally)
        except RequestFailed as error:
            if not is_of_the_row(error):
                raise
            if len(batch) > 1:
                return [row for sys_id in batch for row in self._fetch(driver, [sys_id], tally)]
            return self._unreadable(batch[0], error)
        if pending:
            raise SliceFailed(
                "this row matches, and does not come", key="sys_id", value=pending[0], hint="run it again"
            )
        return [row for page in pages for row in zip(page.ids, page.records, strict=True)]

    def _unreadable(self, sys_id: str, error: RequestFailed) -> list[tuple[str, Any]]:
        if self._pull.unreadable_rows == "fail":
            raise row_failed(self._plan.table, sys_id, error) from error
        self._skipped.append(sys_id)
        return []

    def _open(self) -> SliceWriter:
        if self._writer is None:
            self._number += 1
            path = f"{self._plan.plan_id}/mended-{self._number}.parquet"
            self._writer = SliceWriter(self._landing, self._plan, EVERYTHING, self._number, self._decoder, path)
            self._started, self._clock = datetime.now(UTC), time.monotonic()
        return self._writer

    def close(self) -> None:
        """Make the file that is being written whole."""
        self.mended.cost.add(self._costs)
        writer = self._writer
        if writer is not None:
            ledger = self._ledger(writer)
            path = writer.commit(ledger)
            size = self._landing.store.size(path)
            self.mended.files.append(MendedFile(path, ledger.landed, size, ledger.first, ledger.last))
            self.abandon()
        self._costs, self._lacking = Tally(), set()

    def abandon(self) -> None:
        """Leave nothing behind of a file that is not whole."""
        if self._writer is not None:
            self._writer.__exit__(None, None, None)
            self._writer = None

    def _ledger(self, writer: SliceWriter) -> Ledger:
        first, last = writer.bounds()
        notes = [(LACKING, cause.evidence) for cause in hidden_fields(self._lacking)]
        return Ledger(
            plan_id=self._plan.plan_id,
            offset=0,
            lo=None,
            hi=None,
            fingerprint=self._plan.fingerprint,
            attempt=writer.attempt,
            counted=None,
            landed=writer.rows,
            hidden=None,
            pages=0,
            digest=writer.digest,
            first=first,
            last=last,
            started=self._started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self._clock, 3),
            tally=self._costs,
            differences=tuple(Difference(name, 0, evidence) for name, evidence in notes),
        )

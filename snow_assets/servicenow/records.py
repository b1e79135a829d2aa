"""What was asked of a table, and how far the reading of it came: counted, delivered, hidden, missing."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Generator, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self, TypeAlias

from snow_assets.errors import SnowError
from snow_assets.servicenow.account import text
from snow_assets.servicenow.boundaries import KeyRange
from snow_assets.servicenow.closing import Closing
from snow_assets.servicenow.exchange import Page, Tally
from snow_assets.servicenow.proof import Cause, RangeProof
from snow_assets.servicenow.reading import Reading
from snow_assets.servicenow.since import STORED

OnIncomplete: TypeAlias = Literal["raise", "warn"]
AbsentFields: TypeAlias = Literal["raise", "skip"] | frozenset[str]
"""What becomes of fields that the table lacks; a set names those that are left out, the others raise."""

Record: TypeAlias = dict[str, Any]
_SAMPLE = 20
_AT_THE_END: Final = ("complete", "incomplete")


class IncompleteWarning(UserWarning):
    """Ranges could not be read or proven, and ``on_incomplete="warn"`` let the others go on."""


@dataclass(frozen=True, slots=True)
class Question:
    """The reading that an iterator makes. ``since`` is aware; rows whose ``cursor`` lies before it are left out."""

    reading: Reading
    since: datetime | None = None
    cursor: str = ""
    limit: int | None = None
    on_incomplete: OnIncomplete = "raise"
    absent_fields: AbsentFields = "raise"


@dataclass(frozen=True, slots=True)
class FailedRange:
    """``lo <= sys_id < hi`` was not read, or not proven. ``missing``: rows of it that were counted and did not come."""

    lo: str | None
    hi: str | None
    missing: int | None
    error: str


@dataclass(frozen=True, slots=True)
class Report:
    """How far a reading came.

    ``counted``: rows that the instance counted, hidden ones included. ``hidden``: those kept from this account by the
    instance, in ranges that did not fail. ``missing``: counted in ranges that failed, and not delivered. Each is
    ``None`` where it is not known: the instance does not count, or the reading did not come to its end. Where it did,
    ``counted + sum(difference.rows for difference in differences) == delivered + missing``.

    ``ended``: ``complete``; ``incomplete`` (ranges failed, or rows could not be read); ``limit`` (so many records came,
    also where there were no more); ``closed`` (by the consumer); ``failed`` (an error was raised); or ``running``.
    """

    table: str
    query: str
    since: str | None
    counted: int | None
    delivered: int
    hidden: int | None
    missing: int | None
    differences: tuple[Cause, ...]
    failed: tuple[FailedRange, ...]
    ended: str
    requests: int
    retries: int
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether every readable row that matches was delivered, by proof."""
        return self.ended == "complete"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    def __str__(self) -> str:
        def shown(number: int | None) -> str:
            return "unknown" if number is None else f"{number:,}"

        figures = f"{self.delivered:,} delivered"
        if self.ended in _AT_THE_END:
            figures = f"{shown(self.counted)} counted, {figures}, {shown(self.hidden)} hidden"
            figures += f", {shown(self.missing)} missing"
        return f"{self.table}: {self.ended}: {figures}"


class Figures:
    """Adds up what the ranges of one reading gave. Thread-safe."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._seconds: float | None = None
        self._counted: list[int | None] = []  # of each range
        self._hidden: list[int | None] = []
        self._causes: dict[str, Cause] = {}
        self._failed: list[FailedRange] = []
        self._tally = Tally()
        self._live: list[Tally] = []
        self._delivered = 0
        self.ended = "running"
        self.asked_since: datetime | None = None

    def spending(self, tally: Tally) -> None:
        """What a range costs, from its beginning on."""
        with self._lock:
            self._live.append(tally)

    def spent(self, tally: Tally) -> None:
        """What a range, or the planning, cost in the end."""
        with self._lock:
            self._live = [each for each in self._live if each is not tally]
            self._tally.add(tally)

    def proven(self, proof: RangeProof) -> None:
        """A range came to its end."""
        with self._lock:
            self._counted.append(proof.counted)
            self._hidden.append(proof.hidden)
            for cause in proof.causes:
                self._note(cause)

    def failed(self, piece: KeyRange, delivered: int, error: SnowError) -> None:
        """A range failed after it had delivered so many rows."""
        with self._lock:
            missing = None if piece.rows is None else max(0, piece.rows - delivered)
            self._counted.append(None if missing is None else delivered + missing)
            self._failed.append(FailedRange(piece.lo, piece.hi, missing, str(error)))

    def delivered(self, rows: int) -> None:
        """The consumer was given so many rows."""
        self._delivered += rows

    def kept(self, page: Page) -> list[Record]:
        """The page's records, without those that lie before ``since``.

        Where the instance reads moments in another zone than UTC, the query begins earlier than was asked for. Rows
        whose moment is not shown are kept.
        """
        since, cursor = self._question.since, self._question.cursor
        if since is None or self._question.reading.display_value == "true":
            return page.records
        first = since.astimezone(UTC).strftime(STORED)
        kept = [record for record in page.records if (moment := text(record, cursor)) >= first[: len(moment)]]
        if len(kept) < len(page.records):
            with self._lock:
                asked = "unknown" if self.asked_since is None else self.asked_since.isoformat()
                evidence = f"asked for from {asked} on, and the instance reads moments in the account's zone"
                self._note(Cause("before_since", len(kept) - len(page.records), evidence))
        return kept

    def close(self, ended: str) -> None:
        """The reading is over; the first word stands."""
        if self.ended == "running":
            incomplete = ended == "complete" and (self._failed or "unreadable" in self._causes)
            self.ended = "incomplete" if incomplete else ended
            self._seconds = time.monotonic() - self._started

    def report(self) -> Report:
        """The figures as they are now."""
        with self._lock:
            at_the_end = self.ended in _AT_THE_END
            seconds = time.monotonic() - self._started if self._seconds is None else self._seconds
            return Report(
                table=self._question.reading.table,
                query=str(self._question.reading.query),
                since=None if self._question.since is None else self._question.since.isoformat(),
                counted=sum_known(self._counted) if at_the_end else None,
                delivered=self._delivered,
                hidden=sum_known(self._hidden) if at_the_end else None,
                missing=sum_known(each.missing for each in self._failed) if at_the_end else None,
                differences=tuple(self._causes.values()),
                failed=tuple(self._failed),
                ended=self.ended,
                requests=self._tally.requests + sum(each.requests for each in self._live),
                retries=self._tally.retries + sum(each.retries for each in self._live),
                seconds=round(seconds, 3),
            )

    def _note(self, cause: Cause) -> None:
        known = self._causes.get(cause.name)
        if known is None:
            self._causes[cause.name] = cause
            return
        sys_ids = (*known.sys_ids, *cause.sys_ids)[:_SAMPLE]
        self._causes[cause.name] = Cause(cause.name, known.rows + cause.rows, known.evidence, sys_ids)


def sum_known(numbers: Iterable[int | None]) -> int | None:
    """The sum; ``None`` where one of them is not known."""
    total = 0
    for number in numbers:
        if number is None:
            return None
        total += number
    return total


def warn_incomplete(report: Report) -> None:
    """Tell the consumer that ranges or rows are missing. To be called by what the iterator's ``next`` runs."""
    causes = [f"[{each.lo or 'start'}, {each.hi or 'end'}): {each.error}" for each in report.failed[:_SAMPLE]]
    causes += [
        f"{-each.rows} rows fail even alone, among them {', '.join(each.sys_ids)}"
        for each in report.differences
        if each.name == "unreadable"
    ]
    warnings.warn(f"{report}: {'; '.join(causes)}", IncompleteWarning, stacklevel=4)


class RecordStream(Closing):
    """An iterator over records. Close it, or use it in ``with``, to stop early."""

    def __init__(self, rows: Generator[Record, None, None]) -> None:
        self._rows = rows

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Record:
        return next(self._rows)

    def close(self) -> None:
        """Stop: no request is sent any more."""
        self._rows.close()


class Records(RecordStream):
    """An iterator over records that knows how far it came. Close it, or use it in ``with``, to stop early.

    It ends without an error only where every readable row that matches was given once, or at ``limit``, or, with
    ``on_incomplete="warn"``, after an ``IncompleteWarning``. ``report`` may be looked at at any time.
    """

    def __init__(self, figures: Figures, rows: Generator[Record, None, None]) -> None:
        super().__init__(rows)
        self._figures = figures

    @property
    def report(self) -> Report:
        """The figures so far; see ``Report``."""
        return self._figures.report()

    def close(self) -> None:
        """Stop: no request is sent any more. What is under way at the instance ends as it does."""
        super().close()
        self._figures.close("closed")  # also where nothing was read yet

"""What was asked of a table, and how far the reading of it came: counted, delivered, hidden, missing."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Generator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from snow_assets.errors import SnowError
from snow_assets.servicenow.account import text
from snow_assets.servicenow.boundaries import KeyRange
from snow_assets.servicenow.exchange import Page, Tally
from snow_assets.servicenow.proof import Cause, RangeProof
from snow_assets.servicenow.reading import Reading
from snow_assets.servicenow.since import STORED

OnIncomplete: TypeAlias = Literal["raise", "warn"]
AbsentFields: TypeAlias = Literal["raise", "skip"]
Record: TypeAlias = dict[str, Any]
_SAMPLE = 20


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

    ``counted``: rows that the instance counted in the ranges that were read, hidden ones included; ``None`` where it
    does not count. ``hidden``: counted, and kept from this account by the instance. ``missing``: counted in ranges that
    failed and not delivered; 0 where none failed, ``None`` where that is unknown. Where ``complete``,
    ``counted + sum(difference.rows for difference in differences) == delivered``.

    ``ended``: ``complete``, ``incomplete`` (ranges failed), ``limit``, ``closed`` (by the consumer), ``failed`` (an
    error was raised) or ``running``.
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

        figures = f"{shown(self.counted)} counted, {self.delivered:,} delivered, {shown(self.hidden)} hidden"
        return f"{self.table}: {self.ended}: {figures}, {shown(self.missing)} missing"


class Figures:
    """Adds up what the ranges of one reading gave. Thread-safe."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._seconds: float | None = None
        self._proofs: list[tuple[int | None, int | None]] = []  # counted and hidden
        self._causes: dict[str, Cause] = {}
        self._failed: list[FailedRange] = []
        self._tally = Tally()
        self._delivered = 0
        self.ended = "running"
        self.asked_since: datetime | None = None

    def spent(self, tally: Tally) -> None:
        """What a range, or the planning, cost."""
        with self._lock:
            self._tally.add(tally)

    def proven(self, proof: RangeProof) -> None:
        """A range came to its end."""
        with self._lock:
            self._proofs.append((proof.counted, proof.hidden))
            for cause in proof.causes:
                self._note(cause)

    def failed(self, piece: KeyRange, delivered: int, error: SnowError) -> None:
        """A range failed after it had delivered so many rows."""
        with self._lock:
            missing = None if piece.rows is None else max(0, piece.rows - delivered)
            self._failed.append(FailedRange(piece.lo, piece.hi, missing, str(error)))

    def delivered(self, rows: int) -> None:
        """The consumer was given so many rows."""
        self._delivered += rows

    def kept(self, page: Page) -> list[Record]:
        """The page's records, without those that lie before ``since``.

        Where the instance reads moments in another zone than UTC, the query begins earlier than was asked for.
        """
        since = self._question.since
        if since is None or self.asked_since == since or self._question.reading.display_value == "true":
            return page.records
        first = since.astimezone(UTC).strftime(STORED)
        kept = [record for record in page.records if text(record, self._question.cursor) >= first]
        if len(kept) < len(page.records):
            with self._lock:
                self._note(Cause("before_since", len(kept) - len(page.records), "read for the account's time zone"))
        return kept

    def close(self, ended: str) -> None:
        """The reading is over; the first word stands."""
        if self.ended == "running":
            self.ended = "incomplete" if ended == "complete" and self._failed else ended
            self._seconds = time.monotonic() - self._started

    def report(self) -> Report:
        """The figures as they are now."""
        with self._lock:
            missing = _sum(each.missing for each in self._failed)
            counted, hidden = (_sum(pair[place] for pair in self._proofs) for place in (0, 1))
            if counted is not None and missing is not None:
                counted += missing
            seconds = time.monotonic() - self._started if self._seconds is None else self._seconds
            return Report(
                table=self._question.reading.table,
                query=str(self._question.reading.query),
                since=None if self._question.since is None else self._question.since.isoformat(),
                counted=counted,
                delivered=self._delivered,
                hidden=hidden,
                missing=missing,
                differences=tuple(self._causes.values()),
                failed=tuple(self._failed),
                ended=self.ended,
                requests=self._tally.requests,
                retries=self._tally.retries,
                seconds=round(seconds, 3),
            )

    def _note(self, cause: Cause) -> None:
        known = self._causes.get(cause.name)
        if known is None:
            self._causes[cause.name] = cause
            return
        sys_ids = (*known.sys_ids, *cause.sys_ids)[:_SAMPLE]
        self._causes[cause.name] = Cause(cause.name, known.rows + cause.rows, known.evidence, sys_ids)


def _sum(numbers: Any) -> int | None:
    total = 0
    for number in numbers:
        if number is None:
            return None
        total += number
    return total


def warn_incomplete(report: Report) -> None:
    """Tell the caller that ranges are missing."""
    ranges = "; ".join(f"[{each.lo or 'start'}, {each.hi or 'end'}): {each.error}" for each in report.failed[:_SAMPLE])
    warnings.warn(f"{report}: {ranges}", IncompleteWarning, stacklevel=3)


class RecordStream:
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


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

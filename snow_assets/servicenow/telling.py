"""What an iterator of records notes while it reads, whether threads or asyncio wait for the pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from types import TracebackType
from typing import Final, Self

from snow_assets.errors import Cancelled, InstanceUnavailable, RequestFailed, SliceFailed
from snow_assets.servicenow.boundaries import KeyRange
from snow_assets.servicenow.exchange import Page, Procedure, Tally
from snow_assets.servicenow.proof import RangeProof, read_range
from snow_assets.servicenow.reading import Reading
from snow_assets.servicenow.records import Figures, Question, Record

OF_THE_RANGE: Final = (SliceFailed, RequestFailed)
"""What may fail in one range while the others go on."""


class Delivery:
    """Hands on as many records as were asked for. Used in ``with``: the figures note how it ended."""

    def __init__(
        self, figures: Figures, question: Question, stops: tuple[type[BaseException], ...] = (GeneratorExit,)
    ) -> None:
        """``stops``: what is raised where the consumer wants no more."""
        self._figures = figures
        self._left = question.limit
        self._stops = stops

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.ended(error)

    def ended(self, error: BaseException | None) -> None:
        """Nothing more is handed on. Raises the outage that another thread or task met, where ``error`` tells of it."""
        if error is None:
            self._figures.close("limit" if self.over else "complete")
            return
        self._figures.close("closed" if isinstance(error, self._stops) else "failed")
        outage = error.__cause__ if isinstance(error, Cancelled) else None
        if isinstance(outage, InstanceUnavailable):
            raise outage from outage.__cause__

    @property
    def over(self) -> bool:
        """Whether as many were given as were asked for."""
        return self._left == 0

    def records(self, page: list[Record]) -> Iterator[Record]:
        """Those of the page, one by one."""
        for record in page if self._left is None else islice(page, self._left):
            self._figures.delivered(1)
            yield record
        if self._left is not None:
            self._left = max(0, self._left - len(page))


@contextmanager
def costing(figures: Figures) -> Iterator[Tally]:
    """A tally of what is done within, which the figures know from its beginning on."""
    tally = Tally()
    figures.spending(tally)
    try:
        yield tally
    finally:
        figures.spent(tally)


class Portion:
    """The reading of one range. Used in ``with``: one that fails is noted, or raises, as was asked for."""

    def __init__(self, figures: Figures, question: Question, reading: Reading, piece: KeyRange) -> None:
        self._figures = figures
        self._question = question
        self._piece = piece
        self._delivered = 0
        self.tally = Tally()
        self.procedure: Procedure[RangeProof] = read_range(reading, piece.lo, piece.hi, self.tally)

    def __enter__(self) -> Self:
        self._figures.spending(self.tally)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._figures.spent(self.tally)
        if self._question.on_incomplete == "raise" or not isinstance(error, OF_THE_RANGE):
            return False
        self._figures.failed(self._piece, self._delivered, error)
        return True

    def kept(self, page: Page) -> list[Record]:
        """The records of a page that are handed on."""
        self._delivered += len(page.ids)
        return self._figures.kept(page)

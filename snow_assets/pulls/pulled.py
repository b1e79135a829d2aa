"""What a pull from Python gives: the figures of what it published, and its rows."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from snow_assets.pulls.current import Current
from snow_assets.pulls.dataset import Dataset
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.ledger import Difference
from snow_assets.pulls.records import json_lines, write_lines
from snow_assets.pulls.totals import Totals
from snow_assets.reader import live_of, records_of, rows_of
from snow_assets.servicenow.records import Record, RecordStream

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Pulled:
    """A pull that is complete and published.

    ``totals`` is its reconciliation, ``dataset`` what is published, ``current`` a delta pull's table of current rows.
    ``requests`` is what this call asked of the instance; ``adopted`` slices had landed before it.
    """

    totals: Totals
    dataset: Dataset
    current: Current | None
    requests: int
    adopted: int
    landing: Landing = field(repr=False)

    @property
    def pull(self) -> str:
        """The pull's name."""
        return self.totals.pull

    @property
    def plan_id(self) -> str:
        """The plan that was published."""
        return self.totals.plan

    @property
    def table(self) -> str:
        """The table that was read."""
        return self.totals.table

    @property
    def query(self) -> str:
        """The query that was asked, its order left out; of a delta, with its window."""
        return self.totals.query

    @property
    def rows(self) -> int:
        """The rows that ``records`` gives."""
        return self.totals.landed if self.current is None else self.current.rows

    @property
    def counted(self) -> int | None:
        """What the instance counted for the query, hidden rows included; ``None`` where it does not count."""
        return self.totals.counted

    @property
    def hidden(self) -> int | None:
        """Rows that are counted and kept from this account; ``None`` where the instance does not count."""
        return self.totals.hidden

    @property
    def missing(self) -> int:
        """Rows that neither landed nor are explained: always 0, or there would have been an error instead."""
        return self.totals.missing

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Why what landed is not what was counted, each cause with its rows."""
        return self.totals.differences

    @property
    def location(self) -> str:
        """The folder or URL of the landing, which is the dataset's Delta table too."""
        return self.dataset.location

    def records(self) -> Iterator[Record]:
        """The records as the API gave them, key for key; of a delta pull, the current live rows.

        They are read from the files, so that memory does not grow with them. Raises ``LandingError`` where a later
        pull replaced them and they were pruned.
        """
        return records_of(self.landing, self._shown)

    def to_jsonl(self, path: str | Path) -> int:
        """Write ``records`` to a file, one JSON object per line, whole or not at all; returns their number.

        Raises ``ConfigError`` where its folder does not exist.
        """
        return write_lines(Path(path), json_lines(self.records()))

    def to_table(self, columns: Sequence[str] | None = None, *, flat: bool = False) -> pa.Table:
        """The rows of ``records`` as an Arrow table: structs as landed, or ``flat`` text. See ``snow_assets.read``."""
        return rows_of(self.landing, self._shown, columns, flat=flat)

    @property
    def _shown(self) -> Dataset:
        return self.dataset if self.current is None else live_of(self.dataset, self.current)

    def __str__(self) -> str:
        def number(figure: int | None) -> str:
            return "unknown" if figure is None else f"{figure:,}"

        found = f"counted {number(self.counted)}, hidden {number(self.hidden)}"
        current = "" if self.current is None else f"; {self.current.rows:,} current rows"
        return f"{self.pull}: {self.totals.landed:,} rows published ({found}), plan {self.plan_id}{current}"


class PulledRecords(RecordStream):
    """An iterator over the records of a pull that lands meanwhile. Close it, or use it in ``with``, to stop early.

    ``pulled`` is ``None`` until the last record was given: then the pull is published.
    """

    pulled: Pulled | None = None

    def __init__(self, rows: Generator[Record, None, Pulled]) -> None:
        super().__init__(self._kept(rows))

    def _kept(self, rows: Generator[Record, None, Pulled]) -> Generator[Record, None, None]:
        self.pulled = yield from rows

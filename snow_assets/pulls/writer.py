"""Writes one slice's Parquet file: a row group per page, proven before it is committed."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from snow_assets.errors import SliceFailed
from snow_assets.pulls.columns import (
    PLAN_COLUMN,
    RowDigest,
    arrow_schema,
    holds_record,
    open_writer,
    repeating_columns,
    to_table,
)
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.ledger import FOOTER_KEY, Ledger
from snow_assets.pulls.plan import Plan, Slice
from snow_assets.pulls.seal import seal, unsealed
from snow_assets.servicenow.decoding import StructDecoder
from snow_assets.servicenow.exchange import Page


class SliceWriter:
    """A scratch file that becomes the slice's file by ``commit``, and vanishes otherwise. A context manager."""

    def __init__(
        self, landing: Landing, plan: Plan, piece: Slice, attempt: int, decoder: StructDecoder, path: str = ""
    ) -> None:
        self.path = path or f"{plan.plan_id}/{piece.name}-{attempt}.parquet"
        self.attempt = attempt
        self.rows = 0
        self._landing = landing
        self._plan = plan
        self._piece = piece
        self._decoder = decoder
        self._rows_schema = arrow_schema(plan.fields)
        self._schema = arrow_schema(plan.fields, plan=plan.mode == "delta")
        self._digest = RowDigest()
        self._scratch = landing.store.scratch(self.path)
        self._merged = self._scratch.with_name(self._scratch.name + "-merged")
        self._writer: pq.ParquetWriter | None = None
        self._dictionary: list[str] = []
        self._repaired: list[pa.Table] = []
        self._ids: list[str] = []  # lowest and highest of each row group, as bytes: the instance may sort otherwise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._writer is not None:
                self._writer.close()
        except OSError:  # of a full disk: it was told already, or the commit tells it
            if error is None:
                raise
        finally:
            self._scratch.unlink(missing_ok=True)
            self._merged.unlink(missing_ok=True)

    def add(self, page: Page) -> None:
        """Take a page: written at once, or kept aside where it was repaired and is out of order.

        Raises ``SliceFailed`` where the columns are not those of the rows that were proven.
        """
        self._digest.add_records(page.records)
        table = to_table(page.records, self._decoder, self._plan.display_value, self._rows_schema)
        self._must_hold(table, page)
        self.rows += len(page.ids)
        if page.repaired:
            self._repaired.append(self._told(table))
            return
        if self._writer is None:
            self._dictionary = repeating_columns(table)
            self._writer = self._open(self._scratch)
        self._writer.write_table(self._told(table))
        self._ids += [min(page.ids), max(page.ids)]

    def _told(self, table: pa.Table) -> pa.Table:
        """With the column that says which plan saw the rows, where there is one."""
        if PLAN_COLUMN not in self._schema.names:
            return table
        return table.append_column(PLAN_COLUMN, pa.array([self._plan.plan_id] * table.num_rows, pa.string()))

    def _must_hold(self, table: pa.Table, page: Page) -> None:
        """Every sys_id is held against the page, and one row of it value by value: all of them would cost too much."""
        at = self.rows % max(1, len(page.records))
        same = table.num_rows == len(page.ids) and (bool(self._plan.key) or _ids_of(table) == page.ids)
        if same and page.records:
            same = holds_record(table, at, page.records[at], self._decoder, self._plan.display_value)
        if not same:
            raise SliceFailed("what is written is not what was read", key="slice", value=self._piece.name)

    @property
    def digest(self) -> str:
        """The digest of the rows so far."""
        return self._digest.hex()

    def bounds(self) -> tuple[str, str]:
        """The first and last sys_id; empty where there are no rows."""
        repaired = [sys_id for table in self._repaired for sys_id in _ids_of(table)]
        ids = self._ids + repaired
        return (min(ids), max(ids)) if ids else ("", "")

    def commit(self, ledger: Ledger) -> str:
        """Write the footer, make the file durable under its name, and return its path in the landing.

        Raises ``SliceFailed`` where another run has taken the name: what has landed is never overwritten.
        """
        writer = self._writer or self._open(self._scratch)
        self._writer = None
        footer = {FOOTER_KEY: ledger.to_json(), **unsealed()}
        if self._repaired:
            writer.close()
            self._merge(footer)
        else:
            writer.add_key_value_metadata(footer)
            writer.close()
        seal(self._scratch)
        try:
            self._landing.store.commit(self._scratch, self.path)
        except FileExistsError:
            raise SliceFailed(
                "another run landed it meanwhile", key="slice", value=self._piece.name, hint="run it again"
            ) from None
        return self.path

    def _open(self, path: Path) -> pq.ParquetWriter:
        added = self._schema.names[len(self._rows_schema.names) :]
        return open_writer(path, self._schema, [*self._dictionary, *added])

    def _merge(self, footer: dict[bytes, bytes]) -> None:
        """Rewrite the scratch file with the repaired rows in their places, one row group at a time."""
        extra = sort_by_id(pa.concat_tables(self._repaired))
        extra_ids = _ids_of(extra)
        taken = 0
        with pq.ParquetFile(self._scratch) as source, self._open(self._merged) as target:
            for index in range(source.num_row_groups):
                table = source.read_row_group(index)
                is_last = index == source.num_row_groups - 1
                until = len(extra_ids) if is_last else bisect.bisect_right(extra_ids, _ids_of(table)[-1])
                if until > taken:
                    table = sort_by_id(pa.concat_tables([table, extra.slice(taken, until - taken)]))
                    taken = until
                target.write_table(table)
            if source.num_row_groups == 0:
                target.write_table(extra)
            target.add_key_value_metadata(footer)
        self._merged.replace(self._scratch)


def sort_by_id(table: pa.Table) -> pa.Table:
    """Rows by sys_id, as bytes."""
    keys = pa.array(_ids_of(table))
    return table.take(pc.sort_indices(keys))


def _ids_of(table: pa.Table) -> list[str]:
    column = table.column("sys_id").combine_chunks()
    value = column.field("value")
    stored = pc.if_else(pc.equal(value, ""), None, value)  # as the decoder has it: an empty one names no row
    ids: Sequence[Any] = pc.coalesce(stored, column.field("display_value")).to_pylist()
    return list(ids)

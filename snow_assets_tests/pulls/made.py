"""Delta pulls without an instance: rows as they would have landed, published by the real thing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.config import PullConfig
from snow_assets.pulls import Dataset, Landing, Ledger, Plan, Slice, publish, reconcile
from snow_assets.pulls.columns import CELL_TYPE, PLAN_COLUMN, RowDigest, arrow_schema
from snow_assets.pulls.ledger import FOOTER_KEY
from snow_assets.pulls.plan import moment_of
from snow_assets.pulls.seal import seal, unsealed
from snow_assets.pulls.sweep_record import SWEEP_FILE, MendedFile, Sweep
from snow_assets.servicenow.exchange import Tally

FIELDS = ("sys_id", "number", "state", "short_description", "sys_updated_on", "sys_mod_count")
MARKS = pa.schema([
    *((name, pa.string()) for name in ("sys_id", "kind", "method")),
    ("at", pa.timestamp("us", "UTC")),
    *((name, pa.string()) for name in ("plan", "detail")),
])  # fmt: skip


def cell(value: str | None, display: str | None = None) -> dict[str, str | None]:
    """A field as it lies in a file."""
    return {"display_value": value if display is None else display, "value": value, "link": None}


@dataclass
class Made:
    """A delta pull whose plans are given, not read. ``rows`` are columns by name, cells or texts."""

    landing: Landing
    pull: PullConfig
    base: str = ""

    @classmethod
    def at(cls, data: Path, name: str = "tickets") -> Made:
        pull = PullConfig(name=name, table="incident", mode="delta")
        return cls(Landing.open(str(data), name), pull)

    def publish(
        self,
        plan_id: str,
        rows: Sequence[dict[str, Any]],
        *,
        fields: Sequence[str] = FIELDS,
        base: bool = False,
        mended: Sequence[dict[str, Any]] = (),
    ) -> Dataset:
        """Land rows as one slice, as a delta or, when nothing came before or it is said, as a base; and publish."""
        also = as_table(mended, fields) if mended else None
        return self.publish_tables(plan_id, [as_table(rows, fields)], base=base, mended=also)

    def publish_tables(
        self, plan_id: str, tables: Sequence[pa.Table], *, base: bool = False, mended: pa.Table | None = None
    ) -> Dataset:
        """The same, of a slice per table of fields; tables and their rows in the order of the sys_ids."""
        shapes = [
            (table.column("sys_id")[0].as_py()["value"] if table.num_rows else "", len(table)) for table in tables
        ]
        return self.publish_slices(plan_id, shapes, tables[0].column_names, tables, base=base, mended=mended)

    def publish_slices(
        self,
        plan_id: str,
        shapes: Sequence[tuple[str, int]],
        fields: Sequence[str],
        tables: Iterable[pa.Table],
        *,
        base: bool = False,
        mended: pa.Table | None = None,
    ) -> Dataset:
        """The same, of tables that are made one after another; of each, the first sys_id and the rows are known."""
        plan = self._plan(plan_id, shapes, fields, is_base=base or not self.base)
        self.base = plan.base or plan.plan_id
        self.landing.write_plan(plan)
        for piece, table in zip(plan.slices, tables, strict=True):
            self._land(plan, piece, table)
        if plan.is_delta:
            files = () if mended is None else (self._mend(plan, mended),)
            self.landing.store.create(f"{plan_id}/{SWEEP_FILE}", Sweep(self.pull.name, plan_id, mended=files).to_json())
        return publish(plan, reconcile(plan, self.landing, self.pull), self.landing, self.pull, accept=True)

    def mark(self, plan_id: str, *marks: tuple[str, str, str, datetime]) -> None:
        """The marks of a plan: sys_id, kind, method, moment."""
        store = self.landing.beside("marks")
        rows = [dict(zip(MARKS.names, (*mark, plan_id, ""), strict=True)) for mark in marks]
        scratch = store.scratch(f"{plan_id}.parquet")
        pq.write_table(pa.Table.from_pylist(rows, MARKS), scratch)
        store.commit(scratch, f"{plan_id}.parquet")

    def _plan(self, plan_id: str, shapes: Sequence[tuple[str, int]], fields: Sequence[str], *, is_base: bool) -> Plan:
        bounds = [None, *(first for first, _ in shapes[1:]), None]
        slices = [Slice(at * 1_000_000, bounds[at], bounds[at + 1], rows) for at, (_, rows) in enumerate(shapes)]
        moment = moment_of(plan_id)
        return Plan(
            pull=self.pull.name,
            plan_id=plan_id,
            as_of=moment,
            counted=sum(rows for _, rows in shapes),
            table=self.pull.table,
            query="",
            fields=tuple(fields),
            display_value="all",
            page_size=1000,
            slice_rows=1_000_000,
            slices=tuple(slices),
            identity={"columns": "all", "base_query": "", "query": "", "fields": []},
            mode="delta",
            base="" if is_base else self.base,
            since=None if is_base else moment,
            cursor=self.pull.cursor,
        )

    def _mend(self, plan: Plan, table: pa.Table) -> MendedFile:
        path = f"{plan.plan_id}/mended-1.parquet"
        scratch = self.landing.store.scratch(path)
        pq.write_table(_seen_by(plan, table), scratch)
        size = scratch.stat().st_size
        self.landing.store.commit(scratch, path)
        ids = table.column("sys_id").combine_chunks().field("value")
        return MendedFile(path, len(ids), size, ids[0].as_py(), ids[-1].as_py())

    def _land(self, plan: Plan, piece: Slice, table: pa.Table) -> None:
        ids = table.column("sys_id").combine_chunks().field("value")
        ledger = Ledger(
            plan_id=plan.plan_id, offset=piece.offset, lo=piece.lo, hi=piece.hi, fingerprint=plan.fingerprint,
            attempt=1, counted=len(ids), landed=len(ids), hidden=0, pages=1, digest=RowDigest().hex(),
            first=ids[0].as_py() if ids else "", last=ids[-1].as_py() if ids else "",
            started=plan.as_of.isoformat(), seconds=0.0, tally=Tally(),
        )  # fmt: skip
        path = f"{plan.plan_id}/{piece.name}-1.parquet"
        scratch = self.landing.store.scratch(path)
        with pq.ParquetWriter(scratch, arrow_schema(table.column_names, plan=True), compression="zstd") as writer:
            writer.write_table(_seen_by(plan, table), row_group_size=1000)
            writer.add_key_value_metadata({FOOTER_KEY: ledger.to_json(), **unsealed()})
        seal(scratch)
        self.landing.store.commit(scratch, path)


def as_table(rows: Sequence[dict[str, Any]], fields: Sequence[str]) -> pa.Table:
    """Rows by sys_id."""
    ordered = sorted(rows, key=sys_id_of)
    return pa.table({name: pa.array([as_cell(row.get(name)) for row in ordered], CELL_TYPE) for name in fields})


def _seen_by(plan: Plan, table: pa.Table) -> pa.Table:
    return table.append_column(PLAN_COLUMN, pa.array([plan.plan_id] * table.num_rows, pa.string()))


def as_cell(value: Any) -> Any:
    """A text as a cell; cells and nothing at all as they are."""
    return cell(value) if isinstance(value, str) else value


def sys_id_of(row: dict[str, Any]) -> str:
    """The sys_id of a row."""
    return str(as_cell(row["sys_id"])["value"])

"""What current rows must be, by a plain model: one dict, every plan applied in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.pulls.current import Current
from snow_assets.pulls.current_files import ADDED, fields_among
from snow_assets_tests.pulls.made import as_cell, sys_id_of

Row = dict[str, Any]
Mark = tuple[str, str, str, datetime]  # sys_id, kind, method, moment
STRENGTH = ("left_filter", "reclassified", "deleted")


@dataclass
class Model:
    """Rows by sys_id: fields as cells, what is said besides, and the state under ``_state``."""

    rows: dict[str, Row] = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)

    def apply(
        self, plan: str, seen: Sequence[Row], marks: Sequence[Mark], fields: Sequence[str], *, base: bool
    ) -> None:
        """A plan: versions in the order in which they lie in its files, then its marks."""
        if base:
            self.rows, self.fields = {}, []
        self.fields += [name for name in fields if name not in self.fields]
        newest: dict[str, tuple[tuple[str, int, int], Row]] = {}
        for at, row in enumerate(seen):
            order = (_text(row, "sys_updated_on"), int(_text(row, "sys_mod_count") or -1), at)
            if sys_id_of(row) not in newest or newest[sys_id_of(row)][0] < order:
                newest[sys_id_of(row)] = (order, row)
        for sys_id, (_, row) in newest.items():
            cells = {name: as_cell(row.get(name)) for name in fields}
            said = {"_plan": plan, "_deleted_at": None, "_deleted_by": None, "_left_at": None, "_state": "live"}
            self.rows[sys_id] = {**cells, **said}
        for sys_id, kind, method, moment in sorted(marks, key=lambda mark: (STRENGTH.index(mark[1]), mark[3], mark[2])):
            if sys_id in self.rows:
                row = self.rows[sys_id]
                is_deleted = kind == "deleted"
                row |= {"_state": kind, "_deleted_at": None, "_deleted_by": None}
                row |= {"_deleted_at": moment, "_deleted_by": method} if is_deleted else {"_left_at": moment}

    def must_equal(self, now: Current) -> None:
        """Every row of the table, half by half, exactly once, in a file of its state."""
        found = rows_of(now)
        expected = {sys_id: {**dict.fromkeys(self.fields), **row} for sys_id, row in self.rows.items()}
        assert found == expected
        states = [row["_state"] for row in expected.values()]
        live, deleted = states.count("live"), states.count("deleted")
        assert (now.rows, now.deleted, now.left) == (live, deleted, len(states) - live - deleted)


def rows_of(now: Current) -> dict[str, Row]:
    """The rows of a current table by sys_id; each must be there once, and all files must have the same columns."""
    found: dict[str, Row] = {}
    for path in (*now.files, *now.gone_files):
        with pq.ParquetFile(path) as file:
            table = file.read()
        assert set(table.column_names) == {*now.fields, *ADDED}, path
        state = path.rpartition("/")[0].rpartition("_state=")[2]
        assert (state == "live") == (path in now.files)
        for row in as_rows(table):
            assert sys_id_of(row) not in found, row
            found[sys_id_of(row)] = {**row, "_state": state}
    return found


def as_rows(table: pa.Table) -> list[Row]:
    """Rows as they lie; a struct that is null is ``None``, one of nulls is not."""
    assert fields_among(table.column_names)
    rows: list[Row] = table.to_pylist()
    return rows


def _text(row: Row, name: str) -> str:
    cell = as_cell(row.get(name))
    return str((cell or {}).get("value") or (cell or {}).get("display_value") or "")

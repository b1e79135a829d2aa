"""Records as columns of few bytes: added one by one, or as Arrow tables of landed rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.pulls.columns import arrow_schema
from snow_assets.pulls.current_files import conformed
from snow_assets.pulls.live import Live, parquet_at, values_of

TABLE: Final = "cmdb_rel_ci"
FIELDS: Final = ("sys_id", "parent", "child", "type")
_PORTION: Final = 100_000  # records that wait as Python objects

Record: TypeAlias = Mapping[str, Any]
Half: TypeAlias = tuple[str, str]  # a field, and "value" or "display_value"


class Gathering:
    """Rows of some halves of fields, the first of which tells rows apart. No value is null: hidden ones are ``""``.

    The columns are named as ``columns`` has it; all but the first are coded, so that what repeats costs 4 bytes.
    """

    def __init__(self, columns: Mapping[str, Half]) -> None:
        self._halves = tuple(columns.values())
        coded = pa.dictionary(pa.int32(), pa.string())
        kinds = [pa.string(), *[coded] * (len(columns) - 1)]
        self.schema = pa.schema(list(zip(columns, kinds, strict=True)))
        self._waiting: list[tuple[str, ...]] = []
        self._tables: list[pa.Table] = []

    def add(self, record: Record) -> None:
        """One record, read with ``display_value="all"``, or with ``"false"``, which gives no labels."""
        self._waiting.append(tuple(_shown(record.get(field), half) for field, half in self._halves))
        if len(self._waiting) == _PORTION:
            self._put_waiting()

    def add_published(self, live: Live) -> None:
        """The rows of a pull. Raises ``LandingError`` where a file is gone or damaged."""
        schema = arrow_schema(tuple(dict.fromkeys(field for field, _ in self._halves)))
        for uri in live.files:
            with parquet_at(uri) as file:
                there = [field for field in schema.names if field in file.schema_arrow.names]
                for batch in file.iter_batches(batch_size=_PORTION, columns=there):
                    table = conformed(pa.Table.from_batches([batch]), schema)
                    self._put([_column(table, field, half) for field, half in self._halves])

    def add_text(self, table: pa.Table) -> None:
        """Rows with a text column for each of this gathering's."""
        self._put([pc.fill_null(table.column(name), "") for name in self.schema.names])

    def rows(self) -> pa.Table:
        """All rows; the gathering is empty afterwards."""
        self._put_waiting()
        tables, self._tables = self._tables, []
        return pa.concat_tables([self.schema.empty_table(), *tables]).unify_dictionaries()

    def _put_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._put([pa.array(column, pa.string()) for column in zip(*waiting, strict=True)])

    def _put(self, columns: Sequence[Any]) -> None:
        coded = [column.dictionary_encode() for column in columns[1:]]
        self._tables.append(pa.table([columns[0], *coded], schema=self.schema))


def relations() -> Gathering:
    """A gathering of rows of ``cmdb_rel_ci``."""
    columns: dict[str, Half] = {"sys_id": ("sys_id", "value")}
    for field, shown in zip(FIELDS[1:], ("parent_name", "child_name", "label"), strict=True):
        columns |= {field: (field, "value"), shown: (field, "display_value")}
    return Gathering(columns)


def _shown(cell: Any, half: str) -> str:
    if isinstance(cell, Mapping):
        return str(cell.get(half) or "")
    return "" if half == "display_value" else str(cell or "")


def _column(table: pa.Table, field: str, half: str) -> Any:
    if field == "sys_id":  # of rows read with labels only, it is in the other half
        return values_of(table.column(field).combine_chunks())
    return pc.fill_null(pc.struct_field(table.column(field), half), "")

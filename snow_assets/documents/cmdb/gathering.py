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
_PORTION: Final = 10_000  # records that wait as Python objects
_TABLES: Final = 64  # that wait to be merged

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
        self._waiting: list[Record] = []
        self._tables: list[pa.Table] = []

    def add(self, record: Record) -> None:
        """One record, read with ``display_value="all"``, or with ``"false"``, which gives no labels."""
        self._waiting.append(record)
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
        """All rows, each column in one piece; the gathering is empty afterwards."""
        self._put_waiting()
        empty = pa.table([pa.array([], field.type) for field in self.schema], schema=self.schema)
        tables, self._tables = self._tables, []
        return _merged([*tables, empty])

    def _put_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            columns = [_texts(waiting, field, half) for field, half in self._halves]
            self._put([pc.fill_null(pa.array(column, pa.string()), "") for column in columns])

    def _put(self, columns: Sequence[Any]) -> None:
        coded = [column.dictionary_encode() for column in columns[1:]]
        self._tables.append(pa.table([columns[0], *coded], schema=self.schema))
        if len(self._tables) == _TABLES:
            self._tables = [_merged(self._tables)]


def _merged(tables: Sequence[pa.Table]) -> pa.Table:
    """One table, of which each text is there once per column."""
    table = pa.concat_tables(tables).unify_dictionaries()
    columns = []
    for column in table.columns:
        pieces = column.chunks
        if not pa.types.is_dictionary(column.type):
            columns.append(pa.concat_arrays(pieces))
            continue
        codes = pa.concat_arrays([piece.indices for piece in pieces])
        columns.append(pa.DictionaryArray.from_arrays(codes, pieces[0].dictionary))
    return pa.table(columns, schema=table.schema)


def relations() -> Gathering:
    """A gathering of rows of ``cmdb_rel_ci``."""
    columns: dict[str, Half] = {"sys_id": ("sys_id", "value")}
    for field, shown in zip(FIELDS[1:], ("parent_name", "child_name", "label"), strict=True):
        columns |= {field: (field, "value"), shown: (field, "display_value")}
    return Gathering(columns)


def _texts(records: Sequence[Record], field: str, half: str) -> list[Any]:
    """One half of a field of all records; ``None`` for what a record lacks."""
    try:
        return [record[field][half] for record in records]
    except (KeyError, TypeError):  # a field is hidden, or cells are plain text
        return [_shown(record.get(field), half) for record in records]


def _shown(cell: Any, half: str) -> Any:
    if isinstance(cell, Mapping):
        return cell.get(half)
    return None if half == "display_value" else cell


def _column(table: pa.Table, field: str, half: str) -> Any:
    if field == "sys_id":  # of rows read with labels only, it is in the other half
        return values_of(table.column(field).combine_chunks())
    return pc.fill_null(pc.struct_field(table.column(field), half), "")

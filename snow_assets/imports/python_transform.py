"""A Python function as a transform: it gets batches of an import set as Arrow tables, and returns such."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from snow_assets.config_imports import ImportConfig
from snow_assets.errors import TransformFailed
from snow_assets.imports.functions import load_function, said
from snow_assets.imports.transform_bench import DROPPED
from snow_assets.imports.transform_context import SetContext

BATCH: Final = 50_000  # rows
_KEY = "sys_import_row"


class _Batches:
    """The batches of a set on their way through the function."""

    def __init__(self, config: ImportConfig, context: SetContext) -> None:
        self.context = context
        self.reference = str(config.transform.python)
        key = f"imports.{config.name}.transform.python"
        self.function: Callable[..., Any] = load_function(self.reference, key)
        self.schema: pa.Schema | None = None
        self.number = 0

    def next(self, batch: pa.Table) -> pa.Table:
        """What the function makes of a batch: rows in order, and of those that it drops the number alone."""
        self.number += 1
        try:
            made = self.function(batch, self.context)
        except Exception as error:
            raise self._failed(f"raises {said(error)}") from error
        if not isinstance(made, pa.Table):
            raise self._failed(f"returns {type(made).__name__}, not a pyarrow.Table")
        if _KEY not in made.column_names:
            raise self._failed(f"returns no column {_KEY}")
        rows = self._same(made)
        return self._whole(batch, rows)

    def _same(self, made: pa.Table) -> pa.Table:
        """The table with the columns of the first batch, for all go to one file."""
        seen = Counter(name.lower() for name in made.column_names)
        twice = [name for name in made.column_names if seen[name.lower()] > 1]
        if twice:
            how = "twice" if twice.count(twice[0]) > 1 else f"and {twice[1]}, which differ by case only"
            raise self._failed(f"returns the column {twice[0]} {how}")
        if self.schema is None:
            fields = [pa.field(each.name, _plain(each.type)) for each in made.schema if each.name != _KEY]
            self.schema = pa.schema([pa.field(_KEY, pa.int64()), *fields])
        if set(made.column_names) != set(self.schema.names):
            raise self._failed(f"returns the columns {', '.join(made.column_names)}, and other ones before")
        try:
            return made.select(self.schema.names).cast(self.schema)
        except (pa.ArrowException, ValueError) as error:
            raise self._failed(f"returns columns of other types than before: {said(error)}") from error

    def _whole(self, batch: pa.Table, rows: pa.Table) -> pa.Table:
        numbers, asked = rows[_KEY], batch[_KEY]
        if numbers.null_count:
            raise self._failed(f"returns rows without {_KEY}")
        twice = pc.value_counts(numbers.combine_chunks())
        doubled = twice.filter(pc.greater(twice.field("counts"), 1))
        if len(doubled):
            raise self._failed(f"returns row {doubled[0]['values'].as_py()} more than once")
        stray = numbers.filter(pc.invert(pc.is_in(numbers, value_set=asked)))
        if len(stray):
            raise self._failed(f"returns row {stray[0].as_py()}, which is not in the batch")
        rows = rows.append_column(DROPPED, pa.array([False] * rows.num_rows))
        gone = asked.filter(pc.invert(pc.is_in(asked, value_set=numbers)))
        if len(gone):
            missing = pa.table({_KEY: gone, DROPPED: pa.array([True] * len(gone))})
            rows = pa.concat_tables([rows, missing], promote_options="default")
        return rows.sort_by(_KEY)

    def _failed(self, what: str) -> TransformFailed:
        message = f"{what}, in batch {self.number} of the import set {self.context.set_name}"
        return TransformFailed(message, key="transform.python", value=self.reference)


def _plain(kind: pa.DataType) -> pa.DataType:
    """A column of nulls may be anything later on; dictionaries differ from batch to batch."""
    if pa.types.is_null(kind):
        return pa.string()
    return _plain(kind.value_type) if pa.types.is_dictionary(kind) else kind


def python_transform(config: ImportConfig, staged: Path, out: Path, context: SetContext) -> None:
    """Hand ``staged`` to the function, batch by batch, and write what it returns to ``out``. Units: rows.

    Raises:
        TransformFailed: it raises, or returns something else than a table with each row at most once.
    """
    batches = _Batches(config, context)
    with pq.ParquetFile(staged) as file:
        writer: pq.ParquetWriter | None = None
        try:
            for batch in file.iter_batches(BATCH) if file.metadata.num_rows else [_empty(file)]:
                made = batches.next(pa.Table.from_batches([batch]))
                writer = writer or pq.ParquetWriter(out, made.schema, compression="snappy")
                writer.write_table(made)
        finally:
            if writer:
                writer.close()


def _empty(file: pq.ParquetFile) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=file.schema_arrow)

"""Import sets to map, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.config_imports import ImportConfig
from snow_assets.imports.contract import STAGED
from snow_assets.imports.mapping import map_set
from snow_assets.imports.transform_context import SetContext

Rows = list[dict[str, Any]]


def declared(transform: object = None, **keys: object) -> ImportConfig:
    """An import of people."""
    keys = {"target": "people", **keys} | ({"transform": transform} if transform else {})
    return ImportConfig.model_validate({"name": "people", "source": {"csv": "people.csv"}, **keys})


def stage(path: Path, columns: Mapping[str, Sequence[object] | pa.Array], step: int = 1) -> Path:
    """A staged set; a row has the number of its place, times ``step``."""
    number = len(next(iter(columns.values())))
    numbers = pa.array([1 + i * step for i in range(number)], pa.int64())
    texts = {
        name: values if isinstance(values, pa.Array) else pa.array(values, pa.string())
        for name, values in columns.items()
    }
    own = [numbers, pa.array(["people.csv"] * number, pa.string()), lines_of(numbers)]
    fields = [*STAGED, *(pa.field(name, array.type) for name, array in texts.items())]
    pq.write_table(pa.table([*own, *texts.values()], schema=pa.schema(fields)), path)
    return path


def lines_of(numbers: pa.Array) -> pa.Array:
    """The line of each row: the first line is the header."""
    return pa.array([number + 1 for number in numbers.to_pylist()], pa.int64())


def context() -> SetContext:
    return SetContext("people", "20261121T020000Z", 1)


def mapped_table(
    tmp_path: Path, columns: Mapping[str, Sequence[object] | pa.Array], config: ImportConfig, step: int = 1
) -> pa.Table:
    """What `map_set` makes of these rows."""
    out = tmp_path / "mapped" / "0001-x.parquet"
    count = map_set(config, stage(tmp_path / "staged.parquet", columns, step), out, context())
    table = pq.read_table(out)
    assert count == table.num_rows
    return table


def mapped(
    tmp_path: Path, columns: Mapping[str, Sequence[object] | pa.Array], config: ImportConfig, step: int = 1
) -> Rows:
    """The same, as dicts."""
    rows: Rows = mapped_table(tmp_path, columns, config, step).to_pylist()
    return rows


def values(rows: Rows, name: str) -> list[Any]:
    return [row[name] for row in rows]


def outcome(row: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """State, code and comment of a mapped row."""
    return row["sys_import_state"], row["sys_row_error"], row["sys_import_state_comment"]

"""What a pull has published, as data in hand: Arrow, SQL, raw records.

The files of a dataset hold one struct column per field, with the halves ``display_value``, ``value`` and ``link``.
*Flat*, a field ``f`` becomes two text columns: ``f``, its value (what the display says, where there is no value), and
``f_display``, its display value (the value, where there is none).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from snow_assets.config import Environment
from snow_assets.errors import ConfigError, LandingError
from snow_assets.pulls import Dataset, Landing, published
from snow_assets.pulls.columns import arrow_schema

RAW = "_raw"  # ending of the view with struct columns


def read(name: str, *, data: str | None = None, columns: Sequence[str] | None = None, flat: bool = False) -> pa.Table:
    """The published rows of the pull ``name``, as they are now.

    Args:
        name: the pull.
        data: folder or URL of the landings; ``SNOW_DATA_DIR`` (``data``) when left out.
        columns: fields to read, in this order; all when left out.
        flat: two text columns per field instead of one struct: ``f`` and ``f_display``.

    Raises:
        ConfigError: nothing is published under that name, or a column is not there.
    """
    landing = Landing.open(data or Environment.load().data_dir, name)
    dataset = dataset_of(landing)
    fields = tuple(columns) if columns is not None else dataset.fields
    for field in fields:
        if field not in dataset.fields:
            raise ConfigError(f"pull {name} has no such column", key="columns", value=field, hint=_some(dataset.fields))
    tables = []
    for path in relative_files(landing, dataset):
        with landing.parquet(path) as file:
            try:
                tables.append(pq.ParquetFile.read(file, columns=list(fields)))
            except OSError as error:  # a page's checksum does not hold
                hint = f"fetch its rows again: snow-assets pull {name}"
                raise LandingError("is damaged", key="file", value=landing.store.uri(path), hint=hint) from error
    table = pa.concat_tables([arrow_schema(fields).empty_table(), *tables]).select(list(fields))
    return _flatten(table) if flat else table


def files(name: str, *, data: str | None = None) -> list[str]:
    """The Parquet files (paths or URLs) that hold the published rows of the pull ``name``, as they are now.

    ``data`` is the folder or URL of the landings; ``SNOW_DATA_DIR`` (``data``) when left out. Raises ``ConfigError``
    where nothing is published.
    """
    return list(dataset_of(Landing.open(data or Environment.load().data_dir, name)).files)


def data_of(landing: Landing) -> str:
    """The folder or URL of the landings, of which this is one."""
    return str(Path(landing.location).parent) if landing.is_local else landing.location.rpartition("/")[0]


def dataset_of(landing: Landing) -> Dataset:
    """What a pull has published. Raises ``ConfigError`` where it is nothing."""
    dataset = published(landing)
    if dataset is None:
        message, hint = f"nothing is published in {data_of(landing)}", f"run: snow-assets pull {landing.pull}"
        raise ConfigError(message, key="pull", value=landing.pull, hint=hint)
    return dataset


def relative_files(landing: Landing, dataset: Dataset) -> list[str]:
    """The dataset's files by their paths in the landing."""
    prefix = landing.location.rstrip("/") + "/"
    return [uri.removeprefix(prefix) for uri in dataset.files]


def published_pulls(data: str, declared: Sequence[str] = ()) -> list[str]:
    """Names of pulls that have published below ``data``; of an object store, among the declared ones."""
    names = set(declared)
    root = Path(unquote(data.removeprefix("file://")) if data.startswith("file://") else data)
    if root.is_dir():
        names |= {folder.name for folder in root.iterdir() if (folder / "_delta_log").is_dir()}
    return sorted(name for name in names if published(Landing.open(data, name)) is not None)


def connect(data: str, declared: Sequence[str] = ()) -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory with two views per published pull: ``<pull>``, flat, and ``<pull>_raw``, structs."""
    connection = duckdb.connect()
    names = published_pulls(data, declared)
    for name in names:
        landing = Landing.open(data, name)
        dataset = dataset_of(landing)
        raw = name + RAW if name + RAW not in names else name + RAW + "_"
        _add_raw(connection, raw, landing, dataset)
        columns = ", ".join(flat_columns(dataset.fields))
        connection.execute(f"CREATE VIEW {_quoted(name)} AS SELECT {columns} FROM {_quoted(raw)}")  # noqa: S608
    return connection


def flat_columns(fields: Sequence[str]) -> Iterator[str]:
    """SQL of the flat columns. A ``<f>_display`` that is a field's own name is left to that field."""
    taken = {field.lower() for field in fields}
    for field in fields:
        column = _quoted(field)
        value, display = f"{column}.value", f"{column}.display_value"
        yield f"coalesce({value}, {display}) AS {column}"
        if f"{field}_display".lower() not in taken:
            yield f"coalesce({display}, {value}) AS {_quoted(field + '_display')}"


def _add_raw(connection: duckdb.DuckDBPyConnection, view: str, landing: Landing, dataset: Dataset) -> None:
    """The view with struct columns: over the files where they are local, else over rows read by pyarrow."""
    if landing.is_local and dataset.files:
        paths = ", ".join(_literal(file) for file in dataset.files)
        columns = ", ".join(_quoted(field) for field in dataset.fields)
        source = f"read_parquet([{paths}], union_by_name = true)"
        connection.execute(f"CREATE VIEW {_quoted(view)} AS SELECT {columns} FROM {source}")  # noqa: S608
        return
    connection.register(view, read(landing.pull, data=data_of(landing)))


def _flatten(table: pa.Table) -> pa.Table:
    taken = set(table.column_names)
    columns: dict[str, Any] = {}
    for name in table.column_names:
        cells = table.column(name)
        display, value = (pc.struct_field(cells, half) for half in ("display_value", "value"))
        columns[name] = pc.coalesce(value, display)
        if f"{name}_display" not in taken:
            columns[f"{name}_display"] = pc.coalesce(display, value)
    return pa.table(columns)


def _some(names: Sequence[str]) -> str:
    return "there are: " + ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

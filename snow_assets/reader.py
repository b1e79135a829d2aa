"""What a pull has published, as data in hand: Arrow, SQL, raw records. Of a delta pull: its current, live rows.

The files of a dataset hold one struct column per field, with the halves ``display_value``, ``value`` and ``link``.
*Flat*, a field ``f`` becomes two text columns: ``f``, its value (what the display says, where there is no value), and
``f_display``, its display value (the value, where there is none).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from snow_assets.config import Environment
from snow_assets.errors import ConfigError
from snow_assets.pulls import Dataset, Landing, published
from snow_assets.pulls.columns import CELL_TYPE, PLAN_COLUMN
from snow_assets.pulls.current import Current, current, home_of
from snow_assets.pulls.current_files import ADDED, INTERNAL, STATE, conformed, fields_among
from snow_assets.pulls.records import raw_records
from snow_assets.pulls.workspace import file_list, quoted

RAW = "_raw"  # ending of the view with struct columns
_CELL = "STRUCT(display_value VARCHAR, value VARCHAR, link VARCHAR)"
VERSIONS, GONE = "_versions", "_gone"  # of the views of a delta pull with all versions, and with rows that went away


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
    return rows_of(landing, dataset_of(landing), columns, flat=flat)


def rows_of(
    landing: Landing, dataset: Dataset, columns: Sequence[str] | None = None, *, flat: bool = False
) -> pa.Table:
    """The rows of ``dataset``; see ``read``."""
    fields = tuple(columns) if columns is not None else dataset.fields
    for field in fields:
        if field not in dataset.fields:
            message, hint = f"pull {landing.pull} has no such column", _some(dataset.fields)
            raise ConfigError(message, key="columns", value=field, hint=hint)
    table = _table(landing, dataset.files, fields)
    return flattened(table) if flat else table


def records_of(landing: Landing, dataset: Dataset) -> Iterator[dict[str, Any]]:
    """The records of ``dataset`` as the API gave them, key for key: row group by row group, not all in memory."""
    display_value = landing.read_plan(dataset.plan).display_value
    for uri in dataset.files:
        with opened(landing, uri) as file:
            yield from raw_records(file, display_value)


def _table(landing: Landing, files: Sequence[str], columns: Sequence[str]) -> pa.Table:
    """Columns of some of a pull's files, null where a file has none of that name."""
    schema = pa.schema([(name, _type(name)) for name in columns])
    tables = [schema.empty_table()]
    for uri in files:
        with opened(landing, uri) as file:
            rows = file.read(columns=list(columns))
        if STATE in columns:
            rows = rows.append_column(STATE, pa.array([_state(uri)] * rows.num_rows, pa.string()))
        tables.append(conformed(rows, schema))
    return pa.concat_tables(tables)


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
    """What a pull has published; of a delta pull, the files and number of its current live rows.

    These may be of an older plan than the newest that is published, see ``behind``. Raises ``ConfigError`` where
    nothing is published, or current rows were never brought up.
    """
    dataset = versions_of(landing)
    if dataset.mode != "delta":
        return dataset
    now = current(landing)
    if now is None:
        message, hint = "its current rows were not brought up yet", f"run: snow-assets pull {landing.pull}"
        raise ConfigError(message, key="pull", value=landing.pull, hint=hint)
    return live_of(dataset, now)


def live_of(dataset: Dataset, now: Current) -> Dataset:
    """Of a delta pull: the dataset with the files and number of its current live rows."""
    shown = {name: getattr(now, name) for name in ("plan", "base", "version", "location", "files", "rows", "fields")}
    return replace(dataset, **shown)


def versions_of(landing: Landing) -> Dataset:
    """What a pull has published; of a delta pull, every version seen. Raises ``ConfigError`` where it is nothing."""
    dataset = published(landing)
    if dataset is None:
        message, hint = f"nothing is published in {data_of(landing)}", f"run: snow-assets pull {landing.pull}"
        raise ConfigError(message, key="pull", value=landing.pull, hint=hint)
    return dataset


def gone_files(landing: Landing) -> list[str]:
    """The files with rows that went away; none for a full pull."""
    now = current(landing)
    return [] if now is None or versions_of(landing).mode != "delta" else list(now.gone_files)


def behind(landing: Landing, shown: Dataset) -> str:
    """The plan that is published where ``shown``, of ``dataset_of``, is of an older one; else ``""``."""
    newest = versions_of(landing).plan
    return newest if newest != shown.plan else ""


def opened(landing: Landing, uri: str) -> AbstractContextManager[pq.ParquetFile]:
    """One of a pull's files, of its landing or its current rows. Raises ``LandingError`` where it cannot be read."""
    beside = home_of(landing)
    home = beside if uri.startswith(_prefix(beside)) else landing
    return home.reading(uri.removeprefix(_prefix(home)), f"fetch its rows again: snow-assets pull {landing.pull}")


def _prefix(landing: Landing) -> str:
    return landing.location.rstrip("/") + "/"


def _state(uri: str) -> str:
    return uri.rpartition("/")[0].rpartition(f"{STATE}=")[2]


def _type(column: str) -> pa.DataType:
    return {**ADDED, STATE: pa.string()}.get(column, CELL_TYPE)


def published_pulls(data: str, declared: Sequence[str] = ()) -> list[str]:
    """Names of pulls that have published below ``data``; of an object store, among the declared ones."""
    names = set(declared)
    root = Path(unquote(data.removeprefix("file://")) if data.startswith("file://") else data)
    if root.is_dir():
        names |= {folder.name for folder in root.iterdir() if (folder / "_delta_log").is_dir()}
        names = {name for name in names if "." not in name}  # those are tables beside a landing
    return sorted(name for name in names if published(Landing.open(data, name)) is not None)


def connect(data: str, declared: Sequence[str] = ()) -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory with views of each published pull: ``<pull>``, flat, and ``<pull>_raw``, structs.

    Of a delta pull these are the current live rows; ``<pull>_versions`` has every version seen, with ``_plan``, and
    ``<pull>_gone`` the rows that went away, with ``_state``, ``_deleted_at`` and so on; both flat.
    """
    connection = duckdb.connect()
    names = published_pulls(data, declared)
    for name in names:
        landing = Landing.open(data, name)
        everything = versions_of(landing)
        shown = everything if everything.mode != "delta" else current(landing)
        if shown is not None:
            raw = _free(name + RAW, names)
            _view(connection, raw, landing, shown.files, shown.fields)
            columns = ", ".join(flat_columns(shown.fields))
            connection.execute(f"CREATE VIEW {quoted(name)} AS SELECT {columns} FROM {quoted(raw)}")  # noqa: S608
        if everything.mode == "delta":
            fields = fields_among(everything.fields)
            _flat_view(connection, _free(name + VERSIONS, names), landing, everything.files, (*fields, PLAN_COLUMN))
        if isinstance(shown, Current):
            columns_of_gone = (*shown.fields, *INTERNAL)
            _flat_view(connection, _free(name + GONE, names), landing, shown.gone_files, columns_of_gone)
    return connection


def _free(view: str, pulls: Sequence[str]) -> str:
    """A view's name that no pull bears."""
    return view if view not in pulls else view + "_"


def flat_columns(fields: Sequence[str]) -> Iterator[str]:
    """SQL of the flat columns. A ``<f>_display`` that is a field's own name is left to that field.

    What is no field of the pull, such as ``_plan``, is flat already.
    """
    taken = {field.lower() for field in fields}
    for field in fields:
        column = quoted(field)
        if field in INTERNAL:
            yield column
            continue
        value, display = f"{column}.value", f"{column}.display_value"
        yield f"coalesce({value}, {display}) AS {column}"
        if f"{field}_display".lower() not in taken:
            yield f"coalesce({display}, {value}) AS {quoted(field + '_display')}"


def _flat_view(
    connection: duckdb.DuckDBPyConnection, view: str, landing: Landing, files: Sequence[str], columns: Sequence[str]
) -> None:
    """A view with flat columns, over one with structs that bears a name of no use to people."""
    hidden = f".{view}"
    _view(connection, hidden, landing, files, columns)
    flat = ", ".join(flat_columns(columns))
    connection.execute(f"CREATE VIEW {quoted(view)} AS SELECT {flat} FROM {quoted(hidden)}")  # noqa: S608


def _view(
    connection: duckdb.DuckDBPyConnection, view: str, landing: Landing, files: Sequence[str], columns: Sequence[str]
) -> None:
    """The columns as they lie in the files: over these where they are local, else over rows read by pyarrow."""
    if not landing.is_local or not files:
        connection.register(view, _table(landing, files, columns))
        return
    source = f"read_parquet({file_list(list(files))}, union_by_name = true)"
    there = set(connection.sql(f"FROM {source} LIMIT 0").columns)
    chosen = ", ".join(quoted(name) if name in there else f"NULL::{_CELL} AS {quoted(name)}" for name in columns)
    connection.execute(f"CREATE VIEW {quoted(view)} AS SELECT {chosen} FROM {source}")  # noqa: S608


def flattened(table: pa.Table) -> pa.Table:
    """Two text columns for each struct: its value under its name, and the display value."""
    taken = set(table.column_names)
    columns: dict[str, Any] = {}
    for name in table.column_names:
        cells = table.column(name)
        if not pa.types.is_struct(cells.type):
            columns[name] = cells
            continue
        display, value = (pc.struct_field(cells, half) for half in ("display_value", "value"))
        columns[name] = pc.coalesce(value, display)
        if f"{name}_display" not in taken:
            columns[f"{name}_display"] = pc.coalesce(display, value)
    return pa.table(columns)


def _some(names: Sequence[str]) -> str:
    return "there are: " + ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")

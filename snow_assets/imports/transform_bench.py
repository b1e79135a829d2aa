"""DuckDB for one import set: one thread, as sets run beside each other; rows keep their order; datetimes are UTC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import duckdb

from snow_assets.pulls.workspace import workspace

DROPPED: Final = "sys_import_dropped"  # a boolean column: rows that custom SQL or Python left out


@contextmanager
def workbench() -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """A connection of its own, and a temporary folder to write to; both are gone at the end."""
    with workspace() as (connection, folder):
        connection.execute("SET threads = 1; SET preserve_insertion_order = true; SET TimeZone = 'UTC'")
        yield connection, folder


def reason(error: Exception) -> str:
    """The first line of an error of DuckDB, cut where it is long."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]

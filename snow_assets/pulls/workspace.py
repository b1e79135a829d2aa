"""DuckDB as a workbench: joins and sorts over Parquet files that spill to disk instead of filling the memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

MEMORY = "384MB"  # what a connection may hold before it spills
THREADS = 2


@contextmanager
def workspace(memory: str = MEMORY) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """A connection of its own, and a temporary folder to write to; both are gone at the end."""
    with tempfile.TemporaryDirectory(prefix="snow_assets-") as folder:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory,
            "threads": THREADS,
            "temp_directory": f"{folder}/spill",
        }
        with duckdb.connect(config=settings) as connection:
            connection.execute("SET preserve_insertion_order = false")
            connection.execute("SET enable_progress_bar = false")  # it would stand among what a command prints
            yield connection, Path(folder)


def quoted(name: str) -> str:
    """An identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text for SQL."""
    return "'" + text.replace("'", "''") + "'"


def parquet(path: Path) -> str:
    """The rows of a file for SQL: its own columns alone, whatever folders like ``key=value`` it lies in."""
    return f"read_parquet({literal(str(path))}, hive_partitioning = false)"


def file_list(files: list[str]) -> str:
    """The argument of ``read_parquet`` for these files."""
    return "[" + ", ".join(map(literal, files)) + "]"

"""Where the rows of an import come from: files, databases, pulls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from snow_assets.config import Environment
from snow_assets.config_import_source import SourceConfig
from snow_assets.config_imports import ImportConfig
from snow_assets.imports.sources.base import Source
from snow_assets.imports.sources.csv_files import CsvSource
from snow_assets.imports.sources.excel import ExcelSource
from snow_assets.imports.sources.files import check_needed
from snow_assets.imports.sources.jsonl import JsonLinesSource
from snow_assets.imports.sources.parquet import ParquetSource
from snow_assets.imports.sources.pull import PullSource
from snow_assets.imports.sources.sql import sql_source

__all__ = ["Source", "needed_columns", "open_source"]

_SOURCES: Final[Mapping[str, Callable[[SourceConfig, Environment], Source]]] = {
    "csv": CsvSource,
    "jsonl": JsonLinesSource,
    "parquet": ParquetSource,
    "excel": ExcelSource,
    "sql": sql_source,
    "pull": PullSource,
}


def open_source(config: ImportConfig, environment: Environment) -> Source:
    """Open the source of an import. Nothing but its columns is read yet.

    Raises ``ConfigError`` where it is not there, cannot be read as it is declared, or lacks a column that is needed.
    """
    source = _SOURCES[config.source.kind](config.source, environment)
    try:
        where = source.files[0] if source.files else f"source.{config.source.kind}"
        check_needed(needed_columns(config), source.columns, where)
    except BaseException:
        source.close()
        raise
    return source


def needed_columns(config: ImportConfig) -> dict[str, str]:
    """The columns of the source that the declaration names, each with the key that names it."""
    needed: dict[str, str] = {}
    if config.partition.key is not None and config.partition.key.column is not None:
        needed[config.partition.key.column] = "partition.key"
    fields = config.transform.fields
    for name, field in (fields or {}).items():
        if field.source is not None:
            needed.setdefault(field.source, f"transform.{name}")
    if fields is None and config.transform.sql is None and config.transform.python is None:
        for name in config.coalesce.fields:
            needed.setdefault(name, "coalesce")
    return needed

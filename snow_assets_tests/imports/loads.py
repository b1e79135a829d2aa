"""A folder with imports: their sources, their books, and a DuckDB file as their target."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb

from snow_assets.config import Environment
from snow_assets.config_imports import ImportConfig, ImportSettings
from snow_assets.imports.workspace import Workspace

Rows = Iterable[Sequence[object]]


class Imports:
    """Declared imports of CSV files in ``root``; ``database`` is the URL of the books, where they are PostgreSQL."""

    def __init__(self, root: Path, database: str = "") -> None:
        self.root = root
        self.declared: dict[str, ImportConfig] = {}
        self.variables = {"SNOW_IMPORTS_DATABASE": database} if database else {}

    def declare(self, name: str, rows: Rows | None = None, columns: str = "id,name", **keys: Any) -> ImportConfig:
        """Declare the import of ``<name>.csv`` into the table of its name; write its rows, if any are given."""
        if rows is not None:
            self.write(name, rows, columns)
        keys = {"source": {"csv": str(self.root / f"{name}.csv")}, "target": name, "coalesce": "id", **keys}
        self.declared[name] = ImportConfig.model_validate({"name": name, **keys})
        return self.declared[name]

    def write(self, name: str, rows: Rows, columns: str = "id,name") -> None:
        with (self.root / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns.split(","))
            writer.writerows(rows)

    def open(self) -> Workspace:
        """A workspace as another process would open it."""
        return Workspace(ImportSettings(imports=dict(self.declared)), Environment.load(self.root, self.variables))

    def target(self, query: str) -> list[tuple[Any, ...]]:
        """A query of the target."""
        with duckdb.connect(str(self.root / "data" / "targets.duckdb"), read_only=True) as connection:
            return connection.execute(query).fetchall()


def numbered(count: int) -> list[tuple[str, str]]:
    """Rows with the keys k1, k2, ..."""
    return [(f"k{i}", f"name {i}") for i in range(1, count + 1)]

"""Import sets for tests of targets: mapped files from plain rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.config_imports import ImportConfig
from snow_assets.imports.contract import MAPPED, Applied, MappedSet
from snow_assets.imports.sql_target import SqlTarget
from snow_assets.imports.targets.duckdb import DuckDbFile

LOAD = "20261121T020000Z"


def an_import(**declared: Any) -> ImportConfig:
    return ImportConfig(**{"name": "people", "source": {"csv": "people.csv"}, "target": "people", **declared})


@dataclass
class Sets:
    """Applies sets to a DuckDB file, each with the next row numbers."""

    folder: Path
    config: ImportConfig
    types: Mapping[str, pa.DataType] = field(default_factory=dict)
    done: int = 0
    rows: int = 0

    @property
    def file(self) -> Path:
        return self.folder / "targets.duckdb"

    def mapped(self, rows: Sequence[Mapping[str, Any]], **changes: Any) -> MappedSet:
        """A mapped file; fields are text where ``types`` says nothing."""
        self.done += 1
        names = list(dict.fromkeys(name for row in rows for name in row if name not in MAPPED.names))
        schema = pa.schema([*MAPPED, *(pa.field(name, self.types.get(name, pa.string())) for name in names)])
        numbered = [{"sys_import_row": self.rows + at, **row} for at, row in enumerate(rows, 1)]
        self.rows += len(rows)
        path = self.folder / f"mapped-{self.config.name}-{self.done}.parquet"
        pq.write_table(pa.Table.from_pylist(numbered, schema), path)
        attempt = f"{self.config.name}-a{self.done}"
        outcome = self.folder / "rows" / f"{attempt}.parquet"
        given = {"import_name": self.config.name, "load_id": LOAD, "set_no": self.done, "attempt": attempt}
        return MappedSet(**{**given, "total": len(rows), "mapped": path, "rows": outcome, **changes})

    def target(self) -> SqlTarget:
        return SqlTarget(self.config, DuckDbFile(self.file))

    def apply(self, *rows: Mapping[str, Any], **changes: Any) -> tuple[Applied, list[tuple[str, str | None]]]:
        """Apply rows as a set; returns what the target says, and state and comment of each row."""
        mapped, target = self.mapped(rows, **changes), self.target()
        try:
            applied = target.apply(mapped)
        finally:
            target.close()
        told = pq.read_table(mapped.rows).to_pylist()
        return applied, [(row["sys_import_state"], row["sys_import_state_comment"]) for row in told]

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Run SQL on the file."""
        with duckdb.connect(self.file) as connection:
            return connection.execute(statement).fetchall()

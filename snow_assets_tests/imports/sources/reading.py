"""Sources of imports, opened in a folder of files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from snow_assets.config import Environment
from snow_assets.config_imports import ImportConfig
from snow_assets.imports.contract import ERRORS
from snow_assets.imports.sources import open_source


@dataclass
class Read:
    """What a source held: its columns, rows without their place, lines, files and what was rejected."""

    columns: tuple[str, ...]
    table: pa.Table
    rows: list[tuple[Any, ...]]
    lines: list[int | None]
    files: list[str | None]
    rejected: list[tuple[int | None, str]]
    texts: list[str]
    rejected_rows: int


@dataclass
class Folder:
    """A working folder with files, and variables."""

    path: Path
    variables: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, data: bytes | str) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data.encode() if isinstance(data, str) else data)

    @property
    def environment(self) -> Environment:
        return Environment.load(self.path, self.variables)

    def config(self, source: dict[str, Any], **others: Any) -> ImportConfig:
        declared = {"name": "people", "source": source, "target": "sys_user", **others}
        return ImportConfig.model_validate(declared)

    def read(self, source: dict[str, Any], **others: Any) -> Read:
        """All rows of a source."""
        opened = open_source(self.config(source, **others), self.environment)
        try:
            table = pa.concat_tables(list(opened.batches()))
            rejected = opened.rejected()
        finally:
            opened.close()
        assert rejected.schema == ERRORS
        assert tuple(table.column_names) == ("sys_import_file", "sys_import_line", *opened.columns)
        own = [table.column(place).to_pylist() for place in range(2, table.num_columns)]
        return Read(
            opened.columns,
            table,
            list(zip(*own, strict=True)),
            table.column(1).to_pylist(),
            table.column(0).to_pylist(),
            list(zip(rejected["sys_import_line"].to_pylist(), rejected["message"].to_pylist(), strict=True)),
            rejected["text"].to_pylist(),
            opened.rejected_rows,
        )

    def csv(self, data: bytes | str, **options: Any) -> Read:
        """All rows of one CSV file with these bytes."""
        self.write("people.csv", data)
        return self.read({"csv": "people.csv", **options})

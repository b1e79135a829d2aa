"""Rows of Parquet files, in the types that they have there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.config import Environment
from snow_assets.config_import_source import SourceConfig
from snow_assets.errors import ConfigError, SourceError
from snow_assets.imports.sources.base import Batches, FileSource, with_place
from snow_assets.imports.sources.files import check_columns, files_of, opening, reading

BATCH: Final = 65_536  # rows


class ParquetSource(FileSource):
    """All rows of some Parquet files. Columns are united by name; a row is null where its file lacks one."""

    def __init__(self, config: SourceConfig, environment: Environment) -> None:
        super().__init__(config, files_of("parquet", config.parquet or (), environment))
        schemas = {name: _schema(name, path) for name, path in self._paths.items()}
        for name, schema in schemas.items():
            check_columns(schema.names, name)
        self._schema = _united(schemas)
        check_columns(self._schema.names, "in the files together")
        self.columns = tuple(self._schema.names)

    @property
    def schema(self) -> pa.Schema:
        """The types of ``columns``."""
        return self._schema

    def _batches_of(self, name: str, path: Path) -> Batches:
        with reading(name), pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH):
                yield with_place(self._conformed(name, pa.Table.from_batches([batch])), name, None)

    def _conformed(self, name: str, rows: pa.Table) -> pa.Table:
        try:
            return pa.concat_tables([self._schema.empty_table(), rows], promote_options="permissive")
        except (
            pa.ArrowInvalid
        ) as error:  # a whole number, say, that is none where another file makes the column a float
            message = f"a value does not fit into the type that all files have in common: {error}"
            hint = "write the column in one type, or import the files one by one"
            raise SourceError(message, key="source.parquet", value=name, hint=hint) from error


def _schema(name: str, path: Path) -> pa.Schema:
    with opening("parquet", name):
        try:
            return pq.read_schema(path).remove_metadata()
        except pa.ArrowInvalid:
            raise ConfigError("is no whole Parquet file", key="source.parquet", value=name) from None


def _united(schemas: dict[str, pa.Schema]) -> pa.Schema:
    """The columns of all files. Numbers are widened; raises ``ConfigError`` where types cannot be brought together."""
    united = pa.schema([])
    for name, schema in schemas.items():
        for field in schema:
            try:
                united = pa.unify_schemas([united, pa.schema([field])], promote_options="permissive")
            except pa.ArrowTypeError:
                other = united.field(field.name).type
                message = f"is {field.type} in {name}, and {other} in a file before"
                hint = "the files of one source need types that go together"
                raise ConfigError(message, key="column", value=field.name, hint=hint) from None
    return united

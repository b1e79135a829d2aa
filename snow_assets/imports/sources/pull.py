"""The published rows of a pull, as a source: of a delta pull, its current live rows."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from snow_assets.config import Environment
from snow_assets.config_import_source import SourceConfig
from snow_assets.imports.sources.base import Batches, Source, with_place
from snow_assets.imports.sources.files import check_columns
from snow_assets.pulls import Landing
from snow_assets.pulls.columns import CELL_TYPE
from snow_assets.pulls.current_files import conformed, fields_among
from snow_assets.pulls.live import live_rows, parquet_at
from snow_assets.reader import flattened

BATCH: Final = 16_384  # rows


class PullSource(Source):
    """Two text columns for each field of the pull: ``<field>``, its value, and ``<field>_display``.

    Where the pull landed one of the two only, both say it, as in ``snow-assets sql``.
    """

    def __init__(self, config: SourceConfig, environment: Environment) -> None:
        super().__init__(config)
        self._live = live_rows(Landing.open(environment.data_dir, config.pull or ""))
        self.files = self._live.files
        self._schema = pa.schema([(name, CELL_TYPE) for name in fields_among(self._live.fields)])
        self.columns = tuple(flattened(self._schema.empty_table()).column_names)
        check_columns(self.columns, f"pull {config.pull}")

    def _batches(self) -> Batches:
        for uri in self._live.files:
            with parquet_at(uri) as file:
                there = [name for name in file.schema_arrow.names if name in self._schema.names]
                for batch in file.iter_batches(BATCH, columns=there):
                    rows = conformed(pa.Table.from_batches([batch]), self._schema)
                    yield with_place(flattened(rows), uri, None)

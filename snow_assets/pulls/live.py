"""The rows of a pull as they are now, whatever its mode: what is built on a pull reads these files."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from snow_assets.errors import ConfigError
from snow_assets.pulls.current import current
from snow_assets.pulls.dataset import published
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.stores import open_store

ID = "sys_id"
_BATCH = 16_384


@dataclass(frozen=True, slots=True)
class Live:
    """The live rows: ``files`` are paths or URLs of Parquet files, ``plan`` the newest one in them.

    ``source`` names the table's folder and ``version`` its version. The files may hold other columns than ``fields``.
    """

    pull: str
    plan: str
    source: str
    version: int
    files: tuple[str, ...]
    fields: tuple[str, ...]
    rows: int
    mode: str


def live_rows(landing: Landing) -> Live:
    """The dataset's rows; of a delta pull the current ones.

    Raises ``ConfigError`` where nothing is published, or where a delta pull's current rows were never brought up.
    """
    dataset = published(landing)
    hint = f"run: snow-assets pull {landing.pull}"
    if dataset is None:
        raise ConfigError("nothing is published", key="pull", value=landing.pull, hint=hint)
    if dataset.mode != "delta":
        files, fields = dataset.files, dataset.fields
        return Live(landing.pull, dataset.plan, dataset.location, dataset.version, files, fields, dataset.rows, "full")
    now = current(landing)
    if now is None:
        raise ConfigError("has no current rows yet", key="pull", value=landing.pull, hint=hint)
    return Live(landing.pull, now.plan, now.location, now.version, now.files, now.fields, now.rows, "delta")


def parquet_at(uri: str) -> AbstractContextManager[pq.ParquetFile]:
    """Open a Parquet file by its path or URL. Raises ``LandingError`` where it is gone or damaged, also while read."""
    folder, _, name = uri.rpartition("/")
    above, _, last = folder.rpartition("/")
    hint = "see that it is there and whole; the next pull fetches its rows again"
    return Landing(last, open_store(above or "/", last)).reading(name, hint)


def write_ids(live: Live, path: Path) -> int:
    """Write the live rows' sys_ids to a Parquet file with the one text column ``sys_id``; returns how many."""
    schema = pa.schema([(ID, pa.string())])
    rows = 0
    with pq.ParquetWriter(path, schema) as writer:
        for uri in live.files:
            with parquet_at(uri) as file:
                for batch in file.iter_batches(batch_size=_BATCH, columns=[ID]):
                    writer.write_table(pa.table({ID: values_of(batch.column(ID))}, schema=schema))
                    rows += batch.num_rows
    return rows


def values_of(cells: pa.StructArray) -> pa.Array:
    """The values of a struct column; what the display says where there is no value."""
    return pc.coalesce(cells.field("value"), cells.field("display_value"))

"""Which attachments the rows of a pull have, and what is known of each: from the instance, and from the run before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from snow_assets.config import AttachmentsConfig, PullConfig
from snow_assets.errors import ConfigError, SnowError
from snow_assets.pulls.fetching import Failed, land_slices
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.live import live_rows, values_of, write_ids
from snow_assets.pulls.plan import Plan
from snow_assets.pulls.planning import make_plan
from snow_assets.pulls.stores import Store
from snow_assets.pulls.totals import Totals, reconcile
from snow_assets.pulls.workspace import literal
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.deleted import descendants
from snow_assets.servicenow.exchange import Tally
from snow_assets.servicenow.query import EncodedQuery

TABLE: Final = "sys_attachment"
TABLE_FILE: Final = "attachments.parquet"
PAGE_ROWS: Final = 1000
_DESCRIBED: Final = (
    "sys_id",
    "table_name",
    "table_sys_id",
    "file_name",
    "content_type",
    "size_bytes",
    "sys_created_on",
    "sys_updated_on",
)
FIELDS: Final = (*_DESCRIBED, "hash")
_KEPT: Final = ("path", "state", "reason")  # what the run before knew besides
_LONGEST_LIST: Final = 3_000  # characters of table names in a query, encoded
_INLINE: Final = "ZZ_YY"  # before the table's name: images within texts, which are not attachments to people


@dataclass(frozen=True, slots=True)
class Listing:
    """A proven reading of ``sys_attachment``.

    ``all_tables``: of every table, since the tree of classes is too large for a query, or may not be read. The pull's
    rows are picked from it all the same.
    """

    plan: Plan
    totals: Totals
    all_tables: bool


def read_listing(pull: PullConfig, wanted: AttachmentsConfig, client: Client, home: Landing) -> Listing:
    """Read the records of the attachments of the pull's table and its classes into ``home``.

    Goes on where a dead run stopped. Raises what a pull raises; the error of the gravest slice.
    """
    tables = client.run(descendants(pull.table, client.policy, Tally()))
    names = "" if tables is None else ",".join((pull.table, *tables))
    all_tables = not names or len(quote(names)) > _LONGEST_LIST
    terms = () if all_tables else (f"table_nameIN{names}",)
    listing = pull.model_copy(
        update={
            "table": TABLE,
            "query": EncodedQuery.parse(wanted.query).where(*terms),
            "fields": FIELDS,
            "display_value": "false",
            "page_size": PAGE_ROWS,
            "slice_rows": None,
            "mode": "full",
            "hidden_rows": "warn",
            "unreadable_rows": "fail",
        }
    )
    try:
        plan = make_plan(listing, client, home).plan
    except ConfigError as error:
        if error.key != "fields" or error.value != "hash":
            raise
        listing = listing.model_copy(update={"fields": _DESCRIBED})  # a release without hashes
        plan = make_plan(listing, client, home).plan
    failed: list[SnowError] = []
    with closing(land_slices(plan, plan.slices, listing, client, home)) as outcomes:
        failed = [outcome.error for outcome in outcomes if isinstance(outcome, Failed)]
    if failed:
        raise max(failed, key=lambda error: error.exit_code)
    return Listing(plan, reconcile(plan, home, listing), all_tables)


def join_rows(
    connection: duckdb.DuckDBPyConnection, folder: Path, listing: Listing, home: Landing, landing: Landing
) -> Path:
    """What is to be decided on, by sys_id: every listed attachment of a live row, and every one that was known before.

    A Parquet file of the fields, what was known of them (``before_hash``, ``before_size``, ...), and ``listed``.
    """
    write_ids(live_rows(landing), folder / "live.parquet")
    _write_listed(listing, home, folder / "listed.parquet")
    _write_before(home.store, folder / "before.parquet")
    target = folder / "joined.parquet"
    written = {name: literal(str(folder / f"{name}.parquet")) for name in ("listed", "live", "before")}
    kept = ", ".join(f"coalesce(b.{name}, '') AS before_{name}" for name in (*_KEPT, "hash", "sys_updated_on"))
    fields = ", ".join(f"CASE WHEN l.sys_id IS NULL THEN b.{name} ELSE l.{name} END AS {name}" for name in FIELDS)
    connection.execute(
        f"""
        COPY (
            WITH listed AS (
                SELECT * FROM read_parquet({written["listed"]})
                WHERE NOT starts_with(table_name, '{_INLINE}')
                  AND table_sys_id IN (SELECT sys_id FROM read_parquet({written["live"]}))
            )
            SELECT {fields}, {kept}, coalesce(b.size_bytes, '') AS before_size, l.sys_id IS NOT NULL AS listed
            FROM listed l FULL JOIN read_parquet({written["before"]}) b ON l.sys_id = b.sys_id
            ORDER BY sys_id
        ) TO {literal(str(target))} (FORMAT parquet)
        """  # noqa: S608 - our own names and folder
    )
    return target


def joined_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of ``join_rows``, one portion at a time in memory."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=PAGE_ROWS):
            yield from batch.to_pylist()


def _write_listed(listing: Listing, home: Landing, path: Path) -> None:
    """The listing as plain text columns."""
    schema = pa.schema([(name, pa.string()) for name in FIELDS])
    there = set(listing.plan.fields)
    with pq.ParquetWriter(path, schema) as writer:
        for file in home.all_landed(listing.plan).values():
            with home.parquet(file.path) as source:
                for batch in source.iter_batches(batch_size=PAGE_ROWS):
                    columns = [
                        values_of(batch.column(name)) if name in there else pa.array([""] * batch.num_rows)
                        for name in FIELDS
                    ]
                    writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _write_before(store: Store, path: Path) -> None:
    """The table of the run before as text columns; no rows where there was none."""
    schema = pa.schema([(name, pa.string()) for name in (*FIELDS, *_KEPT)])
    with pq.ParquetWriter(path, schema) as writer, _opened(store) as file:
        for batch in file.iter_batches(batch_size=PAGE_ROWS) if file else ():
            columns = [text_of(batch.column(field.name)) for field in schema]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def text_of(column: pa.Array) -> pa.Array:
    """A column of the published table as the texts that it was made of."""
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column.cast(pa.timestamp("s", "UTC")), format="%Y-%m-%d %H:%M:%S").cast(pa.string())
    return column.cast(pa.string())


@contextmanager
def _opened(store: Store) -> Iterator[pq.ParquetFile | None]:
    if TABLE_FILE not in store.list(""):
        yield None
        return
    with store.parquet(TABLE_FILE) as file:
        yield file

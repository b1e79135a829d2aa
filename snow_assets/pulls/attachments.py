"""The attachments of a pull's rows: their records as a table, their files beside it.

Below ``<data>/<pull>.attachments``: ``attachments.parquet``, replaced whole at the end of each run, and
``files/<2 digits>/<sys_id>-<name>``. Files are committed one by one, so a run that ends early loses nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from snow_assets.config import PullConfig
from snow_assets.errors import ConfigError, FilesFailed, LandingError, SnowError
from snow_assets.pulls.attachments_files import FILES, SIZE_ONLY, Attachment, Files
from snow_assets.pulls.attachments_listing import (
    PAGE_ROWS,
    TABLE_FILE,
    Listing,
    join_rows,
    joined_rows,
    read_listing,
)
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.live import live_rows
from snow_assets.pulls.stores import DAMAGED, Store
from snow_assets.pulls.workspace import literal, workspace
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.exchange import Tally

FOOTER_KEY: Final = b"snow_assets.attachments"
SAMPLE: Final = 20
STATES: Final = ("landed", "skipped", "failed", "deleted")
_TEXTS: Final = ("sys_id", "table_name", "table_sys_id", "file_name", "content_type")
_MOMENTS: Final = ("sys_created_on", "sys_updated_on")
_STORED: Final = "%Y-%m-%d %H:%M:%S"
SCHEMA: Final = pa.schema(
    [
        *((name, pa.string()) for name in _TEXTS),
        ("size_bytes", pa.int64()),
        *((name, pa.string()) for name in ("hash", "path", "state", "reason")),
        *((name, pa.timestamp("us", "UTC")) for name in _MOMENTS),
    ]
)
"""Columns of ``attachments.parquet``. ``hash``: SHA-256 of the file where it landed; ``path`` is relative to the
folder that the table lies in."""


@dataclass(frozen=True, slots=True)
class Attachments:
    """What a run made of the attachments. Counts by state; ``bytes`` of the landed ones.

    ``fetched`` and ``fetched_bytes`` came over the network in this run. ``size_only``: landed without a SHA-256 of the
    instance to hold them against. ``hidden``: records that the account may not read, ``None`` where nothing counts.
    ``failures`` samples what failed: sys_id, file name and reason. ``cost`` is what it all asked of the instance.
    """

    pull: str
    plan: str
    as_of: str
    location: str
    table: str
    landed: int
    skipped: int
    failed: int
    deleted: int
    bytes: int
    fetched: int
    fetched_bytes: int
    size_only: int
    hidden: int | None
    failures: tuple[tuple[str, str, str], ...] = ()
    cost: Mapping[str, Any] = field(default_factory=dict)


def home_of(landing: Landing) -> Landing:
    """Where the attachments of a pull lie; a lease of it is the attachments' own."""
    return Landing(landing.pull, landing.beside("attachments"))


def sync_attachments(
    pull: PullConfig, client: Client, landing: Landing, *, verify: bool = False
) -> tuple[Attachments, SnowError | None]:
    """Bring the attachments up to the pull's live rows; returns what became of them, and the error to end with.

    A file that fails is named in the table, and the others go on. What lies there whole is not fetched again;
    ``verify`` reads every file for that, instead of trusting the run before. Whoever calls this holds the lease of
    ``home_of(landing)``.

    Raises what a pull raises where the records cannot be read; then the table stays as it was.
    """
    wanted = pull.attachments
    if wanted is None:
        hint = f"write attachments: true into pull {pull.name}"
        raise ConfigError("does not ask for attachments", key="pull", value=pull.name, hint=hint)
    live_rows(landing)  # before anything is asked or written: nothing published, nothing to do
    home = home_of(landing)
    store = home.store
    store.check_writable()
    for name in store.list(FILES):
        store.remove_scratch(f"{FILES}/{name.rstrip('/')}")
    listing = read_listing(pull, wanted, client, home)
    files = Files(pull, wanted, client, store, verify=verify)
    with workspace() as (connection, folder):
        joined = join_rows(connection, folder, listing, home, landing)
        outcome = _Outcome(folder / "outcome.parquet")
        with outcome:
            for each in files.run(joined_rows(joined), unsure=_unsure(listing, read_attachments(landing))):
                outcome.add(each)
        found = _found(pull, home, listing, outcome, files)
        home.store.remove_folder(listing.plan.plan_id)  # before: a finished run's listing is not gone on with
        _publish(connection, outcome.path, store, found)
    return found, files.stopped or _error(found)


def read_attachments(landing: Landing) -> Attachments | None:
    """What the last run made of the attachments, from the table's footer; ``None`` where there was none.

    Raises ``LandingError`` where the table is damaged.
    """
    store = home_of(landing).store
    if TABLE_FILE not in store.list(""):
        return None
    try:
        with store.parquet(TABLE_FILE) as file:
            content = (file.metadata.metadata or {})[FOOTER_KEY]
        return msgspec.json.decode(content, type=Attachments)
    except (*DAMAGED, msgspec.DecodeError) as error:
        hint = "move it away; the next run makes it anew, and keeps the files"
        raise LandingError("is damaged", key="file", value=store.uri(TABLE_FILE), hint=hint) from error


class _Outcome:
    """Gathers what becomes of each attachment in a file, some rows at a time in memory. A context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.states: Counter[str] = Counter()
        self.bytes = self.fetched = self.fetched_bytes = self.size_only = 0
        self.failures: list[tuple[str, str, str]] = []
        self._rows: list[dict[str, Any]] = []
        self._writer = pq.ParquetWriter(path, _texts(SCHEMA))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def add(self, each: Attachment) -> None:
        """Take one."""
        self.states[each.state] += 1
        if each.state == "landed":
            self.bytes += each.size or 0
            self.size_only += each.reason == SIZE_ONLY
        if each.fetched is not None:
            self.fetched += 1
            self.fetched_bytes += each.fetched
        if each.state == "failed" and len(self.failures) < SAMPLE:
            self.failures.append((each.sys_id, str(each.record["file_name"] or ""), each.reason))
        self._rows.append(_row(each))
        if len(self._rows) >= PAGE_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=_texts(SCHEMA)))
            self._rows = []


def _row(each: Attachment) -> dict[str, Any]:
    record = {name: record_text(each.record, name) for name in (*_TEXTS, *_MOMENTS)}
    size = str(each.size) if each.size is not None else record_text(each.record, "size_bytes").replace(",", "")
    own = {"hash": each.sha256 or record_text(each.record, "hash"), "path": each.path, "state": each.state}
    return {**record, **own, "reason": each.reason, "size_bytes": size if size.isdecimal() else None}


def record_text(record: Mapping[str, Any], name: str) -> str:
    """A field's text; ``""`` for null."""
    return str(record[name] or "")


def _texts(schema: pa.Schema) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in schema.names])


def _unsure(listing: Listing, before: Attachments | None) -> str:
    """Why an attachment that is not listed may not be deleted: more records are hidden than before."""
    hidden = listing.totals.hidden
    if before is None or (hidden is not None and before.hidden is not None and hidden <= before.hidden):
        return ""
    if hidden is None and before.hidden is None:
        return ""
    return "not listed any more: deleted, or hidden from this account, which sees less than before"


def _found(pull: PullConfig, home: Landing, listing: Listing, outcome: _Outcome, files: Files) -> Attachments:
    cost = Tally.from_dict(listing.totals.cost)
    cost.add(files.tally)
    return Attachments(
        pull=pull.name,
        plan=listing.plan.plan_id,
        as_of=listing.plan.as_of.isoformat(),
        location=home.location,
        table=home.store.uri(TABLE_FILE),
        **{state: outcome.states[state] for state in STATES},
        bytes=outcome.bytes,
        fetched=outcome.fetched,
        fetched_bytes=outcome.fetched_bytes,
        size_only=outcome.size_only,
        hidden=listing.totals.hidden,
        failures=tuple(outcome.failures),
        cost=cost.as_dict(),
    )


def _error(found: Attachments) -> SnowError | None:
    if not found.failed:
        return None
    shown = "; ".join(f"{name} ({sys_id}): {reason}" for sys_id, name, reason in found.failures[:3])
    more = f"; and {found.failed - 3} more" if found.failed > 3 else ""
    total = found.failed + found.landed
    return FilesFailed(
        f"{found.failed} of {total} attachments of pull {found.pull} could not be fetched: {shown}{more}",
        key="file",
        value=found.table,
        hint="run it again: what landed is not fetched again",
    )


def _publish(connection: duckdb.DuckDBPyConnection, outcome: Path, store: Store, found: Attachments) -> None:
    """Sort the rows by sys_id into the table, with what was found in its footer, and put it in place."""
    scratch = store.scratch(TABLE_FILE)
    try:
        rows = connection.sql(f"SELECT * FROM read_parquet({literal(str(outcome))}) ORDER BY sys_id")  # noqa: S608 - our file
        with pq.ParquetWriter(scratch, SCHEMA, compression="zstd") as writer:
            for batch in rows.to_arrow_reader(PAGE_ROWS):
                writer.write_table(_typed(pa.Table.from_batches([batch])))
            writer.add_key_value_metadata({FOOTER_KEY: msgspec.json.encode(asdict(found))})
        store.replace(scratch, TABLE_FILE)
    finally:
        scratch.unlink(missing_ok=True)


def _typed(texts: pa.Table) -> pa.Table:
    """The columns of ``SCHEMA`` from texts; a moment that is none is null."""
    columns = {name: texts.column(name) for name in SCHEMA.names}
    columns["size_bytes"] = columns["size_bytes"].cast(pa.int64())
    for name in _MOMENTS:
        moments = pc.strptime(columns[name], format=_STORED, unit="us", error_is_null=True)
        columns[name] = pc.assume_timezone(moments, "UTC")
    return pa.table(columns, schema=SCHEMA)

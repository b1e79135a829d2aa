"""The current rows of a delta pull: a Delta table of its own, with one row per sys_id, brought up to what is published.

Files are rewritten where they hold a changed row, and only those; changed rows go to files of their own, so that what
changes often lies together and the next delta touches little. Readers see the table before or after, never between:
there is one commit, and the files that it takes out stay until ``vacuum``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

from snow_assets.config import PullConfig
from snow_assets.errors import ConfigError, LandingError, LeaseHeld
from snow_assets.pulls.current_files import STATE, fields_among, file_schema, files_of
from snow_assets.pulls.current_keys import LIVE, Keys
from snow_assets.pulls.current_rewrite import Rewrite
from snow_assets.pulls.dataset import (
    APPLICATION,
    CONFIGURATION,
    HOOKS,
    PREFIX,
    add_columns,
    last_commit,
    log_of,
    open_table,
    published,
)
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.plan import moment_of, plan_in
from snow_assets.pulls.table_log import LOG, TableLog
from snow_assets.pulls.workspace import workspace

MEMORY = "256MB"  # for the keys; the rows take about as much again, whatever the table's size
CHECKPOINTS = {"delta.checkpointInterval": "20"}


@dataclass(frozen=True, slots=True)
class Current:
    """The current rows of a delta pull, as of the published plan ``plan`` of the chain ``base``.

    ``files`` are the paths or URLs of the Parquet files of live rows, ``gone_files`` those of rows that were deleted,
    reclassified or left the filter. ``rows`` are live, ``deleted`` were deleted, ``left`` are the other gone ones.
    ``changed`` tells whether this call made the commit.
    """

    pull: str
    plan: str
    base: str
    version: int
    location: str
    fields: tuple[str, ...]
    files: tuple[str, ...]
    gone_files: tuple[str, ...]
    rows: int
    deleted: int
    left: int
    changed: bool = False


def current(landing: Landing) -> Current | None:
    """The current rows as they are now; ``None`` where none were brought up. Raises ``LandingError``."""
    home = home_of(landing)
    table = open_table(home)
    return None if table is None else _current(home, table, changed=False)


def home_of(landing: Landing) -> Landing:
    """Where the table of current rows lies."""
    return Landing(landing.pull, landing.beside("current"))


def bring_up(landing: Landing, pull: PullConfig) -> Current:
    """Bring the current rows up to the newest published plan, in one commit. Again, or after a crash: the same.

    Raises ``ConfigError`` where nothing is published or the pull is no delta pull, ``LeaseHeld`` where another run
    brought them up meanwhile, and ``LandingError`` where a file or a log cannot be read or written.
    """
    dataset = published(landing)
    if dataset is None or dataset.mode != "delta":
        what = "nothing is published" if dataset is None else "is published as a full pull: its dataset is current"
        raise ConfigError(what, key="pull", value=landing.pull, hint=f"run: snow-assets pull {landing.pull}")
    home = home_of(landing)
    table = open_table(home)
    commit = {} if table is None else last_commit(home, table)
    after = commit.get("plan", "") if commit.get("base") == dataset.base else ""
    if table is not None and after >= dataset.plan:
        return _current(home, table, changed=False)
    with workspace(MEMORY) as (connection, _):
        work = Rewrite(landing, home, dataset, pull.cursor, after, Keys(connection))
        known = table if after else None
        work.find(files_of(known), () if known is None else _fields(known))
        work.write()
    _commit(home, table, work, pull)
    pa.default_memory_pool().release_unused()
    return _current(home, _reopened(home), changed=True)


def vacuum(landing: Landing, before: datetime, *, dry_run: bool = False) -> list[str]:
    """Forget the table's versions that were of no use after ``before`` (aware), with the files that only they name.

    Returns the paths of what is removed, those of the log among them. A file that no commit ever named goes once the
    table has taken in the plan that wrote it: until then it may belong to a commit that is being made. A dry run
    changes nothing. Raises ``LandingError``.
    """
    home = home_of(landing)
    table = open_table(home)
    if table is None:
        return []
    log = TableLog(home)
    kept = log.kept_since(before)
    named, once = log.named(kept), log.named(log.versions)
    applied = last_commit(home, table).get("plan", "")
    data = [path for path in home.store.sizes("") if not path.startswith(f"{LOG}/") and path not in named]
    old = sorted(path for path in data if path in once or "" < _writer_of(path) <= applied)
    removed = [*log.files_before(kept[0].number), *old]
    if not dry_run:
        log.cut(kept[0].number)
        for path in old:
            home.store.remove(path)
    return removed


def _writer_of(path: str) -> str:
    """The plan that wrote a file of the table, whole or not; ``""`` where its name does not say."""
    return plan_in(path.rpartition("/")[2].lstrip("."))


def _commit(home: Landing, table: DeltaTable | None, work: Rewrite, pull: PullConfig) -> None:
    plan, base = work.dataset.plan, work.dataset.base
    version = int(moment_of(plan).timestamp())
    properties = CommitProperties(
        custom_metadata={f"{PREFIX}plan": plan, f"{PREFIX}base": base},
        app_transactions=[Transaction(APPLICATION, version)],
    )
    schema = Schema.from_arrow(file_schema(work.fields).append(pa.field(STATE, pa.string())))
    if table is not None:
        with log_of(home):
            if work.is_delta:
                add_columns(table, schema)
            mode = "append" if work.is_delta else "overwrite"
            actions: list[AddAction | RemoveAction] = [*work.removed, *work.added]
            table.create_write_transaction(
                actions, mode, schema, [STATE], commit_properties=properties, post_commithook_properties=HOOKS
            )
        return
    try:
        with log_of(home):
            create_table_with_add_actions(
                home.delta_location,
                schema,
                work.added,
                mode="error",
                partition_by=[STATE],
                name=f"{home.pull}.current",
                description=pull.description,
                configuration={**CONFIGURATION, **CHECKPOINTS},
                commit_properties=properties,
            )
    except LandingError:
        if open_table(home) is not None:  # there was none before
            raise LeaseHeld("was brought up meanwhile", key="pull", value=home.pull, hint="run it again") from None
        raise


def _reopened(home: Landing) -> DeltaTable:
    table = open_table(home)
    if table is None:
        raise LandingError("the table of current rows cannot be read back", key="data", value=home.location)
    return table


def _fields(table: DeltaTable) -> tuple[str, ...]:
    return fields_among(field.name for field in table.schema().fields)


def _current(home: Landing, table: DeltaTable, *, changed: bool) -> Current:
    commit = last_commit(home, table)
    with log_of(home):
        files = files_of(table)
        fields = _fields(table)
    rows = {state: sum(file.rows for file in files if file.state == state) for state in {file.state for file in files}}
    live, deleted = rows.pop(LIVE, 0), rows.pop("deleted", 0)
    return Current(
        pull=home.pull,
        plan=commit.get("plan", ""),
        base=commit.get("base", ""),
        version=table.version(),
        location=home.location,
        fields=fields,
        files=tuple(home.store.uri(file.path) for file in files if file.state == LIVE),
        gone_files=tuple(home.store.uri(file.path) for file in files if file.state != LIVE),
        rows=live,
        deleted=deleted,
        left=sum(rows.values()),
        changed=changed,
    )

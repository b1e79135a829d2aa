"""What the books tell: loads, import sets, jobs and runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from snow_assets.imports.contract import Counters

LoadState: TypeAlias = Literal["loading", "loaded", "processed", "error", "cancelled"]
JobType: TypeAlias = Literal["regular", "reprocessing", "resuming"]
JobState: TypeAlias = Literal["pending", "running", "completed", "error"]

OPEN_JOBS: Final = ("pending", "running")
OPEN_LOADS: Final = ("loading", "loaded")


@dataclass(frozen=True)
class LoadRecord:
    """A load of an import: a row of ``sys_concurrent_import_set``. Times are UTC, naive."""

    number: str
    name: str  # of the import
    load_id: str
    sys_id: str  # no other load has it, whatever books it is in
    table_name: str  # the staging table
    partition: str
    state: LoadState
    sys_domain: str
    context: str | None
    definition: str  # JSON
    staged: int
    rejected: int
    last_job: str | None
    error: str
    created: datetime
    load_completed: datetime | None
    completed: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether it is neither finished nor given up."""
        return self.state in OPEN_LOADS

    @property
    def overlaps(self) -> bool:
        """Whether its sets are transformed while later rows load; see `ImportConfig.overlaps`."""
        coalesce = json.loads(self.definition)["coalesce"]
        return self.partition == "size" and bool(coalesce["fields"]) and not coalesce["create_on_empty"]


@dataclass(frozen=True)
class JobRecord:
    """A job of an import set: a row of ``sys_concurrent_import_set_job``."""

    number: str
    type: JobType
    state: JobState
    retry_count: int
    worker: str
    error: str
    started: datetime | None
    completed: datetime | None


@dataclass(frozen=True)
class RunRecord:
    """One try of a job: a row of ``sys_import_set_run``. ``attempt`` names the file of its rows."""

    number: str
    job: str
    state: str
    attempt: str
    counters: Counters
    seconds: float | None


@dataclass(frozen=True)
class SetRecord:
    """An import set with its newest job, and the newest run of that."""

    number: str
    load: str
    set_no: int
    partition_key: str
    state: LoadState
    rows: int
    job: JobRecord | None
    run: RunRecord | None


@dataclass(frozen=True)
class Taken:
    """A job that was taken to be run. ``attempts``: those of this job before, which died or failed."""

    job: str
    run: str
    attempt: str
    type: JobType
    attempts: tuple[str, ...]

    @property
    def reprocess(self) -> bool:
        """Whether rows that were applied before are applied again."""
        return self.type == "reprocessing"


def load_of_row(row: Any) -> LoadRecord:
    """From a row of the table."""
    return LoadRecord(
        row.number, row.scheduled_import, row.load_id, row.sys_id, row.table_name, row.partition, row.state,
        row.sys_domain, row.execution_context, row.definition, row.staged, row.rejected, row.last_job, row.error or "",
        row.sys_created_on, row.load_completed, row.completed,
    )  # fmt: skip


def job_of_row(row: Any) -> JobRecord:
    """From a row of the table."""
    return JobRecord(
        row.number, row.type, row.state, row.retry_count, row.worker or "", row.error or "", row.started, row.completed
    )


def run_of_row(row: Any) -> RunRecord:
    """From a row of the table."""
    counters = Counters(row.total, row.inserts, row.updates, row.ignored, row.skipped, row.errors)
    return RunRecord(row.number, row.job, row.state, row.attempt or "", counters, row.run_time)

"""What the books ask and change inside a transaction."""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, insert, select, update

from snow_assets.errors import ConfigError, LoadUnfinished
from snow_assets.imports.books_database import now, number
from snow_assets.imports.books_records import (
    OPEN_JOBS,
    JobRecord,
    JobType,
    LoadRecord,
    RunRecord,
    SetRecord,
    Taken,
    job_of_row,
    load_of_row,
    run_of_row,
)
from snow_assets.imports.tables import JOBS, LOADS, RUNS, SETS

_STOPPED: Final = "the process that ran it ended"
_REPLACED: Final = "given up for a reprocessing"


def find_loads(connection: Connection, name: str | None, *where: ColumnElement[bool]) -> list[LoadRecord]:
    """Loads of an import or of all, newest first."""
    query: Select[Any] = select(LOADS).where(*where).order_by(LOADS.c.load_id.desc(), LOADS.c.number.desc())
    if name is not None:
        query = query.where(LOADS.c.scheduled_import == name)
    return [load_of_row(row) for row in connection.execute(query)]


def find_load(connection: Connection, found: str) -> LoadRecord:
    """A load by its number."""
    return load_of_row(connection.execute(select(LOADS).where(LOADS.c.number == found)).one())


def find_sets(connection: Connection, load: LoadRecord, *where: ColumnElement[bool]) -> list[SetRecord]:
    """The sets of a load by number, each with its newest job and the newest run of that."""
    own = SETS.c.concurrent_import_set == load.number
    rows = connection.execute(select(SETS).where(own, *where).order_by(SETS.c.set_no)).all()
    jobs: dict[str, JobRecord] = {}
    for row in connection.execute(
        select(JOBS).where(JOBS.c.concurrent_import_set == load.number).order_by(JOBS.c.number)
    ):
        jobs[row.import_set] = job_of_row(row)
    runs: dict[str, RunRecord] = {}
    for row in connection.execute(
        select(RUNS).where(RUNS.c.concurrent_import_set == load.number).order_by(RUNS.c.number)
    ):
        runs[row.job] = run_of_row(row)
    found = []
    for row in rows:
        job = jobs.get(row.number)
        run = runs.get(job.number) if job else None
        found.append(
            SetRecord(row.number, load.number, row.set_no, row.partition_key, row.state, row.max_row_id, job, run)
        )
    return found


def find_set(connection: Connection, load: LoadRecord, set_no: int) -> SetRecord:
    """A set of the load. Raises ``ConfigError`` where it has none of this number."""
    found = find_sets(connection, load, SETS.c.set_no == set_no)
    if not found:
        hint = f"see the sets of the load: snow-assets imports status {load.name}"
        raise ConfigError("has no such import set", key="set", value=f"{load.name}/{load.load_id}/{set_no}", hint=hint)
    return found[0]


def add_job(connection: Connection, load: LoadRecord, import_set: str, type: JobType) -> str:  # noqa: A002
    """A new job of a set, which waits."""
    found = number(connection, "CISJ")
    connection.execute(
        insert(JOBS).values(
            number=found,
            import_set=import_set,
            concurrent_import_set=load.number,
            scheduled_import=load.name,
            execution_context=load.context,
            type=type,
            state="pending",
            synchronize_inserts=json.loads(load.definition)["synchronize_inserts"],
            retry_count=0,
            sys_created_on=now(),
        )
    )
    return found


def replace_job(connection: Connection, load: LoadRecord, record: SetRecord) -> None:
    """Give a set a job of type reprocessing; one that was open is given up."""
    if record.job and record.job.state in OPEN_JOBS:
        end_job(connection, record.job.number, "error", _REPLACED)
    add_job(connection, load, record.number, "reprocessing")
    connection.execute(update(SETS).where(SETS.c.number == record.number).values(state="loaded"))


def end_job(connection: Connection, job: str, state: str, error: str | None) -> None:
    """The job is over, and so are its runs that still say they run."""
    values = {"state": state, "error": error, "completed": now()}
    connection.execute(update(JOBS).where(JOBS.c.number == job).values(**values))
    end_runs(connection, job)


def end_runs(connection: Connection, job: str) -> None:
    """Runs of a dead process are in error."""
    dead = update(RUNS).where(RUNS.c.job == job, RUNS.c.state == "running")
    connection.execute(dead.values(state="error", completed=now()))


def end_run(connection: Connection, taken: Taken, **values: Any) -> None:
    """What came of a try."""
    connection.execute(update(RUNS).where(RUNS.c.number == taken.run).values(completed=now(), **values))


def set_state(connection: Connection, taken: Taken, state: str) -> None:
    """The state of the job's set."""
    own = select(JOBS.c.import_set).where(JOBS.c.number == taken.job).scalar_subquery()
    connection.execute(update(SETS).where(SETS.c.number == own).values(state=state))


def attempts_of(connection: Connection, job: str) -> tuple[str, ...]:
    """The names of a job's tries."""
    rows = connection.execute(select(RUNS.c.attempt).where(RUNS.c.job == job).order_by(RUNS.c.number))
    return tuple(row.attempt for row in rows if row.attempt)


def cancel(connection: Connection, load: LoadRecord, why: str, state: str = "cancelled") -> None:
    """Give a load up. Sets that were applied stay as they are, and are named."""
    applied = [each for each in find_sets(connection, load) if each.state == "processed"]
    if applied:
        names = ", ".join(str(each.set_no) for each in applied)
        why = f"{why}; import sets {names} were applied before that, and their rows are in the target"
    open_jobs = select(JOBS.c.number).where(JOBS.c.concurrent_import_set == load.number, JOBS.c.state.in_(OPEN_JOBS))
    for row in connection.execute(open_jobs).all():
        end_job(connection, row.number, "error", "cancelled with its load")
    left = update(SETS).where(SETS.c.concurrent_import_set == load.number, SETS.c.state != "processed")
    connection.execute(left.values(state="cancelled"))
    values = {"state": state, "error": why, "completed": now()}
    connection.execute(update(LOADS).where(LOADS.c.number == load.number).values(**values))


def check_open(load: LoadRecord) -> None:
    """Raise ``LoadUnfinished`` where no set of the load may be taken."""
    if load.state == "loaded" or (load.state == "loading" and load.overlaps):
        return
    why = "has not loaded yet" if load.state == "loading" else f"is {load.state}"
    hint = f"snow-assets imports resume {load.name}, or reprocess" if load.state != "loading" else "wait for it"
    raise LoadUnfinished(why, key="load", value=f"{load.name}/{load.load_id}", hint=hint)


def unfinished(load: LoadRecord) -> LoadUnfinished:
    """Another load may not begin yet."""
    what = f"load {load.load_id} is {load.state} and not finished"
    hint = f"snow-assets imports resume {load.name} goes on with it; imports run {load.name} --new gives it up"
    return LoadUnfinished(what, key="import", value=load.name, hint=hint)


def worked_on(load: LoadRecord) -> LoadUnfinished:
    """Somebody works on the load right now."""
    what = f"load {load.load_id} is being worked on by another run"
    return LoadUnfinished(what, key="import", value=load.name, hint="wait for it to end, or stop it first")

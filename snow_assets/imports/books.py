"""The books of imports: loads, import sets, their jobs and runs. Every change is one transaction, whole or absent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

from sqlalchemy import func, insert, select, update

from snow_assets.config_imports import ImportConfig
from snow_assets.errors import LoadUnfinished
from snow_assets.imports import books_queries as queries
from snow_assets.imports.books_database import Database, now, number, process_name
from snow_assets.imports.books_records import OPEN_JOBS, OPEN_LOADS, JobType, LoadRecord, SetRecord, Taken
from snow_assets.imports.contract import Applied
from snow_assets.imports.home import partition_key
from snow_assets.imports.tables import EXECUTIONS, JOBS, LOADS, RUNS, SETS
from snow_assets.pulls.plan import moment_of, plan_id_of

Alive: TypeAlias = Callable[[LoadRecord, int], bool]  # whether somebody works on a set of a load


def nobody(_load: LoadRecord, _set_no: int) -> bool:
    """No set is worked on."""
    return False


class Books:
    """Reads and writes the books. Safe for threads and processes; locks are the callers' business (`Workspace`)."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def open(cls, url: str | None, file: Path) -> Books:
        """The books in a PostgreSQL database, or in an SQLite file. Nothing is made before the first use."""
        return cls(Database(url, file))

    def close(self) -> None:
        """Let go of connections."""
        self.database.close()

    # Loads

    def start_load(
        self,
        config: ImportConfig,
        load_id: str,
        context: str | None = None,
        *,
        new: bool = False,
        alive: Alive = nobody,
    ) -> LoadRecord:
        """Begin a load; the caller holds the import's load lock. ``load_id`` is the next free second, if it is taken.

        A load that still says ``loading`` is dead then, and is cancelled. ``new`` cancels one that was loaded and not
        finished, too, unless one of its running jobs is ``alive``.

        Raises:
            LoadUnfinished: an older load of the import is not finished.
        """
        with self.database.write() as connection:
            for old in queries.find_loads(connection, config.name, LOADS.c.state.in_(OPEN_LOADS)):
                if old.state == "loaded" and not new:
                    raise queries.unfinished(old)
                _refuse_live(old, queries.find_sets(connection, old), alive)
                why = "the load died" if old.state == "loading" else "given up for a new load"
                queries.cancel(connection, old, why)
            newest = connection.execute(
                select(func.max(LOADS.c.load_id)).where(LOADS.c.scheduled_import == config.name)
            ).scalar()
            if newest and newest >= load_id:
                load_id = plan_id_of(moment_of(newest) + timedelta(seconds=1))
            found = number(connection, "CISET")
            connection.execute(
                insert(LOADS).values(
                    number=found,
                    scheduled_import=config.name,
                    load_id=load_id,
                    sys_id=uuid4().hex,
                    table_name=config.staging_table,
                    partition=config.partition.method,
                    state="loading",
                    sys_domain=config.sys_domain,
                    execution_context=context,
                    definition=config.model_dump_json(),
                    staged=0,
                    rejected=0,
                    sys_created_on=now(),
                )
            )
            return queries.find_load(connection, found)

    def check_idle(self, name: str, alive: Alive) -> None:
        """Raise ``LoadUnfinished`` where somebody is ``alive`` at a set of an unfinished load of the import."""
        for load in self.loads(name):
            if load.is_open:
                _refuse_live(load, self.sets(load), alive)

    def add_set(self, load: LoadRecord, set_no: int, rows: int) -> SetRecord:
        """An import set is staged: it is ``loaded``, and a job waits for it."""
        with self.database.write() as connection:
            made = now()
            found = number(connection, "ISET")
            connection.execute(
                insert(SETS).values(
                    number=found,
                    concurrent_import_set=load.number,
                    set_no=set_no,
                    partition_key=partition_key(load.load_id, set_no),
                    state="loaded",
                    table_name=load.table_name,
                    max_row_id=rows,
                    load_completed=made,
                )
            )
            queries.add_job(connection, load, found, "regular")
            return queries.find_sets(connection, load, SETS.c.number == found)[0]

    def loaded(self, load: LoadRecord, staged: int, rejected: int) -> LoadRecord:
        """All rows are staged. Raises ``LoadUnfinished`` where the load was given up meanwhile."""
        with self.database.write() as connection:
            change = update(LOADS).where(LOADS.c.number == load.number, LOADS.c.state == "loading")
            done = connection.execute(
                change.values(state="loaded", staged=staged, rejected=rejected, load_completed=now())
            )
            if not done.rowcount:
                raise LoadUnfinished("was given up while it loaded", key="load", value=f"{load.name}/{load.load_id}")
            return queries.find_load(connection, load.number)

    def load_failed(self, load: LoadRecord, error: str, *, state: str = "error") -> LoadRecord:
        """Loading failed: its jobs that wait are given up. What sets of it were applied already stays in the target."""
        with self.database.write() as connection:
            queries.cancel(connection, load, error, state)
            return queries.find_load(connection, load.number)

    def finish(self, load: LoadRecord, state: str, error: str = "", seen: list[SetRecord] | None = None) -> LoadRecord:
        """The load is ``processed``, or in ``error``: unless its import sets are no longer as they were ``seen``."""
        with self.database.write() as connection:
            if seen is not None and queries.find_sets(connection, load) != seen:
                return queries.find_load(connection, load.number)
            values = {"state": state, "error": error or None, "completed": now()}
            own = LOADS.c.number == load.number, LOADS.c.state == "loaded"
            connection.execute(update(LOADS).where(*own).values(**values))
            return queries.find_load(connection, load.number)

    def load(self, name: str, load_id: str | None = None) -> LoadRecord | None:
        """A load of the import, by default its newest; None where there is none."""
        if not self.database.is_there:
            return None
        chosen = [LOADS.c.load_id == load_id] if load_id else []
        with self.database.read() as connection:
            found = queries.find_loads(connection, name, *chosen)
        return found[0] if found else None

    def loads(self, name: str | None = None) -> list[LoadRecord]:
        """Every load of an import, or of all; newest first."""
        if not self.database.is_there:
            return []
        with self.database.read() as connection:
            return queries.find_loads(connection, name)

    def released(self) -> dict[str, str]:
        """The imports that may start, since the one before is finished, and have not: each with its context."""
        if not self.database.is_there:
            return {}
        ready = select(EXECUTIONS).where(EXECUTIONS.c.state == "pending", EXECUTIONS.c.released.is_not(None))
        with self.database.read() as connection:
            rows = connection.execute(ready.order_by(EXECUTIONS.c.execution_context)).all()
        return {row.scheduled_import: row.execution_context for row in rows if row.position > 0}

    # Import sets and their jobs

    def sets(self, load: LoadRecord) -> list[SetRecord]:
        """The import sets of a load, by number, each with its newest job and run."""
        with self.database.read() as connection:
            return queries.find_sets(connection, load)

    def take(self, load: LoadRecord, set_no: int, worker: str = "", type: JobType = "regular") -> Taken | None:  # noqa: A002
        """Take the newest job of a set to run it; the caller holds the set's lock. None where it is completed.

        A job that says it runs is dead then, and is taken up, as one that failed is: its type becomes ``resuming``
        (a reprocessing stays one) and ``retry_count`` rises.

        Raises:
            ConfigError: there is no such set.
            LoadUnfinished: the load was cancelled, or is not there for the taking before it has loaded.
        """
        with self.database.write() as connection:
            queries.check_open(queries.find_load(connection, load.number))
            record = queries.find_set(connection, load, set_no)
            job = record.job
            if job is None or job.state == "completed":
                return None
            again = job.state != "pending"
            kind: JobType = job.type if job.type == "reprocessing" or not (again or type == "resuming") else "resuming"
            attempts = queries.attempts_of(connection, job.number)
            queries.end_runs(connection, job.number)
            begun = now()
            connection.execute(
                update(JOBS)
                .where(JOBS.c.number == job.number)
                .values(
                    state="running",
                    type=kind,
                    worker=worker or process_name(),
                    started=begun,
                    completed=None,
                    error=None,
                    retry_count=JOBS.c.retry_count + int(again),
                )
            )
            run, attempt = number(connection, "ISR"), uuid4().hex[:8]
            connection.execute(
                insert(RUNS).values(
                    number=run,
                    set=record.number,
                    concurrent_import_set=load.number,
                    job=job.number,
                    state="running",
                    attempt=attempt,
                    total=record.rows,
                    sys_created_on=begun,
                )
            )
            return Taken(job.number, run, attempt, kind, attempts)

    def done(self, job: Taken, applied: Applied, seconds: float) -> None:
        """The target holds the set: the job is completed, and its counters are what counts."""
        counters = applied.counters
        with self.database.write() as connection:
            queries.end_run(
                connection,
                job,
                state="complete_with_errors" if counters.errors else "complete",
                attempt=applied.attempt,
                processed=counters.accounted,
                run_time=seconds,
                **counters.as_dict(),
            )
            queries.end_job(connection, job.job, "completed", None)
            queries.set_state(connection, job, "processed")

    def failed(self, job: Taken, error: str, seconds: float | None = None) -> None:
        """The set could not be mapped or applied: nothing of it counts."""
        with self.database.write() as connection:
            queries.end_run(connection, job, state="error", run_time=seconds)
            queries.end_job(connection, job.job, "error", error)
            queries.set_state(connection, job, "error")

    def last(self, load: LoadRecord, job: str) -> bool:
        """Whether this job, which has ended, is the last of its load: true for exactly one, and never before all ended.

        While rows are still being loaded no job is the last.
        """
        others = select(JOBS.c.number).where(
            JOBS.c.concurrent_import_set == load.number, JOBS.c.state.in_(OPEN_JOBS), JOBS.c.number != job
        )
        with self.database.write() as connection:
            mine = update(LOADS).where(
                LOADS.c.number == load.number,
                LOADS.c.state == "loaded",
                LOADS.c.last_job.is_(None),
                ~others.exists(),
            )
            return bool(connection.execute(mine.values(last_job=job)).rowcount)

    def last_ended(self, load: LoadRecord) -> str | None:
        """The job of the load that ended last; None where there is none."""
        ended = select(JOBS.c.number).where(JOBS.c.concurrent_import_set == load.number, JOBS.c.completed.is_not(None))
        with self.database.read() as connection:
            found: str | None = connection.execute(
                ended.order_by(JOBS.c.completed.desc(), JOBS.c.number.desc())
            ).scalar()
            return found

    def reopen(self, load: LoadRecord, set_nos: Iterable[int] | None = None, *, reprocess: bool = False) -> LoadRecord:
        """Make the load ready for another go: it is ``loaded`` again, and somebody else will be its last.

        ``reprocess`` gives each of the sets a new job of that type; the others keep theirs. To be resumed, a load is
        opened where it ended in error, and left as it is where somebody else was faster.

        Raises:
            LoadUnfinished: it is to be reprocessed, and somebody else has opened it meanwhile.
        """
        with self.database.write() as connection:
            current = queries.find_load(connection, load.number)
            if reprocess and current.is_open:
                raise queries.unfinished(current)
            if not reprocess and current.state != "error":
                return current
            chosen = None if set_nos is None else set(set_nos)
            for record in queries.find_sets(connection, load) if reprocess else ():
                if chosen is None or record.set_no in chosen:
                    queries.replace_job(connection, load, record)
            values = {"state": "loaded", "last_job": None, "error": None, "completed": None}
            connection.execute(update(LOADS).where(LOADS.c.number == load.number).values(**values))
            return queries.find_load(connection, load.number)


def _refuse_live(load: LoadRecord, sets: Iterable[SetRecord], alive: Alive) -> None:
    if any(alive(load, each.set_no) for each in sets if each.job and each.job.state == "running"):
        raise queries.worked_on(load)

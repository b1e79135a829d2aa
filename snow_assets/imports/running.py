"""One import set through one transformer job: mapped, applied, booked. Many run beside each other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Literal, Self

import pyarrow.parquet as pq

from snow_assets.config_imports import ImportConfig
from snow_assets.errors import ConfigError, FixFirst, ImportFailed, SnowError
from snow_assets.imports.books_records import JobType, LoadRecord, SetRecord, Taken
from snow_assets.imports.contract import Applied, Counters, MappedSet, Target, fields_of
from snow_assets.imports.hooks import run_after, run_complete
from snow_assets.imports.mapping import map_set
from snow_assets.imports.transform_context import SetContext
from snow_assets.imports.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What came of an import set.

    ``done``: applied now; ``adopted``: the target, or the books, had it already; ``failed``: nothing of it counts, and
    ``error`` says why. ``last``: its job was the last of its load.
    """

    set_no: int
    partition_key: str
    state: Literal["done", "adopted", "failed"]
    counters: Counters
    seconds: float
    job: str = ""
    last: bool = False
    error: SnowError | None = None


class Transformer:
    """Transforms sets of one load; safe for threads."""

    def __init__(
        self,
        config: ImportConfig,
        workspace: Workspace,
        load: LoadRecord,
        *,
        type: JobType = "regular",  # noqa: A002
        worker: str = "",
    ) -> None:
        self._config = config
        self._workspace = workspace
        self._load = load
        self._type = type
        self._worker = worker
        self._checked = False
        self._checking = threading.Lock()

    def __call__(self, record: SetRecord) -> Outcome:
        """Run the job of a set that waits, failed or died. What fails it is in the outcome and in the books."""
        began = time.monotonic()
        try:
            with self._workspace.working(self._load, record.set_no):
                return self._run(record, began)
        except SnowError as error:
            return self._outcome(record, "failed", Counters(), began, error=error)

    def _run(self, record: SetRecord, began: float) -> Outcome:
        books = self._workspace.books
        taken = books.take(self._load, record.set_no, self._worker, self._type)
        if taken is None:
            counters = record.run.counters if record.run else Counters()
            return self._outcome(record, "adopted", counters, began)
        try:
            applied, state = self._applied(record, taken)
        except Exception as error:
            failure = _told(error, record)
            books.failed(taken, str(failure), time.monotonic() - began)
            last = books.last(self._load, taken.job)
            if not isinstance(error, SnowError):
                log.exception("import set %s failed", record.partition_key)
            return self._outcome(record, "failed", Counters(), began, job=taken.job, last=last, error=failure)
        books.done(taken, applied, time.monotonic() - began)
        last = books.last(self._load, taken.job)
        return self._outcome(record, state, applied.counters, began, job=taken.job, last=last)

    def _applied(self, record: SetRecord, taken: Taken) -> tuple[Applied, Literal["done", "adopted"]]:
        folder = self._workspace.folder(self._load)
        mapped = MappedSet(
            import_name=self._load.name,
            load_id=self._load.load_id,
            set_no=record.set_no,
            attempt=taken.attempt,
            total=record.rows,
            mapped=folder.mapped(record.set_no, taken.attempt),
            rows=folder.rows(record.set_no, taken.attempt),
            reprocess=taken.reprocess,
            load_sys_id=self._load.sys_id,
        )
        if not record.rows:
            return Applied(taken.attempt, Counters()), "done"
        target = self._workspace.target(self._config)
        found = target.applied(mapped.key)
        if found is not None and (not taken.reprocess or found.attempt in taken.attempts):
            if self._config.transform.hooks.on_after or self._config.transform.hooks.on_complete:
                self._mapped_and_applied(mapped, target, found)  # its process may have died before it called them
            return found, "adopted"
        return self._mapped_and_applied(mapped, target, None), "done"

    def _mapped_and_applied(self, mapped: MappedSet, target: Target, found: Applied | None) -> Applied:
        folder = self._workspace.folder(self._load)
        context = SetContext(mapped.import_name, mapped.load_id, mapped.set_no, domain=self._load.sys_domain)
        if not folder.staged(mapped.set_no).exists():
            hint = "transform it where it was staged, with the same SNOW_IMPORTS_DIR, or load anew"
            raise ConfigError("its staged rows are not on this machine", key="set", value=context.set_name, hint=hint)
        try:
            map_set(self._config, folder.staged(mapped.set_no), mapped.mapped, context)
            self._check(target, mapped)
            mapped.rows.parent.mkdir(parents=True, exist_ok=True)
            applied = found or target.apply(mapped)
            run_after(self._config, mapped.mapped, folder.rows(mapped.set_no, applied.attempt), context)
            run_complete(self._config, applied.counters, context)
            return applied
        finally:
            mapped.mapped.unlink(missing_ok=True)

    def _check(self, target: Target, mapped: MappedSet) -> None:
        """Once, before the first set is applied."""
        with self._checking:
            if not self._checked:
                target.check(fields_of(pq.read_schema(mapped.mapped)))
                self._checked = True

    def _outcome(
        self,
        record: SetRecord,
        state: Literal["done", "adopted", "failed"],
        counters: Counters,
        began: float,
        *,
        job: str = "",
        last: bool = False,
        error: SnowError | None = None,
    ) -> Outcome:
        seconds = time.monotonic() - began
        return Outcome(record.set_no, record.partition_key, state, counters, seconds, job, last, error)


class Workers:
    """Threads that transform sets as they come; each runs one at a time. To be closed by ``with``."""

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="transform")
        self._futures: list[Future[Outcome]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(self, transformer: Transformer, record: SetRecord) -> None:
        """Queue a set."""
        self._futures.append(self._pool.submit(transformer, record))

    def outcomes(self) -> Iterator[Outcome]:
        """What came of each that was queued, as it ends."""
        for future in as_completed(self._futures):
            yield future.result()


def transform_sets(transformer: Transformer, sets: Iterable[SetRecord], workers: int) -> Iterator[Outcome]:
    """Transform sets in threads; yields what came of each as it ends."""
    with Workers(workers) as pool:
        for record in sets:
            pool.add(transformer, record)
        yield from pool.outcomes()


def _told(error: Exception, record: SetRecord) -> SnowError:
    if isinstance(error, SnowError):
        return error
    return ImportFailed(f"{type(error).__name__}: {error}", key="set", value=record.partition_key)


def check_domain(config: ImportConfig, load: LoadRecord) -> None:
    """Raise ``ConfigError`` where the declared domain is another one than the load was staged in."""
    if config.sys_domain == load.sys_domain:
        return
    what = f"load {load.load_id} was staged in the domain {load.sys_domain}"
    hint = "put the domain back for this load, or load anew: snow-assets imports run NAME --new"
    raise ConfigError(what, key=f"imports.{config.name}.domain", value=config.sys_domain, hint=hint)


def first_fault(outcomes: Iterable[Outcome]) -> SnowError | None:
    """The error that is worth to be told first: one that a person must fix, else the first."""
    errors = [each.error for each in outcomes if each.error is not None]
    return next((each for each in errors if isinstance(each, FixFirst)), errors[0] if errors else None)

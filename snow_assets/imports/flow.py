"""An import from its source to its target: stage, transform, finish. Dagster's assets and the CLI call these.

Each step may be called again, after any crash, by anyone: what is done is not done twice.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from snow_assets.config_imports import ImportConfig
from snow_assets.errors import ConfigError, ImportFailed
from snow_assets.imports import hierarchy
from snow_assets.imports.books_queries import check_open, unfinished
from snow_assets.imports.books_records import OPEN_JOBS, JobType, LoadRecord, SetRecord
from snow_assets.imports.contract import Counters
from snow_assets.imports.loading import stage
from snow_assets.imports.running import Outcome, Transformer, Workers, check_domain, transform_sets
from snow_assets.imports.workspace import Workspace

__all__ = ["Finished", "Progress", "finish", "reprocess", "resume", "run_import", "stage", "transform"]


_NOTHING: Final = Counters()


@dataclass(frozen=True)
class Finished:
    """A load whose jobs have all ended. ``failed`` names import sets with why; ``released`` is what may start next."""

    load: LoadRecord
    counters: Counters
    failed: dict[str, str] = field(default_factory=dict)
    released: str | None = None

    @property
    def ok(self) -> bool:
        """Whether every import set was applied."""
        return not self.failed


def transform(
    config: ImportConfig,
    workspace: Workspace,
    load_id: str,
    set_nos: Iterable[int] | None = None,
    *,
    type: JobType = "regular",  # noqa: A002
    worker: str = "",
    on_done: Callable[[Outcome], None] | None = None,
) -> Generator[Outcome]:
    """Transform import sets of a load (default: those that are not), some beside each other; yields what came of each.

    A set that fails is an outcome, not an exception; one that was done before is adopted.

    Raises:
        ConfigError: there is no such load or set, or its domain is not the declared one.
        LoadUnfinished: the load has not loaded, or is finished: see `resume` and `reprocess`.
    """
    load = workspace.load(config.name, load_id)
    check_domain(config, load)
    check_open(load)
    sets = workspace.books.sets(load)
    chosen = _chosen(load, sets, set_nos)
    wanted = [each for each in sets if (_is_open(each) if chosen is None else each.set_no in chosen)]
    transformer = Transformer(config, workspace, load, type=type, worker=worker)
    for outcome in transform_sets(transformer, wanted, config.workers):
        if on_done is not None:
            on_done(outcome)
        yield outcome


def _chosen(load: LoadRecord, sets: list[SetRecord], set_nos: Iterable[int] | None) -> set[int] | None:
    chosen = None if set_nos is None else set(set_nos)
    unknown = sorted((chosen or set()) - {each.set_no for each in sets})
    if unknown:
        place = f"{load.name}/{load.load_id}/{unknown[0]:04d}"
        hint = f"it has {len(sets)}: snow-assets imports status {load.name}"
        raise ConfigError("has no such import set", key="set", value=place, hint=hint)
    return chosen


def _is_open(record: SetRecord) -> bool:
    return record.job is None or record.job.state != "completed"


def finish(config: ImportConfig, workspace: Workspace, load_id: str) -> Finished:
    """Close a load whose jobs have all ended: its counters add up to the staged rows. Releases the next import, once.

    Called again, it says the same.

    Raises:
        LoadUnfinished: jobs wait or run.
        ImportFailed: counters do not add up; the sets are named.
    """
    load = workspace.load(config.name, load_id)
    sets = workspace.books.sets(load)
    waiting = [each.partition_key for each in sets if each.job is not None and each.job.state in OPEN_JOBS]
    if load.state == "loading" or waiting:
        raise unfinished(load)
    if load.state == "cancelled":
        hint = f"load anew: snow-assets imports run {config.name}"
        raise ConfigError(f"was cancelled: {load.error}", key="load", value=f"{config.name}/{load_id}", hint=hint)
    failed = {each.partition_key: each.job.error for each in sets if each.job is not None and each.job.state == "error"}
    wrong = _miscounted(load, sets, failed)
    counters = counted(sets)
    error = "; ".join([*wrong, *(f"import set {key}: {why}" for key, why in failed.items())])
    if load.state == "loaded":
        load = workspace.books.finish(load, "error" if error else "processed", error, sets)
        if load.is_open:  # somebody was at it meanwhile
            return finish(config, workspace, load_id)
    released = None
    if load.context:
        job = load.last_job or workspace.books.last_ended(load)
        stop = config.on_error == "stop"
        failing = load.state == "error"
        released = hierarchy.release(workspace.books, load.context, load.name, failed=failing, stop=stop, job=job)
    if wrong:
        raise ImportFailed("; ".join(wrong), key="load", value=f"{load.name}/{load.load_id}")
    return Finished(load, counters, failed, released)


def counted(sets: Iterable[SetRecord]) -> Counters:
    """The counters of the sets that are applied."""
    runs = (each.run for each in sets if each.job is not None and each.job.state == "completed")
    return sum((run.counters for run in runs if run is not None), Counters())


def _miscounted(load: LoadRecord, sets: list[SetRecord], failed: dict[str, str]) -> list[str]:
    """What does not add up: rows of sets against the load's, outcomes of rows against the rows of each set."""
    if load.state == "error" and not sets:
        return []
    found = []
    rows = sum(each.rows for each in sets)
    if rows != load.staged:
        found.append(f"{load.staged} rows were staged, its import sets have {rows}")
    for each in sets:
        accounted = each.run.counters.accounted if each.run else 0
        if each.partition_key not in failed and accounted != each.rows:
            found.append(f"import set {each.partition_key} has {each.rows} rows, {accounted} have an outcome")
    return found


@dataclass(frozen=True)
class Progress:
    """How far an import is. ``rows`` and ``counters``: of the import sets that have ended."""

    name: str
    load_id: str
    phase: Literal["staging", "transform", "finished"]
    sets: int = 0
    ended: int = 0
    failed: int = 0
    staged: int = 0
    counters: Counters = _NOTHING


OnProgress = Callable[[Progress], None]


def run_import(
    workspace: Workspace, name: str, *, new: bool = False, on_progress: OnProgress | None = None
) -> list[Finished]:
    """Load and transform the import, and then what follows it in its hierarchy, without Dagster.

    Returns what came of each import, this one first; sets that failed are in there.

    Raises:
        ConfigError, SourceError: what is declared cannot be read.
        LoadUnfinished: an older load is not finished, or another run is at it.
        ImportFailed: counters do not add up.
    """
    finished = [_run_one(workspace, workspace.config(name), None, new, on_progress)]
    return finished + _follow(workspace, finished[0], finished[0].released, on_progress)


def _follow(
    workspace: Workspace, first: Finished, following: str | None, on_progress: OnProgress | None
) -> list[Finished]:
    """The imports that follow one, each released by the one before."""
    found, context = [], first.load.context
    while following is not None:
        found.append(_run_one(workspace, workspace.config(following), context, False, on_progress))
        following = found[-1].released
    return found


def _run_one(
    workspace: Workspace, config: ImportConfig, context: str | None, new: bool, on_progress: OnProgress | None
) -> Finished:
    tell = _Teller(config, on_progress)
    with hierarchy.chain_stopped(workspace.books, config, context):
        load = _stage_and_transform(workspace, config, context, new, tell)
    return tell.finished(finish(config, workspace, load.load_id))


def _stage_and_transform(
    workspace: Workspace, config: ImportConfig, context: str | None, new: bool, tell: _Teller
) -> LoadRecord:
    if config.partition.size is None:
        load = stage(config, workspace, context=context, new=new, on_set=tell.on_set)
        for outcome in transform(config, workspace, load.load_id):
            tell.on_done(outcome)
        return load
    return _overlapped(workspace, config, context, new, tell)


def _overlapped(
    workspace: Workspace, config: ImportConfig, context: str | None, new: bool, tell: _Teller
) -> LoadRecord:
    """Import sets of a size are transformed while later rows still load."""
    transformers: dict[str, Transformer] = {}
    with Workers(config.workers) as pool:

        def ready(load: LoadRecord, record: SetRecord) -> None:
            tell.on_set(load, record)
            transformer = transformers.setdefault(load.number, Transformer(config, workspace, load))
            pool.add(transformer, record)

        load = stage(config, workspace, context=context, new=new, on_set=ready)
        for outcome in pool.outcomes():
            tell.on_done(outcome)
    return load


class _Teller:
    """Counts what has ended, and tells it."""

    def __init__(self, config: ImportConfig, on_progress: OnProgress | None) -> None:
        self._tell = on_progress or (lambda _progress: None)
        self._progress = Progress(config.name, "", "staging")

    def on_set(self, load: LoadRecord, record: SetRecord) -> None:
        old = self._progress
        self._now(load_id=load.load_id, sets=old.sets + 1, staged=old.staged + record.rows)

    def begin(self, load: LoadRecord, sets: list[SetRecord]) -> None:
        rows = sum(each.rows for each in sets)
        self._now(load_id=load.load_id, phase="transform", sets=len(sets), staged=rows)

    def on_done(self, outcome: Outcome) -> None:
        old = self._progress
        counters, failed = old.counters + outcome.counters, old.failed + (outcome.state == "failed")
        self._now(phase="transform", ended=old.ended + 1, failed=failed, counters=counters)

    def finished(self, found: Finished) -> Finished:
        self._now(phase="finished", load_id=found.load.load_id, counters=found.counters)
        return found

    def _now(self, **changes: Any) -> None:
        self._progress = replace(self._progress, **changes)
        self._tell(self._progress)


def resume(
    workspace: Workspace,
    name: str,
    load_id: str | None = None,
    set_nos: Iterable[int] | None = None,
    *,
    force: bool = False,
    on_progress: OnProgress | None = None,
) -> list[Finished]:
    """Go on with a load (default: the newest) where it stopped: its sets that wait, failed or died, then what follows.

    A load that died or failed while it loaded is loaded anew, in the same execution context.

    Raises:
        ConfigError: there is no such load or set, it was given up, or a newer load has run and ``force`` is not said.
        LoadUnfinished: another run is at it.
    """
    config, load = workspace.config(name), workspace.load(name, load_id)
    check_newest(workspace, load, force)
    if load.state == "loading" or (load.state == "error" and load.load_completed is None):
        if load.context and load.state == "error":
            hierarchy.reopen(workspace.books, load.context, name)
        first = _run_one(workspace, config, None, False, on_progress)
    else:
        first = _go_on(workspace, config, load, set_nos, on_progress)
    following = first.released
    if first.ok and following is None and load.context:
        following = hierarchy.take_up(workspace.books, load.context)
        stopped = hierarchy.stopped_after(workspace.books, load.context, name) if following is None else None
        if stopped is not None:
            return [first, *resume(workspace, stopped, on_progress=on_progress)]
    return [first, *_follow(workspace, first, following, on_progress)]


def _go_on(
    workspace: Workspace,
    config: ImportConfig,
    load: LoadRecord,
    set_nos: Iterable[int] | None,
    on_progress: OnProgress | None,
) -> Finished:
    set_nos = _chosen(load, workspace.books.sets(load), set_nos)
    if load.state == "error":
        load = reopen_to_resume(workspace, load)
    if load.state == "loaded":
        _transform_all(workspace, config, load, set_nos, "resuming", on_progress)
    return _finished(workspace, config, load)


def reopen_to_resume(workspace: Workspace, load: LoadRecord) -> LoadRecord:
    """Make a load that ended in error ready for its sets that failed; `transform` then runs them."""
    check_domain(workspace.config(load.name), load)
    taken_up = bool(load.context) and hierarchy.reopen(workspace.books, load.context or "", load.name)
    opened = workspace.books.reopen(load)
    if taken_up:
        hierarchy.start(workspace.books, load.context or "", opened)
    return opened


def reprocess(
    workspace: Workspace,
    name: str,
    load_id: str | None = None,
    set_nos: Iterable[int] | None = None,
    *,
    force: bool = False,
    on_progress: OnProgress | None = None,
) -> Finished:
    """Apply staged rows of a finished load (default: the newest) again, of some import sets or of all.

    Raises:
        ConfigError: no such load or set, its staging was removed, or a newer load has run and ``force`` is not said.
        LoadUnfinished: the load is not finished.
    """
    config, load = workspace.config(name), workspace.load(name, load_id)
    check_newest(workspace, load, force)
    reopened = reopen_to_reprocess(workspace, load, set_nos)
    _transform_all(workspace, config, reopened, set_nos, "reprocessing", on_progress)
    return _finished(workspace, config, reopened)


def reopen_to_reprocess(workspace: Workspace, load: LoadRecord, set_nos: Iterable[int] | None = None) -> LoadRecord:
    """Give sets of a finished load new jobs of type reprocessing; `transform` then runs them. Raises as `reprocess`."""
    if load.state in ("loading", "loaded"):
        raise unfinished(load)
    sets = workspace.books.sets(load)
    check_domain(workspace.config(load.name), load)
    asked = _chosen(load, sets, set_nos)
    chosen = [each.set_no for each in sets] if asked is None else sorted(asked)
    place = f"{load.name}/{load.load_id}"
    for set_no in chosen:
        if not workspace.folder(load).staged(set_no).exists():
            hint = f"it is no longer kept; load anew: snow-assets imports run {load.name}"
            raise ConfigError("its staged rows are not there", key="set", value=f"{place}/{set_no:04d}", hint=hint)
    if not chosen:
        raise ConfigError("has no import sets", key="load", value=place)
    return workspace.books.reopen(load, chosen, reprocess=True)


def _transform_all(
    workspace: Workspace,
    config: ImportConfig,
    load: LoadRecord,
    set_nos: Iterable[int] | None,
    type: JobType,  # noqa: A002
    on_progress: OnProgress | None,
) -> None:
    tell = _Teller(config, on_progress)
    for outcome in transform(config, workspace, load.load_id, set_nos, type=type):
        tell.on_done(outcome)


def _finished(workspace: Workspace, config: ImportConfig, load: LoadRecord) -> Finished:
    return finish(config, workspace, load.load_id)


def check_newest(workspace: Workspace, load: LoadRecord, force: bool) -> None:
    """Raise ``ConfigError`` where a newer load has run, unless forced: old values would be put over its."""
    newest = workspace.load(load.name)
    if newest.number == load.number or force:
        return
    what = f"load {newest.load_id} is newer: older rows would overwrite its"
    hint = "leave the load out for the newest, or say --force"
    raise ConfigError(what, key="load", value=f"{load.name}/{load.load_id}", hint=hint)

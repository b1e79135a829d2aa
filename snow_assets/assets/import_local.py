"""Whole imports in this process, on the local Dagster instance, so that the UI shows them: what commands run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

import dagster as dg

from snow_assets.assets.disk import records_in
from snow_assets.assets.import_keys import (
    IMPORT_TAG,
    REPROCESS_TAG,
    SETS,
    STAGING,
    TARGET,
    ImportNames,
    import_tags,
    staging_config,
    target_config,
)
from snow_assets.assets.import_leases import driving
from snow_assets.assets.import_transform import SetsFailed
from snow_assets.assets.imports import ImportParts, import_parts
from snow_assets.assets.keys import range_tags
from snow_assets.assets.local import bury, local_instance, run_here
from snow_assets.config import Environment, PullConfig
from snow_assets.config_imports import ImportSettings
from snow_assets.errors import SnowError
from snow_assets.imports import flow, hierarchy
from snow_assets.imports.books_records import LoadRecord, SetRecord
from snow_assets.imports.contract import Counters, Record
from snow_assets.imports.row_errors import rows_in_error
from snow_assets.imports.running import Outcome
from snow_assets.imports.workspace import Workspace
from snow_assets.resources import ImportsResource

SHOWN: Final = 20  # rows in error that an outcome has
Listener = Callable[[flow.Progress], None]


@dataclass
class ImportOutcome:
    """How an import ended. ``error`` is ``None`` where every import set is applied and the counters add up.

    ``failed`` pairs partition keys with causes. ``rows``: the first rows that were refused, with their lines.
    """

    name: str
    load: LoadRecord | None = None
    sets: Sequence[SetRecord] = ()
    failed: tuple[tuple[str, SnowError], ...] = ()
    rows: Sequence[Record] = ()
    error: SnowError | None = None
    seconds: float = 0.0
    runs: list[str] = field(default_factory=list)

    @property
    def refused(self) -> int:
        """Rows in error, and rows that could not be read."""
        return self.counters.errors + (self.load.rejected if self.load else 0)

    @property
    def counters(self) -> Counters:
        """Those of the import sets that are applied."""
        return flow.counted(self.sets)


def run_import_here(
    settings: ImportSettings,
    environment: Environment,
    name: str,
    *,
    new: bool = False,
    only: bool = False,
    on_progress: Listener | None = None,
) -> list[ImportOutcome]:
    """Load, transform and close the import, then what follows it; at least three runs for each.

    ``only``: nothing follows. ``new`` gives up an unfinished load. Returns how far each came, once the first has begun
    a load; raises a ``SnowError`` where it has not. A signal leaves as ``KeyboardInterrupt``; what is applied stays.
    """
    if only:
        settings = ImportSettings(imports={name: settings.imports[name]}, path=settings.path)
    with _here(settings, environment, name, on_progress) as here:
        first = here.whole(name, staging_config(ImportNames(name), new=new))
        return [first, *here.follow(first)]


def resume_import_here(
    settings: ImportSettings,
    environment: Environment,
    name: str,
    load_id: str | None = None,
    *,
    on_progress: Listener | None = None,
) -> list[ImportOutcome]:
    """Go on with a load (the newest) where it stopped, then with what follows it, also where that died or failed."""
    with _here(settings, environment, _root(settings, name), on_progress) as here:  # siblings follow, too
        found = [here.resume(name, load_id)]
        context, books = found[0].load and found[0].load.context, here.workspace.books
        while context and found[-1].error is None:
            hierarchy.take_up(books, context)  # what could not be loaded, and stopped the rest
            found += here.follow(found[-1])
            stopped = hierarchy.stopped_after(books, context, found[-1].name)
            if stopped is None:
                break
            found.append(here.resume(stopped, None))
        else:
            found += here.follow(found[-1])
        return found


def reprocess_import_here(
    settings: ImportSettings,
    environment: Environment,
    name: str,
    load_id: str | None = None,
    set_no: int | None = None,
    *,
    force: bool = False,
    on_progress: Listener | None = None,
) -> ImportOutcome:
    """Transform a finished load (the newest), or one import set of it, again. ``force``: also where a newer one ran."""
    with _here(settings, environment, name, on_progress) as here:
        load = here.workspace.load(name, load_id)
        flow.check_newest(here.workspace, load, force)
        chosen = None if set_no is None else [set_no]
        return here.go_on(name, flow.reopen_to_reprocess(here.workspace, load, chosen))


def _root(settings: ImportSettings, name: str) -> str:
    """The import above all that the import belongs to."""
    while (found := settings.imports.get(name)) is not None and found.parent is not None:
        name = found.parent
    return name


@contextmanager
def _here(
    settings: ImportSettings, environment: Environment, name: str, on_progress: Listener | None
) -> Iterator[_Here]:
    environment.export()
    resource = ImportsResource.of(environment)
    with ExitStack() as stack:
        workspace = stack.enter_context(resource.open(settings))
        stack.enter_context(records_in(environment.dagster_home))
        instance = stack.enter_context(local_instance(environment))
        for config, _ in settings.plan(workspace.config(name).name):
            stack.enter_context(driving(workspace, config.name, f"snow-assets imports, process {os.getpid()}"))
            bury(instance, {IMPORT_TAG: config.name})
        yield _Here(settings, workspace, resource, instance, on_progress)


class _Here:
    """The runs of a hierarchy on one instance."""

    def __init__(
        self,
        settings: ImportSettings,
        workspace: Workspace,
        resource: ImportsResource,
        instance: dg.DagsterInstance,
        on_progress: Listener | None,
    ) -> None:
        self.settings = settings
        self.workspace = workspace
        self.resource = resource
        self.instance = instance
        self.tell = _Teller(on_progress)

    def whole(self, name: str, config: Mapping[str, Any]) -> ImportOutcome:
        """Every step of one import. Raises what keeps it from beginning a load."""
        self.tell.begin(name)
        outcome, began = ImportOutcome(name), time.monotonic()
        self._run(outcome, ImportNames(name).staging_job, import_tags(name, STAGING), config)
        return self._rest(outcome, self.workspace.load(name), began)

    def go_on(self, name: str, load: LoadRecord) -> ImportOutcome:
        """What is left of a load."""
        self.tell.begin(name)
        return self._rest(ImportOutcome(name), load, time.monotonic())

    def resume(self, name: str, load_id: str | None) -> ImportOutcome:
        """What is left of a load; all of it, where its source could not be loaded."""
        books = self.workspace.books
        context = None if load_id else hierarchy.failed_to_load(books, name)
        if context is None:
            load = self.workspace.load(name, load_id)
            flow.check_newest(self.workspace, load, False)
            if load.state not in ("loading", "error") or load.load_completed is not None:
                return self.go_on(name, load)
            context = load.context
        if context:
            hierarchy.reopen(books, context, name)
        return self.whole(name, staging_config(ImportNames(name), context=context or ""))

    def follow(self, before: ImportOutcome) -> Iterator[ImportOutcome]:
        """What the one before releases, one after another. One whose source cannot be loaded ends them."""
        while (context := before.load.context if before.load else None) is not None:
            released = [name for name, found in self.workspace.books.released().items() if found == context]
            if not released:
                return
            name, began = released[0], time.monotonic()
            try:
                self.workspace.config(name)  # what the plan names may no longer be declared
                before = self.whole(name, staging_config(ImportNames(name), context=context))
            except SnowError as error:
                load = self.workspace.books.load(name)
                own = load if load is not None and load.context == context else None
                before = ImportOutcome(name, own, error=error, seconds=round(time.monotonic() - began, 1))
            yield before

    def _rest(self, outcome: ImportOutcome, load: LoadRecord, began: float) -> ImportOutcome:
        """Transform what is not, then close the load."""
        try:
            self._transform(outcome, load)
            self._run(
                outcome,
                ImportNames(load.name).target_job,
                import_tags(load.name, TARGET, load.load_id),
                target_config(ImportNames(load.name), load.load_id),
            )
        except SnowError as error:
            outcome.error = error
        books = self.workspace.books
        outcome.load = self.workspace.load(load.name, load.load_id)
        outcome.sets = books.sets(outcome.load)
        outcome.rows = rows_in_error(self.workspace, outcome.load, SHOWN) if outcome.refused else ()
        outcome.seconds = round(time.monotonic() - began, 1)
        return outcome

    def _transform(self, outcome: ImportOutcome, load: LoadRecord) -> None:
        """One run over the sets that are not done; those between are adopted. Failed ones do not stop the closing."""
        sets = self.workspace.books.sets(load)
        left = [each.partition_key for each in sets if each.job is not None and each.job.state != "completed"]
        self.tell.sets(load, sets)
        if not left:
            return
        names = ImportNames(load.name)
        self.instance.add_dynamic_partitions(names.partitions_name, [each.partition_key for each in sets])
        tags = {**import_tags(load.name, SETS, load.load_id), **range_tags(left[0], left[-1]), REPROCESS_TAG: "false"}
        try:
            self._run(outcome, names.sets_job, tags)
        except SetsFailed as error:
            outcome.failed = error.failed

    def _run(
        self, outcome: ImportOutcome, job: str, tags: Mapping[str, str], config: Mapping[str, Any] | None = None
    ) -> None:
        resolved = self._definitions(outcome.name).resolve_job_def(job)
        outcome.runs.append(run_here(resolved, self.instance, tags, config))

    def _definitions(self, name: str) -> dg.Definitions:
        """One import; no sensor, no schedule. A run here would wait for a slot in a busy loop; the locks guard."""
        pulls: Mapping[str, PullConfig] = MappingProxyType({})
        parts: ImportParts = import_parts(
            self.settings.imports[name], self.settings, pulls, pooled=False, told=self.tell.outcome
        )
        return dg.Definitions(
            assets=parts.assets, jobs=parts.jobs, resources={"imports": self.resource}, executor=dg.in_process_executor
        )


class _Teller:
    """Counts what has ended, and tells it."""

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener
        self._now = flow.Progress("", "", "staging")

    def begin(self, name: str) -> None:
        """The import begins."""
        self._say(flow.Progress(name, "", "staging"))

    def sets(self, load: LoadRecord, sets: Sequence[SetRecord]) -> None:
        """It is loaded; some of its sets may be done."""
        left = [each for each in sets if each.job is not None and each.job.state != "completed"]
        rows = sum(each.rows for each in sets)
        progress = flow.Progress(load.name, load.load_id, "transform", len(sets), len(sets) - len(left), 0, rows)
        self._say(replace(progress, counters=flow.counted(sets)))

    def outcome(self, outcome: Outcome) -> None:
        """A set has ended. One that was done before the run is counted already."""
        if outcome.state == "adopted" and not outcome.job:
            return
        old = self._now
        failed, counters = old.failed + (outcome.state == "failed"), old.counters + outcome.counters
        self._say(replace(old, ended=old.ended + 1, failed=failed, counters=counters))

    def _say(self, progress: flow.Progress) -> None:
        self._now = progress
        if self._listener is not None:
            self._listener(progress)

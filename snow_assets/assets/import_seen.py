"""What the books and the instance's runs say about an import, gathered for ``decide_import``. Reads; never writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC
from typing import TYPE_CHECKING

import dagster as dg
from dagster import DagsterRun

from snow_assets.assets.due import RunSeen
from snow_assets.assets.import_due import ImportSituation, JobSeen, LoadSeen, SetSeen
from snow_assets.assets.import_keys import CONTEXT_TAG, IMPORT_TAG, LOAD_TAG, SETS, STAGING, TARGET, ImportNames
from snow_assets.assets.import_leases import driver_of
from snow_assets.assets.keys import DRIVER_TAG, STEP_TAG
from snow_assets.assets.seen import run_seen
from snow_assets.imports.books_records import LoadRecord, SetRecord

if TYPE_CHECKING:
    from snow_assets.imports.workspace import Workspace

_RUNS_READ = 100  # newest runs of one load that are looked at


def look_at_import(
    name: str,
    workspace: Workspace,
    instance: dg.DagsterInstance,
    released: Mapping[str, str],
    unfinished: Iterable[DagsterRun],
    backfills: frozenset[dg.AssetKey],
) -> ImportSituation:
    """The situation of an import and its newest load.

    ``released`` has the execution context of each import that may start; ``unfinished`` are all runs that live.
    """
    names, holder = ImportNames(name), driver_of(workspace, name) or ""
    load = workspace.books.load(name)
    return ImportSituation(
        name=name,
        load=_load(workspace, load) if load else None,
        released=released.get(name, ""),
        runs=[*_living(names, unfinished), *_ended(instance, name, load, released.get(name, ""))],
        busy=_why_busy(names, holder, backfills),
    )


def _load(workspace: Workspace, load: LoadRecord) -> LoadSeen:
    return LoadSeen(
        load_id=load.load_id,
        state=load.state,
        sets=[_set(workspace, load, each) for each in workspace.books.sets(load)] if load.is_open else (),
        alive=load.state == "loading" and workspace.is_loading(load.name),
        early=load.overlaps,
        context=load.context or "",
    )


def _set(workspace: Workspace, load: LoadRecord, record: SetRecord) -> SetSeen:
    job = record.job
    state: JobSeen = job.state if job else "completed"
    if state == "running" and not workspace.is_worked_on(load, record.set_no):
        state = "dead"
    return SetSeen(record.set_no, record.partition_key, state, job.retry_count + 1 if job else 0)


def _living(names: ImportNames, unfinished: Iterable[DagsterRun]) -> Iterator[RunSeen]:
    """Runs that are queued or in progress. Those from the UI carry no tag of ours before their first step.

    A run from a terminal counts while its terminal drives the import, which then is busy; else its process is gone.
    """
    steps = {names.staging: STAGING, names.transform: SETS, names.target: TARGET}
    for run in unfinished:
        if DRIVER_TAG in run.tags:
            continue
        if run.tags.get(IMPORT_TAG) == names.name:
            yield RunSeen(run.tags.get(STEP_TAG, ""), "running")
        else:
            yield from (RunSeen(steps[key], "running") for key in run.asset_selection or () if key in steps)


def _ended(instance: dg.DagsterInstance, name: str, load: LoadRecord | None, released: str) -> Iterator[RunSeen]:
    """Runs of the load, where it is open, and the staging runs that were to start the import, where one is due."""
    own = {IMPORT_TAG: name}
    if load is not None and load.is_open:
        yield from _records(instance, dg.RunsFilter(tags={**own, LOAD_TAG: load.load_id}))
    if released:
        yield from _records(instance, dg.RunsFilter(tags={**own, CONTEXT_TAG: released}))
    elif load is not None and load.state == "loading":
        began = load.created.replace(tzinfo=UTC)
        yield from _records(instance, dg.RunsFilter(tags={**own, STEP_TAG: STAGING}, updated_after=began))


def _records(instance: dg.DagsterInstance, filters: dg.RunsFilter) -> Iterator[RunSeen]:
    for record in instance.get_run_records(filters=filters, limit=_RUNS_READ):
        seen = run_seen(record, alive=True)
        if seen.outcome != "running":
            yield seen


def _why_busy(names: ImportNames, holder: str, backfills: frozenset[dg.AssetKey]) -> str:
    if not names.asset_keys.isdisjoint(backfills):
        return "a backfill is in progress"
    return f"{holder} works on it" if holder else ""

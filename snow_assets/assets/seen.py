"""What the landing and the instance's runs say about a pull, gathered for ``due.decide``. Reads; never writes.

Nothing here talks to ServiceNow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterRun, RunRecord
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from snow_assets.assets.due import STALE_SECONDS, Outcome, PlanRunSeen, RunSeen, Situation
from snow_assets.assets.keys import (
    ATTEMPT_TAG,
    DRIVER_TAG,
    FIX_FIRST_TAG,
    PARTITION_TAG,
    PLAN_TAG,
    PULL_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
    REFUSED_TAG,
    STEP_TAG,
    PullNames,
)
from snow_assets.config import PullConfig
from snow_assets.pulls import Landing, Plan, lease_holder, missing_keys, published_plan
from snow_assets.pulls.current import home_of

_RUNS_READ = 200  # newest runs of one plan that are looked at

_OUTCOMES: dict[dg.DagsterRunStatus, Outcome] = {
    dg.DagsterRunStatus.SUCCESS: "success",
    dg.DagsterRunStatus.FAILURE: "failure",
    dg.DagsterRunStatus.CANCELED: "cancelled",
}


def unfinished_runs(instance: dg.DagsterInstance) -> Sequence[DagsterRun]:
    """Every run that is queued or in progress."""
    return instance.get_runs(filters=dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES)))


def active_backfills(instance: dg.DagsterInstance) -> frozenset[dg.AssetKey]:
    """Assets that a backfill is about to run."""
    waiting = BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING])
    return frozenset(
        key for backfill in instance.get_backfills(filters=waiting) for key in backfill.asset_selection or ()
    )


def plan_runs(instance: dg.DagsterInstance, now: float) -> Mapping[str, PlanRunSeen]:
    """The newest ended run of the plan job of each pull, of those that ended lately.

    A command in a terminal has told its caller to run it again: where it failed, that is left to the caller.
    """
    filters = dg.RunsFilter(
        tags={STEP_TAG: "plan"},
        statuses=list(_OUTCOMES),
        updated_after=datetime.fromtimestamp(now - STALE_SECONDS, UTC),
    )
    newest: dict[str, PlanRunSeen] = {}
    for record in instance.get_run_records(filters=filters):  # the newest first
        run = record.dagster_run
        if DRIVER_TAG not in run.tags or run.status is dg.DagsterRunStatus.SUCCESS:
            newest.setdefault(run.tags.get(PULL_TAG, ""), _plan_run(record))
    return newest


def _plan_run(record: RunRecord) -> PlanRunSeen:
    run = record.dagster_run
    return PlanRunSeen(
        run_id=run.run_id,
        outcome=_OUTCOMES[run.status],
        ended=record.end_time or record.update_timestamp.timestamp(),
        attempt=int(run.tags.get(ATTEMPT_TAG, "1")),
        fix_first=FIX_FIRST_TAG in run.tags,
        new=_asked_for(run, "new"),
        base=_asked_for(run, "base"),
        plan_id=run.tags.get(PLAN_TAG, ""),
    )


def _asked_for(run: DagsterRun, what: str) -> bool:
    part: object = run.run_config
    for key in ("ops", PullNames(run.tags.get(PULL_TAG, "")).plan.to_python_identifier(), "config", what):
        part = part.get(key) if isinstance(part, Mapping) else None
    return part is True


def look(
    pull: PullConfig,
    landing: Landing,
    instance: dg.DagsterInstance,
    unfinished: Iterable[DagsterRun] = (),
    backfills: frozenset[dg.AssetKey] = frozenset(),
    planning: PlanRunSeen | None = None,
) -> Situation:
    """The situation of ``pull`` and its newest plan."""
    plan = landing.latest_plan()
    holder = lease_holder(landing) or ""
    if plan is None:
        busy = why_busy(PullNames(pull.name), holder, unfinished, backfills)
        return Situation(pull.name, "", (), (), published=False, busy=busy, planning=planning)
    newest = published_plan(landing) or ""
    published = plan.plan_id <= newest
    # Of a delta pull, it is not done before the current rows are those of the dataset.
    behind = published and pull.mode == plan.mode == "delta" and (published_plan(home_of(landing)) or "") < newest
    return Situation(
        pull=pull.name,
        plan_id=plan.plan_id,
        keys=plan.partition_keys,
        missing=() if published else _missing(plan, landing),
        published=published and not behind,
        runs=[run_seen(record, alive=bool(holder)) for record in _records(instance, pull.name, plan.plan_id)],
        busy=why_busy(PullNames(pull.name), holder, unfinished, backfills),
        planning=planning,
    )


def _missing(plan: Plan, landing: Landing) -> Sequence[str]:
    """Keys that have not landed. Names are enough to see gaps; footers are read once no name is missing."""
    landed = landing.slice_files(plan)
    by_name = [key for key, piece in zip(plan.partition_keys, plan.slices, strict=True) if piece.offset not in landed]
    return by_name or missing_keys(plan, landing)


def _records(instance: dg.DagsterInstance, pull: str, plan_id: str) -> Sequence[RunRecord]:
    tags = {PULL_TAG: pull, PLAN_TAG: plan_id}
    return instance.get_run_records(filters=dg.RunsFilter(tags=tags), limit=_RUNS_READ)


def run_seen(record: RunRecord, *, alive: bool) -> RunSeen:
    """A run, for decisions. ``alive``: somebody holds the lease; a run from a terminal that nobody does is dead."""
    run = record.dagster_run
    single = run.tags.get(PARTITION_TAG, "")
    return RunSeen(
        step=run.tags.get(STEP_TAG, ""),
        outcome=_OUTCOMES.get(run.status, "running" if alive or DRIVER_TAG not in run.tags else "failure"),
        ended=record.end_time or record.update_timestamp.timestamp(),
        first=run.tags.get(RANGE_START_TAG, single),
        last=run.tags.get(RANGE_END_TAG, single),
        refused=REFUSED_TAG in run.tags,
        fix_first=FIX_FIRST_TAG in run.tags,
    )


def why_busy(names: PullNames, holder: str, unfinished: Iterable[DagsterRun], backfills: frozenset[dg.AssetKey]) -> str:
    """Why the pull is to be left alone; runs from the UI carry no tag of ours before their first step."""
    for run in unfinished:
        if DRIVER_TAG in run.tags and not holder:
            continue  # its process is gone
        if run.tags.get(PULL_TAG) == names.pull or not names.asset_keys.isdisjoint(run.asset_selection or ()):
            return f"run {run.run_id[:8]} is {run.status.value.lower()}"
    if not names.asset_keys.isdisjoint(backfills):
        return "a backfill is in progress"
    return f"{holder} works on it" if holder else ""

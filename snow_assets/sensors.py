"""The sensors that start what is due: the reconciler reads the landings, the importer the books of imports."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from snow_assets.assets.due import Due, LandSlices, Nothing, PlanAgain, decide
from snow_assets.assets.import_due import ImportDue, StartImport, TransformSets, decide_import
from snow_assets.assets.import_keys import (
    CONTEXT_TAG,
    SETS,
    STAGING,
    TARGET,
    ImportNames,
    import_tags,
    staging_config,
    target_config,
)
from snow_assets.assets.import_seen import look_at_import
from snow_assets.assets.keys import ATTEMPT_TAG, PullNames, plan_config, publish_config, range_tags, run_tags
from snow_assets.assets.seen import active_backfills, look, plan_runs, unfinished_runs
from snow_assets.config import PullConfig
from snow_assets.config_imports import ImportSettings
from snow_assets.errors import SnowError
from snow_assets.resources import ImportsResource, LandingResource

if TYPE_CHECKING:
    from snow_assets.imports.workspace import Workspace

RECONCILER = "reconciler"
IMPORTER = "importer"
INTERVAL_SECONDS = 10


def reconciler(
    pulls: Sequence[PullConfig], landing: LandingResource, jobs: Sequence[dg.ExecutableDefinition]
) -> dg.SensorDefinition:
    """The sensor for ``pulls``. It reads ``landing`` and Dagster's runs, and never talks to ServiceNow."""

    @dg.sensor(
        name=RECONCILER,
        jobs=jobs,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Lands what is missing of the newest plan of each pull, repairs failed slices and starts failed "
        "plan runs again after 5, 20 and 60 minutes, and publishes complete plans.",
    )
    def sense(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        found = evaluate(pulls, landing, context.instance, now=time.time())
        for name, due in found:
            if isinstance(due, LandSlices):  # a run that died between plan.json and its keys left them out
                plan = landing.open(name).read_plan(due.plan_id)
                context.instance.add_dynamic_partitions(PullNames(name).partitions_name, plan.partition_keys)
        modes = {pull.name: pull.mode for pull in pulls}
        requests = [request for name, due in found for request in run_requests(name, due, modes[name])]
        if requests:
            return dg.SensorResult(run_requests=requests)
        reasons = [f"{name}: {due.reason}" for name, due in found if isinstance(due, Nothing)]
        return dg.SensorResult(skip_reason="; ".join(reasons) or "pulls.yaml declares no pulls")

    return sense


def evaluate(
    pulls: Iterable[PullConfig], landing: LandingResource, instance: dg.DagsterInstance, *, now: float
) -> list[tuple[str, Due]]:
    """What is due for each pull at ``now`` (Unix time). A landing that cannot be read stops only its own pull."""
    unfinished = unfinished_runs(instance)
    backfills = active_backfills(instance)
    planning = plan_runs(instance, now)
    found: list[tuple[str, Due]] = []
    for pull in pulls:
        try:
            store = landing.open(pull.name)
            situation = look(pull, store, instance, unfinished, backfills, planning.get(pull.name))
        except SnowError as error:
            found.append((pull.name, Nothing(str(error))))
            continue
        found.append(
            (
                pull.name,
                decide(
                    situation,
                    now=now,
                    repair_attempts=pull.repair_attempts,
                    slices_per_run=pull.slices_per_run,
                ),
            )
        )
    return found


def run_requests(pull: str, due: Due, mode: str = "full") -> list[dg.RunRequest]:
    """The runs to start, each with a key by which Dagster starts it once only."""
    names = PullNames(pull)
    if isinstance(due, Nothing):
        return []
    if isinstance(due, PlanAgain):
        return [
            dg.RunRequest(
                run_key=f"{pull}/plan/{due.failed}/{due.attempt}",
                job_name=names.plan_job,
                tags={**run_tags(pull, "plan"), ATTEMPT_TAG: str(due.attempt)},
                run_config=plan_config(names, new=due.new, base=due.base),
            )
        ]
    if isinstance(due, LandSlices):
        return [
            dg.RunRequest(
                run_key=f"{pull}/{due.plan_id}/slices/{due.first}/{due.last}/{due.after}",
                job_name=names.slices_job,
                tags={**run_tags(pull, "slices", due.plan_id), **range_tags(due.first, due.last)},
            )
        ]
    return [
        dg.RunRequest(
            run_key=f"{pull}/{due.plan_id}/publish/{due.after}",
            job_name=names.publish_job,
            tags=run_tags(pull, "publish", due.plan_id),
            run_config=publish_config(names, due.plan_id, mode=mode),
        )
    ]


def importer(
    settings: ImportSettings, imports: ImportsResource, jobs: Sequence[dg.ExecutableDefinition]
) -> dg.SensorDefinition:
    """The sensor for all imports. It reads the books and Dagster's runs, and never talks to sources or targets."""

    @dg.sensor(
        name=IMPORTER,
        jobs=jobs,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Transforms the import sets that are loaded, takes up those whose job died or failed after 5, 20 "
        "and 60 minutes, closes loads, and starts what the last transformer job of an import released.",
    )
    def sense(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        with imports.open(settings) as workspace:
            found = evaluate_imports(workspace, context.instance, now=time.time())
            for name, due in found:
                if isinstance(due, TransformSets):  # a run that died after it sealed a set left its key out
                    names, load = ImportNames(name), workspace.books.load(name, due.load_id)
                    keys = [each.partition_key for each in workspace.books.sets(load)] if load else []
                    context.instance.add_dynamic_partitions(names.partitions_name, keys)
        requests = [request for name, due in found for request in import_requests(name, due)]
        if requests:
            return dg.SensorResult(run_requests=requests)
        reasons = [f"{name}: {due.reason}" for name, due in found if isinstance(due, Nothing)]
        return dg.SensorResult(skip_reason="; ".join(reasons))

    return sense


def evaluate_imports(workspace: Workspace, instance: dg.DagsterInstance, *, now: float) -> list[tuple[str, ImportDue]]:
    """What is due for each import at ``now`` (Unix time)."""
    unfinished = unfinished_runs(instance)
    backfills = active_backfills(instance)
    released = workspace.books.released()
    return [
        (name, decide_import(look_at_import(name, workspace, instance, released, unfinished, backfills), now=now))
        for name in workspace.settings.imports
    ]


def import_requests(name: str, due: ImportDue) -> list[dg.RunRequest]:
    """The run to start, with a key by which Dagster starts it once only."""
    names = ImportNames(name)
    if isinstance(due, Nothing):
        return []
    if isinstance(due, StartImport):
        context = {CONTEXT_TAG: due.context} if due.context else {}
        return [
            dg.RunRequest(
                run_key=f"{name}/{due.context}/staging/{due.after}",
                job_name=names.staging_job,
                tags={**import_tags(name, STAGING), **context},
                run_config=staging_config(names, context=due.context),
            )
        ]
    if isinstance(due, TransformSets):
        return [
            dg.RunRequest(
                run_key=f"{name}/{due.load_id}/sets/{due.first}/{due.last}/{due.after}",
                job_name=names.sets_job,
                tags={**import_tags(name, SETS, due.load_id), **range_tags(due.first, due.last)},
            )
        ]
    return [
        dg.RunRequest(
            run_key=f"{name}/{due.load_id}/target/{due.after}",
            job_name=names.target_job,
            tags=import_tags(name, TARGET, due.load_id),
            run_config=target_config(names, due.load_id),
        )
    ]

"""The reconciler: one sensor that reads the landings and starts what is due."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import dagster as dg

from snow_assets.assets.due import Due, LandSlices, Nothing, PlanAgain, decide
from snow_assets.assets.keys import ATTEMPT_TAG, PullNames, plan_config, publish_config, range_tags, run_tags
from snow_assets.assets.seen import active_backfills, look, plan_runs, unfinished_runs
from snow_assets.config import PullConfig
from snow_assets.errors import SnowError
from snow_assets.resources import LandingResource

RECONCILER = "reconciler"
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

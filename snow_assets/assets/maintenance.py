"""The job ``maintenance``: compacts delta pulls and prunes those that declare ``keep``, one step per pull."""

# Dagster reads the annotations of ops when they are defined, so this module does not defer them.

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from snow_assets.assets.failures import failures
from snow_assets.assets.keys import STEP_TAG, PullNames
from snow_assets.assets.leases import hold
from snow_assets.assets.plan import drop_partitions
from snow_assets.assets.seen import active_backfills, unfinished_runs, why_busy
from snow_assets.config import PullConfig
from snow_assets.config_schedule import MaintenanceConfig
from snow_assets.errors import LeaseHeld
from snow_assets.pulls import Landing
from snow_assets.pulls.compaction import Compacted, compact
from snow_assets.pulls.retention import Pruned, prune, prune_current
from snow_assets.resources import LandingResource

JOB = "maintenance"
NAMED = 50  # of a list in metadata


class MaintainConfig(dg.Config):
    """What a run of the job does."""

    dry_run: bool = Field(default=False, description="Change nothing; the metadata tell what would go.")


@dataclass(frozen=True)
class MaintenanceParts:
    """The job and its schedule; neither where no pull needs them."""

    jobs: Sequence[dg.JobDefinition] = ()
    schedules: Sequence[dg.ScheduleDefinition] = ()


def maintenance_parts(pulls: Sequence[PullConfig], when: MaintenanceConfig) -> MaintenanceParts:
    """One job for all pulls that declare ``keep`` or are delta pulls. Its schedule runs as soon as the daemon does."""
    chosen = [pull for pull in pulls if needs_maintenance(pull)]
    if not chosen:
        return MaintenanceParts()
    ops = {f"maintain_{pull.name}": pull for pull in chosen}

    @dg.config_mapping
    def for_all(val: MaintainConfig) -> Mapping[str, Any]:
        return {"ops": {name: {"config": {"dry_run": val.dry_run}} for name in ops}}

    @dg.job(
        name=JOB,
        config=for_all,
        tags={STEP_TAG: JOB},
        executor_def=dg.in_process_executor,
        description="Compacts the small files of delta pulls, and prunes what is older than a pull's `keep`. With "
        "`dry_run: true` it changes nothing. A pull that someone works on is left alone.",
    )
    def maintenance() -> None:
        for name, pull in ops.items():
            _op(name, pull)()

    schedule = dg.ScheduleDefinition(
        name=f"{JOB}_schedule",
        job=maintenance,
        cron_schedule=when.cron,
        execution_timezone=when.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Keeps what pulls leave behind within bounds.",
    )
    return MaintenanceParts([maintenance], [schedule])


def needs_maintenance(pull: PullConfig) -> bool:
    """Whether there is anything to compact or to prune."""
    return pull.keep is not None or pull.mode == "delta"


def prune_pull(
    instance: dg.DagsterInstance | None, landing: Landing, pull: PullConfig, now: datetime, *, dry_run: bool = False
) -> Pruned:
    """Prune a pull with its partition keys. Whoever calls this holds the lease, unless it is a dry run.

    Raises ``LeaseHeld`` where runs of the pull are queued or in progress, besides what ``prune`` raises.
    """
    if instance is not None and not dry_run:
        _must_be_idle(instance, pull)
    pruned = prune(landing, pull, now, dry_run=dry_run)
    plan_ids = landing.taken_ids()
    if instance is not None and not dry_run and plan_ids:  # no plan at all: the data folder may be another one
        drop_partitions(instance, PullNames(pull.name), plan_ids)
    return pruned


def _must_be_idle(instance: dg.DagsterInstance, pull: PullConfig) -> None:
    why = why_busy(PullNames(pull.name), "", unfinished_runs(instance), active_backfills(instance))
    if why:
        raise LeaseHeld(f"is left alone: {why}", key="pull", value=pull.name, hint="wait for it to end")


def _op(name: str, pull: PullConfig) -> dg.OpDefinition:
    @dg.op(name=name, out=dg.Out(dg.Nothing), description=f"Maintains pull `{pull.name}`.")
    def maintain(context: dg.OpExecutionContext, config: MaintainConfig, landing: LandingResource) -> None:
        store = landing.open(pull.name)
        with failures():
            try:
                metadata = _maintain(context, pull, store, dry_run=config.dry_run)
            except LeaseHeld as held:
                context.log.warning("%s", held)
                metadata = {"left_alone": dg.MetadataValue.text(str(held))}
        context.add_output_metadata(metadata)

    return maintain


def _maintain(
    context: dg.OpExecutionContext, pull: PullConfig, landing: Landing, *, dry_run: bool
) -> dict[str, dg.MetadataValue]:
    now = datetime.now(UTC)
    if dry_run:
        return _pruned(context, pull, landing, now, dry_run=True)
    metadata: dict[str, dg.MetadataValue] = {}
    with hold(landing, context):
        _must_be_idle(context.instance, pull)
        if pull.mode == "delta":
            metadata |= compacted_metadata(compact(landing, pull))
        return metadata | _pruned(context, pull, landing, now, dry_run=False)


def _pruned(
    context: dg.OpExecutionContext, pull: PullConfig, landing: Landing, now: datetime, *, dry_run: bool
) -> dict[str, dg.MetadataValue]:
    """What goes of a pull; of a delta pull that keeps everything, the replaced files of its current rows."""
    if pull.keep is not None:
        return pruned_metadata(prune_pull(context.instance, landing, pull, now, dry_run=dry_run))
    gone = prune_current(landing, pull, now, dry_run=dry_run)
    return {"dry_run": dg.MetadataValue.bool(dry_run), "replaced_files": dg.MetadataValue.int(len(gone))}


def pruned_metadata(pruned: Pruned) -> dict[str, dg.MetadataValue]:
    """Figures that the UI plots, and what they are made of."""
    lists = {"plans": pruned.plans, "files": pruned.files, "versions": tuple(map(str, pruned.versions))}
    lines = [f"**{name}**: {', '.join(each[:NAMED])}{_more(each)}" for name, each in lists.items() if each]
    lines += [f"- {line}" for line in pruned.stays[:NAMED]]
    return {
        "dry_run": dg.MetadataValue.bool(pruned.dry_run),
        "before": dg.MetadataValue.timestamp(pruned.before),
        "plans": dg.MetadataValue.int(len(pruned.plans)),
        "files": dg.MetadataValue.int(len(pruned.files)),
        "bytes": dg.MetadataValue.int(pruned.size),
        "versions": dg.MetadataValue.int(len(pruned.versions)),
        "partition_keys": dg.MetadataValue.int(len(pruned.partition_keys)),
        "named": dg.MetadataValue.md("\n\n".join(lines) or "nothing is old enough"),
    }


def compacted_metadata(found: Compacted) -> dict[str, dg.MetadataValue]:
    """What compaction did, or why it did nothing."""
    if found.why:
        return {"compacted": dg.MetadataValue.text(found.why)}
    return {
        "compacted": dg.MetadataValue.text(f"{found.files} files into {found.into}"),
        "compacted_rows": dg.MetadataValue.int(found.rows),
        "compacted_bytes_before": dg.MetadataValue.int(found.before),
        "compacted_bytes_after": dg.MetadataValue.int(found.after),
    }


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - NAMED} more" if len(names) > NAMED else ""

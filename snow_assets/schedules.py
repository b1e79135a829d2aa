"""Schedules: one per pull or import that declares ``schedule:``, and one for attachments that declare one."""

from __future__ import annotations

import dagster as dg

from snow_assets.assets.import_keys import STAGING, ImportNames, import_tags
from snow_assets.assets.import_leases import driver_of
from snow_assets.assets.keys import ATTACHMENTS_TAG, PullNames, run_tags
from snow_assets.config import PullConfig
from snow_assets.config_imports import ImportConfig, ImportSettings
from snow_assets.errors import LoadUnfinished
from snow_assets.pulls import lease_holder
from snow_assets.pulls.attachments import home_of
from snow_assets.resources import ImportsResource, LandingResource


def pull_schedule(
    pull: PullConfig, landing: LandingResource, job: dg.ExecutableDefinition
) -> dg.ScheduleDefinition | None:
    """The schedule of the plan job, or ``None`` where the pull has none. It runs as soon as the daemon does.

    A pull that someone works on is left alone; an unfinished plan goes on (``make_plan`` decides that).
    """
    if pull.schedule is None:
        return None
    names = PullNames(pull.name)

    @dg.schedule(
        name=names.schedule,
        job=job,
        cron_schedule=pull.schedule.cron,
        execution_timezone=pull.schedule.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Plans pull {pull.name}; the reconciler does the rest.",
    )
    def start() -> dg.RunRequest | dg.SkipReason:
        holder = lease_holder(landing.open(pull.name))
        if holder:
            return dg.SkipReason(f"{holder} works on pull {pull.name}")
        return dg.RunRequest(tags=run_tags(pull.name, "plan"))

    return start


def attachments_schedule(
    pull: PullConfig, landing: LandingResource, job: dg.ExecutableDefinition
) -> dg.ScheduleDefinition | None:
    """The schedule of the attachments job, or ``None`` where the pull has none. A run that goes on is left alone."""
    schedule = pull.attachments.schedule if pull.attachments else None
    if schedule is None:
        return None

    @dg.schedule(
        name=PullNames(pull.name).attachments_schedule,
        job=job,
        cron_schedule=schedule.cron,
        execution_timezone=schedule.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Brings the attachments of pull {pull.name} up to its rows.",
    )
    def start() -> dg.RunRequest | dg.SkipReason:
        holder = lease_holder(home_of(landing.open(pull.name)))
        if holder:
            return dg.SkipReason(f"{holder} works on the attachments of pull {pull.name}")
        return dg.RunRequest(tags={ATTACHMENTS_TAG: pull.name})

    return start


def import_schedule(
    config: ImportConfig, settings: ImportSettings, imports: ImportsResource, job: dg.ExecutableDefinition
) -> dg.ScheduleDefinition | None:
    """The schedule of the staging job, or ``None`` where the import has none.

    Loads of one import never overlap: while a load, or the hierarchy that began with it, is unfinished, a tick says so.
    """
    if config.schedule is None:
        return None

    @dg.schedule(
        name=ImportNames(config.name).schedule,
        job=job,
        cron_schedule=config.schedule.cron,
        execution_timezone=config.schedule.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Starts import {config.name}; the sensor does the rest, and what follows it.",
    )
    def start() -> dg.RunRequest | dg.SkipReason:
        from snow_assets.imports import hierarchy  # noqa: PLC0415 - SQLAlchemy is slow to import

        with imports.open(settings) as workspace:
            holder = driver_of(workspace, config.name)
            load = workspace.books.load(config.name)
            loading = load is not None and load.state == "loading" and workspace.is_loading(config.name)
            if holder:
                return dg.SkipReason(f"{holder} works on import {config.name}")
            if load is not None and (load.state == "loaded" or loading):
                return dg.SkipReason(f"load {load.load_id} of import {config.name} is not finished")
            try:
                hierarchy.check_finished(workspace.books, config.name)
            except LoadUnfinished as error:
                return dg.SkipReason(str(error))
        return dg.RunRequest(tags=import_tags(config.name, STAGING))

    return start

"""The code location: reads ``pulls.yaml`` and assembles what it declares. Loads without network and credentials."""

from __future__ import annotations

import dagster as dg

from snow_assets.assets.dbt import dbt_parts
from snow_assets.assets.maintenance import maintenance_parts
from snow_assets.assets.pull import pool_of, pull_parts
from snow_assets.config import Environment, Settings, load_settings
from snow_assets.errors import SnowError
from snow_assets.resources import LandingResource, ServiceNowResource
from snow_assets.schedules import attachments_schedule, pull_schedule
from snow_assets.sensors import reconciler


def build_definitions(settings: Settings, environment: Environment) -> dg.Definitions:
    """Definitions of every pull in ``settings``."""
    pulls = list(settings.pulls.values())
    landing = LandingResource(data=environment.data_dir)
    servicenow = ServiceNowResource.from_environment(settings.instance, environment)
    dbt = dbt_parts(environment, pulls)
    pool = pool_of(environment.instance_url or settings.instance.url)
    parts = [pull_parts(pull, pool, settings.pulls) for pull in pulls]
    schedules = [pull_schedule(part.pull, landing, part.plan_job) for part in parts]
    schedules += [
        attachments_schedule(part.pull, landing, part.attachments_job) for part in parts if part.attachments_job
    ]
    maintenance = maintenance_parts(pulls, settings.maintenance)
    return dg.Definitions(
        assets=[asset for part in parts for asset in part.assets] + list(dbt.assets),
        jobs=[*(job for part in parts for job in part.jobs), *maintenance.jobs],
        schedules=[*(schedule for schedule in schedules if schedule is not None), *maintenance.schedules],
        sensors=[reconciler(pulls, landing, [job for part in parts for job in part.jobs])],
        resources={"servicenow": servicenow, "landing": landing, **dbt.resources},
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads. Raises ``ConfigError``, one line, where ``pulls.yaml`` or the environment is wrong."""
    try:
        environment = Environment.load()
        environment.export()
        return build_definitions(load_settings(environment.pulls_path), environment)
    except SnowError as error:
        raise error.with_traceback(None) from None  # the line says it all; the UI shows each frame

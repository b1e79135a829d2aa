"""The code location: reads ``pulls.yaml`` and ``imports.yaml``, and assembles what they declare.

Loads without network, credentials, databases and the files of sources.
"""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from snow_assets.assets.dbt import dbt_parts
from snow_assets.assets.maintenance import maintenance_parts
from snow_assets.assets.pull import pool_of, pull_parts
from snow_assets.config import Environment, PullConfig, Settings, load_settings
from snow_assets.config_imports import ImportSettings
from snow_assets.config_imports_yaml import load_imports
from snow_assets.errors import SnowError
from snow_assets.resources import ImportsResource, LandingResource, ServiceNowResource
from snow_assets.schedules import attachments_schedule, import_schedule, pull_schedule
from snow_assets.sensors import importer, reconciler


def build_definitions(
    settings: Settings, environment: Environment, imports: ImportSettings | None = None
) -> dg.Definitions:
    """Definitions of every pull in ``settings``, and of every import where there are any."""
    pulls = build_pulls(settings, environment)
    if imports is None or not imports.imports:
        return pulls
    return dg.Definitions.merge(pulls, build_imports(imports, environment, settings.pulls))


def build_imports(
    settings: ImportSettings, environment: Environment, pulls: Mapping[str, PullConfig]
) -> dg.Definitions:
    """Definitions of every import. ``pulls``: those that are declared, by name."""
    from snow_assets.assets.imports import import_parts  # noqa: PLC0415 - SQLAlchemy is slow to import

    imports = ImportsResource.of(environment)
    parts = [import_parts(config, settings, pulls) for config in settings.imports.values()]
    jobs = [job for part in parts for job in part.jobs]
    schedules = [import_schedule(part.config, settings, imports, part.staging_job) for part in parts]
    return dg.Definitions(
        assets=[asset for part in parts for asset in part.assets],
        jobs=jobs,
        schedules=[schedule for schedule in schedules if schedule is not None],
        sensors=[importer(settings, imports, jobs)],
        resources={"imports": imports},
    )


def build_pulls(settings: Settings, environment: Environment) -> dg.Definitions:
    """Definitions of every pull."""
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
    """What Dagster loads. Raises ``ConfigError``, one line, where a declaration or the environment is wrong."""
    try:
        environment = Environment.load()
        environment.export()
        settings = declared_pulls(environment)
        return build_definitions(settings, environment, declared_imports(environment, settings))
    except SnowError as error:
        raise error.with_traceback(None) from None  # the line says it all; the UI shows each frame


def declared_pulls(environment: Environment) -> Settings:
    """``pulls.yaml``; no pulls where there is only an ``imports.yaml``. Raises ``ConfigError``."""
    path = environment.pulls_path
    if environment.imports_path.exists() and not path.exists():
        return Settings(pulls={}, path=path)
    return load_settings(path)


def declared_imports(environment: Environment, settings: Settings) -> ImportSettings:
    """``imports.yaml``; no imports where there is none. Raises ``ConfigError``."""
    return load_imports(environment.imports_path, settings.pulls, required=bool(environment.get("SNOW_IMPORTS")))

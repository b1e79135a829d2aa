"""What a delta pull has besides: the assets ``servicenow/<pull>/sweep`` and ``servicenow/<pull>/current``."""

# Dagster reads the annotations of assets when they are defined, so this module does not defer them.

from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from snow_assets import checks
from snow_assets.assets.dataset import Event, plan_of_run
from snow_assets.assets.failures import failures, fix_first_told, refusal_told
from snow_assets.assets.fault_lines import fault_lines
from snow_assets.assets.keys import PullNames
from snow_assets.assets.leases import hold
from snow_assets.assets.metadata import current_metadata, sweep_metadata
from snow_assets.config import PullConfig
from snow_assets.errors import CredentialsError
from snow_assets.pulls import bring_up, sweep
from snow_assets.pulls.plan import moment_of
from snow_assets.pulls.schema import read_schema
from snow_assets.resources import LandingResource, ServiceNowResource


class SweepConfig(dg.Config):
    """Which plan to sweep for, and whether even if many rows would go."""

    plan_id: str | None = Field(default=None, description="The plan to sweep for; the newest where left out.")
    accept: bool = Field(default=False, description="Go on although more rows than `max_deleted` allows are gone.")


def sweep_asset(pull: PullConfig, pool: str | None) -> dg.AssetsDefinition:
    """The sweep asset of ``pull``: rows that went away, and rows that its cursor could not show."""
    names = PullNames(pull.name)

    @dg.asset(
        key=names.sweep,
        deps=[names.slices],
        check_specs=checks.sweep_specs(names),
        group_name=pull.asset_group,
        kinds={"servicenow", "parquet"},
        pool=pool,
        description=f"What the cursor of pull `{pull.name}` cannot show: rows that left its filter, were deleted or "
        "reclassified, and, when a verification is due, every row whose version is not the known one.",
        tags={"snow/table": pull.table},
    )
    def swept(
        context: dg.AssetExecutionContext,
        config: SweepConfig,
        servicenow: ServiceNowResource,
        landing: LandingResource,
    ) -> Iterator[Event]:
        store = landing.open(pull.name)
        with (
            failures(servicenow),
            fix_first_told(context, CredentialsError),
            fault_lines(context),
            refusal_told(context),
            servicenow.client(pull) as client,
            hold(store, context, queue=True),
        ):
            plan = plan_of_run(context, store, pull, config.plan_id)
            found = sweep(plan, pull, client, store, accept=config.accept)
        yield dg.MaterializeResult(metadata=sweep_metadata(found), check_results=checks.sweep_results(found))

    return swept


def current_asset(pull: PullConfig) -> dg.AssetsDefinition:
    """The current asset of ``pull``: a Delta table with the newest version of each row."""
    names = PullNames(pull.name)

    @dg.asset(
        key=names.current,
        deps=[names.dataset],
        group_name=pull.asset_group,
        kinds={"deltalake", "parquet"},
        description=f"The newest version of each row of pull `{pull.name}`; rows that went away are marked, and lie in "
        "files of their own.",
        metadata={"dagster/table_name": f"servicenow.{pull.name}.current"},
        tags={"snow/table": pull.table},
    )
    def current(context: dg.AssetExecutionContext, landing: LandingResource) -> dg.MaterializeResult[None]:
        store = landing.open(pull.name)
        with failures(), hold(store, context, queue=True):
            found = bring_up(store, pull)
        return dg.MaterializeResult(
            metadata=current_metadata(found, moment_of(found.plan), read_schema(store, found.plan))
        )

    return current

"""The assets ``servicenow/<pull>/totals`` (the receipt) and ``servicenow/<pull>`` (the dataset). They share a run."""

# Dagster reads the annotations of assets when they are defined, so this module does not defer them.

from collections.abc import Iterator

import dagster as dg
from pydantic import Field

from snow_assets import checks
from snow_assets.assets.failures import failures, refusal_told
from snow_assets.assets.keys import PLAN_TAG, PullNames, run_tags
from snow_assets.assets.leases import hold
from snow_assets.assets.metadata import dataset_metadata, totals_metadata
from snow_assets.config import PullConfig
from snow_assets.errors import PlanIncomplete, PublishRefused
from snow_assets.pulls import Landing, Plan, publish, read_totals, reconcile
from snow_assets.pulls.schema import read_schema
from snow_assets.resources import LandingResource

Event = dg.MaterializeResult[None] | dg.AssetCheckResult


class TotalsConfig(dg.Config):
    """Which plan to reconcile."""

    plan_id: str | None = Field(default=None, description="The plan to reconcile; the newest where left out.")


class DatasetConfig(dg.Config):
    """Which plan to publish, and whether even if it looks wrong."""

    plan_id: str | None = Field(default=None, description="The plan to publish; the newest where left out.")
    accept: bool = Field(
        default=False, description="Publish although rows fell or the hidden share rose by more than 10 %."
    )


def totals_asset(pull: PullConfig) -> dg.AssetsDefinition:
    """The totals asset of ``pull``. Unpartitioned, so that Dagster runs it in another run than the slices."""
    names = PullNames(pull.name)

    @dg.asset(
        key=names.totals,
        deps=[names.slices, names.sweep] if pull.mode == "delta" else [names.slices],
        check_specs=checks.totals_specs(names),
        group_name=pull.asset_group,
        kinds={"json"},
        description=f"Receipt of pull `{pull.name}`: counted by the instance against landed, every difference with its "
        "cause. Fails while slices are missing.",
    )
    def totals(context: dg.AssetExecutionContext, config: TotalsConfig, landing: LandingResource) -> Iterator[Event]:
        store = landing.open(pull.name)
        with failures(), refusal_told(context), hold(store, context, queue=True):
            plan = plan_of_run(context, store, pull, config.plan_id)
            try:
                found = reconcile(plan, store, pull)
            except PlanIncomplete as error:
                yield checks.incomplete_result(error)
                raise
            except PublishRefused:
                refused = read_totals(store, plan.plan_id)
                if refused is not None:
                    yield from checks.totals_results(refused, pull)
                raise
        yield dg.MaterializeResult(metadata=totals_metadata(found), check_results=checks.totals_results(found, pull))

    return totals


def dataset_asset(pull: PullConfig) -> dg.AssetsDefinition:
    """The dataset asset of ``pull``: a Delta table whose data files are the landed slices."""
    names = PullNames(pull.name)

    @dg.asset(
        key=names.dataset,
        deps=[names.totals],
        check_specs=checks.dataset_specs(names),
        group_name=pull.asset_group,
        kinds={"deltalake", "parquet"},
        description=_described(pull),
        metadata={"dagster/table_name": f"servicenow.{pull.name}"},
        tags={"snow/table": pull.table},
    )
    def dataset(context: dg.AssetExecutionContext, config: DatasetConfig, landing: LandingResource) -> Iterator[Event]:
        store = landing.open(pull.name)
        with failures(), refusal_told(context), hold(store, context, queue=True):
            plan = plan_of_run(context, store, pull, config.plan_id)
            totals = read_totals(store, plan.plan_id) or reconcile(plan, store, pull)
            try:
                published = publish(plan, totals, store, pull, accept=config.accept)
            except PublishRefused as error:
                yield checks.acceptable_result(error)
                raise
        yield dg.MaterializeResult(
            metadata=dataset_metadata(plan, totals, published, read_schema(store, plan.plan_id)),
            check_results=[checks.acceptable_result(None)],
        )

    return dataset


def _described(pull: PullConfig) -> str:
    if pull.mode == "delta":
        versions = f"Every version of the rows of `{pull.table}` that a sync saw: a Delta table."
        return f"{pull.description} {versions}".strip()
    return pull.description or f"Rows of `{pull.table}` as pull `{pull.name}` landed them: a Delta table."


def plan_of_run(context: dg.AssetExecutionContext, landing: Landing, pull: PullConfig, plan_id: str | None) -> Plan:
    """The plan of this run: the one asked for, else the one an earlier step took, else the newest. Tags the run."""
    run = context.instance.get_run_by_id(context.run.run_id)
    chosen = plan_id or (run.tags.get(PLAN_TAG) if run else None)
    plan = landing.read_plan(chosen) if chosen else landing.latest_plan()
    if plan is None:
        raise PlanIncomplete("has no plan yet", key="pull", value=pull.name, hint="materialise its plan asset")
    context.instance.add_run_tags(context.run.run_id, run_tags(pull.name, "publish", plan.plan_id))
    return plan

"""The asset ``servicenow/<pull>/plan``: freezes a reading of the pull and adds one partition per slice."""

# Dagster reads the annotations of assets when they are defined, so this module does not defer them.

from collections.abc import Iterator, Sequence

import dagster as dg

from snow_assets import checks
from snow_assets.assets.failures import failures, fix_first_told
from snow_assets.assets.fault_lines import fault_lines
from snow_assets.assets.keys import PullNames, plan_of, run_tags
from snow_assets.assets.leases import hold
from snow_assets.config import PullConfig
from snow_assets.errors import FixFirst, PublishRefused
from snow_assets.pulls import Planned, make_plan
from snow_assets.resources import LandingResource, ServiceNowResource


class PlanConfig(dg.Config):
    """How to make the plan."""

    new: bool = False  # start a new plan even where an unfinished one could go on
    base: bool = False  # of a delta pull: read every row anew, and start a new chain


def plan_asset(pull: PullConfig, pool: str | None) -> dg.AssetsDefinition:
    """The plan asset of ``pull``."""
    names = PullNames(pull.name)

    @dg.asset(
        key=names.plan,
        group_name=pull.asset_group,
        kinds={"servicenow"},
        pool=pool,
        check_specs=checks.plan_specs(names),
        description=f"Plan of pull `{pull.name}`: cut-off, count, fields and slice boundaries of table `{pull.table}`. "
        "An unfinished plan of the same fingerprint goes on unless the config says `new: true`.",
        metadata={"table": pull.table, "query": pull.query or "(all rows)"},
        tags={"snow/table": pull.table},
    )
    def plan(
        context: dg.AssetExecutionContext, config: PlanConfig, servicenow: ServiceNowResource, landing: LandingResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        context.instance.add_run_tags(context.run.run_id, run_tags(pull.name, "plan"))
        store = landing.open(pull.name)

        def announce(plan_id: str) -> None:
            """Before the plan is there: a run that dies after that is known to have made it, or to have gone on."""
            context.instance.add_run_tags(context.run.run_id, run_tags(pull.name, "plan", plan_id))

        with (
            failures(servicenow),
            fix_first_told(context, FixFirst),
            fault_lines(context),
            servicenow.client(pull) as client,
        ):
            store.check_writable()
            with hold(store, context):
                try:
                    planned = make_plan(pull, client, store, new=config.new, base=config.base, announce=announce)
                except PublishRefused as error:  # the pull freezes its schema
                    yield checks.frozen_result(error)
                    raise
                _sync_partitions(context.instance, names, planned, store.plan_ids())
        for line in planned.passed_over:
            context.log.warning("%s", line)
        if planned.retired:
            context.log.info("retired plans %s with their partitions and files", ", ".join(planned.retired))
        yield dg.MaterializeResult(metadata=_metadata(planned), check_results=[checks.schema_result(planned.change)])

    return plan


def _sync_partitions(instance: dg.DagsterInstance, names: PullNames, planned: Planned, plan_ids: Sequence[str]) -> None:
    """Delete the keys of plans that are gone and add the plan's own, in offset order: ranges go by insertion."""
    drop_partitions(instance, names, plan_ids)
    instance.add_dynamic_partitions(names.partitions_name, planned.plan.partition_keys)


def drop_partitions(instance: dg.DagsterInstance, names: PullNames, plan_ids: Sequence[str]) -> tuple[str, ...]:
    """Delete the keys of plans other than these; returns them."""
    gone = [key for key in instance.get_dynamic_partitions(names.partitions_name) if plan_of(key) not in plan_ids]
    for key in gone:
        instance.delete_dynamic_partition(names.partitions_name, key)
    return tuple(gone)


def _metadata(planned: Planned) -> dict[str, dg.MetadataValue]:
    plan = planned.plan
    metadata: dict[str, dg.MetadataValue] = {
        "plan_id": dg.MetadataValue.text(plan.plan_id),
        "as_of": dg.MetadataValue.timestamp(plan.as_of),
        "slices": dg.MetadataValue.int(len(plan.slices)),
        "fields": dg.MetadataValue.int(len(plan.fields)),
        "fingerprint": dg.MetadataValue.text(plan.fingerprint[:12]),
        "continued": dg.MetadataValue.bool(planned.continued),
    }
    if plan.mode == "delta":
        metadata["kind"] = dg.MetadataValue.text("delta" if plan.is_delta else "base")
    if plan.since is not None:
        metadata["since"] = dg.MetadataValue.timestamp(plan.since)
        metadata["verify"] = dg.MetadataValue.bool(plan.verify)
    if plan.counted is not None:
        metadata["counted"] = dg.MetadataValue.int(plan.counted)
    return metadata

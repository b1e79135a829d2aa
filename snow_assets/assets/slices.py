"""The asset ``servicenow/<pull>/slices``: one partition and one Parquet file per slice."""

# Dagster reads the annotations of assets when they are defined, so this module does not defer them.

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import groupby

import dagster as dg

from snow_assets.assets.chosen import partition_keys
from snow_assets.assets.failures import failures, fix_first_told, tell_fix_first
from snow_assets.assets.fault_lines import fault_lines
from snow_assets.assets.keys import PullNames, plan_of, run_tags
from snow_assets.assets.leases import hold
from snow_assets.checks import slices_result, slices_specs
from snow_assets.config import PullConfig
from snow_assets.errors import CredentialsError, SliceFailed, SnowError
from snow_assets.pulls import Failed, Landed, Landing, Plan, land_slices
from snow_assets.pulls.governed import Governed
from snow_assets.resources import LandingResource, ServiceNowResource
from snow_assets.servicenow.client import Client

_NONE = "choose partitions: a slice is one partition of this asset"
_GONE = "the range holds no partitions any more: its plan was retired; materialise the plan asset"
_NAMED = 5  # failed slices named in the failure's line; the check's table has them all

Event = dg.AssetMaterialization | dg.AssetCheckResult


def slices_asset(pull: PullConfig, pool: str | None) -> dg.AssetsDefinition:
    """The slices asset of ``pull``.

    Each slice is reported as its file is committed, so that what landed is known however the run ends. No output is
    required: a required one would report every slice a second time.
    """
    names = PullNames(pull.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # BackfillPolicy
        policy = dg.BackfillPolicy.multi_run(pull.slices_per_run)

    @dg.asset(
        key=names.slices,
        deps=[names.plan],
        partitions_def=names.partitions,
        backfill_policy=policy,
        output_required=False,
        check_specs=slices_specs(names),
        group_name=pull.asset_group,
        kinds={"servicenow", "parquet"},
        pool=pool,
        description=f"Slices of pull `{pull.name}`, {_cut(pull)}. A slice that has landed is adopted, "
        "never fetched again; materialise *failed and missing* to resume.",
        tags={"snow/table": pull.table},
    )
    def slices(
        context: dg.AssetExecutionContext, servicenow: ServiceNowResource, landing: LandingResource
    ) -> Iterator[Event]:
        keys = partition_keys(context, none=_NONE, gone=_GONE)
        plan_ids = sorted({plan_of(key) for key in keys})
        context.instance.add_run_tags(context.run.run_id, run_tags(pull.name, "slices", plan_ids[-1]))
        store = landing.open(pull.name)
        failed: list[tuple[str, SnowError]] = []
        with ExitStack() as stack:
            stack.enter_context(failures(servicenow))
            stack.enter_context(fix_first_told(context, CredentialsError))  # each try would bring a lock-out nearer
            stack.enter_context(fault_lines(context))
            client = stack.enter_context(servicenow.client(pull))
            stack.enter_context(hold(store, context, queue=True))
            before = client.governor.snapshot()
            for plan_id, of_plan in groupby(keys, key=plan_of):
                plan = store.read_plan(plan_id)
                yield from _land(context, plan, list(of_plan), pull, client, store, failed)
            governed = Governed.since(before, client.governor)
        yield slices_result(len(keys), failed, governed)
        if any(isinstance(error, CredentialsError) for _, error in failed):
            tell_fix_first(context)
        if failed:
            raise SlicesFailed(pull.name, len(keys), failed)

    return slices


def _cut(pull: PullConfig) -> str:
    return f"one, read by {', '.join(pull.key)}" if pull.key else "pinned to ranges of sys_id"


def _land(
    context: dg.AssetExecutionContext,
    plan: Plan,
    keys: Sequence[str],
    pull: PullConfig,
    client: Client,
    landing: Landing,
    failed: list[tuple[str, SnowError]],
) -> Iterator[dg.AssetMaterialization]:
    """Land ``keys`` of one plan; yields an event per landed slice, collects the others in ``failed``."""
    by_slice = {plan.slice(key): key for key in keys}
    silent = set(keys)
    with closing(land_slices(plan, list(by_slice), pull, client, landing)) as outcomes:
        for outcome in outcomes:
            key = by_slice[outcome.slice]
            silent.discard(key)
            if isinstance(outcome, Failed):
                context.log.error("%s: %s", key, outcome.error)
                failed.append((key, outcome.error))
                continue
            yield dg.AssetMaterialization(
                context.asset_key,
                partition=key,
                metadata=_metadata(outcome),
                tags={"dagster/data_version": outcome.ledger.digest},
            )
    failed += [(key, SliceFailed("nothing was heard of it", key="slice", value=key)) for key in sorted(silent)]


def _metadata(landed: Landed) -> dict[str, dg.MetadataValue]:
    """About six scalars: they are rows of Dagster's database, one set per slice."""
    ledger = landed.ledger
    metadata: dict[str, dg.MetadataValue] = {
        "dagster/partition_row_count": dg.MetadataValue.int(ledger.landed),
        "seconds": dg.MetadataValue.float(ledger.seconds),
        "requests": dg.MetadataValue.int(ledger.requests),
        "retries": dg.MetadataValue.int(ledger.retries),
        "path": dg.MetadataValue.path(landed.uri) if "://" not in landed.uri else dg.MetadataValue.url(landed.uri),
    }
    if ledger.hidden is not None:
        metadata["hidden"] = dg.MetadataValue.int(ledger.hidden)
    if landed.adopted:
        metadata["adopted"] = dg.MetadataValue.bool(True)
    return metadata


class SlicesFailed(dg.Failure):
    """Some slices of a run failed; ``failed`` pairs their partition keys with the causes."""

    def __init__(self, pull: str, asked: int, failed: Sequence[tuple[str, SnowError]]) -> None:
        lines = [f"{key}: {error}" for key, error in failed[:_NAMED]]
        if len(failed) > _NAMED:
            lines.append(f"and {len(failed) - _NAMED} more: see the check slices_landed")
        super().__init__(
            f"{len(failed)} of {asked} slices of pull {pull} failed\n" + "\n".join(lines),
            metadata={"failed": dg.MetadataValue.int(len(failed)), "asked": dg.MetadataValue.int(asked)},
            allow_retries=False,
        )
        self.failed = tuple(failed)

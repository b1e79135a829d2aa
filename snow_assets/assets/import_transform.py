"""The asset ``imports/<name>/transform``: one partition per import set."""

# Dagster reads the annotations of assets when they are defined, so this module does not defer them.

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import groupby

import dagster as dg
from pydantic import Field

from snow_assets.assets.chosen import partition_keys
from snow_assets.assets.failures import failures, fix_first_told, tell_fix_first
from snow_assets.assets.import_checks import sets_result, transform_specs
from snow_assets.assets.import_keys import IMPORT_TAG, REPROCESS_TAG, SETS, ImportNames, import_tags
from snow_assets.assets.import_metadata import outcome_metadata
from snow_assets.assets.leases import RUN_HOLDER
from snow_assets.config_imports import ImportConfig, ImportSettings
from snow_assets.errors import ConfigError, FixFirst, SnowError
from snow_assets.imports import flow
from snow_assets.imports.books_records import LoadRecord, SetRecord
from snow_assets.imports.home import load_of
from snow_assets.imports.running import Outcome
from snow_assets.imports.workspace import Workspace
from snow_assets.resources import ImportsResource

SETS_PER_RUN = 100  # of a backfill that a person launches
_NONE = "choose partitions: an import set is one partition of this asset"
_GONE = "the range holds no import sets any more: materialise the staging asset"
_NAMED = 5  # failed sets named in the failure's line; the check's table has them all

Event = dg.AssetMaterialization | dg.AssetCheckResult
Told = Callable[[Outcome], None]


class TransformConfig(dg.Config):
    """What to do with import sets that are done already."""

    reprocess: bool | None = Field(
        default=None,
        description="Transform them again (true), or leave them (false). Left out: again, where a person materialises "
        "them on the asset's page and no newer load of the import has been made.",
    )


def transform_asset(
    declared: ImportConfig, settings: ImportSettings, pool: str | None, told: Told | None = None
) -> dg.AssetsDefinition:
    """The transform asset of an import. ``told`` hears what came of each set, before Dagster does.

    Each set is reported as it is applied, so that what was done is known however the run ends. No output is required: a
    required one would report every set a second time.
    """
    names = ImportNames(declared.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # BackfillPolicy
        policy = dg.BackfillPolicy.multi_run(SETS_PER_RUN)

    @dg.asset(
        key=names.transform,
        deps=[names.staging],
        partitions_def=names.partitions,
        backfill_policy=policy,
        output_required=False,
        check_specs=transform_specs(names),
        group_name=declared.asset_group,
        kinds={"python", "parquet"},
        pool=pool,
        description=_described(declared),
        tags={IMPORT_TAG: declared.name},
    )
    def transform(
        context: dg.AssetExecutionContext, config: TransformConfig, imports: ImportsResource
    ) -> Iterator[Event]:
        keys = partition_keys(context, none=_NONE, gone=_GONE)
        again = _reprocesses(context, config)
        tags = {**import_tags(names.name, SETS, load_of(keys[-1])), REPROCESS_TAG: str(again is not False).lower()}
        context.instance.add_run_tags(context.run.run_id, tags)
        failed: list[tuple[str, SnowError]] = []
        with failures(), fix_first_told(context, FixFirst), imports.open(settings) as workspace:
            for load_id, of_load in groupby(keys, key=load_of):
                load = workspace.load(names.name, load_id)
                numbers = _opened(context, workspace, load, list(of_load), again)
                worker = f"{RUN_HOLDER}{context.run.run_id}"
                with closing(
                    flow.transform(declared, workspace, load_id, numbers, worker=worker, on_done=told)
                ) as outcomes:
                    yield from _events(context, outcomes, failed)
        yield sets_result(len(keys), failed)
        if any(isinstance(error, FixFirst) for _, error in failed):
            tell_fix_first(context)
        if failed:
            raise SetsFailed(names.name, len(keys), failed)

    return transform


def _described(declared: ImportConfig) -> str:
    return (
        f"Import sets of import `{declared.name}`, transformed {declared.workers} at a time, each applied as a whole. "
        "Materialise a set that is unfinished or failed to resume it, one that is done to transform it again (of the "
        "newest load; of an older one with `reprocess: true`, which may put old values over newer ones). Runs of the "
        f'job `{ImportNames(declared.name).sets_job}` leave what is done; the tag `{REPROCESS_TAG}: "true"` or '
        '`"false"` decides, too.'
    )


def _reprocesses(context: dg.AssetExecutionContext, config: TransformConfig) -> bool | None:
    """Whether sets that are done are transformed again; None: a person asked on the asset's page."""
    tags = context.run.tags
    if config.reprocess is not None:
        return config.reprocess
    if REPROCESS_TAG in tags:
        return tags[REPROCESS_TAG].lower() == "true"
    return False if IMPORT_TAG in tags else None


def _opened(
    context: dg.AssetExecutionContext, workspace: Workspace, load: LoadRecord, keys: Sequence[str], again: bool | None
) -> list[int]:
    """The numbers of the sets that were chosen; those to be transformed again have a new job, and the load is open."""
    books = workspace.books
    sets = {each.partition_key: each for each in books.sets(load)}
    chosen = [sets[key] for key in keys if key in sets]
    if len(chosen) < len(keys):
        gone = next(key for key in keys if key not in sets)
        raise ConfigError("has no such import set", key="set", value=f"{load.name}/{gone}")
    ours = _earlier_tries(context)
    done = [each for each in chosen if _is_done(each) and _worker(each) not in ours]
    if again is False or (again is None and load.is_open):
        done = []
    if done:
        flow.check_newest(workspace, load, again is True)
        flow.reopen_to_reprocess(workspace, load, [each.set_no for each in done])
    elif load.state == "error" and not all(map(_is_done, chosen)):
        flow.reopen_to_resume(workspace, load)
    return [each.set_no for each in chosen]


def _is_done(record: SetRecord) -> bool:
    return record.job is not None and record.job.state == "completed"


def _worker(record: SetRecord) -> str:
    return record.job.worker if record.job else ""


def _earlier_tries(context: dg.AssetExecutionContext) -> frozenset[str]:
    """Who this run is to the books, and who it was in the tries before: what they did is not done again."""
    found = context.instance.get_run_group(context.run.run_id)
    runs = [run.run_id for run in found[1]] if found else []
    return frozenset(f"{RUN_HOLDER}{run_id}" for run_id in (context.run.run_id, *runs))


def _events(
    context: dg.AssetExecutionContext, outcomes: Iterator[Outcome], failed: list[tuple[str, SnowError]]
) -> Iterator[dg.AssetMaterialization]:
    """An event for each set that is applied; the others are collected in ``failed``."""
    for outcome in outcomes:
        if outcome.error is not None:
            context.log.error("%s: %s", outcome.partition_key, outcome.error)
            failed.append((outcome.partition_key, outcome.error))
            continue
        yield dg.AssetMaterialization(
            context.asset_key, partition=outcome.partition_key, metadata=outcome_metadata(outcome)
        )


class SetsFailed(dg.Failure):
    """Some import sets of a run failed; ``failed`` pairs their partition keys with the causes."""

    def __init__(self, name: str, asked: int, failed: Sequence[tuple[str, SnowError]]) -> None:
        lines = [f"{key}: {error}" for key, error in failed[:_NAMED]]
        if len(failed) > _NAMED:
            lines.append(f"and {len(failed) - _NAMED} more: see the check sets_applied")
        super().__init__(
            f"{len(failed)} of {asked} import sets of import {name} failed\n" + "\n".join(lines),
            metadata={"failed": dg.MetadataValue.int(len(failed)), "asked": dg.MetadataValue.int(asked)},
            allow_retries=False,
        )
        self.failed = tuple(failed)

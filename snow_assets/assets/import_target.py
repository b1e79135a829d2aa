"""The asset ``imports/<name>/target``: closes a load, and releases what follows it."""

# Dagster reads the annotations of assets when they are defined, so this module does not defer them.

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
from pydantic import Field

from snow_assets.assets.failures import failures, fix_first_told
from snow_assets.assets.import_checks import SHOWN, counters_result, rows_result, target_specs
from snow_assets.assets.import_keys import IMPORT_TAG, LOAD_TAG, TARGET, ImportNames, import_tags
from snow_assets.assets.import_metadata import target_metadata
from snow_assets.config_imports import ImportConfig, ImportSettings
from snow_assets.errors import FixFirst, ImportFailed
from snow_assets.imports import flow
from snow_assets.imports.books_records import LoadRecord
from snow_assets.imports.contract import Counters
from snow_assets.imports.row_errors import rows_in_error
from snow_assets.resources import ImportsResource

Event = dg.MaterializeResult[None] | dg.AssetCheckResult


class TargetConfig(dg.Config):
    """Which load to close."""

    load_id: str | None = Field(default=None, description="The load to close; the newest where left out.")


def target_asset(declared: ImportConfig, settings: ImportSettings) -> dg.AssetsDefinition:
    """The target asset of an import. Unpartitioned, so that Dagster runs it in another run than the import sets."""
    names = ImportNames(declared.name)
    into = declared.target
    table = f"{into.db_schema}.{into.table}" if into.db_schema else into.table

    @dg.asset(
        key=names.target,
        deps=[names.transform],
        check_specs=target_specs(names),
        group_name=declared.asset_group,
        kinds={declared.target.kind},
        description=_described(declared, settings, table),
        metadata={"dagster/table_name": table},
        tags={IMPORT_TAG: declared.name},
    )
    def target(context: dg.AssetExecutionContext, config: TargetConfig, imports: ImportsResource) -> Iterator[Event]:
        with failures(), fix_first_told(context, FixFirst), imports.open(settings) as workspace:
            chosen = config.load_id or context.run.tags.get(LOAD_TAG)
            load = workspace.load(names.name, chosen)
            context.instance.add_run_tags(context.run.run_id, import_tags(names.name, TARGET, load.load_id))
            try:
                finished = flow.finish(declared, workspace, load.load_id)
            except ImportFailed as error:
                yield from _results(load, flow.counted(workspace.books.sets(load)), str(error), ())
                raise
            sets = workspace.books.sets(finished.load)
            rows = rows_in_error(workspace, finished.load, SHOWN)
            results = _results(finished.load, finished.counters, finished.load.error, rows)
            if not finished.ok:
                yield from results
                raise not_applied(finished, len(sets))
        yield dg.MaterializeResult(metadata=target_metadata(finished, sets), check_results=results)

    return target


def not_applied(finished: flow.Finished, sets: int) -> ImportFailed:
    """Import sets of a closed load failed."""
    load = finished.load
    return ImportFailed(
        f"{len(finished.failed)} of {sets} import sets failed: {load.error}",
        key="load",
        value=f"{load.name}/{load.load_id}",
        hint=f"snow-assets imports resume {load.name} goes on",
    )


def _results(
    load: LoadRecord, counters: Counters, error: str, rows: Sequence[Mapping[str, object]]
) -> list[dg.AssetCheckResult]:
    return [counters_result(load.staged, counters, error), rows_result(counters, load.rejected, rows)]


def _described(declared: ImportConfig, settings: ImportSettings, table: str) -> str:
    key = ", ".join(declared.coalesce.fields)
    how = f"coalesced by {key}" if key else "each row a record of its own"
    children = ", ".join(each.name for each in settings.children(declared.name))
    after = f" Then starts, one after another: {children}." if children else ""
    return (
        f"Closes a load of import `{declared.name}` into {declared.target.kind} table `{table}`, {how}: the counters "
        f"of its import sets add up to the staged rows.{after}"
    )

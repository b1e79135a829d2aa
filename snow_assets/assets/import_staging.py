"""The asset ``imports/<name>/staging``: loads the source, deals its rows to import sets, adds their partitions."""

# Dagster reads the annotations of assets when they are defined, so this module does not defer them.

from collections.abc import Iterator, Mapping
from datetime import timedelta

import dagster as dg
from pydantic import Field

from snow_assets.assets.failures import failures, fix_first_told
from snow_assets.assets.import_keys import CONTEXT_TAG, IMPORT_TAG, STAGING, ImportNames, import_tags
from snow_assets.assets.import_metadata import staging_metadata
from snow_assets.assets.keys import PullNames
from snow_assets.config import PullConfig
from snow_assets.config_imports import ImportConfig, ImportSettings
from snow_assets.errors import FixFirst
from snow_assets.imports import flow, hierarchy
from snow_assets.imports.books_records import LoadRecord, SetRecord
from snow_assets.imports.books_retention import is_old
from snow_assets.imports.home import load_of
from snow_assets.imports.workspace import Workspace
from snow_assets.resources import ImportsResource


class StagingConfig(dg.Config):
    """How to load."""

    new: bool = Field(
        default=False,
        description="Give up an unfinished load of the import: what it has not transformed is cancelled.",
    )
    execution_context: str | None = Field(
        default=None, description="Of a child: the run of the hierarchy in which it starts; the sensor gives it."
    )


def staging_asset(
    declared: ImportConfig, settings: ImportSettings, pulls: Mapping[str, PullConfig]
) -> dg.AssetsDefinition:
    """The staging asset of an import. ``pulls`` are those that are declared, by name."""
    names = ImportNames(declared.name)

    @dg.asset(
        key=names.staging,
        deps=_deps(declared, pulls),
        group_name=declared.asset_group,
        kinds={declared.source.kind, "parquet"},
        description=_described(declared),
        metadata={"staging_table": declared.staging_table, "partition": declared.partition.method},
        tags={IMPORT_TAG: declared.name},
    )
    def staging(
        context: dg.AssetExecutionContext, config: StagingConfig, imports: ImportsResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        run_id, instance = context.run.run_id, context.instance
        given = config.execution_context
        instance.add_run_tags(run_id, {**import_tags(names.name, STAGING), **({CONTEXT_TAG: given} if given else {})})

        def announce(_load: LoadRecord, record: SetRecord) -> None:
            """A set is ready; of a size, it may be transformed while later rows load."""
            instance.add_dynamic_partitions(names.partitions_name, [record.partition_key])

        with failures(), fix_first_told(context, FixFirst), imports.open(settings) as workspace:
            with hierarchy.chain_stopped(workspace.books, declared, given):
                load = flow.stage(declared, workspace, context=given, new=config.new, on_set=announce)
            sets = workspace.books.sets(load)
            _drop_gone(instance, names, workspace)
        instance.add_run_tags(run_id, import_tags(names.name, STAGING, load.load_id))
        yield dg.MaterializeResult(metadata=staging_metadata(load, sets))

    return staging


def _drop_gone(instance: dg.DagsterInstance, names: ImportNames, workspace: Workspace) -> None:
    """Delete the partitions of loads that were given up, or whose rows are no longer kept: none can be transformed."""
    keep = timedelta(seconds=workspace.config(names.name).keep)
    gone = {
        each.load_id
        for each in workspace.books.loads(names.name)
        if each.state == "cancelled" or (is_old(each, keep) and not workspace.folder(each).path.exists())
    }
    for key in instance.get_dynamic_partitions(names.partitions_name) if gone else ():
        if load_of(key) in gone:
            instance.delete_dynamic_partition(names.partitions_name, key)


def _deps(config: ImportConfig, pulls: Mapping[str, PullConfig]) -> list[dg.AssetKey]:
    """The import before it, and the pull whose rows it loads."""
    deps = [ImportNames(config.parent).target] if config.parent else []
    if config.source.pull:
        names, pull = PullNames(config.source.pull), pulls.get(config.source.pull)
        deps.append(names.rows(pull.mode) if pull else names.dataset)
    return deps


def _described(config: ImportConfig) -> str:
    how = {
        "round_robin": f"{config.import_sets} import sets in turn",
        "key": f"{config.import_sets} import sets, rows of one key in one of them",
        "size": f"import sets of {config.partition.size} rows"
        + (", transformed while later ones load" if config.overlaps else ""),
    }
    said = f"Rows of the source of import `{config.name}`, as they are there, dealt to {how[config.partition.method]}."
    return f"{config.description} {said}".strip()

"""The asset ``servicenow/<pull>/graph``: CIs and their relations as files, with what there is to say of them."""

# Dagster reads the annotations of assets when they are defined, so this module does not defer them.

from collections.abc import Iterator

import dagster as dg

from snow_assets.assets.failures import failures
from snow_assets.assets.keys import PullNames
from snow_assets.assets.leases import hold
from snow_assets.assets.metadata import files_metadata
from snow_assets.config import PullConfig
from snow_assets.documents.cmdb.export import GraphExport, export_graph, home_of
from snow_assets.errors import PlanIncomplete
from snow_assets.resources import LandingResource

VALID = "valid"
Event = dg.MaterializeResult[None] | dg.AssetCheckResult


def graph_asset(pull: PullConfig) -> dg.AssetsDefinition:
    """The graph asset of ``pull``; it shares the run which publishes.

    It does not depend on the pull of CIs, or each publication of that one would build the graph, too.
    """
    names = PullNames(pull.name)
    cis = pull.graph.cis if pull.graph else None

    @dg.asset(
        key=names.graph,
        deps=[names.rows(pull.mode)],
        check_specs=[
            dg.AssetCheckSpec(
                VALID,
                asset=names.graph,
                description="Each published relation is an edge, or is counted among those that lack an end.",
            )
        ],
        group_name=pull.asset_group,
        kinds={"parquet"},
        description=f"The relations of pull `{pull.name}` and their CIs"
        + (f", with classes and states of pull `{cis}`, as it was published last." if cis else "."),
        tags={"snow/table": pull.table},
    )
    def graph(context: dg.AssetExecutionContext, landing: LandingResource) -> Iterator[Event]:
        store = landing.open(pull.name)
        with failures(), hold(store, context, queue=True), hold(home_of(store), context, queue=True):
            try:
                found = export_graph(store, cis=cis)
            except PlanIncomplete as error:
                yield _checked(passed=False, cause=str(error))
                raise
        yield dg.MaterializeResult(metadata=_metadata(found), check_results=[_valid(found)])

    return graph


def _checked(*, passed: bool, **metadata: int | str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(check_name=VALID, passed=passed, metadata=metadata)


def _valid(found: GraphExport) -> dg.AssetCheckResult:
    figures = found.figures
    return _checked(passed=True, **{name: getattr(figures, name) for name in ("relations", "edges", *_OPEN)})


_OPEN = ("without_parent", "without_child", "without_ends")
_SHAPE = ("components", "largest", "cyclic")


def _metadata(found: GraphExport) -> dict[str, dg.MetadataValue]:
    metadata: dict[str, dg.MetadataValue] = {
        "dagster/row_count": dg.MetadataValue.int(found.figures.relations),
        **{name: dg.MetadataValue.int(figure) for name, figure in found.figures.as_dict().items()},
        **{name: dg.MetadataValue.int(getattr(found, name)) for name in _SHAPE},
    }
    if found.cis:
        metadata["known_cis"] = dg.MetadataValue.int(found.known_cis)
        metadata["cis"] = dg.MetadataValue.text(
            f"{found.cis}, plan {found.cis_plan}" if found.cis_plan else f"{found.cis} has published nothing yet"
        )
    metadata["plan_id"] = dg.MetadataValue.text(found.plan)
    metadata["written"] = dg.MetadataValue.bool(found.changed)
    return metadata | files_metadata(found.files)

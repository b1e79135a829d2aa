"""The asset ``servicenow/<pull>/corpus``: the rows as files for other programs, proven and with a manifest."""

# Dagster reads the annotations of assets when they are defined, so this module does not defer them.

from collections.abc import Iterator

import dagster as dg

from snow_assets.assets.failures import failures
from snow_assets.assets.keys import PullNames
from snow_assets.assets.leases import hold
from snow_assets.assets.metadata import files_metadata
from snow_assets.config import PullConfig
from snow_assets.errors import PlanIncomplete
from snow_assets.pulls.corpus import Corpus, export_corpus, home_of
from snow_assets.resources import LandingResource

VALID = "valid"
Event = dg.MaterializeResult[None] | dg.AssetCheckResult


def corpus_asset(pull: PullConfig) -> dg.AssetsDefinition:
    """The corpus asset of ``pull``; it shares the run which publishes."""
    names = PullNames(pull.name)

    @dg.asset(
        key=names.corpus,
        deps=[names.rows(pull.mode)],
        check_specs=[
            dg.AssetCheckSpec(
                VALID,
                asset=names.corpus,
                description="Rows in Parquet, lines of records and published rows agree, and so does the instance's "
                "count but for what is explained.",
            )
        ],
        group_name=pull.asset_group,
        kinds={"parquet", "json"},
        description=f"The live rows of pull `{pull.name}` as one Parquet file and one file of raw records, by sys_id.",
        tags={"snow/table": pull.table},
    )
    def corpus(context: dg.AssetExecutionContext, landing: LandingResource) -> Iterator[Event]:
        store = landing.open(pull.name)
        with failures(), hold(store, context, queue=True), hold(home_of(store), context, queue=True):
            try:
                found = export_corpus(store)
            except PlanIncomplete as error:
                yield dg.AssetCheckResult(
                    check_name=VALID,
                    passed=False,
                    severity=dg.AssetCheckSeverity.ERROR,
                    metadata={"cause": str(error)},
                )
                raise
        yield dg.MaterializeResult(metadata=_metadata(found), check_results=[_valid(found)])

    return corpus


def _valid(found: Corpus) -> dg.AssetCheckResult:
    counted = "unknown: the instance counts windows only, or did not count" if found.counted is None else found.counted
    return dg.AssetCheckResult(
        check_name=VALID,
        passed=True,
        metadata={
            "rows": found.rows,
            "counted": counted,
            **{f"{each.cause} ({each.rows:+,})": each.evidence for each in found.differences},
        },
    )


def _metadata(found: Corpus) -> dict[str, dg.MetadataValue]:
    return {
        "dagster/row_count": dg.MetadataValue.int(found.rows),
        "plan_id": dg.MetadataValue.text(found.plan),
        "digest": dg.MetadataValue.text(found.digest),
        "written": dg.MetadataValue.bool(found.changed),
        **files_metadata(found.files),
    }

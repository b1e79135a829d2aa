"""The asset ``servicenow/<pull>/attachments``: the files attached to a pull's rows; and its job."""

# Dagster reads the annotations of assets when they are defined, so this module does not defer them.

from collections.abc import Iterator

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from pydantic import Field

from snow_assets.assets.failures import failures
from snow_assets.assets.fault_lines import fault_lines
from snow_assets.assets.keys import ATTACHMENTS_TAG, PullNames
from snow_assets.assets.leases import hold
from snow_assets.assets.metadata import link
from snow_assets.checks import table
from snow_assets.config import PullConfig
from snow_assets.pulls.attachments import Attachments, home_of, sync_attachments
from snow_assets.resources import LandingResource, ServiceNowResource

FILES_LANDED = "files_landed"
Event = dg.AssetMaterialization | dg.AssetCheckResult


class AttachmentsRun(dg.Config):
    """How to look at what lies there."""

    verify: bool = Field(default=False, description="Read every file that landed, instead of trusting the run before.")


def attachments_asset(pull: PullConfig, pool: str | None) -> dg.AssetsDefinition:
    """The attachments asset of ``pull``. It is reported as materialised also where some files failed, as the run is."""
    names = PullNames(pull.name)

    @dg.asset(
        key=names.attachments,
        deps=[names.rows(pull.mode)],
        output_required=False,
        check_specs=[
            dg.AssetCheckSpec(
                FILES_LANDED, asset=names.attachments, description="Every wanted file is there, of its size and hash."
            )
        ],
        group_name=pull.asset_group,
        kinds={"servicenow", "file"},
        pool=pool,
        description=f"Files attached to the rows of pull `{pull.name}`, and a table of them. What landed is not "
        "fetched again.",
        tags={"snow/table": "sys_attachment"},
    )
    def attachments(
        context: dg.AssetExecutionContext,
        config: AttachmentsRun,
        servicenow: ServiceNowResource,
        landing: LandingResource,
    ) -> Iterator[Event]:
        context.instance.add_run_tags(context.run.run_id, {ATTACHMENTS_TAG: pull.name})
        store = landing.open(pull.name)
        with (
            failures(servicenow),
            fault_lines(context),
            servicenow.client(pull) as client,
            hold(home_of(store), context),
        ):
            found, error = sync_attachments(pull, client, store, verify=config.verify)
            yield dg.AssetMaterialization(context.asset_key, metadata=_metadata(found))
            yield _result(found)
            if error is not None:
                raise error

    return attachments


def attachments_job(pull: PullConfig) -> UnresolvedAssetJobDefinition:
    """The job that brings the attachments up to the rows. Apart from publishing: it asks the instance, and may last."""
    names = PullNames(pull.name)
    return dg.define_asset_job(
        names.attachments_job,
        selection=dg.AssetSelection.assets(names.attachments),
        tags={ATTACHMENTS_TAG: pull.name},
        description=f"Lists the attachments of the rows of pull {pull.name}, and fetches what is not there.",
        executor_def=dg.in_process_executor,
    )


def _metadata(found: Attachments) -> dict[str, dg.MetadataValue]:
    numbers = ("landed", "skipped", "failed", "deleted", "bytes", "fetched", "fetched_bytes", "size_only", "hidden")
    metadata: dict[str, dg.MetadataValue] = {
        name: dg.MetadataValue.int(number) for name in numbers if (number := getattr(found, name)) is not None
    }
    return {
        "dagster/row_count": dg.MetadataValue.int(found.landed + found.skipped + found.failed + found.deleted),
        **metadata,
        "requests": dg.MetadataValue.int(int(found.cost.get("requests", 0))),
        "as_of": dg.MetadataValue.text(found.as_of),
        "table": link(found.table),
    }


def _result(found: Attachments) -> dg.AssetCheckResult:
    metadata: dict[str, dg.MetadataValue] = {"failed": dg.MetadataValue.int(found.failed)}
    if found.failures:
        columns = ("sys_id", "file_name", "reason")
        rows = [dict(zip(columns, failure, strict=True)) for failure in found.failures]
        metadata["failed files"] = table(rows, columns)
    return dg.AssetCheckResult(
        check_name=FILES_LANDED, passed=not found.failed, severity=dg.AssetCheckSeverity.ERROR, metadata=metadata
    )

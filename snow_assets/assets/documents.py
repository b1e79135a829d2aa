"""The asset ``servicenow/<pull>/documents``: the rows as documents for an index, and what changed since."""

# Dagster reads the annotations of assets when they are defined, so this module does not defer them.

from collections.abc import Iterator, Mapping

import dagster as dg
from pydantic import Field as Described

from snow_assets.assets.failures import failures
from snow_assets.assets.keys import PullNames
from snow_assets.assets.leases import hold
from snow_assets.assets.metadata import files_metadata
from snow_assets.config import PullConfig
from snow_assets.documents import Document
from snow_assets.documents.declared import export_declared, unpublished
from snow_assets.documents.export import Export, home_of
from snow_assets.documents.exported import read_documents_of
from snow_assets.errors import PlanIncomplete
from snow_assets.pulls import Landing
from snow_assets.resources import LandingResource

VALID = "valid"
SAMPLE = 1_500  # characters of the document that is shown
Event = dg.MaterializeResult[None] | dg.AssetCheckResult


class DocumentsRun(dg.Config):
    """How to write them."""

    again: bool = Described(default=False, description="Write every file anew, also where the export is there.")


def documents_asset(pull: PullConfig, pulls: Mapping[str, PullConfig]) -> dg.AssetsDefinition:
    """The documents asset of ``pull``; it shares the runs which publish what documents are made of."""
    names = PullNames(pull.name)
    deps = list(dict.fromkeys((names.rows(pull.mode), *other_rows(pull, pulls))))

    @dg.asset(
        key=names.documents,
        deps=deps,
        output_required=False,
        check_specs=[
            dg.AssetCheckSpec(
                VALID,
                asset=names.documents,
                description="One document for each published row, each id once, and each as its hash says.",
            )
        ],
        group_name=pull.asset_group,
        kinds={"parquet", "json"},
        description=f"The rows of pull `{pull.name}` as documents, by id, and which were added, changed and deleted "
        "since the export before.",
        tags={"snow/table": pull.table},
    )
    def documents(context: dg.AssetExecutionContext, config: DocumentsRun, landing: LandingResource) -> Iterator[Event]:
        store = landing.open(pull.name)
        with failures(), hold(home_of(store), context, queue=True):
            waited_for = unpublished(pull, store)
            if waited_for:
                context.log.warning("nothing of pull %s is published yet: no documents are made", waited_for)
                yield _checked(passed=False, waits_for=waited_for)
                return
            try:
                found = export_declared(pull, store, again=config.again)
            except PlanIncomplete as error:
                yield _checked(passed=False, cause=str(error))
                raise
        result = _checked(passed=True, documents=found.rows, digest=found.digest)
        yield dg.MaterializeResult(metadata=_metadata(found, store), check_results=[result])

    return documents


def other_rows(pull: PullConfig, pulls: Mapping[str, PullConfig]) -> list[dg.AssetKey]:
    """The rows of other pulls that documents of ``pull`` are made of."""
    others = pull.documents.other_pulls.values() if pull.documents else ()
    return [PullNames(name).rows(pulls[name].mode if name in pulls else "full") for name, _ in others]


def documents_made_of(pull: PullConfig, pulls: Mapping[str, PullConfig]) -> list[dg.AssetsDefinition]:
    """The documents assets of the other pulls that are made of the rows of ``pull``, too."""
    rows = PullNames(pull.name).rows(pull.mode)
    others = [each for each in pulls.values() if each.name != pull.name]
    return [documents_asset(each, pulls) for each in others if rows in other_rows(each, pulls)]


def _checked(*, passed: bool, **metadata: int | str) -> dg.AssetCheckResult:
    """Documents that wait for another pull are no error: its next publication makes them."""
    severity = dg.AssetCheckSeverity.WARN if "waits_for" in metadata else dg.AssetCheckSeverity.ERROR
    return dg.AssetCheckResult(check_name=VALID, passed=passed, severity=severity, metadata=metadata)


def _metadata(found: Export, landing: Landing) -> dict[str, dg.MetadataValue]:
    sample = next(read_documents_of(landing, found), None)
    return {
        "dagster/row_count": dg.MetadataValue.int(found.rows),
        **{name: dg.MetadataValue.int(getattr(found, name)) for name in ("added", "changed", "deleted", "unchanged")},
        "plan_id": dg.MetadataValue.text(found.plan),
        "export": dg.MetadataValue.text(found.export),
        "previous": dg.MetadataValue.text(found.previous or "none"),
        "new_recipe": dg.MetadataValue.bool(found.new_recipe),
        "written": dg.MetadataValue.bool(found.written),
        **{f"plan of {name}": dg.MetadataValue.text(plan) for name, plan in found.beside.items()},
        **files_metadata(found.files),
        **({"sample": dg.MetadataValue.md(_sample_md(sample))} if sample else {}),
    }


def _sample_md(document: Document) -> str:
    """A document, word for word: in a block that nothing in its text can end."""
    text = document.page_content
    shown = text if len(text) <= SAMPLE else f"{text[:SAMPLE]} ..."
    fence = "`" * 3
    while fence in shown:
        fence += "`"
    return f"{fence}text\n{shown}\n{fence}"

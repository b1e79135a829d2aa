"""Everything that one pull brings to Dagster: its assets, three jobs, and a schedule where it declares one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from snow_assets.assets.attachments import attachments_asset, attachments_job
from snow_assets.assets.corpus import corpus_asset
from snow_assets.assets.dataset import dataset_asset, totals_asset
from snow_assets.assets.delta import current_asset, sweep_asset
from snow_assets.assets.documents import documents_asset
from snow_assets.assets.graph import graph_asset
from snow_assets.assets.keys import PREFIX, PullNames, run_tags
from snow_assets.assets.plan import plan_asset
from snow_assets.assets.slices import slices_asset
from snow_assets.config import PullConfig


@dataclass(frozen=True)
class PullParts:
    """The definitions of one pull."""

    pull: PullConfig
    assets: Sequence[dg.AssetsDefinition]
    plan_job: UnresolvedAssetJobDefinition
    slices_job: UnresolvedAssetJobDefinition
    publish_job: UnresolvedAssetJobDefinition
    attachments_job: UnresolvedAssetJobDefinition | None = None

    @property
    def jobs(self) -> tuple[UnresolvedAssetJobDefinition, ...]:
        """The three jobs of every pull, and that of its attachments."""
        own = (self.plan_job, self.slices_job, self.publish_job)
        return own if self.attachments_job is None else (*own, self.attachments_job)


def pull_parts(
    pull: PullConfig, pool: str | None = PREFIX, pulls: Mapping[str, PullConfig] = MappingProxyType({})
) -> PullParts:
    """The parts of ``pull``; ``pool`` bounds its runs. ``pulls`` has those that it is made of besides, by name.

    What depends on its dataset (dbt models) shares the run which publishes.
    """
    name, names = pull.name, PullNames(pull.name)
    only = dg.AssetSelection.assets
    assets = [plan_asset(pull, pool), slices_asset(pull, pool), totals_asset(pull), dataset_asset(pull)]
    if pull.mode == "delta":
        assets += [sweep_asset(pull, pool), current_asset(pull)]
    if pull.corpus:
        assets.append(corpus_asset(pull))
    if pull.documents:
        assets.append(documents_asset(pull, pulls))
    if pull.graph:
        assets.append(graph_asset(pull))
    if pull.attachments:
        assets.append(attachments_asset(pull, pool))
    first = only(names.sweep, names.totals) if pull.mode == "delta" else only(names.totals)
    after: dg.AssetSelection = only(names.dataset).downstream()
    if pull.attachments:  # they have a job of their own, for they may take hours
        after = after - only(names.attachments)
    return PullParts(
        pull=pull,
        assets=assets,
        plan_job=only_here(
            names.plan_job,
            only(names.plan),
            run_tags(name, "plan"),
            f"Starts pull {name}: makes a plan, which the reconciler then lands and publishes.",
        ),
        slices_job=only_here(
            names.slices_job, only(names.slices), run_tags(name, "slices"), f"Lands slices of pull {name}."
        ),
        publish_job=only_here(
            names.publish_job,
            first | after,
            run_tags(name, "publish"),
            f"Reconciles and publishes the newest plan of pull {name}, then builds what depends on it.",
        ),
        attachments_job=attachments_job(pull) if pull.attachments else None,
    )


def pool_of(url: str | None) -> str:
    """The pool that bounds the runs which talk to one instance; named by its host."""
    host = urlsplit(url).hostname if url else None
    return f"{PREFIX}/{host}" if host else PREFIX


def only_here(
    name: str, selection: dg.AssetSelection, tags: dict[str, str], description: str
) -> UnresolvedAssetJobDefinition:
    """A job that runs in its own process only: one step needs no second one, and no second start."""
    return dg.define_asset_job(
        name,
        selection=selection,
        tags=tags,
        description=description,
        executor_def=dg.in_process_executor,
    )

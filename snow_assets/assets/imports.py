"""Everything that one import brings to Dagster: its assets, and three jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from snow_assets.assets.import_keys import SETS, STAGING, TARGET, ImportNames, import_tags
from snow_assets.assets.import_staging import staging_asset
from snow_assets.assets.import_target import target_asset
from snow_assets.assets.import_transform import Told, transform_asset
from snow_assets.assets.pull import only_here
from snow_assets.config import PullConfig
from snow_assets.config_imports import ImportConfig, ImportSettings


@dataclass(frozen=True)
class ImportParts:
    """The definitions of one import."""

    config: ImportConfig
    assets: Sequence[dg.AssetsDefinition]
    staging_job: UnresolvedAssetJobDefinition
    sets_job: UnresolvedAssetJobDefinition
    target_job: UnresolvedAssetJobDefinition

    @property
    def jobs(self) -> tuple[UnresolvedAssetJobDefinition, ...]:
        """The three of them."""
        return self.staging_job, self.sets_job, self.target_job


def import_parts(
    config: ImportConfig,
    settings: ImportSettings,
    pulls: Mapping[str, PullConfig] = MappingProxyType({}),
    *,
    pooled: bool = True,
    told: Told | None = None,
) -> ImportParts:
    """The parts of an import. ``pooled``: its pool bounds the runs that transform; ``told`` hears of each set."""
    name, names = config.name, ImportNames(config.name)
    only = dg.AssetSelection.assets
    return ImportParts(
        config=config,
        assets=[
            staging_asset(config, settings, pulls),
            transform_asset(config, settings, names.pool if pooled else None, told),
            target_asset(config, settings),
        ],
        staging_job=only_here(
            names.staging_job,
            only(names.staging),
            import_tags(name, STAGING),
            f"Starts import {name}: loads its source. The sensor then transforms the import sets, closes the load and "
            "starts what follows it.",
        ),
        sets_job=only_here(
            names.sets_job,
            only(names.transform),
            import_tags(name, SETS),
            f"Transforms import sets of import {name} that are not done; those that are stay as they are.",
        ),
        target_job=only_here(
            names.target_job,
            only(names.target),
            import_tags(name, TARGET),
            f"Closes a load of import {name}, and releases what follows it.",
        ),
    )

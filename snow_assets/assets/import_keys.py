"""Names that the assets, jobs, sensor and command line of imports share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import dagster as dg

from snow_assets.assets.keys import STEP_TAG

PREFIX: Final = "imports"

IMPORT_TAG: Final = "snow/import"
LOAD_TAG: Final = "snow/load"
CONTEXT_TAG: Final = "snow/execution_context"  # of a staging run that an import before it released
REPROCESS_TAG: Final = "snow/reprocess"  # of a transform run: "true" transforms finished sets again, "false" does not

STAGING, SETS, TARGET = "staging", "sets", "target"  # values of the step tag


@dataclass(frozen=True)
class ImportNames:
    """Everything in Dagster that bears the name of one import."""

    name: str

    @cached_property
    def staging(self) -> dg.AssetKey:
        """``imports/<name>/staging``."""
        return dg.AssetKey([PREFIX, self.name, "staging"])

    @cached_property
    def transform(self) -> dg.AssetKey:
        """``imports/<name>/transform``: one partition per import set."""
        return dg.AssetKey([PREFIX, self.name, "transform"])

    @cached_property
    def target(self) -> dg.AssetKey:
        """``imports/<name>/target``."""
        return dg.AssetKey([PREFIX, self.name, "target"])

    @cached_property
    def partitions(self) -> dg.DynamicPartitionsDefinition:
        """One key per import set, ``<load id>/0001``; the definition's name is instance-wide."""
        return dg.DynamicPartitionsDefinition(name=self.partitions_name)

    @property
    def partitions_name(self) -> str:
        """The name under which the instance keeps the partition keys."""
        return f"{PREFIX}/{self.name}/import_sets"

    @property
    def pool(self) -> str:
        """The pool of the transform: each of its slots is a run with two transformer jobs for each node."""
        return f"{PREFIX}/{self.name}"

    @property
    def staging_job(self) -> str:
        """The job that starts a load; the sensor does the rest."""
        return f"import_{self.name}"

    @property
    def sets_job(self) -> str:
        """The job that transforms a range of import sets."""
        return f"import_{self.name}_sets"

    @property
    def target_job(self) -> str:
        """The job that closes a load."""
        return f"import_{self.name}_target"

    @property
    def schedule(self) -> str:
        """The schedule of the staging job."""
        return f"import_{self.name}_schedule"

    @property
    def asset_keys(self) -> frozenset[dg.AssetKey]:
        """The three assets."""
        return frozenset((self.staging, self.transform, self.target))


def import_tags(name: str, step: str, load_id: str = "") -> dict[str, str]:
    """Tags by which the sensor recognises the runs of an import."""
    tags = {IMPORT_TAG: name, STEP_TAG: step}
    return {**tags, LOAD_TAG: load_id} if load_id else tags


def staging_config(names: ImportNames, *, new: bool = False, context: str = "") -> dict[str, Any]:
    """Run config of the staging job."""
    given: Mapping[str, Any] = {"new": new, **({"execution_context": context} if context else {})}
    return {"ops": {names.staging.to_python_identifier(): {"config": given}}}


def target_config(names: ImportNames, load_id: str) -> dict[str, Any]:
    """Run config of the job that closes a load."""
    return {"ops": {names.target.to_python_identifier(): {"config": {"load_id": load_id}}}}

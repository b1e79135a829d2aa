"""Names that assets, jobs, sensors and the command line share: asset keys, partitions, tags."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import dagster as dg

PREFIX: Final = "servicenow"

PULL_TAG: Final = "snow/pull"
PLAN_TAG: Final = "snow/plan"
STEP_TAG: Final = "snow/step"  # of a run: "plan", "slices" or "publish"
REFUSED_TAG: Final = "snow/refused"  # of a publish run: the plan waits to be accepted by name
FIX_FIRST_TAG: Final = "snow/fix_first"  # of a plan or slices run: it fails until something is fixed
ATTEMPT_TAG: Final = "snow/attempt"  # of a plan run that the reconciler started: 2 for the first repair
ATTACHMENTS_TAG: Final = "snow/attachments"  # of a run of attachments: the pull, which goes on meanwhile
DRIVER_TAG: Final = "snow/driver"  # of a run in a process of its own, which no daemon watches: "terminal"

RANGE_START_TAG: Final = "dagster/asset_partition_range_start"
RANGE_END_TAG: Final = "dagster/asset_partition_range_end"
PARTITION_TAG: Final = "dagster/partition"


@dataclass(frozen=True)
class PullNames:
    """Everything in Dagster that bears the name of one pull."""

    pull: str

    @cached_property
    def plan(self) -> dg.AssetKey:
        """``servicenow/<pull>/plan``."""
        return dg.AssetKey([PREFIX, self.pull, "plan"])

    @cached_property
    def slices(self) -> dg.AssetKey:
        """``servicenow/<pull>/slices``."""
        return dg.AssetKey([PREFIX, self.pull, "slices"])

    @cached_property
    def sweep(self) -> dg.AssetKey:
        """``servicenow/<pull>/sweep``: what the cursor of a delta pull cannot show."""
        return dg.AssetKey([PREFIX, self.pull, "sweep"])

    @cached_property
    def totals(self) -> dg.AssetKey:
        """``servicenow/<pull>/totals``."""
        return dg.AssetKey([PREFIX, self.pull, "totals"])

    @cached_property
    def dataset(self) -> dg.AssetKey:
        """``servicenow/<pull>``: what others depend on bears the pull's name."""
        return dg.AssetKey([PREFIX, self.pull])

    @cached_property
    def current(self) -> dg.AssetKey:
        """``servicenow/<pull>/current``: the newest version of each row, of a delta pull."""
        return dg.AssetKey([PREFIX, self.pull, "current"])

    @cached_property
    def corpus(self) -> dg.AssetKey:
        """``servicenow/<pull>/corpus``: the rows as files for other programs, where the pull says ``corpus``."""
        return dg.AssetKey([PREFIX, self.pull, "corpus"])

    @cached_property
    def documents(self) -> dg.AssetKey:
        """``servicenow/<pull>/documents``: the rows as documents for an index, where the pull says ``documents``."""
        return dg.AssetKey([PREFIX, self.pull, "documents"])

    @cached_property
    def graph(self) -> dg.AssetKey:
        """``servicenow/<pull>/graph``: CIs and their relations, where a pull of ``cmdb_rel_ci`` says ``graph``."""
        return dg.AssetKey([PREFIX, self.pull, "graph"])

    @cached_property
    def attachments(self) -> dg.AssetKey:
        """``servicenow/<pull>/attachments``: the files attached to the rows, where the pull wants them."""
        return dg.AssetKey([PREFIX, self.pull, "attachments"])

    def rows(self, mode: str) -> dg.AssetKey:
        """The asset whose rows are those of the table now: what is built on the pull depends on it."""
        return self.current if mode == "delta" else self.dataset

    @cached_property
    def partitions(self) -> dg.DynamicPartitionsDefinition:
        """One key per slice, ``<plan_id>/<offset>``; the definition's name is instance-wide."""
        return dg.DynamicPartitionsDefinition(name=f"{PREFIX}/{self.pull}/slices")

    @property
    def partitions_name(self) -> str:
        """The name under which the instance keeps the partition keys."""
        return f"{PREFIX}/{self.pull}/slices"

    @property
    def plan_job(self) -> str:
        """The job that makes a plan; the reconciler does the rest."""
        return f"pull_{self.pull}"

    @property
    def slices_job(self) -> str:
        """The job that lands a range of slices."""
        return f"slices_{self.pull}"

    @property
    def publish_job(self) -> str:
        """The job that reconciles and publishes a complete plan, and what depends on it."""
        return f"publish_{self.pull}"

    @property
    def attachments_job(self) -> str:
        """The job that lists and fetches attachments."""
        return f"attachments_{self.pull}"

    @property
    def schedule(self) -> str:
        """The schedule of the plan job."""
        return f"pull_{self.pull}_schedule"

    @property
    def attachments_schedule(self) -> str:
        """The schedule of the attachments job."""
        return f"attachments_{self.pull}_schedule"

    @property
    def asset_keys(self) -> frozenset[dg.AssetKey]:
        """The assets of the pull, those that only a delta pull has included."""
        return frozenset((self.plan, self.slices, self.sweep, self.totals, self.dataset, self.current))


def plan_of(partition_key: str) -> str:
    """The plan id in a partition key ``<plan_id>/<offset>``."""
    return partition_key.split("/", 1)[0]


def range_tags(first: str, last: str) -> dict[str, str]:
    """Tags that make one run of the partitions from ``first`` to ``last``, both included."""
    return {RANGE_START_TAG: first, RANGE_END_TAG: last}


def run_tags(pull: str, step: str, plan_id: str = "") -> dict[str, str]:
    """Tags by which the reconciler recognises the runs of a pull."""
    tags = {PULL_TAG: pull, STEP_TAG: step}
    return {**tags, PLAN_TAG: plan_id} if plan_id else tags


def plan_config(names: PullNames, *, new: bool, base: bool = False) -> dict[str, object]:
    """Run config of the plan job."""
    return {"ops": {names.plan.to_python_identifier(): {"config": {"new": new, "base": base}}}}


def publish_config(
    names: PullNames, plan_id: str, *, accept: bool = False, mode: str = "full"
) -> dict[str, dict[str, Any]]:
    """Run config that publishes ``plan_id`` of a pull of this mode."""
    totals, dataset, sweep = (key.to_python_identifier() for key in (names.totals, names.dataset, names.sweep))
    accepted = {"config": {"plan_id": plan_id, "accept": accept}}
    swept = {sweep: accepted} if mode == "delta" else {}
    return {"ops": {**swept, totals: {"config": {"plan_id": plan_id}}, dataset: accepted}}

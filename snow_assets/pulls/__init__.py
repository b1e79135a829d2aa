"""Pulls: plan, slices, ledger, totals and dataset. No Dagster here: usable as a library."""

from __future__ import annotations

from snow_assets.pulls.current import Current, bring_up, current
from snow_assets.pulls.dataset import Dataset, publish, published, published_chain, published_plan
from snow_assets.pulls.fetching import Failed, Landed, land_slices
from snow_assets.pulls.landing import LandedFile, Landing
from snow_assets.pulls.lease import lease, lease_holder
from snow_assets.pulls.ledger import Difference, Ledger
from snow_assets.pulls.plan import Plan, Slice
from snow_assets.pulls.planning import Planned, make_plan
from snow_assets.pulls.preview import Preview, look
from snow_assets.pulls.status import PullStatus, missing_keys, pull_status
from snow_assets.pulls.sweep import sweep
from snow_assets.pulls.sweep_record import Sweep, read_sweep
from snow_assets.pulls.totals import Totals, read_totals, reconcile

__all__ = [
    "Current",
    "Dataset",
    "Difference",
    "Failed",
    "Landed",
    "LandedFile",
    "Landing",
    "Ledger",
    "Plan",
    "Planned",
    "Preview",
    "PullStatus",
    "Slice",
    "Sweep",
    "Totals",
    "bring_up",
    "current",
    "land_slices",
    "lease",
    "lease_holder",
    "look",
    "make_plan",
    "missing_keys",
    "publish",
    "published",
    "published_chain",
    "published_plan",
    "pull_status",
    "read_sweep",
    "read_totals",
    "reconcile",
    "sweep",
]

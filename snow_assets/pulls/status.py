"""Where a pull stands, read from its landing alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from snow_assets.pulls.current import current
from snow_assets.pulls.dataset import published
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.lease import lease_holder
from snow_assets.pulls.plan import Plan

State = Literal["none", "planned", "unfinished", "complete", "published"]


@dataclass(frozen=True, slots=True)
class PullStatus:
    """The newest plan of a pull, and its dataset. ``missing`` are the partition keys that have not landed, in order.

    ``state``: ``none`` (no plan), ``planned`` (nothing landed yet), ``unfinished`` (some slices), ``complete`` (all,
    not published), ``published``: none claims that something goes on now. ``running`` names the holder of the lease.
    ``published_rows`` are the rows that readers get: of a delta pull, the current ones.
    """

    pull: str
    state: State
    plan: str | None = None
    as_of: datetime | None = None
    counted: int | None = None
    total: int = 0
    landed: int = 0
    missing: tuple[str, ...] = ()
    published_plan: str | None = None
    published_rows: int | None = None
    mode: str = "full"
    running: str | None = None


def pull_status(pull: str, landing: Landing) -> PullStatus:
    """Read the landing: the newest plan, which of its slices have landed, and what is published."""
    running = lease_holder(landing)
    dataset = published(landing)
    now = current(landing) if dataset is not None and dataset.mode == "delta" else None
    plan = landing.latest_plan()
    if plan is None:
        return PullStatus(pull, "none", running=running)
    missing = () if dataset is not None and dataset.plan == plan.plan_id else missing_keys(plan, landing)
    landed = len(plan.slices) - len(missing)
    return PullStatus(
        pull=pull,
        state=_state(plan, landed, dataset is not None and dataset.plan == plan.plan_id),
        plan=plan.plan_id,
        as_of=plan.as_of,
        counted=plan.counted,
        total=len(plan.slices),
        landed=landed,
        missing=missing,
        published_plan=None if dataset is None else dataset.plan,
        published_rows=now.rows if now is not None else None if dataset is None else dataset.rows,
        mode=plan.mode,
        running=running,
    )


def missing_keys(plan: Plan, landing: Landing) -> tuple[str, ...]:
    """Partition keys of the slices that have not landed, in order."""
    files = landing.slice_files(plan)
    return tuple(
        key
        for key, piece in zip(plan.partition_keys, plan.slices, strict=True)
        if landing.landed(plan, piece, files.get(piece.offset, [])) is None
    )


def _state(plan: Plan, landed: int, is_published: bool) -> State:
    if is_published:
        return "published"
    if landed == len(plan.slices):
        return "complete"
    return "unfinished" if landed else "planned"

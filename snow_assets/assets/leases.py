"""Holding a pull's lease inside a Dagster run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import dagster as dg

from snow_assets.errors import LeaseHeld
from snow_assets.pulls import Landing, lease, lease_holder

Context = dg.AssetExecutionContext | dg.OpExecutionContext

RUN_HOLDER = "Dagster run "
_POLL_SECONDS = 2.0
_GRACE_SECONDS = 6.0  # the reconciler's look at a lease takes it for an instant


@contextmanager
def hold(landing: Landing, context: Context, *, queue: bool = False) -> Iterator[None]:
    """Hold the lease of a pull while the block runs. Raises ``LeaseHeld`` where another driver has it.

    ``queue`` waits for other Dagster runs, as those of one backfill: they work on different slices of the same pull.
    """
    with ExitStack() as stack:
        _enter(stack, landing, context, queue)
        yield


def _enter(stack: ExitStack, landing: Landing, context: Context, queue: bool) -> None:
    patience = time.monotonic() + _GRACE_SECONDS
    told = False
    while True:
        try:
            stack.enter_context(lease(landing, f"{RUN_HOLDER}{context.run.run_id}"))
        except LeaseHeld:
            holder = lease_holder(landing) or ""
            if not (queue and holder.startswith(RUN_HOLDER)) and time.monotonic() > patience:
                raise
        else:
            return
        if not told:
            context.log.info("pull %s: waiting for %s to end", landing.pull, holder or "another run")
            told = True
        time.sleep(_POLL_SECONDS)

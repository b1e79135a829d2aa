"""The partitions that a run is about."""

from __future__ import annotations

import dagster as dg


def partition_keys(context: dg.AssetExecutionContext, *, none: str, gone: str) -> list[str]:
    """The keys of the run. A range that resolves to none must not pass for success.

    Raises ``dagster.Failure`` that says ``none`` where no partition was chosen, ``gone`` where the range is empty.
    """
    if not context.has_partition_key and not context.has_partition_key_range:
        raise dg.Failure(none, allow_retries=False)
    keys = list(context.partition_keys)
    if not keys:
        raise dg.Failure(gone, allow_retries=False)
    return keys

"""How a pull ended, as JSON and as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from snow_assets.cli.estimate import human_bytes, human_seconds

if TYPE_CHECKING:
    from snow_assets.assets.local import PullOutcome
    from snow_assets.pulls import Landing, Totals


def outcome_data(outcome: PullOutcome, landing: Landing, seconds: float) -> dict[str, Any]:
    """What ``--json`` prints of a pull.

    ``landed``, ``requests`` and ``retries`` are those of the whole plan, also where earlier calls did a part of it;
    ``seconds`` is this call's. ``missing`` is rows that are neither landed nor explained.
    """
    plan, error = outcome.plan, outcome.error
    figures = _of_totals(outcome.totals) if outcome.totals else _of_files(outcome, landing)
    dataset = outcome.dataset
    data: dict[str, Any] = {
        "pull": outcome.pull,
        "plan": plan.plan_id,
        "as_of": plan.as_of.isoformat(),
        **figures,
        "slices": {"total": len(plan.slices), "landed": outcome.landed, "failed": len(outcome.failed)},
        "seconds": seconds,
        "published": outcome.published,
        "retryable": bool(error and error.exit_code == 1),
        "failed": [{"slice": key, "cause": str(each), **each.as_dict()} for key, each in outcome.failed],
        "dataset": None,
        "receipt": outcome.totals.receipt if outcome.totals else None,
        "dbt": " ".join(outcome.dbt_failed.split())[:500],
        "runs": outcome.runs,
    }
    if dataset is not None:
        data["dataset"] = {"location": dataset.location, "version": dataset.version, "plan": dataset.plan}
    if error is not None:
        data["error"] = error.as_dict()
    return data


def _of_totals(totals: Totals) -> dict[str, Any]:
    return {
        "counted": totals.counted,
        "landed": totals.landed,
        "hidden": totals.hidden,
        "duplicates": totals.duplicates,
        "missing": totals.missing,
        "requests": totals.cost.get("requests", 0),
        "retries": totals.cost.get("retries", 0),
        "bytes": totals.size,
        "files": totals.files,
        "differences": [asdict(difference) for difference in totals.differences],
    }


def _of_files(outcome: PullOutcome, landing: Landing) -> dict[str, Any]:
    """Figures of a plan that is not complete: of what has landed."""
    plan = outcome.plan
    files = list(landing.all_landed(plan).values())
    landed = sum(file.ledger.landed for file in files)
    return {
        "counted": plan.counted,
        "landed": landed,
        "hidden": None,
        "duplicates": 0,
        "missing": None if plan.counted is None else max(0, plan.counted - landed),
        "requests": plan.cost.get("requests", 0) + sum(file.ledger.requests for file in files),
        "retries": plan.cost.get("retries", 0) + sum(file.ledger.retries for file in files),
        "bytes": sum(file.size for file in files),
        "files": len(files),
        "differences": [asdict(difference) for file in files for difference in file.ledger.differences],
    }


def lines_of(data: dict[str, Any]) -> Iterator[str]:
    """A published pull in a few lines."""
    counted = "unknown" if data["counted"] is None else f"{data['counted']:,}"
    hidden = "unknown" if data["hidden"] is None else f"{data['hidden']:,}"
    yield f"{data['pull']}: {data['landed']:,} rows published (counted {counted}, hidden {hidden}), plan {data['plan']}"
    yield (
        f"  {data['requests']:,} requests, {data['retries']:,} retries, {human_seconds(data['seconds'])};"
        f" {data['files']:,} files, {human_bytes(data['bytes'])}, in {data['dataset']['location']}"
    )

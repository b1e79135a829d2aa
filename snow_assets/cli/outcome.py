"""How a pull ended, as JSON and as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from snow_assets.cli.estimate import human_bytes, human_seconds
from snow_assets.errors import Cancelled, SnowError

if TYPE_CHECKING:
    from snow_assets.assets.local import PullOutcome
    from snow_assets.pulls import Current, Landing, Totals

NAMED = 10  # slices in a line of evidence


def outcome_data(outcome: PullOutcome, landing: Landing, seconds: float) -> dict[str, Any]:
    """What ``--json`` prints of a pull.

    ``landed``, ``requests`` and ``retries`` are those of the whole plan, also where earlier calls did a part of it;
    ``seconds`` is this call's. ``missing`` is rows that are neither landed nor explained.
    """
    plan, error = outcome.plan, cause_of(outcome)
    figures = _of_totals(outcome.totals) if outcome.totals else _of_files(outcome, landing)
    dataset = outcome.dataset
    data: dict[str, Any] = {
        "pull": outcome.pull,
        "plan": plan.plan_id,
        "mode": plan.mode,
        "since": plan.since.isoformat() if plan.since else None,
        "as_of": plan.as_of.isoformat(),
        **figures,
        "slices": {"total": len(plan.slices), "landed": outcome.landed, "failed": len(outcome.failed)},
        "seconds": seconds,
        "published": outcome.published,
        "retryable": bool(error and error.exit_code == 1),
        "failed": [{"slice": key, "cause": str(each), **each.as_dict()} for key, each in outcome.failed],
        "dataset": None,
        "sweep": _of_sweep(outcome.totals),
        "current": _of_current(outcome.current),
        "receipt": outcome.totals.receipt if outcome.totals else None,
        "dbt": " ".join(outcome.dbt_failed.split())[:500],
        "runs": outcome.runs,
    }
    if dataset is not None:
        data["dataset"] = {"location": dataset.location, "version": dataset.version, "plan": dataset.plan}
    if error is not None:
        data["error"] = error.as_dict()
    return data


def cause_of(outcome: PullOutcome) -> SnowError | None:
    """Why the pull is not published: what failed, rather than what was stopped by it."""
    if not isinstance(outcome.error, Cancelled):
        return outcome.error
    return next((error for _, error in outcome.failed if not isinstance(error, Cancelled)), outcome.error)


def _of_sweep(totals: Totals | None) -> dict[str, Any] | None:
    """What the sweep of a delta found."""
    if totals is None or totals.sweep is None:
        return None
    shown = asdict(totals.sweep)
    return {name: shown[name] for name in shown if name not in ("pull", "plan", "mended", "cost")}


def _of_current(now: Current | None) -> dict[str, Any] | None:
    """The current rows of a delta pull."""
    if now is None:
        return None
    return {"plan": now.plan, "rows": now.rows, "deleted": now.deleted, "left": now.left, "location": now.location}


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
    from snow_assets.pulls.costs import noted_costs
    from snow_assets.servicenow.exchange import Tally

    plan = outcome.plan
    files = list(landing.all_landed(plan).values())
    asked = [
        Tally.from_dict(plan.cost) if plan.cost else Tally(),
        *(file.ledger.tally for file in files),
        *noted_costs(landing, plan),
    ]
    landed = sum(file.ledger.landed for file in files)
    known = [asdict(difference) for file in files for difference in file.ledger.differences]
    return {
        "counted": plan.counted,
        "landed": landed,
        "hidden": None,
        "duplicates": 0,
        "missing": None if plan.counted is None else max(0, plan.counted - landed),
        "requests": sum(tally.requests for tally in asked),
        "retries": sum(tally.retries for tally in asked),
        "bytes": sum(file.size for file in files),
        "files": len(files),
        "differences": [*known, *_not_landed(outcome, landing)],
    }


def _not_landed(outcome: PullOutcome, landing: Landing) -> Iterator[dict[str, Any]]:
    """The rows of the slices that failed, and of those that were not asked for after them."""
    from snow_assets.pulls import missing_keys

    missing = missing_keys(outcome.plan, landing) if outcome.failed else ()
    failed = {key for key, error in outcome.failed if not isinstance(error, Cancelled)}
    for why, keys in (
        ("failed", [key for key in missing if key in failed]),
        ("not asked for", [key for key in missing if key not in failed]),
    ):
        if not keys:
            continue
        rows = [outcome.plan.slice(key).rows for key in keys]
        known = [count for count in rows if count is not None]
        named = ", ".join(keys[:NAMED]) + (f" and {len(keys) - NAMED} more" if len(keys) > NAMED else "")
        yield {
            "cause": "not_landed",
            "rows": -sum(known) if len(known) == len(rows) else None,
            "evidence": f"{len(keys)} {'slice' if len(keys) == 1 else 'slices'} {why}: {named}",
            "sys_ids": [],
        }


def lines_of(data: dict[str, Any]) -> Iterator[str]:
    """A published pull in a few lines."""
    counted = "unknown" if data["counted"] is None else f"{data['counted']:,}"
    hidden = "unknown" if data["hidden"] is None else f"{data['hidden']:,}"
    since = f" since {data['since'][:19]}Z" if data["since"] else ""
    found = f"counted {counted}, hidden {hidden}"
    yield f"{data['pull']}: {data['landed']:,} rows{since} published ({found}), plan {data['plan']}"
    if now := data["current"]:
        gone = "".join(f", {now[kind]:,} {kind}" for kind in ("deleted", "left") if now[kind])
        yield f"  {now['rows']:,} current rows{gone}"
    yield (
        f"  {data['requests']:,} requests, {data['retries']:,} retries, {human_seconds(data['seconds'])};"
        f" {data['files']:,} files, {human_bytes(data['bytes'])}, in {data['dataset']['location']}"
    )

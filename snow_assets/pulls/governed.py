"""What the governor decided while slices were landed: kept beside them, so that the receipt can draw it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import uuid4

import msgspec

from snow_assets.pulls.landing import Landing
from snow_assets.pulls.plan import Plan
from snow_assets.servicenow.governor import Governor

PREFIX = "governor-"
# Why a limit was changed, where no answer was the cause.
DECISIONS = ("start", "answers grow slower", "trial", "no gain", "growing back", "the instance queues")
DRAWN = 20  # newest runs of a plan whose steps the totals keep; a plan may take hundreds


@dataclass(frozen=True)
class Governed:
    """What one run asked of the instance at a time, as its process saw it: pulls that ran beside it are in the figures.

    ``limit`` is how many requests in flight were allowed when it began. ``steps`` are ``(seconds, limit, why)`` and
    ``paused`` ``(from, until, why)``, in seconds since ``began``.
    """

    began: str
    seconds: float
    requests: int
    refused_429: int
    limit: int
    highest_in_flight: int
    cuts: int
    pauses: int
    paused_seconds: float
    steps: tuple[tuple[float, int, str], ...] = ()
    paused: tuple[tuple[float, float, str], ...] = ()

    @classmethod
    def since(cls, before: Mapping[str, Any], governor: Governor) -> Self:
        """What a governor decided since it gave the snapshot ``before``."""
        after = governor.snapshot()
        start = float(before["seconds"])
        seconds = float(after["seconds"]) - start
        steps = [(round(at - start, 3), limit, why) for at, limit, why in after["steps"] if at > start]
        paused = [
            (round(max(0.0, began - start), 3), round(until - start, 3), why)
            for began, until, why in after["paused"]
            if until > start
        ]
        most = max([int(before["limit"]), *(limit for _, limit, _ in steps)])  # the highest may be of an earlier run
        began = datetime.now(UTC) - timedelta(seconds=seconds)
        return cls(
            began=began.isoformat(timespec="milliseconds"),
            seconds=round(seconds, 3),
            requests=after["requests"] - before["requests"],
            refused_429=after["refused_429"] - before["refused_429"],
            limit=before["limit"],
            highest_in_flight=min(most, after["highest_in_flight"]),
            cuts=after["cuts"] - before["cuts"],
            pauses=after["pauses"] - before["pauses"],
            paused_seconds=round(max(0.0, after["paused_seconds"] - before["paused_seconds"]), 3),
            steps=tuple(steps),
            paused=tuple(paused),
        )


@contextmanager
def governed(landing: Landing, plan: Plan, governor: Governor) -> Iterator[None]:
    """Keep what ``governor`` decides inside, however that ends. Where it cannot be written, only the plot is lost."""
    before = governor.snapshot()
    try:
        yield
    finally:
        run = Governed.since(before, governor)
        if run.requests:
            with suppress(Exception):  # each kind of store raises its own
                path = f"{plan.plan_id}/{PREFIX}{uuid4().hex[:8]}.json"
                landing.store.write(path, msgspec.json.encode(asdict(run)))


def governed_runs(landing: Landing, plan: Plan) -> tuple[Governed, ...]:
    """The runs that asked for slices of a plan, oldest first; the steps of the newest 20 only."""
    runs = []
    for name in landing.store.list(plan.plan_id):
        if name.startswith(PREFIX):
            with suppress(Exception):  # a plot is no reason to refuse a receipt
                runs.append(msgspec.json.decode(landing.store.read(f"{plan.plan_id}/{name}"), type=Governed))
    runs.sort(key=lambda run: run.began)
    return (*(replace(run, steps=(), paused=()) for run in runs[:-DRAWN]), *runs[-DRAWN:])


def added_up(runs: Sequence[Governed]) -> dict[str, int | float]:
    """Figures of all runs, by the names that people read."""
    return {
        "requests in flight, most": max((run.highest_in_flight for run in runs), default=0),
        "answers 429": sum(run.refused_429 for run in runs),
        "pauses": sum(run.pauses for run in runs),
        "seconds paused": round(sum(run.paused_seconds for run in runs), 3),
        "cuts": sum(run.cuts for run in runs),
    }

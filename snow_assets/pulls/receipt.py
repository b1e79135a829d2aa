"""The receipt as a page for people: one HTML file that stands alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader

from snow_assets.pulls.governed import DECISIONS, DRAWN

if TYPE_CHECKING:
    from snow_assets.pulls.governed import Governed
    from snow_assets.pulls.landing import LandedFile
    from snow_assets.pulls.plan import Plan, Slice
    from snow_assets.pulls.totals import Totals

SLICES_SHOWN = 500
RUNS_SHOWN = DRAWN
_LEFT, _RIGHT, _TOP, _BOTTOM = 34.0, 730.0, 12.0, 122.0  # of a chart's plot, in its own units
_TICKS = 5


def render(totals: Totals, plan: Plan, landed: Mapping[Slice, LandedFile]) -> str:
    """The receipt of a plan as HTML."""
    rows = [(piece, file) for piece, file in landed.items()]
    return (
        _environment()
        .get_template("totals.html")
        .render(
            totals=totals,
            plan=plan,
            rows=rows[:SLICES_SHOWN],
            more=len(rows) - SLICES_SHOWN,
            charts=[(run, chart(run)) for run in totals.governor[-RUNS_SHOWN:]],
            more_runs=len(totals.governor) - RUNS_SHOWN,
        )
    )


def chart(run: Governed) -> dict[str, Any]:
    """A run's limit of requests in flight over time, as shapes of an SVG."""
    top = max([run.limit, *(limit for _, limit, _ in run.steps), 1])
    across = (_RIGHT - _LEFT) / max(run.seconds, 1e-3)
    up = (_BOTTOM - _TOP) / top

    def x(seconds: float) -> str:
        return f"{min(_RIGHT, _LEFT + seconds * across):.1f}"

    def y(limit: int) -> str:
        return f"{_BOTTOM - limit * up:.1f}"

    path = [f"M{x(0)} {y(run.limit)}"]
    cuts, limit = [], run.limit
    for at, after, why in run.steps:
        path.append(f"H{x(at)}V{y(after)}")
        if why not in DECISIONS:
            cuts.append({"x": x(at), "y": y(after), "why": f"{at:.1f} s, {why}: from {limit} to {after}"})
        limit = after
    path.append(f"H{x(run.seconds)}")
    return {
        "path": "".join(path),
        "cuts": cuts,
        "pauses": [
            {
                "x": x(began),
                "width": f"{max(1.0, float(x(until)) - float(x(began))):.1f}",
                "why": _paused(began, until, why),
            }
            for began, until, why in run.paused
        ],
        "levels": [(y(level), level) for level in sorted({0, top // 2, top})],
        "times": [(x(part), f"{part:.{1 if run.seconds < 60 else 0}f} s") for part in _parts(run.seconds)],
        "refusals": Counter(why for _, _, why in run.steps if why not in DECISIONS).most_common(),
    }


def _paused(began: float, until: float, why: str) -> str:
    return f"paused from {began:.1f} to {until:.1f} s: {why.replace('_', ' ')}"


def _parts(seconds: float) -> list[float]:
    return [seconds * part / (_TICKS - 1) for part in range(_TICKS)]


@cache
def _environment() -> Environment:
    """Made once: a template is compiled at its first use."""
    environment = Environment(
        loader=PackageLoader("snow_assets.pulls"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = lambda value: "unknown" if value is None else f"{value:,}"
    environment.filters["signed"] = lambda value: f"{value:+,}" if value else "0"
    return environment

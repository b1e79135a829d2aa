"""The receipt as a page for people: one HTML file that stands alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader

if TYPE_CHECKING:
    from snow_assets.pulls.landing import LandedFile
    from snow_assets.pulls.plan import Plan, Slice
    from snow_assets.pulls.totals import Totals

SLICES_SHOWN = 500


def render(totals: Totals, plan: Plan, landed: Mapping[Slice, LandedFile]) -> str:
    """The receipt of a plan as HTML."""
    rows = [(piece, file) for piece, file in landed.items()]
    return (
        _environment()
        .get_template("totals.html")
        .render(totals=totals, plan=plan, rows=rows[:SLICES_SHOWN], more=len(rows) - SLICES_SHOWN)
    )


@cache
def _environment() -> Environment:
    """Made once: a template is compiled at its first use."""
    environment = Environment(
        loader=PackageLoader("snow_assets.pulls"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = lambda value: "unknown" if value is None else f"{value:,}"
    environment.filters["signed"] = lambda value: f"{value:+,}" if value else "0"
    return environment

"""What failed attempts cost the instance: noted beside the slices, since no file of theirs can tell it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from uuid import uuid4

import msgspec

from snow_assets.errors import LandingError
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.plan import Plan, Slice
from snow_assets.servicenow.exchange import Tally

PREFIX = "cost-"


def note_cost(landing: Landing, plan: Plan, piece: Slice, tally: Tally) -> None:
    """Keep the tally of an attempt that did not land. Where even that cannot be written, the attempt's error counts."""
    if not tally.requests:
        return
    with suppress(OSError, LandingError):
        path = f"{plan.plan_id}/{PREFIX}{piece.name}-{uuid4().hex[:8]}.json"
        landing.store.write(path, msgspec.json.encode(tally.as_dict()))


def noted_costs(landing: Landing, plan: Plan) -> Iterator[Tally]:
    """The tallies of attempts that did not land."""
    for name in landing.store.list(plan.plan_id):
        if name.startswith(PREFIX):
            yield Tally.from_dict(msgspec.json.decode(landing.store.read(f"{plan.plan_id}/{name}")))

"""May a count be believed? It is tried on rows that are known to be there before hidden rows are numbered by it."""

from __future__ import annotations

from collections.abc import Sequence

from snow_assets.errors import RequestFailed
from snow_assets.servicenow.account import UNREADABLE
from snow_assets.servicenow.exchange import Procedure, Request
from snow_assets.servicenow.pages import check_count
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.reading import RangeState, is_of_the_row, narrow_page
from snow_assets.servicenow.retry import fetch

TRIALS = 3  # a row of the sample may go in the very moment


def counts_rightly(state: RangeState, term: str, asked: int) -> Procedure[bool]:
    """Whether the count that comes with a page equals its rows, where ``term`` names ``asked`` rows that are shown."""
    for _ in range(TRIALS):
        try:
            page, total, _ = yield from narrow_page(state, [term], purpose="lookup", limit=asked)
        except RequestFailed as error:
            if not is_of_the_row(error):
                raise
            return False  # untried: the keys have to say it
        if total is None or (page.ids and total == len(page.ids)):
            return total is not None
    return False


def count_otherwise(state: RangeState, term: str = "", asked: int = 0) -> Procedure[int | None]:
    """The range's rows by the Aggregate API; ``None`` where it is refused, or wrong about the rows that ``term`` names.

    Without ``term`` nothing is tried.
    """
    try:
        if term and (yield from _aggregate(state, [term])) != asked:
            return None
        upper = [] if state.hi is None else [f"sys_id<{state.hi}"]
        return (yield from _aggregate(state, [*([] if state.lo is None else [f"sys_id>={state.lo}"]), *upper]))
    except UNREADABLE:
        return None


def _aggregate(state: RangeState, terms: Sequence[str]) -> Procedure[int]:
    query: EncodedQuery = state.reading.query
    params = {"sysparm_count": "true", "sysparm_query": query.where(*terms)}
    request = Request(f"/api/now/stats/{state.reading.table}", params, "count")
    state.tally.counts += 1
    return (yield from fetch(request, check_count, state.reading.policy, state.tally))

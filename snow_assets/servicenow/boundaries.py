"""Where slices begin: sys_ids found by chained probes, so that the database never walks a deep offset.

A *chain* covers the sys_ids of one prefix. Its first boundary is its first visible sys_id; each further one lies
``slice_rows`` behind the last (``sys_id>=last``, ``sysparm_offset=slice_rows``, one row, sys_id alone). A probe that
lands on hidden rows widens, then skips on; the slice is then wider, never lost. Chains run in parallel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from snow_assets.errors import PlanIncomplete
from snow_assets.servicenow.exchange import Answer, Page, Procedure, Request, Tally
from snow_assets.servicenow.pages import Decoder, can_stand, check_page, is_hex, order_fault, total_count
from snow_assets.servicenow.reading import WALK, WIDE, Reading, list_request
from snow_assets.servicenow.retry import fetch

WIDTHS = (1, 3, 50, 1000)  # rows of a probe, widened until one of them is visible
SMALL_TAIL = 0.5  # of a slice: a chain's rest below this is joined with the next chain's first slice

PREFIXES = {1: "", 4: "48c", 16: "123456789abcdef"}


@dataclass(frozen=True, slots=True)
class Chain:
    """The boundaries of one prefix, with their positions in the chain; ``rows`` by count, ``None`` where unknown."""

    boundaries: tuple[tuple[int, str], ...]
    rows: int | None


@dataclass(frozen=True, slots=True)
class KeyRange:
    """``lo <= sys_id < hi``, with the position of its first row and the rows expected."""

    offset: int
    lo: str | None
    hi: str | None
    rows: int | None


def prefix_bounds(slices: int) -> list[tuple[str | None, str | None]]:
    """The chains for about so many slices: one, four or sixteen prefixes that cover every sys_id."""
    chains = 1 if slices <= 4 else 4 if slices <= 16 else 16
    cuts: list[str | None] = [None, *PREFIXES[chains], None]
    return list(pairwise(cuts))


def find_chain(reading: Reading, lo: str | None, hi: str | None, slice_rows: int, tally: Tally) -> Procedure[Chain]:
    """The boundaries with ``lo <= sys_id < hi``."""
    first, rows = yield from _probe(reading, lo, hi, 0, tally, count=True)
    if first is None:
        return Chain((), rows)
    boundaries = [(0, first)]
    ahead = slice_rows
    while True:
        position, last = boundaries[-1]
        if rows is not None and position + ahead >= rows:
            break
        found, _ = yield from _probe(reading, last, hi, ahead, tally)
        walked, most = 0, WALK if rows is None else min(WALK, rows - position - ahead)
        while found is None and walked < most:  # hidden rows, or the end where the count is unknown or too high
            found = yield from _wide_probe(reading, last, hi, ahead + walked, tally)
            walked += WIDE if found is None else 0
        if found is None:
            break
        boundaries.append((position + ahead + walked, found))
    return Chain(tuple(boundaries), rows)


def _wide_probe(reading: Reading, lo: str, hi: str | None, offset: int, tally: Tally) -> Procedure[str | None]:
    """The first visible, usable sys_id among many rows from a position on."""
    found, _ = yield from _look(reading, lo, hi, offset, WIDE, tally, count=False)
    return found


def _probe(
    reading: Reading, lo: str | None, hi: str | None, offset: int, tally: Tally, *, count: bool = False
) -> Procedure[tuple[str | None, int | None]]:
    """The first visible, usable sys_id at or shortly behind a position, and the count if asked."""
    total: int | None = None
    for width in WIDTHS:
        counting = count and width == 1
        found, counted = yield from _look(reading, lo, hi, offset, width, tally, count=counting)
        total = counted if counting else total
        if found is not None:
            return found, total
        if total is not None and total <= offset:
            break
    return None, total


def _look(
    reading: Reading, lo: str | None, hi: str | None, offset: int, width: int, tally: Tally, *, count: bool
) -> Procedure[tuple[str | None, int | None]]:
    """The first usable sys_id of one narrow page, and the count that came with it."""
    terms = [*([] if lo is None else [f"sys_id>={lo}"]), *([] if hi is None else [f"sys_id<{hi}"])]
    request = list_request(reading, terms, limit=width, offset=offset, purpose="boundary", count=count, narrow=True)
    after = lo if offset else None  # what lies ahead of a boundary lies above it
    page, total = yield from fetch(
        request, partial(_check, request, reading.decoder, after, lo, hi), reading.policy, tally
    )
    tally.rows += len(page.ids)
    tally.counts += count
    return next((sys_id for sys_id in page.ids if is_usable(sys_id)), None), total


def _check(
    request: Request, decoder: Decoder, after: str | None, lo: str | None, hi: str | None, answer: Answer
) -> tuple[Page, int | None]:
    page = check_page(answer, request, decoder)
    fault = order_fault(page.ids, after, lo, hi)
    if fault is not None:
        raise fault
    return page, total_count(answer)


def is_usable(sys_id: str) -> bool:
    """Whether a sys_id can stand in an encoded query as it is."""
    return can_stand(sys_id) and not any(character in sys_id for character in ",@")


def _must_ascend(last: str | None, sys_id: str) -> None:
    if last is not None and (sys_id == last or (is_hex(last) and is_hex(sys_id) and sys_id < last)):
        raise PlanIncomplete(
            "the probes for boundaries came out of order", key="sys_id", value=sys_id, hint="run it again"
        )


def join_chains(chains: Sequence[Chain], slice_rows: int) -> list[KeyRange]:
    """Ranges that tile every sys_id, from the chains in order. Small rests are joined to the range that follows."""
    starts: list[tuple[int, str | None]] = [(0, None)]
    base = 0
    for chain in chains:
        for position, sys_id in chain.boundaries:
            offset = base + position
            _must_ascend(starts[-1][1], sys_id)
            if offset - starts[-1][0] >= SMALL_TAIL * slice_rows:
                starts.append((offset, sys_id))
        base += _rows_of(chain, slice_rows)
    ends = [*starts[1:], (base, None)]
    counted = all(chain.rows is not None for chain in chains)
    return [
        KeyRange(offset, lo, hi, end - offset if counted else None)
        for (offset, lo), (end, hi) in zip(starts, ends, strict=True)
    ]


def _rows_of(chain: Chain, slice_rows: int) -> int:
    """The rows of a chain, by count; else as far as its boundaries reach, past hidden rows too."""
    if chain.rows is not None:
        return chain.rows
    return chain.boundaries[-1][0] + slice_rows if chain.boundaries else 0

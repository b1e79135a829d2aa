"""Reading one key range completely: the procedure behind every slice, and behind ``get_records``.

The range is ``lo <= sys_id < hi``. Pages are asked for up to and *including* ``hi``: seeing that row proves the end.
Every page advances a cursor (``sys_id>last``), so nothing that changes before it can shift a row out of sight. Short
and empty pages are legal, because ACLs are applied after the limit; they never end a range. When the rows that came do
not add up to what the instance counted, ``proof.prove`` compares keys before anything is believed.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from snow_assets.errors import RequestFailed, SliceFailed
from snow_assets.servicenow import faults
from snow_assets.servicenow.exchange import Answer, Deliver, DisplayValue, Page, Procedure, Purpose, Request, Tally
from snow_assets.servicenow.pages import Decoder, PageFault, check_page, id_term, is_hex, order_fault, total_count
from snow_assets.servicenow.paging import PageSizes, Place
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.retry import RetryPolicy, TooHeavy, fetch

WIDE = 10_000  # rows of a narrow request, which asks for sys_ids alone
WALK = 100_000  # rows that may all be hidden before a range without a trusted count is believed to end
LACKING_LOOKS = 2  # fresh sessions that must lack a field, too, before it is believed to be hidden
EMPTY_LOOKS = 3  # sessions that must see nothing before it is believed
BYTE_BUDGET = 8_000_000  # a page's decoded body; larger ones shrink the next


@dataclass(slots=True)
class CountTrial:
    """Whether the counts that come with pages are right about rows that are shown; ``None`` until it was tried."""

    passed: bool | None = None
    _under_way: threading.Lock = field(default_factory=threading.Lock)  # held by the range that tries

    def begin(self) -> bool:
        """Whether the caller is to try it; then it must ``end``. Never waits: who waited here would hold up others."""
        if not self._under_way.acquire(blocking=False):
            return False
        if self.passed is None:
            return True
        self._under_way.release()
        return False

    def end(self, passed: bool | None) -> None:
        """Note how it came out, ``None`` where it came to no end: another range then tries."""
        self.passed = passed
        self._under_way.release()


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of each range. ``fields`` empty means all; ``probed`` are fields known to be readable."""

    table: str
    query: EncodedQuery
    fields: tuple[str, ...]
    display_value: DisplayValue
    page_size: int
    decoder: Decoder
    policy: RetryPolicy
    unreadable_rows: Literal["fail", "skip"] = "fail"
    probed: tuple[str, ...] = ()
    byte_budget: int = BYTE_BUDGET
    trial: CountTrial = field(default_factory=CountTrial, compare=False)  # shared by the ranges of a run
    sizes: PageSizes = field(default_factory=PageSizes, compare=False)  # likewise

    @property
    def path(self) -> str:
        """The Table API's path of the table."""
        return f"/api/now/table/{self.table}"


@dataclass(slots=True)
class RangeState:
    """Where the reading of a range stands. One per range; memory is 33 bytes a row."""

    reading: Reading
    lo: str | None
    hi: str | None
    tally: Tally
    landed: int = 0
    pages: int = 0
    counted: int | None = None  # rows of the range by the first page's header, hi included
    all_full: bool = True  # every page but the last was full
    rest_agrees: bool = False  # the last of several pages had as many rows as were counted from its start on
    saw_hi: bool = False
    ended: bool = False
    after: str | None = None
    resume_at: str | None = None  # a sys_id that the tail saw: the next page starts there, inclusive
    unreadable: list[str] = field(default_factory=list)
    hidden_fields: set[str] = field(default_factory=set)
    _pages_of_ids: list[str] = field(default_factory=list)
    _odd_ids: set[str] = field(default_factory=set)

    def take(self, ids: Sequence[str]) -> None:
        """Note the keys of a delivered page."""
        if ids:
            self.landed += len(ids)
            self._pages_of_ids.append("\n".join(ids))
            self._odd_ids.update(sys_id for sys_id in ids if not is_hex(sys_id))

    def keys(self) -> set[str]:
        """All landed keys, as a set: built on demand, since only a proof by keys needs it."""
        return {sys_id for ids in self._pages_of_ids for sys_id in ids.split("\n")}

    def seen_before(self, ids: Sequence[str]) -> str | None:
        """An id that does not order by its bytes and was landed before, if any: the cursor does not advance."""
        return next((sys_id for sys_id in ids if sys_id in self._odd_ids), None)

    def bounds(self) -> list[str]:
        """The terms of the part of the range that is still to be read."""
        if self.resume_at is not None:
            lower = [id_term(">=", self.resume_at)]
        elif self.after is not None:
            lower = [id_term(">", self.after)]
        else:
            lower = [] if self.lo is None else [f"sys_id>={self.lo}"]
        return [*lower, *self.upper_bound()]

    def upper_bound(self) -> list[str]:
        """``sys_id<=hi``: including the row that proves the end."""
        return [] if self.hi is None else [f"sys_id<={self.hi}"]

    def whole(self) -> list[str]:
        """The terms of the whole range, ``hi`` included."""
        return ([] if self.lo is None else [f"sys_id>={self.lo}"]) + self.upper_bound()

    def __str__(self) -> str:
        return f"{self.reading.table} [{self.lo or 'start'}, {self.hi or 'end'})"


def list_request(
    reading: Reading,
    terms: Sequence[str],
    *,
    limit: int,
    purpose: Purpose,
    offset: int = 0,
    count: bool = False,
    narrow: bool = False,
    fresh: bool = False,
    query: EncodedQuery | None = None,
) -> Request:
    """A list request of the reading's table, ordered by sys_id. ``narrow`` asks for sys_ids alone."""
    asked = reading.query if query is None else query
    params = {"sysparm_query": asked.ordered(asked.where(*terms), "sys_id"), "sysparm_limit": str(limit)}
    if offset:
        params["sysparm_offset"] = str(offset)
    if narrow:
        params["sysparm_fields"] = "sys_id"
    else:
        if reading.fields:
            params["sysparm_fields"] = ",".join(reading.fields)
        params["sysparm_display_value"] = reading.display_value
    params["sysparm_suppress_pagination_header"] = "true"
    if not count:
        params["sysparm_no_count"] = "true"
    return Request(reading.path, params, purpose, fresh)


def read_pages(state: RangeState) -> Procedure[None]:
    """Deliver every row of the range once, in order, as far as the pages show them."""
    full = page_limit(state)
    sizes = state.reading.sizes
    limit = sizes.limit(full)
    while not state.ended:
        try:
            page, asked = yield from _next_page(state, limit)
        except TooHeavy:
            limit = sizes.too_heavy(Place(state.lo, state.hi, state.landed), limit)
            continue
        except RequestFailed as error:
            if limit > 1 or not is_of_the_row(error):
                raise
            yield from _name_unreadable_row(state, error)
            limit = sizes.limit(full)
            continue
        rows = len(page.ids)
        sizes.answered(asked, rows)
        saw_hi = yield from _deliver_until_hi(state, page)
        if not saw_hi and (rows < asked or state.landed == state.counted):
            yield from _after_short_page(state, rows, asked)
        limit = sizes.limit(next_limit(state.reading, limit, full, page))
        del page  # or it would be held until the next one has come


def _next_page(state: RangeState, limit: int) -> Procedure[tuple[Page, int]]:
    """One checked page and the limit that it was asked with."""
    reading = state.reading
    first = state.counted is None and state.pages == 0
    # A full page hides nothing. The last one may: a row that came meanwhile would make up for it in the first count.
    last = state.counted is not None and state.landed + len(state.unreadable) + limit >= state.counted
    totals: list[int | None] = []

    def check(answer: Answer) -> Page:
        page = check_page(answer, request, reading.decoder)
        _check_order(state, page.ids)
        totals.append(total_count(answer))
        return page

    request = list_request(reading, state.bounds(), limit=limit, purpose="page", count=first or last)
    page = yield from fetch(request, check, reading.policy, state.tally, can_halve=limit > 1)
    state.tally.rows += len(page.ids)
    for _ in range(LACKING_LOOKS):
        if not lacking(reading, page, state.hidden_fields):
            break
        request = list_request(reading, state.bounds(), limit=limit, purpose="page", count=first or last, fresh=True)
        page = yield from fetch(request, check, reading.policy, state.tally, can_halve=limit > 1)
        state.tally.rows += len(page.ids)
    state.hidden_fields |= lacking(reading, page, state.hidden_fields)
    if first:
        state.counted = totals[-1]
    state.rest_agrees = last and totals[-1] == len(page.ids)
    state.tally.counts += first or last
    state.pages += 1
    return page, limit


def _check_order(state: RangeState, ids: Sequence[str]) -> None:
    """Raise ``PageFault`` where a record is repeated, out of order or outside the range."""
    fault = order_fault(ids, state.after, state.lo, state.hi)
    if fault is not None:
        raise fault
    again = state.seen_before(ids)
    if again is not None:
        raise PageFault("duplicate_sys_id", f"sys_id {again} came before")


def lacking(reading: Reading, page: Page, hidden: set[str]) -> set[str]:
    """Probed fields that no record of the page has, and that are not known to be ``hidden``."""
    if not page.records:
        return set()
    return {name for name in set(reading.probed) - hidden if reading.decoder.lacking(page.records, name)}


def _deliver_until_hi(state: RangeState, page: Page) -> Procedure[bool]:
    """Hand on the page without the row ``hi``, and move the cursor; returns whether ``hi`` was seen."""
    records, ids = page.records, page.ids
    if state.hi is not None and state.hi in ids:
        at = ids.index(state.hi)
        if at != len(ids) - 1:
            raise SliceFailed("rows follow the upper bound of the range", key="sys_id", value=state.hi)
        records, ids = records[:at], ids[:at]
        state.saw_hi = state.ended = True
    if ids:
        state.take(ids)
        state.after, state.resume_at = ids[-1], None
        yield Deliver(Page(records, ids, page.size))
    return state.saw_hi


def _after_short_page(state: RangeState, rows: int, asked: int) -> Procedure[None]:
    """A page came short, or all that was counted is here: look whether anything follows, or just go on."""
    if rows and (state.counted is None or state.landed < state.counted):
        state.all_full = False
        return
    # A full page shows no end, and a count that goes no further than the page would agree with it.
    ended = rows < asked and state.landed == state.counted
    follows = yield from find_next(state, state.bounds(), looks=1 if ended else EMPTY_LOOKS)
    if follows is None:
        state.ended = True
    elif follows == state.hi:
        state.saw_hi = state.ended = True
    elif follows == state.resume_at:  # a page from it on did not show it: that is left to the proof
        state.after, state.resume_at = follows, None
    else:
        state.all_full = False
        state.resume_at = follows


def find_next(state: RangeState, terms: Sequence[str], *, looks: int = EMPTY_LOOKS) -> Procedure[str | None]:
    """The first sys_id that follows, by wide narrow requests in fresh sessions; ``None`` where nothing does."""
    page, _ = yield from first_visible(state, terms, "tail", looks=looks)
    return page.ids[0] if page.ids else None


def first_visible(
    state: RangeState, terms: Sequence[str], purpose: Purpose, *, width: int = WIDE, looks: int = EMPTY_LOOKS
) -> Procedure[tuple[Page, int | None]]:
    """The first wide page of sys_ids that is not empty, and the count of the rows from its start on.

    Walks past hidden rows by offset, since a row that cannot be seen gives no cursor. That nothing is there is
    believed only after several sessions said so (an empty page is also what an instance in trouble answers), or after
    as many ``looks`` where the count says the same, and, where no count can be trusted, after ``WALK`` rows showed
    nothing.
    """
    offset, looked_at = 0, 0
    counted: int | None = None
    while True:
        page, total, looked = yield from narrow_page(state, terms, offset=offset, limit=width, purpose=purpose)
        counted = total if counted is None else counted
        looked_at += 1
        if page.ids:
            return page, counted
        if looked_at < (looks if total == 0 else EMPTY_LOOKS):
            continue
        offset += looked
        if offset >= _walk(state, total):
            return page, counted


def _walk(state: RangeState, total: int | None) -> int:
    """How many rows without a sign of life are walked past: the count, unless there is none or it was wrong before."""
    trusted = total is not None and state.counted is not None and state.landed <= state.counted
    return (total or 0) if trusted else max(total or 0, WALK)


def narrow_page(
    state: RangeState,
    terms: Sequence[str],
    *,
    purpose: Purpose,
    offset: int = 0,
    limit: int = WIDE,
    query: EncodedQuery | None = None,
) -> Procedure[tuple[Page, int | None, int]]:
    """One page of sys_ids in a fresh session: the page, the count that came with it, and the rows looked at.

    Those are fewer than ``limit`` where the page was too heavy and had to be halved.
    """
    while True:
        request = list_request(
            state.reading,
            terms,
            limit=limit,
            offset=offset,
            purpose=purpose,
            count=True,
            narrow=True,
            fresh=True,
            query=query,
        )
        check = partial(_check_narrow, state, request)
        try:
            page, total = yield from fetch(request, check, state.reading.policy, state.tally, can_halve=limit > 1)
        except TooHeavy:
            limit = max(1, limit // 2)
            continue
        state.tally.rows += len(page.ids)
        state.tally.counts += 1
        return page, total, limit


def _check_narrow(state: RangeState, request: Request, answer: Answer) -> tuple[Page, int | None]:
    page = check_page(answer, request, state.reading.decoder)
    fault = order_fault(page.ids, None, state.lo, state.hi)
    if fault is not None:
        raise fault
    return page, total_count(answer)


def is_of_the_row(error: RequestFailed) -> bool:
    """Whether a failure at a limit of one row may speak of that row: such faults are met by smaller pages."""
    fault = faults.get(error.fault)
    return fault.halve or fault.halve_at_last


def _name_unreadable_row(state: RangeState, error: RequestFailed) -> Procedure[None]:
    """A page of one row fails: find out which row it is; skip it or fail with its name."""
    page, _, _ = yield from narrow_page(state, state.bounds(), purpose="tail", limit=1)
    if not page.ids:
        raise error
    sys_id = page.ids[0]
    if sys_id == state.hi:  # the next range's row: there it is read, or named
        state.saw_hi = state.ended = True
        return
    if state.reading.unreadable_rows == "fail":
        raise row_failed(state.reading.table, sys_id, error) from error
    state.unreadable.append(sys_id)
    state.after, state.resume_at = sys_id, None


def row_failed(table: str, sys_id: str, error: RequestFailed) -> SliceFailed:
    """What a row is told by that fails even alone."""
    hint = "leave out heavy fields, or set unreadable_rows: skip"
    return SliceFailed(f"this row of {table} cannot be read: {error.fault}", key="sys_id", value=sys_id, hint=hint)


def page_limit(state: RangeState) -> int:
    """The limit of a whole page: one more than the page size, so that the row ``hi`` comes with the last rows."""
    extra = 0 if state.hi is None else 1
    return min(state.reading.page_size + extra, WIDE)


def next_limit(reading: Reading, limit: int, full: int, page: Page) -> int:
    """Grow back towards the page size, within the byte budget."""
    if page.ids and page.size > reading.byte_budget:
        return max(1, min(limit, len(page.ids) * reading.byte_budget // page.size))
    if limit >= full:
        return limit
    per_row = page.size / len(page.ids) if page.ids else 0
    wanted = min(full, limit * 2)
    return min(wanted, max(limit, int(reading.byte_budget / per_row))) if per_row else wanted

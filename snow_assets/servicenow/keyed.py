"""Reading a table by a key of its own: database views, and whatever else has no sys_id that could be ranged over.

The rows are read one page after the other, by offset, in the order of the key's fields. An offset moves when rows
before it come or go, so nothing that the pages show is believed: the keys are swept, again and again, until two sweeps
agree (see ``keyed_proof``). What no sweep can show is a row that stands still and is shifted past every reader, each
time at the very page border where it is; that is the weaker promise of such a table.

Ids of rows are made of the key's values, see ``decoding.key_id``. They are equal or not; nothing here compares their
order, which is the instance's alone. Memory is about 100 bytes a row for each of three sets of keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from snow_assets.errors import ConfigError, RequestFailed, SliceFailed
from snow_assets.servicenow.exchange import Answer, Deliver, DisplayValue, Page, Procedure, Purpose, Request, Tally
from snow_assets.servicenow.pages import PageFault, check_status, total_count
from snow_assets.servicenow.paging import Place
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.reading import (
    EMPTY_LOOKS,
    LACKING_LOOKS,
    WALK,
    WIDE,
    Reading,
    is_of_the_row,
    lacking,
    next_limit,
)
from snow_assets.servicenow.retry import TooHeavy, fetch


def check_key(key: Sequence[str], display_value: DisplayValue) -> None:
    """Raise ``ConfigError`` where the values of a key would not be seen."""
    if key and display_value == "true":
        raise ConfigError(
            "hides the stored values, by which the key tells rows apart",
            key="display_value",
            value="true",
            hint="write all or false, or leave key out",
        )


@dataclass(slots=True)
class KeyedState:
    """Where the reading of a keyed table stands. ``counted`` is what the instance said first, all rows included."""

    reading: Reading
    key: tuple[str, ...]
    tally: Tally
    keys: set[str] = field(default_factory=set)  # landed
    unreadable: set[str] = field(default_factory=set)
    hidden_fields: set[str] = field(default_factory=set)
    counted: int | None = None
    pages: int = 0
    delivered: int = 0  # rows handed on; as many as keys

    def is_known(self, row_id: str) -> bool:
        """Whether the row need not be read any more."""
        return row_id in self.keys or row_id in self.unreadable

    def request(
        self,
        query: str,
        *,
        limit: int,
        purpose: Purpose,
        offset: int = 0,
        narrow: bool = False,
        count: bool = False,
        fresh: bool = False,
    ) -> Request:
        """A list request in the order of the key. ``narrow`` asks for the key's fields alone."""
        fields = self.key if narrow else self.reading.fields
        params = {"sysparm_query": EncodedQuery.ordered(query, *self.key), "sysparm_limit": str(limit)}
        if offset:
            params["sysparm_offset"] = str(offset)
        if fields:
            params["sysparm_fields"] = ",".join(fields)
        if not narrow:
            params["sysparm_display_value"] = self.reading.display_value
        params["sysparm_suppress_pagination_header"] = "true"
        if not count:
            params["sysparm_no_count"] = "true"
        self.tally.counts += count
        return Request(self.reading.path, params, purpose, fresh)

    def ask(self, request: Request, *, seen: Callable[[str], bool] | None = None) -> Procedure[tuple[Page, int | None]]:
        """The checked page of ``request``, and the count that came with it.

        ``seen`` tells keys that pages before this one held: all of a page would mean that the offset was ignored.
        That is asked again, and then believed: rows that came meanwhile may have shifted them here.

        Raises ``TooHeavy``, ``ConfigError`` where the key turns out to name several rows, and what ``fetch`` raises.
        """
        twice: list[str] = []
        believed = False

        def check(answer: Answer) -> tuple[Page, int | None]:
            check_status(answer)
            decoded = self.reading.decoder.decode(answer.body)
            twice[:] = _repeated(decoded.ids)
            if twice:
                raise PageFault("duplicate_sys_id", "two rows of one key")
            if len(decoded.ids) > request.limit:
                raise PageFault("too_many_rows", f"{len(decoded.ids)} rows, the limit is {request.limit}")
            if seen is not None and not believed and decoded.ids and all(map(seen, decoded.ids)):
                raise PageFault("repeated_page", "no row that was not there before")
            return Page(decoded.records, decoded.ids, len(answer.body)), total_count(answer)

        while True:
            try:
                page, total = yield from fetch(
                    request, check, self.reading.policy, self.tally, can_halve=request.limit > 1
                )
            except RequestFailed as error:
                if error.fault == "duplicate_sys_id" and twice:
                    raise not_unique(self, twice[0]) from error
                if error.fault != "repeated_page" or believed:
                    raise
                believed = True
                continue
            self.tally.rows += len(page.ids)
            return page, total

    def deliver(self, page: Page) -> Procedure[int]:
        """Hand on the rows of a page that have not landed yet; returns how many."""
        new = [place for place, row_id in enumerate(page.ids) if row_id not in self.keys]
        if len(new) < len(page.ids):
            page = Page([page.records[place] for place in new], [page.ids[place] for place in new], page.size)
        if new:
            self.keys.update(page.ids)
            self.unreadable.difference_update(page.ids)
            self.delivered += len(page.records)
            yield Deliver(page)
        return len(new)

    def __str__(self) -> str:
        return f"{self.reading.table} by {', '.join(self.key)}"


def _repeated(ids: Sequence[str]) -> list[str]:
    if len(set(ids)) == len(ids):
        return []
    met: set[str] = set()
    return [row_id for row_id in ids if row_id in met or met.add(row_id)]  # type: ignore[func-returns-value]


def not_unique(state: KeyedState, row_id: str) -> ConfigError:
    """The error for a key that names two rows."""
    return ConfigError(
        f"two rows of {state.reading.table} have the same key, {row_id!r}, so that one of them would be lost",
        key="key",
        value=", ".join(state.key),
        hint="add a field that tells them apart, such as the sys_id of one of the joined tables",
    )


def read_pages(state: KeyedState) -> Procedure[None]:
    """Deliver every row that the pages show and that has not landed yet, until nothing more comes in sight."""
    offset, limit, again = 0, state.reading.sizes.limit(state.reading.page_size), -1
    while state.counted is None or len(state.keys) < state.counted:
        new, limit, went = yield from _page(state, offset, limit)
        if new:
            offset += went
            continue
        follows = yield from _find_unread(state, offset)
        if follows is None:
            return
        # What a narrow request shows, and a page for the second time does not, is left to the sweeps.
        offset, again = (offset + went, -1) if follows == offset == again else (follows, follows)


def read_again(state: KeyedState, missing: Sequence[str], places: int) -> Procedure[None]:
    """All pages once more, up to so many places, until what is missing has landed; only that is delivered.

    Each page begins where the rows of the one before ended, so that an instance that sends fewer rows than it was
    asked for hides nothing.
    """
    offset, limit = 0, state.reading.sizes.limit(state.reading.page_size)
    while offset < places and not all(map(state.is_known, missing)):
        _, limit, went = yield from _page(state, offset, limit, again=True)
        offset += went


def _page(state: KeyedState, offset: int, limit: int, *, again: bool = False) -> Procedure[tuple[int, int, int]]:
    """Read and deliver one page: its new rows, the limit for the next one, and how many places it went on."""
    reading, sizes = state.reading, state.reading.sizes
    while True:
        try:
            page = yield from _whole_page(state, offset, limit, None if again else state.keys.__contains__)
        except TooHeavy:
            limit = sizes.too_heavy(Place(None, None, offset), limit)
        except RequestFailed as error:
            if limit > 1 or not is_of_the_row(error):
                raise
            yield from _name_unreadable_row(state, offset, error)
            return 1, sizes.limit(reading.page_size), 1
        else:
            state.pages += 1
            sizes.answered(limit, len(page.ids))
            grown = sizes.limit(next_limit(reading, limit, reading.page_size, page))
            new = yield from state.deliver(page)
            return new, grown, (len(page.ids) or limit) if again else limit


def _whole_page(state: KeyedState, offset: int, limit: int, seen: Callable[[str], bool] | None) -> Procedure[Page]:
    """A page with all the fields that its rows can have.

    That a field is hidden, or all rows where some were counted, is believed after several looks.
    """
    for look in range(LACKING_LOOKS + 1):
        first = state.counted is None and not state.pages
        request = state.request(
            state.reading.query.where(), limit=limit, offset=offset, purpose="page", count=first, fresh=look > 0
        )
        page, total = yield from state.ask(request, seen=seen if offset else None)
        state.counted = total if first else state.counted
        nothing = not page.ids and (state.counted is None or offset < state.counted)
        if not nothing and not lacking(state.reading, page, state.hidden_fields):
            break
    state.hidden_fields |= lacking(state.reading, page, state.hidden_fields)
    return page


def _name_unreadable_row(state: KeyedState, offset: int, error: RequestFailed) -> Procedure[None]:
    """A page of one row fails: find out which row it is; skip it or fail with its name."""
    request = state.request(
        state.reading.query.where(), limit=1, offset=offset, purpose="tail", narrow=True, fresh=True
    )
    page, _ = yield from state.ask(request)
    if not page.ids:
        raise error
    note_unreadable(state, page.ids[0], error)


def note_unreadable(state: KeyedState, row_id: str, error: RequestFailed) -> None:
    """The row fails even alone: skip it, or raise ``SliceFailed`` with its key."""
    if state.reading.unreadable_rows == "fail":
        raise SliceFailed(
            f"this row of {state.reading.table} cannot be read: {error.fault}",
            key=", ".join(state.key),
            value=row_id,
            hint="leave out heavy fields, or set unreadable_rows: skip",
        ) from error
    if row_id not in state.keys:
        state.unreadable.add(row_id)


def _find_unread(state: KeyedState, offset: int) -> Procedure[int | None]:
    """The start of the first window from ``offset`` on that shows a row which has not landed; ``None`` at the end."""
    walk = Walk(offset, state.counted)
    while not walk.ended(len(state.keys)):
        start = walk.offset
        shown: set[str] = set()
        yield from look_through(state, walk, WIDE, shown, state.is_known)
        if not all(map(state.is_known, shown)):
            return start
    return None


@dataclass(slots=True)
class Walk:
    """How far a walk over the windows of a table has come. ``total`` is what the instance counts, if it does.

    That nothing follows is believed at the end of what was counted, and, where no count can be trusted, after
    ``WALK`` places that showed nothing new.
    """

    offset: int
    total: int | None = None
    barren: int = 0  # places in a row that showed nothing new
    looks: int = 0  # at the first barren window
    last: str = ""  # the key of the last row of the last page that showed a new one

    def ended(self, known: int) -> bool:
        """Whether nothing can follow; ``known`` rows have shown themselves so far."""
        if not self.barren:
            return False
        trusted = self.total is not None and known <= self.total
        return self.offset >= (self.total or 0) and (trusted or self.barren >= WALK)

    def passed(self, places: int, *, new: bool) -> None:
        """Go on by so many places. Several sessions must have seen nothing before that is believed."""
        if new:
            self.offset, self.barren, self.looks = self.offset + places, 0, 0
            return
        self.looks += 1
        if self.looks >= EMPTY_LOOKS:
            self.offset, self.barren = self.offset + places, self.barren + places


def _look_across(state: KeyedState, border: int, rows: int) -> Procedure[None]:
    """Look at the rows on both sides of the border of two pages that share a key.

    A row that was shifted stands there once. Two rows of one key are seen in one answer, whatever caps the pages at
    borders of its own, and ``ask`` raises ``ConfigError``.
    """
    back = min(border, max(1, rows // 2))
    request = state.request(
        state.reading.query.where(),
        limit=max(2, rows),
        offset=border - back,
        purpose="sweep",
        narrow=True,
        fresh=True,
    )
    with suppress(TooHeavy):  # the other sweep looks, too
        yield from state.ask(request)


def look_through(
    state: KeyedState,
    walk: Walk,
    width: int,
    keys: set[str],
    seen: Callable[[str], bool],
    *,
    count: bool = False,
    distrust: bool = False,
) -> Procedure[None]:
    """Add the keys of one window of ``width`` places to ``keys``, and move the walk behind it.

    ``seen`` tells the keys that are not new. ``count`` asks for the count, too; with ``distrust``, a window of
    nothing new is asked for again.

    Where a page comes short, its rest is asked for: rows that the account may not see are taken out after the limit,
    and then the rest shows nothing new; an instance that sends fewer rows than it was asked for shows more.
    """
    at, end, limit, new = walk.offset, walk.offset + width, width, False
    while at < end:
        first = at == walk.offset
        request = state.request(
            state.reading.query.where(),
            limit=min(limit, end - at),
            offset=at,
            purpose="sweep",
            narrow=True,
            count=count and first,
            fresh=True,
        )
        try:
            page, total = yield from state.ask(request, seen=seen if distrust and first and at else None)
        except TooHeavy:
            limit = max(1, request.limit // 2)
            continue
        walk.total = total if count and first else walk.total
        new = new or not all(map(seen, page.ids))
        grew = not keys.issuperset(page.ids)
        if at and page.ids and (page.ids[0] == walk.last or (grew and not keys.isdisjoint(page.ids))):
            yield from _look_across(state, at, len(page.ids))
        keys.update(page.ids)
        walk.last = page.ids[-1] if grew else walk.last
        at += len(page.ids) if grew else request.limit
        limit = min(width, limit * 2)
    walk.passed(width, new=new)

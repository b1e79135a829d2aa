"""The proof of a table that is read by a key of its own: two sweeps of its keys that agree.

Swept but not landed are fetched by the key's values, or, where those cannot stand in a query or are many, by reading
the pages once more. Landed but not swept are looked up. Hidden is the count minus the keys that were shown, and has to
come out twice. What stays unexplained fails the range.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from snow_assets.errors import RequestFailed, SliceFailed
from snow_assets.servicenow.decoding import key_values
from snow_assets.servicenow.exchange import Page, Procedure, Tally
from snow_assets.servicenow.keyed import KeyedState, Walk, look_through, note_unreadable, read_again, read_pages
from snow_assets.servicenow.pages import can_stand
from snow_assets.servicenow.proof import LOOK_UPS, MAX_SWEEPS, SAMPLE, WIDTHS, Cause, RangeProof, Round, hidden_fields
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.reading import Reading, is_of_the_row
from snow_assets.servicenow.retry import TooHeavy

BY_KEY = 600  # rows that are asked for by their keys; where more are missing, the pages are read once more
QUERY_LENGTH = 3_000  # characters of the terms for rows in one request, over all ^NQ groups
LONGEST_VALUE = 200
TRIAL_ROWS = 10  # shown rows on which a count is tried
ROWS_PER_KEY = 3  # asked for: a key that is compared without regard to case may show others beside its own


@dataclass(slots=True)
class _Repairs:
    """What had to be fetched after the pages, and what could not be fetched by its key."""

    fetched: list[str] = field(default_factory=list)
    stubborn: set[str] = field(default_factory=set)


def read_keyed(reading: Reading, key: Sequence[str], tally: Tally) -> Procedure[RangeProof]:
    """Deliver every readable row of the reading once, in pages by offset, and sweep its keys until two sweeps agree.

    The reading's decoder must make its ids of ``key``. Raises ``ConfigError`` where two rows have one key,
    ``SliceFailed`` where the sweeps do not agree or a row cannot be read, and what ``fetch`` raises.
    """
    state = KeyedState(reading, tuple(key), tally)
    repairs = _Repairs()
    yield from read_pages(state)
    previous: Round | None = None
    for number in range(MAX_SWEEPS):
        swept, walk = yield from _sweep(state, WIDTHS[number % len(WIDTHS)])
        pending = yield from _repair(state, swept, walk.offset, repairs)
        extra = [row_id for row_id in state.keys if row_id not in swept]
        gone = yield from _look_up(state, sorted(extra))
        current = Round(walk.total, (swept | set(extra)) - gone.keys(), gone)
        if not pending and current.agrees_with(previous):
            current = yield from _with_tried_count(state, current)
            return _explain(state, current, repairs)
        previous = None if pending else current
    raise SliceFailed(
        f"its keys did not settle in {MAX_SWEEPS} sweeps: rows come and go faster than it can be read",
        key="table",
        value=str(state),
        hint="run it again at a quieter time, or bound the query",
    )


def _with_tried_count(state: KeyedState, last: Round) -> Procedure[Round]:
    """The round without its count, where counts are wrong about rows that are shown."""
    askable = (row_id for row_id in last.visible if _can_be_asked(state, row_id))
    known = next(_batches(state, islice(askable, TRIAL_ROWS)), [])
    if last.counted is None or not known:
        return last
    for _ in range(LOOK_UPS):  # a row may go in the very moment
        query, limit = _rows(state, known, state.reading.query), len(known) * ROWS_PER_KEY
        request = state.request(query, limit=limit, purpose="lookup", narrow=True, count=True, fresh=True)
        try:
            page, total = yield from state.ask(request)
        except TooHeavy:
            known = known[: (len(known) + 1) // 2]
            continue
        if page.ids and total == len(page.ids):
            return last
    return replace(last, counted=None)


def _sweep(state: KeyedState, width: int) -> Procedure[tuple[set[str], Walk]]:
    """All visible keys, and the walk with the rows that the instance counted when the sweep began."""
    keys: set[str] = set()
    walk = Walk(0)
    while not walk.ended(len(keys)):
        first = not walk.offset
        yield from look_through(state, walk, width, keys, keys.__contains__, count=first, distrust=True)
    return keys, walk


def _repair(state: KeyedState, swept: set[str], places: int, repairs: _Repairs) -> Procedure[bool]:
    """Land what was swept and has not landed; returns whether some of it did not come."""
    missing = sorted(row_id for row_id in swept if not state.is_known(row_id))
    if not missing:
        return False
    by_key = [row_id for row_id in missing if _can_be_asked(state, row_id) and row_id not in repairs.stubborn]
    if len(by_key) < len(missing) or len(missing) > BY_KEY:
        yield from read_again(state, missing, places)
    else:
        for batch in _batches(state, by_key):
            yield from _fetch(state, batch)
    pending = [row_id for row_id in missing if not state.is_known(row_id)]
    repairs.stubborn.update(pending)
    repairs.fetched += [row_id for row_id in missing if row_id in state.keys]
    return bool(pending)


def _fetch(state: KeyedState, batch: Sequence[str]) -> Procedure[None]:
    """Deliver the rows of these keys; a batch that is too heavy is read in halves."""
    limit = len(batch) * ROWS_PER_KEY
    query = _rows(state, batch, state.reading.query)
    try:
        page, _ = yield from state.ask(state.request(query, limit=limit, purpose="repair", fresh=True))
    except TooHeavy:
        if len(batch) > 1:
            yield from _fetch(state, batch[: len(batch) // 2])
            yield from _fetch(state, batch[len(batch) // 2 :])
            return
        page = yield from _fetch_alone(state, batch[0], query)
    wanted = set(batch)
    places = [place for place, row_id in enumerate(page.ids) if row_id in wanted]
    page = Page([page.records[place] for place in places], [page.ids[place] for place in places], page.size)
    yield from state.deliver(page)


def _fetch_alone(state: KeyedState, row_id: str, query: str) -> Procedure[Page]:
    try:
        page, _ = yield from state.ask(state.request(query, limit=1, purpose="repair", fresh=True))
    except RequestFailed as error:
        if not is_of_the_row(error):
            raise
        note_unreadable(state, row_id, error)
        return Page([], [], 0)
    return page


def _look_up(state: KeyedState, extra: Sequence[str]) -> Procedure[dict[str, str]]:
    """Which of these landed rows are no longer shown, and why: ``left_filter`` or ``deleted``.

    Absence is believed only after it was seen ``LOOK_UPS`` times, each in a session of its own. A key that cannot
    stand in a query is believed to be gone as the sweep says; the next sweep has to agree.
    """
    askable = [row_id for row_id in extra if _can_be_asked(state, row_id)]
    causes = dict.fromkeys(set(extra) - set(askable), "deleted")
    for batch in _batches(state, askable):
        absent = set(batch)
        for _ in range(LOOK_UPS):
            if absent:
                absent -= yield from _shown(state, sorted(absent), state.reading.query)
        causes |= dict.fromkeys(absent, "deleted")
        if absent and state.reading.query.groups:
            existing = yield from _shown(state, sorted(absent), EncodedQuery())
            causes |= dict.fromkeys(existing, "left_filter")
    return causes


def _shown(state: KeyedState, asked: Sequence[str], query: EncodedQuery) -> Procedure[set[str]]:
    """Those of ``asked`` that ``query`` shows."""
    request = state.request(
        _rows(state, asked, query), limit=len(asked) * ROWS_PER_KEY, purpose="lookup", narrow=True, fresh=True
    )
    try:
        page, _ = yield from state.ask(request)
    except TooHeavy:
        if len(asked) == 1:
            raise SliceFailed("cannot be looked up", key=", ".join(state.key), value=asked[0]) from None
        left = yield from _shown(state, asked[: len(asked) // 2], query)
        right = yield from _shown(state, asked[len(asked) // 2 :], query)
        return left | right
    return set(page.ids) & set(asked)


def _rows(state: KeyedState, row_ids: Sequence[str], query: EncodedQuery) -> str:
    """The query for these rows alone: the terms of each stand in every group of ``query``."""
    return "^NQ".join(query.where(*_terms(state, row_id)) for row_id in row_ids)


def _terms(state: KeyedState, row_id: str) -> list[str]:
    pairs = zip(state.key, key_values(row_id, state.key), strict=True)
    return [f"{name}={value}" if value else f"{name}ISEMPTY" for name, value in pairs]


def _can_be_asked(state: KeyedState, row_id: str) -> bool:
    """Whether a key can stand in an encoded query and mean itself."""
    return all(len(value) <= LONGEST_VALUE and can_stand(value) for value in key_values(row_id, state.key))


def _batches(state: KeyedState, row_ids: Iterable[str]) -> Iterator[list[str]]:
    """Batches whose queries are of moderate length, URL-encoded."""
    batch: list[str] = []
    length = 0
    for row_id in row_ids:
        size = 3 * len(_rows(state, [row_id], state.reading.query))
        if batch and length + size > QUERY_LENGTH:
            yield batch
            batch, length = [], 0
        batch.append(row_id)
        length += size
    if batch:
        yield batch


def _explain(state: KeyedState, last: Round, repairs: _Repairs) -> RangeProof:
    """Give every difference its cause. What is left over fails the range."""
    if state.delivered != len(state.keys):  # no cause explains a row that was handed on twice
        raise SliceFailed(
            f"{state.delivered} rows were handed on, of {len(state.keys)} keys", key="table", value=str(state)
        )
    causes = [_promise(state), *hidden_fields(state.hidden_fields)]
    if repairs.fetched:
        evidence = f"{len(repairs.fetched)} rows fetched after a sweep"
        causes.append(Cause("repaired", 0, evidence, tuple(repairs.fetched[:SAMPLE])))
    unreadable = sorted(state.unreadable & last.visible)
    causes += _cause("unreadable", -1, unreadable, "the row fails even alone; skipped as unreadable_rows says")
    for name in ("left_filter", "deleted"):
        row_ids = sorted(row_id for row_id, cause in last.gone.items() if cause == name)
        causes += _cause(name, 1, row_ids, "landed, then no longer among the keys")
    hidden = last.hidden
    if hidden is None:
        evidence = "no count, or none that is right about rows that are shown: hidden rows cannot be numbered"
        causes.append(Cause("count_unknown", 0, evidence))
    elif hidden:
        evidence = f"counted {last.counted}, {len(last.visible)} keys shown, twice"
        causes.append(Cause("hidden" if hidden > 0 else "count_low", -hidden, evidence))
    base = len(last.visible) if last.counted is None else last.counted
    unexplained = len(state.keys) - base - sum(cause.rows for cause in causes)
    if unexplained:
        raise SliceFailed(
            f"{abs(unexplained)} of its rows are unexplained", key="table", value=str(state), hint="run it again"
        )
    counted = None if hidden is None else max(0, hidden)
    return RangeProof(last.counted, len(state.keys), counted, state.pages, tuple(causes))


def _promise(state: KeyedState) -> Cause:
    """What a reading by offsets can promise, in the receipt of every such pull."""
    return Cause(
        "read_by_key",
        0,
        f"read by {', '.join(state.key)}, in pages by offset, until two sweeps of the keys agreed: rows that stood "
        "still landed once; a row whose key changed meanwhile may have landed under both keys",
    )


def _cause(name: str, sign: int, row_ids: Sequence[str], evidence: str) -> list[Cause]:
    return [Cause(name, sign * len(row_ids), evidence, tuple(row_ids[:SAMPLE]))] if row_ids else []

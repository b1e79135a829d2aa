"""The proof of a key range: by keys, not by subtraction.

A range is *clean* when every page but the last was full and what landed equals the instance's count. Otherwise its
keys are swept (sys_ids alone, fresh session): swept but not landed are fetched by sys_id; landed but not swept are
looked up without the user's query; hidden is the count minus the swept keys, and has to come out twice. What stays
unexplained fails the range.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from snow_assets.errors import SliceFailed
from snow_assets.servicenow.counting import count_otherwise, counts_rightly
from snow_assets.servicenow.exchange import Answer, Deliver, Page, Procedure, Tally, Wait
from snow_assets.servicenow.pages import PageFault, can_stand, check_page, id_term
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.reading import (
    LACKING_LOOKS,
    WIDE,
    RangeState,
    Reading,
    first_visible,
    lacking,
    list_request,
    narrow_page,
    read_pages,
)
from snow_assets.servicenow.retry import TooHeavy, fetch

MAX_SWEEPS = 8
WIDTHS = (WIDE, 7_001)  # rows of a sweep's page, in turns: what hides by position must not hide twice
BATCH = 60  # sys_ids in one request, over all ^NQ groups: 2,000 of the 8,000 characters of a URL
LOOK_UPS = 3
SAMPLE = 20
TRIAL_CHECK = 0.05  # seconds between two looks at whether the trial has ended


@dataclass(frozen=True, slots=True)
class Cause:
    """Why counted and landed differ: ``rows`` added to counted gives landed. ``sys_ids`` is a sample."""

    name: str
    rows: int
    evidence: str
    sys_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RangeProof:
    """A range that was read completely. ``counted`` and ``hidden`` are ``None`` where the instance does not count.

    ``lo`` and ``hi`` are what was read: whoever asked for it holds them against what was meant.
    """

    counted: int | None
    landed: int
    hidden: int | None
    pages: int
    causes: tuple[Cause, ...] = ()
    lo: str | None = None
    hi: str | None = None


def read_range(reading: Reading, lo: str | None, hi: str | None, tally: Tally) -> Procedure[RangeProof]:
    """Deliver every readable row with ``lo <= sys_id < hi`` exactly once, and prove it.

    Raises ``SliceFailed`` where a difference stays unexplained or a row cannot be read, and what ``fetch`` raises.
    """
    state = RangeState(reading, lo, hi, tally)
    yield from read_pages(state)
    if _is_clean(state) and (yield from _counts_are_right(state)):
        causes = [*hidden_fields(state.hidden_fields), *_unreadable(state)]
        return RangeProof(_counted_without_hi(state), state.landed, 0, state.pages, tuple(causes), state.lo, state.hi)
    proof = yield from _prove(state)
    notes = hidden_fields(state.hidden_fields)  # a repair may have found more
    return replace(proof, causes=(*notes, *proof.causes), lo=state.lo, hi=state.hi)


def read_named(
    reading: Reading, sys_ids: Sequence[str], tally: Tally
) -> Procedure[tuple[list[str], dict[str, str], list[str]]]:
    """Deliver the rows of the reading's query that have these sys_ids, each at most once, and no other.

    Returns the delivered, those that do not match or are gone (with the cause), and those that match and did not come.
    """
    return (yield from _repair(RangeState(reading, None, None, tally), sys_ids))


def _is_clean(state: RangeState) -> bool:
    """Whether rows and count say the same without more. That a range is empty is never clean: keys must say so."""
    known = state.landed + len(state.unreadable)
    return (
        state.landed > 0
        and state.all_full
        and _counted_without_hi(state) == known
        and (state.pages == 1 or state.rest_agrees)
    )


def _counts_are_right(state: RangeState) -> Procedure[bool]:
    """Tried once in a run: a count that is low by just the hidden rows of a range would look clean."""
    trial = state.reading.trial
    while trial.passed is None:
        if not trial.begin():
            yield Wait(TRIAL_CHECK, "backoff")  # another range tries it
            continue
        passed: bool | None = None
        try:
            known = _sample(state, state.keys())
            passed = not known or (yield from counts_rightly(state, _in(known), len(known)))
        finally:
            trial.end(passed)
    return trial.passed


def _counted_without_hi(state: RangeState) -> int | None:
    return None if state.counted is None else state.counted - state.saw_hi


@dataclass(frozen=True, slots=True)
class _Sweep:
    """Keys that a sweep showed, and the rows that the instance counted at its start."""

    keys: set[str]
    counted: int | None


@dataclass(frozen=True, slots=True)
class Round:
    """What one sweep, its repairs and its look-ups tell. ``gone``: landed, no longer visible, with the cause."""

    counted: int | None
    visible: set[str]
    gone: dict[str, str]
    lost: dict[str, str] = field(default_factory=dict)  # swept, but gone before they could be fetched

    @property
    def shown(self) -> set[str]:
        """Every key that was shown, the lost ones included."""
        return self.visible | self.lost.keys()

    @property
    def hidden(self) -> int | None:
        """Counted minus shown; negative where the instance counts fewer than it shows."""
        return None if self.counted is None else self.counted - len(self.shown)

    def agrees_with(self, previous: Round | None) -> bool:
        """Whether two rounds in a row say the same: the same rows, or, while rows move, as many hidden ones."""
        if previous is None:
            return False
        return self.shown == previous.shown or (self.hidden is not None and self.hidden == previous.hidden)


def _prove(state: RangeState) -> Procedure[RangeProof]:
    """Sweep, repair and look up until two rounds agree, or one shows that nothing is hidden; then explain."""
    previous: Round | None = None
    repaired: list[str] = []
    for number in range(MAX_SWEEPS):
        sweep = yield from _sweep(state, WIDTHS[number % len(WIDTHS)])
        found, lost, pending = yield from _repair(state, sorted(sweep.keys - state.keys() - set(state.unreadable)))
        repaired += found
        unswept = state.keys() - sweep.keys
        gone = yield from _look_up(state, sorted(unswept))
        current = Round(sweep.counted, (sweep.keys | unswept) - gone.keys() - lost.keys(), gone, lost)
        # A row that was said to be gone and is shown again is not gone: it has to be fetched.
        back = previous is not None and bool(previous.lost.keys() & sweep.keys - set(found))
        settled = current.agrees_with(previous) or (sweep.keys == state.keys() and current.hidden == 0)
        if settled and not pending and not back:
            return _explain(state, (yield from _with_tried_count(state, current)), repaired)
        previous = None if pending else current
    raise _unsettled(state, f"its keys did not settle in {MAX_SWEEPS} sweeps")


def _with_tried_count(state: RangeState, last: Round) -> Procedure[Round]:
    """The round with a count that is right about rows that are known; without one where no count is."""
    known = _sample(state, last.visible)
    if not known:
        return (yield from _with_second_count(state, last))
    if last.counted is not None and (yield from counts_rightly(state, _in(known), len(known))):
        return last
    return replace(last, counted=(yield from count_otherwise(state, _in(known), len(known))))


def _with_second_count(state: RangeState, last: Round) -> Procedure[Round]:
    """Nothing is shown that a count could be tried on: two ways of counting must not contradict each other."""
    other = yield from count_otherwise(state)
    if other is None or other == last.counted:
        return last
    return replace(last, counted=other if last.counted is None else None)


def _sample(state: RangeState, sys_ids: Iterable[str]) -> list[str]:
    """Some of these ids, as many as one request may name."""
    return [sys_id for sys_id in sorted(sys_ids) if "," not in sys_id and can_stand(sys_id)][: _batch(state)]


def _sweep(state: RangeState, width: int) -> Procedure[_Sweep]:
    """All visible keys of the range and the rows that the instance counts in it, ``hi`` left out of both."""
    keys: set[str] = set()
    terms = state.whole()
    page, counted = yield from first_visible(state, terms, "sweep", width=width)
    while page.ids:
        keys.update(page.ids)
        if state.hi is not None and state.hi in page.ids:
            keys.discard(state.hi)
            return _Sweep(keys, None if counted is None else counted - 1)
        terms = [id_term(">", page.ids[-1]), *state.upper_bound()]
        page, _ = yield from first_visible(state, terms, "sweep", width=width)
    if state.hi is not None:
        counted = yield from _count_below_hi(state, counted)
    return _Sweep(keys, counted)


def _count_below_hi(state: RangeState, counted: int | None) -> Procedure[int | None]:
    """The row ``hi`` is gone or hidden: count without it, since it belongs to the next range."""
    if counted is None:
        return None
    lower = [] if state.lo is None else [f"sys_id>={state.lo}"]
    _, total, _ = yield from narrow_page(state, [*lower, f"sys_id<{state.hi}"], purpose="sweep", limit=1)
    return total


def _repair(state: RangeState, missing: Sequence[str]) -> Procedure[tuple[list[str], dict[str, str], list[str]]]:
    """Fetch rows by their keys and deliver them.

    Returns the found, the lost with their causes, and the pending: rows that match and yet did not come.
    """
    found: list[str] = []
    lost: dict[str, str] = {}
    for batch in _batches(missing, min(_batch(state), state.reading.page_size)):
        page = yield from _by_ids(state, batch)
        if page.ids:
            state.take(page.ids)
            found += page.ids
            yield Deliver(Page(page.records, page.ids, page.size, repaired=True))
        absent = sorted(set(batch) - set(page.ids))
        if absent:
            lost.update((yield from _look_up(state, absent)))
    pending = set(missing) - set(found) - lost.keys()
    return found, lost, sorted(pending)


def _by_ids(state: RangeState, batch: Sequence[str]) -> Procedure[Page]:
    """Rows of the user's query with these sys_ids; a batch that is too heavy is read in halves."""
    reading = state.reading

    def check(answer: Answer) -> Page:
        page = check_page(answer, request, reading.decoder)
        strangers = set(page.ids) - set(batch)
        if strangers:
            raise PageFault("out_of_range", f"{min(strangers)} was not asked for")
        return page

    request = list_request(reading, [_in(batch)], limit=len(batch), purpose="repair", fresh=True)
    try:
        for _ in range(1 + LACKING_LOOKS):
            page = yield from fetch(request, check, reading.policy, state.tally, can_halve=len(batch) > 1)
            state.tally.rows += len(page.ids)
            if not lacking(reading, page, state.hidden_fields):
                break
    except TooHeavy:
        middle = len(batch) // 2
        left = yield from _by_ids(state, batch[:middle])
        right = yield from _by_ids(state, batch[middle:])
        return Page(left.records + right.records, left.ids + right.ids, left.size + right.size)
    state.hidden_fields |= lacking(reading, page, state.hidden_fields)
    return page


def _look_up(state: RangeState, sys_ids: Sequence[str]) -> Procedure[dict[str, str]]:
    """Why these rows are no longer seen: ``left_filter`` or ``deleted``. Still matching ones are left out.

    Absence is believed only after it was seen ``LOOK_UPS`` times, each in a session of its own.
    """
    causes: dict[str, str] = {}
    everything = EncodedQuery()
    for batch in _batches(sys_ids, _batch(state)):
        absent = set(batch)
        for _ in range(LOOK_UPS):
            if absent:
                absent -= yield from _shown(state, sorted(absent), state.reading.query)
        causes |= dict.fromkeys(absent, "deleted")
        if absent and state.reading.query.groups:
            existing = yield from _shown(state, sorted(absent), everything)
            causes |= dict.fromkeys(existing, "left_filter")
    return causes


def _shown(state: RangeState, asked: Sequence[str], query: EncodedQuery) -> Procedure[set[str]]:
    """Those of ``asked`` that ``query`` shows; a page that had to be halved is asked for in halves."""
    page, _, looked = yield from narrow_page(state, [_in(asked)], purpose="lookup", limit=len(asked), query=query)
    if looked >= len(asked):
        return set(page.ids) & set(asked)
    left = yield from _shown(state, asked[: len(asked) // 2], query)
    right = yield from _shown(state, asked[len(asked) // 2 :], query)
    return left | right


def _explain(state: RangeState, last: Round, repaired: Sequence[str]) -> RangeProof:
    """Give every difference its cause. What is left over fails the range."""
    causes = [*_repaired(repaired), *_unreadable(state, last.visible)]
    for name in ("left_filter", "deleted"):
        ids = sorted(sys_id for sys_id, cause in last.gone.items() if cause == name)
        causes += _cause(name, len(ids), "landed, then no longer among the keys, in three look-ups", ids)
    causes += _cause("gone", -len(last.lost), "seen by its key, gone before it could be read", sorted(last.lost))
    hidden = last.hidden
    if hidden is None:
        evidence = "no count, or none that is right about rows that are shown: hidden rows cannot be numbered"
        causes.append(Cause("count_unknown", 0, evidence))
    else:
        evidence = f"counted {last.counted}, {len(last.shown)} keys shown"
        causes += _cause("hidden" if hidden > 0 else "count_low", -hidden, evidence, ())
    base = len(last.shown) if last.counted is None else last.counted
    unexplained = state.landed - base - sum(cause.rows for cause in causes)
    if unexplained:
        raise _unsettled(state, f"{abs(unexplained)} of its rows are unexplained")
    return RangeProof(
        last.counted, state.landed, None if hidden is None else max(0, hidden), state.pages, tuple(causes)
    )


def _unsettled(state: RangeState, why: str) -> SliceFailed:
    bounds = f"[{state.lo or 'start'}, {state.hi or 'end'})"
    return SliceFailed(f"{state.reading.table}: {why}", key="range", value=bounds, hint="run it again")


def _cause(name: str, rows: int, evidence: str, sys_ids: Sequence[str]) -> list[Cause]:
    return [Cause(name, rows, evidence, tuple(sys_ids[:SAMPLE]))] if rows else []


def _repaired(sys_ids: Sequence[str]) -> Iterator[Cause]:
    if sys_ids:
        yield Cause("repaired", 0, f"{len(sys_ids)} rows fetched by sys_id after the sweep", tuple(sys_ids[:SAMPLE]))


def _unreadable(state: RangeState, visible: set[str] | None = None) -> list[Cause]:
    evidence = "the row fails even alone; skipped as unreadable_rows says"
    sys_ids = [sys_id for sys_id in state.unreadable if visible is None or sys_id in visible]
    return _cause("unreadable", -len(sys_ids), evidence, sys_ids)


def hidden_fields(names: Iterable[str]) -> list[Cause]:
    """The cause for fields that no row of a page had, if there are any."""
    if not (said := ", ".join(sorted(names))):
        return []
    return [Cause("field_hidden", 0, f"no row of a page has {said}, in {1 + LACKING_LOOKS} sessions")]


def _batch(state: RangeState) -> int:
    """Sys_ids in one request: our terms stand in every ^NQ group."""
    return max(1, BATCH // max(1, len(state.reading.query.groups)))


def _in(sys_ids: Sequence[str]) -> str:
    """The term for these rows. A list of values cannot hold a comma; such an id stands alone."""
    if len(sys_ids) > 1:
        return "sys_idIN" + ",".join(sys_ids)
    return id_term("=", sys_ids[0])


def _batches(sys_ids: Iterable[str], size: int) -> Iterator[Sequence[str]]:
    """Batches of at most ``size``; ids that cannot stand in a list come alone."""
    listed: list[str] = []
    for sys_id in sys_ids:
        if "," in sys_id or not can_stand(sys_id):
            yield [sys_id]
        else:
            listed.append(sys_id)
    for start in range(0, len(listed), size):
        yield listed[start : start + size]

"""Rows that are no longer seen, confirmed one by one: deleted, reclassified, outside of the filter, hidden, or there.

A candidate is asked for by its sys_id, without the pull's query, in sessions of their own. What several of them do not
show is absent; what the instance counts all the same is hidden from the account, and not deleted; what the root table
of the hierarchy shows under another class was reclassified.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeAlias

from snow_assets.config import PullConfig
from snow_assets.pulls.plan import Plan
from snow_assets.pulls.sweep_books import Books
from snow_assets.servicenow.account import UNREADABLE, rows, text
from snow_assets.servicenow.boundaries import is_usable
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.deleted import descendants
from snow_assets.servicenow.dictionary import ancestors
from snow_assets.servicenow.driver import Driver
from snow_assets.servicenow.exchange import DisplayValue, Procedure, Tally
from snow_assets.servicenow.fan_out import fan_out
from snow_assets.servicenow.named import (
    EVERYTHING,
    NAMED,
    SAMPLE,
    Counting,
    counted_among,
    find,
    look_for,
    narrow_reading,
    way_of_counting,
)
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.reading import Reading
from snow_assets.servicenow.since import STORED

BATCHES: Final = 16  # in hand at a time
CLASS: Final = "sys_class_name"

Candidate: TypeAlias = tuple[str, str, str, str | None]
"""Sys_id, cursor and sys_mod_count as known, and when it was deleted by the log, as stored."""
Verdict: TypeAlias = tuple[str, str, str, datetime, str, str]
"""Sys_id, kind, method, moment (UTC, naive), plan, detail."""


@dataclass(frozen=True, slots=True)
class Court:
    """What candidates of a plan are judged by.

    ``elsewhere`` is the root table of the hierarchy, ``None`` where there is none or it shows nothing; ``family`` are
    the classes that the pull's own table shows. ``absent`` is what an absent row is called.
    """

    plan: Plan
    reading: Reading
    query: EncodedQuery
    counting: Counting
    elsewhere: Reading | None
    family: frozenset[str]
    method: str
    absent: str
    noticed: datetime
    next_since: str

    def judge(self, candidates: Sequence[Candidate], tally: Tally) -> Procedure[list[Verdict]]:
        """The verdicts on a batch of candidates, one each."""
        known = {sys_id: (cursor, mods) for sys_id, cursor, mods, _ in candidates if is_usable(sys_id)}
        logged = {sys_id: moment for sys_id, _, _, moment in candidates}
        look = yield from find(self.reading, EVERYTHING, known.keys(), tally)
        kinds = dict.fromkeys(logged, ("stays", ""))
        kinds |= dict.fromkeys((yield from self._left(look.shown.keys(), tally)), ("left_filter", ""))
        for sys_id, version in look.shown.items():
            if kinds[sys_id][0] == "stays" and self._is_missed(known[sys_id], version[1:]):
                kinds[sys_id] = ("mend", "")
        kinds |= yield from self._absent(sorted(known.keys() - look.there), tally)
        return [self._verdict(sys_id, *kind, logged[sys_id]) for sys_id, kind in kinds.items()]

    def _left(self, present: Iterable[str], tally: Tally) -> Procedure[set[str]]:
        """Those that the pull's own query does not show."""
        there = set(present)
        if not self.query.groups or not there:
            return set()
        matching = yield from find(self.reading, self.query, there, tally)
        return there - matching.there

    def _is_missed(self, known: tuple[str, str], shown: tuple[str, ...]) -> bool:
        """Whether a row that stays is of a version that neither this nor the next window shows."""
        return tuple(known)[: len(shown)] != shown and not (self.next_since and shown[0] >= self.next_since)

    def _absent(self, absent: Sequence[str], tally: Tally) -> Procedure[dict[str, tuple[str, str]]]:
        hidden = (yield from counted_among(self.reading, absent, self.counting, tally)) or set()
        gone = [sys_id for sys_id in absent if sys_id not in hidden]
        kinds = dict.fromkeys(hidden, ("hidden", "")) | dict.fromkeys(gone, (self.absent, ""))
        if self.elsewhere is not None and gone:
            kinds |= yield from self._elsewhere(self.elsewhere, gone, tally)
        return kinds

    def _elsewhere(self, root: Reading, gone: Sequence[str], tally: Tally) -> Procedure[dict[str, tuple[str, str]]]:
        """Rows that the root table still has: under another class, which may be hidden as well."""
        look = yield from find(root, EVERYTHING, gone, tally)
        unseen = sorted(set(gone) - look.there)
        hidden = (yield from counted_among(root, unseen, self.counting, tally)) or set()
        kinds = dict.fromkeys((*look.unreadable, *hidden), ("reclassified", ""))
        for sys_id, (_, name, *_) in look.shown.items():
            kinds[sys_id] = ("stays", "") if name in self.family else ("reclassified", name)
        return kinds

    def _verdict(self, sys_id: str, kind: str, detail: str, logged: str | None) -> Verdict:
        by_log = kind == "deleted" and logged is not None
        moment = (_moment(logged) if by_log and logged else None) or self.noticed
        return sys_id, kind, "audit" if by_log else self.method, moment, self.plan.plan_id, detail


@dataclass(slots=True)
class Judged:
    """How candidates were judged: how the instance counted, lines about what could not be told, and the cost."""

    counting: Counting = "header"
    notes: list[str] = field(default_factory=list)
    cost: Tally = field(default_factory=Tally)


def judge(books: Books, plan: Plan, pull: PullConfig, client: Client, next_since: str, *, keys: bool) -> Judged:
    """Confirm every candidate in the books, and note a verdict on each. ``keys``: the pull compares keys each time."""
    judged = Judged()
    court: Court | None = None

    def work(driver: Driver, batch: Sequence[Candidate], tally: Tally) -> list[Verdict]:
        if court is None:
            raise TypeError("the court is open before the first case")
        return driver.run(court.judge(batch, tally), None, tally)

    for page in books.candidates(NAMED * BATCHES):
        court = court or _open(books, plan, pull, client, next_since, judged, keys=keys)
        batches = [page[start : start + NAMED] for start in range(0, len(page), NAMED)]
        for verdicts in fan_out(client, pull.max_workers, work, batches, judged.cost):
            books.judge(verdicts)
    return judged


def _open(
    books: Books, plan: Plan, pull: PullConfig, client: Client, next_since: str, judged: Judged, *, keys: bool
) -> Court:
    """Find out, once, what can be told of rows that are absent."""
    tally = judged.cost
    versions = [name for name in pull.delta_fields if name in plan.fields]
    shape: DisplayValue = "true" if plan.display_value == "true" else "false"
    reading = narrow_reading(plan.table, versions, shape, client.policy)
    known = [sys_id for sys_id in books.sample(SAMPLE) if is_usable(sys_id)]
    if not known:
        found = client.run(rows(plan.table, "", (), "probe", client.policy, tally, limit=SAMPLE), tally=tally)
        known = [sys_id for record in found if is_usable(sys_id := text(record, "sys_id"))]
    judged.counting = client.run(way_of_counting(reading, known, tally), tally=tally)
    if judged.counting == "none":
        judged.notes.append("the instance does not count rightly: hidden rows cannot be told from deleted ones")
    root, family = client.run(_hierarchy(reading, known, judged.notes, tally), tally=tally)
    return Court(
        plan=plan,
        reading=reading,
        query=EncodedQuery.parse(plan.base_query),
        counting=judged.counting,
        elsewhere=root,
        family=family,
        method="keys" if keys else "sweep",
        absent="gone" if pull.deletes == "off" else "deleted",
        noticed=client.clock(tally).astimezone(UTC).replace(tzinfo=None),
        next_since=next_since,
    )


def _hierarchy(
    reading: Reading, known: Sequence[str], notes: list[str], tally: Tally
) -> Procedure[tuple[Reading | None, frozenset[str]]]:
    """The root table, where it shows rows of ours, and the classes that our table shows."""
    policy = reading.policy
    unknown = "rows that were reclassified cannot be told from deleted ones"
    try:
        chain = yield from ancestors(reading.table, policy, tally)
    except UNREADABLE:
        chain = ()
    if not chain:
        notes.append(f"{unknown}: sys_db_object may not be read")
    if not chain or chain[-1] == reading.table:
        return None, frozenset({reading.table})
    root = narrow_reading(chain[-1], (CLASS,), "false", policy)
    try:
        seen = (yield from look_for(root, EVERYTHING, known, tally)).there if known else set()
    except UNREADABLE:
        seen = set()
    if not seen:
        notes.append(f"{unknown}: {chain[-1]} shows no rows of {reading.table}")
        return None, frozenset({reading.table})
    family = yield from descendants(reading.table, policy, tally)
    return root, frozenset({reading.table, *(family or ())})


def _moment(stored: str) -> datetime | None:
    try:
        return datetime.strptime(stored, STORED)  # noqa: DTZ007 - UTC, as DuckDB takes it
    except ValueError:
        return None

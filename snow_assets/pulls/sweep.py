"""The sweep of a delta: what its window cannot show is found by keys and by the delete log, confirmed, and kept.

A row that leaves the filter is in no window of it, a deleted one in none at all, and a restored or imported one may
come with an old clock. So after its slices a delta sweeps the window without the pull's query, or, when it verifies,
the keys of all that matches; it reads the delete log; and nothing counts as gone before it was looked for by itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Final

import pyarrow.parquet as pq

from snow_assets.config import PullConfig
from snow_assets.errors import LandingError, PlanIncomplete, PublishRefused, QueryError
from snow_assets.pulls.current import Current, bring_up, home_of
from snow_assets.pulls.deletes import Judged, judge
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.marks import forget_marks, marks_note, write_marks
from snow_assets.pulls.mending import Mended, mend
from snow_assets.pulls.plan import Plan
from snow_assets.pulls.sweep_books import MARKED, Books
from snow_assets.pulls.sweep_record import SWEEP_FILE, Sweep, read_sweep
from snow_assets.pulls.swept import Asked, Swept, forget_swept, opened, sweep_rows
from snow_assets.pulls.workspace import workspace
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.deleted import LOG, LOG_FIELDS, descendants, log_queries, oldest_entry
from snow_assets.servicenow.exchange import Tally
from snow_assets.servicenow.honoured import must_be_honoured, visible_fields
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.since import STORED, honoured_since

__all__ = ["Sweep", "read_sweep", "sweep"]

NOTE: Final = b"snow_assets.sweep"  # in the footer of marks: the sweep that made them
LEAST: Final = 10  # rows that may go at once, however few are known
MEND_ROWS: Final = 1_000

_log = logging.getLogger(__name__)


def sweep(plan: Plan, pull: PullConfig, client: Client, landing: Landing, *, accept: bool = False) -> Sweep:
    """Find, confirm and keep what the plan's window cannot show. Again, or after a crash: the same.

    Of a base, it writes that there was nothing to do. ``accept`` lets any share of the rows go.

    Raises ``PlanIncomplete`` where slices are missing, ``PublishRefused`` where more than ``max_deleted`` of the known
    rows would go at once (nothing is written then), ``QueryError`` where the pull's query is not honoured any more, and
    what sweeping a range raises; what was swept stays.
    """
    done = read_sweep(landing, plan.plan_id)
    if done is None:
        note = marks_note(landing, plan.plan_id, NOTE)  # they are the last thing before sweep.json
        done = Sweep.from_json(note) if note else _sweep(plan, pull, client, landing, accept=accept)
        landing.store.write(f"{plan.plan_id}/{SWEEP_FILE}", done.to_json())
    forget_swept(landing)
    return done


def _sweep(plan: Plan, pull: PullConfig, client: Client, landing: Landing, *, accept: bool) -> Sweep:
    if not plan.is_delta:
        return Sweep(plan.pull, plan.plan_id)
    landed = landing.all_landed(plan)
    if len(landed) != len(plan.slices):
        raise PlanIncomplete("has slices that have not landed: nothing is swept", key="plan", value=plan.plan_id)
    started = time.monotonic()
    known = bring_up(landing, pull)
    forget_marks(landing, plan, after=known.plan)
    forget_swept(landing, keep=plan.plan_id)
    work = _Sweeping(plan, pull, client, landing, known)
    seen = work.look()
    with workspace() as (connection, _):
        books = Books(connection, plan.cursor)
        work.compare(books, seen, opened(landing, (file.path for file in landed.values())))
        judged = judge(books, plan, pull, client, work.next_since, keys=pull.deletes in ("keys", "both"))
        work.cost.add(judged.cost)
        verdicts = books.verdicts()
        if any(kind == "left_filter" for kind, _ in verdicts):
            work.prove_the_filter()
        if not accept:
            _must_not_lose_many(plan, pull, known.rows, verdicts)
        books.settle()
        mended = mend(books.mending(MEND_ROWS), plan, pull, client, landing)
        found = work.told(seen, judged, verdicts, mended, round(time.monotonic() - started, 3))
        if any(kind in MARKED for kind, _ in verdicts):
            write_marks(landing, plan.plan_id, books.marks(), {NOTE: found.to_json()})
    for line in (found.unknown, *found.notes):
        if line:
            _log.warning("pull %s, plan %s: %s", plan.pull, plan.plan_id, line)
    return found


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was swept, by kind; ``unknown`` are lines about the delete log."""

    left: Swept | None
    verify: Swept | None
    log: tuple[Swept, ...]
    unknown: tuple[str, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        made = {"left": self.left, "verify": self.verify, "audit": self.log}
        return tuple(kind for kind, swept in made.items() if swept)


class _Sweeping:
    """One call of ``sweep``."""

    def __init__(self, plan: Plan, pull: PullConfig, client: Client, landing: Landing, known: Current) -> None:
        self.plan = plan
        self.pull = pull
        self.client = client
        self.landing = landing
        self.known = known
        self.cost = Tally()
        self.later = 0
        self.since = "" if plan.since is None else plan.since.astimezone(UTC).strftime(STORED)
        after = plan.as_of - timedelta(seconds=pull.overlap)
        # Display values do not compare with moments: there every difference is mended.
        self.next_since = "" if plan.display_value == "true" else after.astimezone(UTC).strftime(STORED)

    # -- what is seen ---------------------------------------------------------------------------------------------

    def look(self) -> _Seen:
        """Sweep what the pull asks for, and read the delete log."""
        verifies = self.plan.verify or self.pull.deletes in ("keys", "both")
        base = EncodedQuery.parse(self.plan.base_query)
        verify = self._keys("verify", base.where()) if verifies else None
        # What verifies sees all that matches: a row that left the filter is then not among it.
        left = self._keys("left", self._window()) if base.groups and not verifies else None
        reads_log = self.pull.deletes in ("audit", "both")
        log, unknown = self._log() if reads_log else ((), ())
        return _Seen(left, verify, log, unknown)

    def _window(self) -> str:
        return str(self.plan.identity.get("window") or f"{self.plan.cursor}>={self.since}")

    def _keys(self, kind: str, query: str) -> Swept:
        plan = self.plan
        names = dict.fromkeys(("sys_id", *self.pull.delta_fields))
        return self._rows(
            Asked(
                kind,
                plan.table,
                query,
                tuple(name for name in names if name in plan.fields),
                display_value="true" if plan.display_value == "true" else "false",
                probed=plan.probed,
                witnesses=plan.witnesses,
            )
        )

    def _rows(self, asked: Asked) -> Swept:
        swept = sweep_rows(asked, self.plan, self.pull, self.client, self.landing)
        self.cost.add(swept.cost)
        return swept

    def _log(self) -> tuple[tuple[Swept, ...], tuple[str, ...]]:
        """The entries of the delete log since the last sync, and what they leave unknown."""
        policy, tally = self.client.policy, self.cost
        oldest = self.client.run(oldest_entry(policy, tally), tally=tally)
        if not oldest:
            return (), (f"deletes are unknown: the delete log ({LOG}) is empty, or this account may not read it",)
        unknown = []
        if oldest > self.since:
            unknown.append(f"deletes are unknown before {oldest}: the delete log begins there, the window {self.since}")
        below = self.client.run(descendants(self.plan.table, policy, tally), tally=tally)
        if below is None:
            unknown.append(f"deletes of classes that extend {self.plan.table} are unknown: sys_db_object is unreadable")
        since = self.since
        try:  # it may read moments in another zone than UTC, also where no row of the table shows it
            begin = self.plan.since or self.plan.as_of
            procedure = honoured_since(LOG, "sys_created_on", begin, self.client.policy, tally)
            moment = self.client.run(procedure, tally=tally)
            since = moment.astimezone(UTC).strftime(STORED)
        except QueryError as error:
            unknown.append(f"deletes are unknown: {error.message}")
        queries = log_queries(since, (self.plan.table, *(below or ())))
        log = tuple(self._rows(Asked(f"audit{n}", LOG, query, LOG_FIELDS)) for n, query in enumerate(queries))
        hidden = sum(swept.hidden or 0 for swept in log)
        if hidden:
            unknown.append(f"{hidden} deletes are unknown: so many entries of the delete log are hidden")
        return log, tuple(unknown)

    # -- what follows ---------------------------------------------------------------------------------------------

    def compare(self, books: Books, seen: _Seen, landed: Iterator[pq.ParquetFile]) -> None:
        """Tell candidates and rows to mend apart."""
        nameless = sum(books.add_logged(swept.parquet()) for swept in seen.log)
        if nameless:
            raise LandingError("entries of the delete log do not say what was deleted", key="table", value=LOG)
        swept = seen.verify or seen.left
        if swept is not None:
            books.add("swept", swept.parquet())
        some = seen.verify is None  # then only rows that were swept or logged matter
        if some and not books.want():
            return
        books.add("landed", landed, wanted=some)
        books.add("live", self._known(self.known.files), wanted=some)
        books.logged_candidates()
        if seen.verify is not None:
            books.add("gone", self._known(self.known.gone_files))
            books.absent_candidates()
            self.later = books.find_differences(self.next_since)
        elif seen.left is not None:
            books.left_candidates()

    def _known(self, files: Sequence[str]) -> Iterator[pq.ParquetFile]:
        home = home_of(self.landing)
        return opened(home, (file.removeprefix(f"{home.location}/") for file in files))

    def prove_the_filter(self) -> None:
        """A term whose field was dropped or hidden since the plan may match nothing: no row left the filter then."""
        query, tally = EncodedQuery.parse(self.plan.base_query), self.cost
        seen = self.client.run(
            visible_fields(self.plan.table, query.fields, self.client.policy, tally, sys_id=False), tally=tally
        )
        if seen is not None:
            must_be_honoured(query, seen, self.plan.table)

    def told(
        self, seen: _Seen, judged: Judged, verdicts: Mapping[tuple[str, str], int], mended: Mended, seconds: float
    ) -> Sweep:
        """The figures."""
        kinds: dict[str, int] = {}
        for (kind, _), rows in verdicts.items():
            kinds[kind] = kinds.get(kind, 0) + rows
        self.cost.add(mended.cost)
        swept = seen.verify or seen.left
        return Sweep(
            pull=self.plan.pull,
            plan=self.plan.plan_id,
            kinds=seen.kinds,
            known=self.known.rows,
            swept=swept.rows if swept else 0,
            missed=mended.why["missed"],
            restored=mended.why["restored"],
            changed=mended.why["changed"],
            later=self.later,
            left_filter=kinds.get("left_filter", 0),
            reclassified=kinds.get("reclassified", 0),
            deleted={method: rows for (kind, method), rows in sorted(verdicts.items()) if kind == "deleted"},
            hidden=None if judged.counting == "none" else kinds.get("hidden", 0),
            gone=kinds.get("gone", 0),
            unknown="; ".join(seen.unknown),
            notes=tuple(_notes(judged, kinds, mended)),
            mended=tuple(mended.files),
            marks=f"{self.plan.plan_id}.parquet" if any(kind in MARKED for kind in kinds) else "",
            seconds=seconds,
            cost=self.cost.as_dict(),
        )


def _notes(judged: Judged, kinds: Mapping[str, int], mended: Mended) -> Iterator[str]:
    yield from judged.notes
    if kinds.get("hidden"):
        yield f"{kinds['hidden']} rows are hidden from this account now: they are kept, and may be out of date"
    if kinds.get("gone"):
        yield f"{kinds['gone']} rows are gone, and are kept because of deletes: off"
    if mended.lost:
        yield f"{mended.lost} rows were seen by their keys, and gone or changed before they could be fetched"
    if mended.unreadable:
        yield f"{mended.unreadable} rows cannot be read, and were skipped as unreadable_rows says"


def _must_not_lose_many(plan: Plan, pull: PullConfig, known: int, verdicts: Mapping[tuple[str, str], int]) -> None:
    """One short sweep, or an account that lost a role, must not delete a table.

    What the log names is certain; and so is what left the filter, for it was seen outside of it: of what is open, most
    may have been closed since the last delta.
    """
    going = sum(rows for (kind, method), rows in verdicts.items() if kind == "deleted" and method != "audit")
    if going > max(LEAST, int(pull.max_deleted * known)):
        raise PublishRefused(
            f"{going} deleted rows, none of which the delete log names, are more than "
            f"{pull.max_deleted:.0%} of {known} known ones; nothing is marked",
            key="max_deleted",
            value=pull.max_deleted,
            hint=f"see that the account may read all rows; accept it: snow-assets pull {plan.pull} "
            f"--accept {plan.plan_id}; or raise max_deleted",
        )

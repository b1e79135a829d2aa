"""Totals: what the instance counted against what landed, every difference with its cause; and the receipt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from snow_assets.config import PullConfig
from snow_assets.errors import LandingError, PlanIncomplete
from snow_assets.pulls.columns import RowDigest
from snow_assets.pulls.costs import noted_costs
from snow_assets.pulls.dataset import published_plan
from snow_assets.pulls.governed import Governed, governed_runs
from snow_assets.pulls.landing import LandedFile, Landing
from snow_assets.pulls.ledger import Difference, Ledger
from snow_assets.pulls.plan import Plan, Slice
from snow_assets.pulls.receipt import render
from snow_assets.pulls.sight import must_not_hide
from snow_assets.pulls.sweep_record import Sweep, read_sweep
from snow_assets.servicenow.exchange import Tally
from snow_assets.servicenow.pages import is_hex
from snow_assets.servicenow.records import sum_known

TOTALS_FILE = "totals.json"
RECEIPT_FILE = "totals.html"
SAMPLE = 20


@dataclass(frozen=True)
class Totals:
    """The reconciliation of a plan. ``counted + sum(difference.rows) == landed + missing``; ``missing`` is 0.

    ``duplicates`` is 0, by proof and not by counting: rows of one key fail their slice, and slices whose keys overlap
    fail ``reconcile``, so that there are no totals where a row landed twice.

    ``size`` is bytes of Parquet. ``counted`` and ``hidden`` are ``None`` where the instance refused to count.
    ``digest`` is order-independent over all rows. ``cost`` is what the plan and its slices asked of the instance:
    requests, rows, seconds waited by kind, those of a delta's ``sweep`` included. ``governor`` is what each run that
    asked for slices had in flight.
    """

    pull: str
    plan: str
    as_of: str
    table: str
    query: str
    fingerprint: str
    counted: int | None
    landed: int
    hidden: int | None
    duplicates: int
    missing: int
    slices: int
    files: int
    size: int
    digest: str
    seconds: float
    differences: tuple[Difference, ...]
    cost: Mapping[str, Any] = field(default_factory=dict)
    location: str = ""
    receipt: str = ""
    governor: tuple[Governed, ...] = ()
    sweep: Sweep | None = None

    def to_json(self) -> bytes:
        """The content of ``totals.json``."""
        return msgspec.json.format(msgspec.json.encode(asdict(self)), indent=1)

    @classmethod
    def from_json(cls, content: bytes) -> Totals:
        """The inverse of ``to_json``. Raises ``LandingError`` where it is damaged."""
        try:
            return msgspec.json.decode(content, type=cls)
        except (msgspec.DecodeError, ValueError) as error:
            raise LandingError("is damaged", key="file", value=TOTALS_FILE, hint="reconcile the plan again") from error


def reconcile(plan: Plan, landing: Landing, pull: PullConfig) -> Totals:
    """Hold what landed against what was counted, and write the receipt beside the plan's files.

    Every byte of every file is held against its seal; a damaged file is set aside, so that its slice is missing again.

    Raises ``PlanIncomplete`` where slices are missing or damaged or do not tile the keys, and ``PublishRefused`` where
    rows are hidden and the pull says ``hidden_rows: fail``.
    """
    landed = landing.all_landed(plan)
    _must_be_whole(plan, landed)
    must_be_intact(plan, landing, landed)
    totals = _add_up(plan, landing, landed)
    landing.store.write(f"{plan.plan_id}/{TOTALS_FILE}", totals.to_json())
    landing.store.write(f"{plan.plan_id}/{RECEIPT_FILE}", render(totals, plan, landed).encode())
    must_not_hide(plan, pull, totals.hidden)
    return totals


def read_totals(landing: Landing, plan_id: str) -> Totals | None:
    """The totals of a plan as written, or ``None``; also where they are damaged or another plan's: reconcile again."""
    try:
        totals = Totals.from_json(landing.store.read(f"{plan_id}/{TOTALS_FILE}"))
    except (FileNotFoundError, LandingError):
        return None
    return totals if (totals.pull, totals.plan) == (landing.pull, plan_id) else None


def _must_be_whole(plan: Plan, landed: Mapping[Slice, LandedFile]) -> None:
    missing = [piece for piece in plan.slices if piece not in landed]
    if missing:
        names = ", ".join(piece.name for piece in missing[:SAMPLE]) + (", ..." if len(missing) > SAMPLE else "")
        raise PlanIncomplete(
            f"{len(missing)} of {len(plan.slices)} slices have not landed: {names}",
            key="plan",
            value=plan.plan_id,
            hint="materialise the failed and missing slices, or run the pull again",
        )
    bounds = [plan.slices[0].lo, *(piece.hi for piece in plan.slices)]
    lower = [*(piece.lo for piece in plan.slices), None]
    if bounds != lower:
        raise PlanIncomplete("the slices do not tile the keys", key="plan", value=plan.plan_id, hint=_anew(plan))
    _must_not_overlap(plan, [landed[piece].ledger for piece in plan.slices])


def must_be_intact(plan: Plan, landing: Landing, landed: Mapping[Slice, LandedFile]) -> None:
    """Set damaged files aside, and raise ``PlanIncomplete``; those that a table names stay where they are."""
    damaged = {piece: file for piece, file in landed.items() if not landing.is_intact(file)}
    if not damaged:
        return
    names = ", ".join(landing.store.uri(file.path) for file in list(damaged.values())[:SAMPLE])
    is_published = plan.plan_id <= (published_plan(landing) or "")
    for file in () if is_published else damaged.values():
        landing.store.set_aside(file.path)
    raise PlanIncomplete(
        f"{len(damaged)} of {len(landed)} files were damaged after they landed: {names}",
        key="plan",
        value=plan.plan_id,
        hint=_anew(plan) if is_published else "they are set aside; run the pull again",
    )


def _anew(plan: Plan) -> str:
    return f"start a new plan: snow-assets pull {plan.pull} --new"


def _must_not_overlap(plan: Plan, ledgers: Iterable[Ledger]) -> None:
    """Each slice's keys lie above the one before, as far as their order is ours to judge."""
    last = ""
    for ledger in ledgers:
        if is_hex(ledger.first) and ledger.first <= last:
            raise PlanIncomplete(
                f"slice {ledger.offset} repeats keys of a slice before it",
                key="plan",
                value=plan.plan_id,
                hint=_anew(plan),
            )
        last = max(last, *(sys_id for sys_id in (ledger.first, ledger.last) if is_hex(sys_id)), "")


def _add_up(plan: Plan, landing: Landing, landed: Mapping[Slice, LandedFile]) -> Totals:
    ledgers = [file.ledger for file in landed.values()]
    differences = _gather(ledgers)
    by_slices = sum_known(ledger.counted for ledger in ledgers)
    rows = sum(ledger.landed for ledger in ledgers)
    counted = by_slices if plan.counted is None else plan.counted
    explained = sum(difference.rows for difference in differences)
    if counted is not None:
        base = by_slices if by_slices is not None else rows - explained
        differences += _drift(counted, base, exact=by_slices is not None)
        explained += base - counted
    differences += _moving_query(plan, ledgers)
    digest, tally = RowDigest(), Tally()
    for ledger in ledgers:
        digest.add(ledger.digest)
        tally.add(ledger.tally)
    for failed in noted_costs(landing, plan):
        tally.add(failed)
    swept = read_sweep(landing, plan.plan_id) if plan.is_delta else None
    for cost in (plan.cost, swept.cost if swept else {}):
        tally.add(Tally.from_dict(cost) if cost else Tally())
    return Totals(
        pull=plan.pull,
        plan=plan.plan_id,
        as_of=plan.as_of.isoformat(),
        table=plan.table,
        query=plan.query,
        fingerprint=plan.fingerprint,
        counted=counted,
        landed=rows,
        hidden=sum_known(ledger.hidden for ledger in ledgers),
        duplicates=0,  # or there would be an error instead, see Totals
        missing=0 if counted is None else counted + explained - rows,
        slices=len(plan.slices),
        files=len(landed),
        size=sum(file.size for file in landed.values()),
        digest=digest.hex(),
        seconds=round(sum(ledger.seconds for ledger in ledgers), 3),
        differences=tuple(differences),
        cost=tally.as_dict(),
        location=landing.location,
        receipt=landing.store.uri(f"{plan.plan_id}/{RECEIPT_FILE}"),
        governor=governed_runs(landing, plan),
        sweep=swept,
    )


def _gather(ledgers: Iterable[Ledger]) -> list[Difference]:
    """The slices' differences by cause: rows added up, evidence by slice, a sample of the sys_ids."""
    rows: dict[str, int] = {}
    evidence: dict[str, list[str]] = {}
    sys_ids: dict[str, list[str]] = {}
    for ledger in ledgers:
        for difference in ledger.differences:
            cause = difference.cause
            rows[cause] = rows.get(cause, 0) + difference.rows
            evidence.setdefault(cause, []).append(f"slice {ledger.offset}: {difference.evidence}")
            sys_ids.setdefault(cause, []).extend(difference.sys_ids)
    return [
        Difference(cause, rows[cause], _shorten(evidence[cause]), tuple(sys_ids[cause][:SAMPLE]))
        for cause in sorted(rows)
    ]


def _shorten(lines: list[str]) -> str:
    more = f"; and {len(lines) - SAMPLE} more slices" if len(lines) > SAMPLE else ""
    return "; ".join(lines[:SAMPLE]) + more


def _drift(counted: int, base: int, *, exact: bool) -> list[Difference]:
    """The table moved between the plan's count and the slices' own."""
    if counted == base:
        return []
    what = "the slices' own counts add up to" if exact else "without counts, the slices showed"
    return [Difference("drift", base - counted, f"the plan counted {counted}, {what} {base}")]


def _moving_query(plan: Plan, ledgers: Iterable[Ledger]) -> list[Difference]:
    """A relative date means something else past midnight in the account's zone: say when that happened."""
    if not plan.relative_dates:
        return []
    try:
        zone = ZoneInfo(str(plan.identity.get("time_zone") or "UTC"))
    except (KeyError, ValueError):
        zone = ZoneInfo("UTC")
    ends = [datetime.fromisoformat(ledger.started) + timedelta(seconds=ledger.seconds) for ledger in ledgers]
    last = max(ends, default=plan.as_of).astimezone(zone)
    if last.date() == plan.as_of.astimezone(zone).date():
        return []
    evidence = (
        f"the query has relative dates, and midnight in {zone.key} passed before {last.astimezone(UTC):%H:%M:%SZ}"
    )
    return [Difference("moving_query", 0, evidence)]

"""Does the account still see what it saw when the plan was made?

A role that is lost in the middle of a pull does not fail a request: rows are silently left out, or the table looks
empty. Rows that were visible to the plan bear witness: some that it looked at, and the first row of every slice.
Whether they still match the query does not matter; they are asked for by their sys_ids alone.

That rows are counted and not shown is strong evidence, that they are neither is weak: they may have been deleted. So
the slice fails where many are hidden or most are gone, and where more than a few are gone the plan is published only
when that is accepted by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from snow_assets.config import PullConfig
from snow_assets.errors import ForbiddenError, PublishRefused
from snow_assets.pulls.ledger import Ledger
from snow_assets.pulls.plan import Plan, Slice
from snow_assets.servicenow.account import rows
from snow_assets.servicenow.boundaries import is_usable
from snow_assets.servicenow.exchange import Procedure, Tally
from snow_assets.servicenow.named import EVERYTHING, look_for, narrow_reading
from snow_assets.servicenow.proof import Cause, RangeProof
from snow_assets.servicenow.reading import Reading

FIRST_ROWS = 20  # of slices
LOOKS = 3  # sessions that must agree
FEW = 5  # witnesses: fewer prove nothing, single rows come and go
HIDDEN = 0.20  # of the witnesses: counted, and shown no longer
ABSENT = 0.50  # of the witnesses: not shown, however it came
ENOUGH = 10  # witnesses, of which a share means something
UNSEEN, FALL = "unseen", 0.10  # a cause in ledgers; of the witnesses, or of the rows expected of a slice
SAMPLE = 20
LACKING, LACKING_RISE = "field_hidden", 0.10  # a cause in ledgers; of the slices
SEEN = 1000  # rows looked at where no witness is known


def is_plain(piece: Slice, proof: RangeProof, first: Sequence[str]) -> bool:
    """Whether nothing about a slice asks for witnesses: its first row stands where it stood, all is landed."""
    expected = (1 - FALL) * (piece.rows or 0)
    return not proof.causes and proof.landed >= max(1, expected) and piece.lo in (None, *first)


def look_again(plan: Plan, reading: Reading, tally: Tally) -> Procedure[tuple[Cause, ...]]:
    """Whether the account still sees rows that it saw: nothing, or a cause ``unseen`` where more than a few are gone.

    Raises ``ForbiddenError`` where it lost sight of them.
    """
    first_rows = _spread([piece.lo for piece in plan.slices if piece.lo], FIRST_ROWS)
    known = sorted({sys_id for sys_id in (*plan.witnesses, *first_rows) if is_usable(sys_id)})
    if known and not plan.key:
        return (yield from _ask_witnesses(reading, known, tally))
    if plan.probed:
        yield from _look_at_table(reading, tally)
    return ()


def _ask_witnesses(reading: Reading, witnesses: Sequence[str], tally: Tally) -> Procedure[tuple[Cause, ...]]:
    narrow = narrow_reading(reading.table, (), "false", reading.policy)
    for _ in range(LOOKS):
        look = yield from look_for(narrow, EVERYTHING, witnesses, tally)
        asked = set(witnesses) - look.unreadable  # one that fails alone bears no witness
        unseen = sorted(asked - look.shown.keys())
        if len(unseen) <= FALL * len(asked) or (len(unseen) < FEW and look.shown):
            return ()
    counted = (look.counted or 0) - len(look.unreadable)
    # More than were asked for: such a count is a lie, and a row that was deleted is not hidden by it.
    hidden = max(0, counted - len(look.shown)) if counted <= len(asked) else 0
    said = f"{len(unseen)} of {len(asked)} rows that it saw before"
    if _is_lost(len(asked), len(unseen), hidden):
        raise _lost(reading, said)
    if len(unseen) < FEW:
        return ()
    return (Cause(UNSEEN, 0, f"{said} are shown no longer, {hidden} of them are counted", tuple(unseen[:SAMPLE])),)


def _is_lost(asked: int, unseen: int, hidden: int) -> bool:
    """Whether many witnesses are hidden, or most are gone."""
    many_hidden = hidden == asked or (hidden >= FEW and hidden > HIDDEN * asked)
    return many_hidden or (asked >= ENOUGH and unseen > ABSENT * asked)


def _look_at_table(reading: Reading, tally: Tally) -> Procedure[None]:
    for _ in range(LOOKS):
        found = yield from rows(reading.table, "", (), "probe", reading.policy, tally, limit=SEEN, identified=False)
        if found:
            return
    raise _lost(reading, "any row of the table, and saw some when the plan was made")


def _lost(reading: Reading, what: str) -> ForbiddenError:
    return ForbiddenError(
        f"the account no longer sees {what}: it lost a right in the middle of the pull, or rows were deleted wholesale",
        key="table",
        value=reading.table,
        hint="give the role back and run it again: what landed stays; if nothing was taken away, start anew with --new",
    )


def lacking_share(ledgers: Iterable[Ledger]) -> float:
    """The share of slices with a page on which no row had some field that the plan saw; 0 to 1."""
    lacking = [any(one.cause == LACKING for one in ledger.differences) for ledger in ledgers]
    return sum(lacking) / max(1, len(lacking))


def must_not_hide(plan: Plan, pull: PullConfig, hidden: int | None) -> None:
    """Raise ``PublishRefused`` where rows are hidden and the pull says ``hidden_rows: fail``."""
    if hidden and pull.hidden_rows == "fail":
        raise PublishRefused(
            f"{hidden} rows of plan {plan.plan_id} are hidden from this account",
            key="hidden_rows",
            value="fail",
            hint="grant the account read access, or set hidden_rows: warn",
        )


def must_not_lose_sight(plan: Plan, ledgers: Sequence[Ledger]) -> None:
    """Raise ``PublishRefused`` where rows that the plan saw were gone when slices were read, or none landed at all."""
    found = next((one for ledger in ledgers for one in ledger.differences if one.cause == UNSEEN), None)
    evidence = found.evidence if found else f"the plan saw {len(plan.witnesses)}"
    if found is None and (not plan.witnesses or any(ledger.landed for ledger in ledgers)):
        return
    landed = sum(ledger.landed for ledger in ledgers)
    raise PublishRefused(
        f"{landed} rows landed, and {evidence}: they were deleted, or the account lost a right in the middle of the "
        "pull; not published",
        key="plan",
        value=plan.plan_id,
        hint=accept_hint(plan),
    )


def must_not_lose_fields(plan: Plan, ledgers: Sequence[Ledger], before: float) -> None:
    """Raise ``PublishRefused`` where more than 10 % more slices lack a field than in the dataset ``before``."""
    share = lacking_share(ledgers)
    if share <= before + LACKING_RISE:
        return
    evidence = next(one.evidence for ledger in ledgers for one in ledger.differences if one.cause == LACKING)
    raise PublishRefused(
        f"in {share:.0%} of the slices, fields are missing that the plan saw ({evidence}); not published",
        key="plan",
        value=plan.plan_id,
        hint=accept_hint(plan),
    )


def accept_hint(plan: Plan) -> str:
    """How a plan that is not published by itself is accepted by its name, or read anew."""
    return (
        f"look at the receipt, then accept it: snow-assets pull {plan.pull} --accept {plan.plan_id}; "
        "or, once the rights are back, read anew with --new"
    )


def _spread(ids: Sequence[str], most: int) -> list[str]:
    """At most so many of the ids, evenly from the first to the last."""
    if len(ids) <= most:
        return list(ids)
    return [ids[at * (len(ids) - 1) // (most - 1)] for at in range(most)]

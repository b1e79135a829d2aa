"""Properties of what is written of a pull, for whatever hypothesis thinks of: plans, ledgers, the digest of rows."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snow_assets.errors import LandingError
from snow_assets.pulls.columns import RowDigest
from snow_assets.pulls.ledger import Difference, Ledger
from snow_assets.pulls.plan import Plan, Slice, fingerprint_of, plan_id_of
from snow_assets.servicenow.decoding import StructDecoder
from snow_assets.servicenow.exchange import DisplayValue, Tally

steadily = settings(derandomize=True, deadline=None, max_examples=50, database=None)
NOW = datetime(2026, 11, 20, 2, tzinfo=UTC)
texts = st.text(max_size=12)
sys_ids = st.integers(0, 16**32 - 1).map(lambda number: f"{number:032x}")

# ---- what is kept as JSON ----

counts = st.integers(0, 10**9)
maybe = st.one_of(st.none(), counts)
tallies = st.builds(
    Tally,
    requests=counts,
    retries=counts,
    rows=counts,
    bytes=counts,
    counts=counts,
    purposes=st.dictionaries(texts, counts, max_size=3),
    faults=st.dictionaries(texts, counts, max_size=3),
    waited=st.dictionaries(texts, counts.map(lambda number: number / 8), max_size=3),
)
differences = st.builds(Difference, texts, st.integers(-(10**6), 10**6), texts, st.lists(texts, max_size=3).map(tuple))
ledgers = st.builds(
    Ledger,
    plan_id=texts,
    offset=counts,
    lo=st.one_of(st.none(), texts),
    hi=st.one_of(st.none(), texts),
    fingerprint=texts,
    attempt=counts,
    counted=maybe,
    landed=counts,
    hidden=maybe,
    pages=counts,
    digest=texts,
    first=texts,
    last=texts,
    started=texts,
    seconds=st.floats(0, 1e6),
    tally=tallies,
    differences=st.lists(differences, max_size=3).map(tuple),
)


@steadily
@given(ledgers)
def test_a_ledger_is_what_was_written(ledger: Ledger) -> None:
    again = Ledger.from_json(ledger.to_json())
    assert replace(again, tally=Tally()) == replace(ledger, tally=Tally())
    assert again.tally.as_dict() == ledger.tally.as_dict()


moments = st.integers(946_684_800, 4_102_444_800).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
identities = st.dictionaries(texts, st.one_of(st.none(), texts, counts, st.lists(texts, max_size=3)), max_size=4)
names = st.lists(texts, max_size=4).map(tuple)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    offsets = draw(st.lists(st.integers(0, 10**10 - 1), min_size=1, max_size=8, unique=True).map(sorted))
    bound = st.one_of(st.none(), texts)
    as_of = draw(moments)
    return Plan(
        pull=draw(texts),
        plan_id=plan_id_of(as_of),
        as_of=as_of,
        counted=draw(maybe),
        table=draw(texts),
        query=draw(texts),
        fields=draw(names),
        display_value=draw(st.sampled_from(get_args(DisplayValue))),
        page_size=draw(counts),
        slice_rows=draw(counts),
        slices=tuple(Slice(offset, draw(bound), draw(bound), draw(maybe)) for offset in offsets),
        identity=draw(identities),
        probed=draw(names),
        types=draw(st.dictionaries(texts, texts, max_size=3)),
        cost=draw(tallies).as_dict(),
        key=draw(names),
        relative_dates=draw(st.booleans()),
        witnesses=draw(names),
    )


@steadily
@given(plans())
def test_a_plan_is_what_was_written(plan: Plan) -> None:
    again = Plan.from_json(plan.to_json())
    assert again == plan
    assert again.fingerprint == plan.fingerprint
    assert again.to_json() == plan.to_json()


@steadily
@given(plans(), st.data())
def test_a_changed_plan_is_refused(plan: Plan, data: st.DataObject) -> None:
    """Whatever value of it is another: the digest in the file tells."""
    content = json.loads(plan.to_json())
    name = data.draw(st.sampled_from(sorted(content)))
    changed = {**content, name: f"{content[name]}0"}
    with pytest.raises(LandingError):
        Plan.from_json(json.dumps(changed).encode())


@steadily
@given(plans(), identities)
def test_the_fingerprint_is_of_the_identity_alone(plan: Plan, other: dict[str, Any]) -> None:
    moved = replace(plan, as_of=NOW, counted=1, slices=(), cost={}, plan_id="x", witnesses=(), probed=(), pull="y")
    assert moved.fingerprint == plan.fingerprint
    backwards = dict(reversed(list(plan.identity.items())))
    assert replace(plan, identity=backwards).fingerprint == plan.fingerprint
    assert (replace(plan, identity=other).fingerprint == plan.fingerprint) is (other == plan.identity)


@steadily
@given(identities, texts, texts)
def test_any_part_of_the_identity_changes_the_fingerprint(identity: dict[str, Any], name: str, value: str) -> None:
    changed = {**identity, name: value}
    assert (fingerprint_of(changed) == fingerprint_of(identity)) is (changed == identity)


@steadily
@given(plans(), st.integers(1, 10**7))
def test_partition_keys_sort_as_offsets_do(plan: Plan, seconds: int) -> None:
    keys = plan.partition_keys
    assert sorted(keys) == keys
    assert [plan.slice(key) for key in keys] == list(plan.slices)
    later = replace(plan, plan_id=plan_id_of(plan.as_of + timedelta(seconds=seconds)))
    assert max(keys) < min(later.partition_keys)


# ---- the digest of rows ----

FIELDS = ("sys_id", "number", "state")
cells = st.one_of(
    texts, st.none(), st.fixed_dictionaries({"display_value": texts, "value": texts}, optional={"link": texts})
)
records = st.fixed_dictionaries({"sys_id": sys_ids}, optional={"number": cells, "state": cells})
distinct = st.lists(records, min_size=1, max_size=12, unique_by=lambda record: str(record["sys_id"]))


def digest_of(*pages: Sequence[dict[str, Any]]) -> str:
    digest = RowDigest()
    for page in pages:
        digest.add_records(StructDecoder(FIELDS).decode(json.dumps({"result": page}).encode()).records)
    return digest.hex()


@steadily
@given(distinct, st.randoms(use_true_random=False), st.integers(0, 12), st.integers(0, 12))
def test_the_digest_does_not_know_order_or_pages(
    rows: list[dict[str, Any]], pick: random.Random, at: int, cut: int
) -> None:
    mixed = [dict(reversed(list(row.items()))) for row in rows]
    pick.shuffle(mixed)
    assert digest_of(mixed[:at], mixed[at:]) == digest_of(rows)
    slices = RowDigest()
    slices.add(digest_of(mixed[:cut]))
    slices.add(digest_of(mixed[cut:]))
    assert slices.hex() == digest_of(rows)


@steadily
@given(distinct, st.data())
def test_the_digest_knows_every_row_and_every_value(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(FIELDS[1:]))
    altered = {**rows[at], name: data.draw(cells)}
    less = {key: value for key, value in rows[at].items() if key != name}
    others = [rows[:at] + rows[at + 1 :], [*rows, rows[at]], [*rows, *rows]]
    others += [[*rows[:at], row, *rows[at + 1 :]] for row in (altered, less) if row != rows[at]]
    assert digest_of(rows) not in [digest_of(other) for other in others]

"""Properties of queries and of ranges of sys_ids, for whatever hypothesis thinks of.

The rows that a query selects are told by the simulator's own evaluator, which shares nothing with our parser.
"""

from __future__ import annotations

import json
import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snow_assets.servicenow.boundaries import Chain, KeyRange, find_chain, join_chains, prefix_bounds
from snow_assets.servicenow.decoding import DictDecoder
from snow_assets.servicenow.exchange import Answer, Request, Send, Tally
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.reading import Reading
from snow_assets.servicenow.retry import RetryPolicy
from snow_assets.simulator.clock import Clock
from snow_assets.simulator.knobs import Knobs
from snow_assets.simulator.operands import Scope
from snow_assets.simulator.query import Rights, read_query
from snow_assets.simulator.script_dates import Speaker
from snow_assets.simulator.select import matching
from snow_assets.simulator.store import Store

steadily = settings(derandomize=True, deadline=None, max_examples=60, database=None)
NOW = datetime(2026, 11, 20, 2, tzinfo=UTC)
texts = st.text(max_size=12)
sys_ids = st.integers(0, 16**32 - 1).map(lambda number: f"{number:032x}")

# ---- encoded queries ----

WORDS = ("", "disk", "Disk full", "printer", "a, b", "ORDERBY x", "NQ", "é世")


@cache
def store_of(seed: int) -> Store:
    """Eighty incidents with few distinct values, so that any term matches some of them."""
    pick = random.Random(seed)
    rows = [
        {
            "sys_id": f"{pick.getrandbits(128):032x}",
            "sys_class_name": "incident",
            "number": f"INC{at:04}",
            "state": pick.choice(("1", "2", "3", "")),
            "priority": pick.choice(("1", "2", "5", "")),
            "active": pick.choice(("true", "false")),
            "short_description": pick.choice(WORDS),
            "opened_at": pick.choice(("2026-11-01 08:00:00", "2026-11-19 23:59:59", "")),
            "closed_at": pick.choice(("2026-11-01 08:00:00", "2026-11-20 00:00:00", "")),
        }
        for at in range(80)
    ]
    return Store({"incident": rows}, Clock(NOW), Knobs().collation)


def selected(seed: int, query: str) -> list[str]:
    """The rows of an encoded query as the simulator understands it, which must be whole."""
    store = store_of(seed)
    read = read_query("incident", query, Scope(store, Speaker(NOW, UTC, "", "admin")), "drop", Rights())
    assert not read.invalid, query
    return [row["sys_id"] for row in matching("incident", read, store)]


numbers = st.sampled_from(("1", "2", "3", "5", ""))
words = st.sampled_from(("disk", "Disk full", "a, b", "x", "ORDERBY x", "NQ", "é世"))
dates = st.sampled_from(("2026-11-01 08:00:00", "2026-11-10", "2026-11-19 23:59:59"))
fields = st.sampled_from(("state", "priority", "active", "short_description", "opened_at", "number", "sys_id"))


def _said(*parts: Any) -> st.SearchStrategy[str]:
    return st.tuples(*(part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts)).map("".join)


terms = st.one_of(
    _said(st.sampled_from(("state", "priority")), st.sampled_from(("=", "!=", "<", "<=", ">", ">=")), numbers),
    _said("state", st.sampled_from(("IN", "NOT IN")), st.lists(numbers, max_size=3).map(",".join)),
    _said("priorityBETWEEN", numbers, "@", numbers),
    _said("short_description", st.sampled_from(("=", "!=", "LIKE", "NOT LIKE", "STARTSWITH", "ENDSWITH", "*")), words),
    _said("opened_at", st.sampled_from(("<", ">=", "=")), dates),
    _said("opened_at", st.sampled_from(("SAMEAS", "NSAMEAS", "GT_FIELD")), "closed_at"),
    _said(fields, st.sampled_from(("ISEMPTY", "ISNOTEMPTY", "ANYTHING", "EMPTYSTRING"))),
    _said("active=", st.sampled_from(("true", "false", "1"))),
    _said("sys_id", st.sampled_from(("<", "<=", ">", ">=", "=")), sys_ids),
    _said("opened_at>javascript:gs.daysAgoStart(", st.sampled_from("159"), ")"),
)
orders = _said(st.sampled_from(("ORDERBY", "ORDERBYDESC", "GROUPBY")), fields)


@st.composite
def queries(draw: st.DrawFn) -> str:
    """An encoded query as people and list views write it: groups, alternatives, sorting anywhere, ^EQ."""
    groups = []
    for _ in range(draw(st.integers(0, 3))):
        group = [draw(terms)]
        more = st.one_of(terms, terms.map("OR".__add__), orders, st.just("EQ"))
        group += draw(st.lists(more, max_size=3))
        groups.append("^".join(group))
    parts = ["^NQ".join(groups), *draw(st.lists(st.one_of(orders, st.just("EQ")), max_size=2))]
    return "^".join(part for part in parts if part)


ours = st.tuples(sys_ids, sys_ids).map(lambda pair: (f"sys_id>={min(pair)}", f"sys_id<{max(pair)}"))


@steadily
@given(queries())
def test_a_query_that_was_parsed_prints_what_was_parsed(text: str) -> None:
    query = EncodedQuery.parse(text)
    assert EncodedQuery.parse(str(query)) == query
    assert EncodedQuery.parse(query.where()) == replace(query, order=())


@steadily
@given(queries(), st.integers(0, 7))
def test_a_query_selects_the_same_rows_once_parsed_and_printed(text: str, seed: int) -> None:
    assert selected(seed, EncodedQuery.parse(text).where()) == selected(seed, text)


@steadily
@given(queries(), st.integers(0, 7), st.one_of(ours, st.lists(terms, min_size=1, max_size=3).map(tuple)))
def test_terms_of_ours_select_from_the_users_rows(text: str, seed: int, added: tuple[str, ...]) -> None:
    """rows(query with terms) is rows(query) and rows(terms): no group and no alternative gets past them."""
    where = EncodedQuery.parse(text).where(*added)
    inside = set(selected(seed, "^".join(added)))
    assert selected(seed, where) == [one for one in selected(seed, text) if one in inside]
    assert all(group.endswith("^".join(added)) for group in where.split("^NQ"))


@steadily
@given(queries(), st.integers(0, 7))
def test_our_order_is_the_only_one(text: str, seed: int) -> None:
    ordered = EncodedQuery.ordered(EncodedQuery.parse(text).where("sys_id>=0"), "sys_id")
    again = EncodedQuery.parse(ordered)
    assert [str(order) for order in again.order] == ["ORDERBYsys_id"]
    assert selected(seed, ordered) == selected(seed, text)


# ---- ranges of sys_ids ----


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[Chain], int]:
    """Chains as probes may find them: with nothing visible, without a count, with runs of hidden rows."""
    slice_rows = draw(st.integers(1, 600))
    found = []
    for lo, _ in prefix_bounds(draw(st.sampled_from((1, 9, 99)))):
        tails = draw(st.lists(st.integers(0, 16**31 - 1), max_size=6, unique=True).map(sorted))
        position, boundaries = 0, []
        for tail in tails:
            boundaries.append((position, f"{lo or '0'}{tail:031x}"[:32].ljust(32, "0")))
            position += slice_rows + draw(st.sampled_from((0, 0, 0, 10_000)))
        last = boundaries[-1][0] if boundaries else 0
        rows = draw(st.one_of(st.none(), st.integers(0, 2 * slice_rows).map(last.__add__)))
        found.append(Chain(tuple({sys_id: (at, sys_id) for at, sys_id in boundaries}.values()), rows))
    return found, slice_rows


def must_tile(ranges: Sequence[KeyRange]) -> None:
    assert (ranges[0].lo, ranges[-1].hi, ranges[0].offset) == (None, None, 0)
    assert all(one.hi == other.lo for one, other in pairwise(ranges))
    assert all(one.offset < other.offset for one, other in pairwise(ranges))
    cuts = [one.lo for one in ranges if one.lo is not None]
    assert len(cuts) == len(ranges) - 1
    assert all(one < other for one, other in pairwise(cuts))


@steadily
@given(chains(), st.lists(st.one_of(sys_ids, texts), max_size=20))
def test_ranges_tile_every_text(found: tuple[list[Chain], int], others: list[str]) -> None:
    links, slice_rows = found
    ranges = join_chains(links, slice_rows)
    must_tile(ranges)
    known = [sys_id for chain in links for _, sys_id in chain.boundaries]
    for text in (*known, *others):
        inside = [one for one in ranges if (one.lo is None or text >= one.lo) and (one.hi is None or text < one.hi)]
        assert len(inside) == 1
    if all(chain.rows is None for chain in links):  # each is a slice away from the one before: none is joined
        assert [one.lo for one in ranges[1:]] == known[1:]
    if all(chain.rows is not None for chain in links):
        assert sum(one.rows or 0 for one in ranges) == sum(chain.rows or 0 for chain in links)
    else:
        assert {one.rows for one in ranges} == {None}


@pytest.mark.parametrize(("slices", "chains"), [(1, 1), (4, 1), (5, 4), (16, 4), (17, 16), (5_000, 16)])
def test_prefixes_tile_every_text(slices: int, chains: int) -> None:
    bounds = prefix_bounds(slices)
    assert len(bounds) == chains
    assert (bounds[0][0], bounds[-1][1]) == (None, None)
    assert all(one[1] == other[0] for one, other in pairwise(bounds))
    cuts = [lo for lo, _ in bounds if lo is not None]
    assert cuts == sorted(set(cuts))


def answer(request: Request, ids: list[str], hidden: set[str], *, counts: bool) -> Answer:
    """A list answer of sys_ids as an instance gives it: access rules work after the limit, counts before them."""
    terms = request.params["sysparm_query"].removesuffix("ORDERBYsys_id").strip("^").split("^")
    low, high = 0, len(ids)
    for term in filter(None, terms):
        at = bisect_left(ids, term.removeprefix("sys_id>=").removeprefix("sys_id<"))
        low, high = (at, high) if ">=" in term else (low, at)
    start = low + int(request.params.get("sysparm_offset", "0"))
    shown = [one for one in ids[start : min(high, start + request.limit)] if one not in hidden]
    body = json.dumps({"result": [{"sys_id": one} for one in shown]}).encode()
    counted = counts and "sysparm_no_count" not in request.params
    return Answer(200, {"x-total-count": str(max(0, high - low))} if counted else {}, body)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], set[str]]:
    """Sorted sys_ids, some of them hidden: single ones, and runs."""
    size, pick = draw(st.integers(0, 400)), random.Random(draw(st.integers(0, 999)))
    ids = sorted({f"{pick.getrandbits(128):032x}" for _ in range(size)})
    share = draw(st.sampled_from((0.0, 0.03, 0.4, 0.97)))
    hidden = {one for one in ids if pick.random() < share}
    for start, length in draw(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 200)), max_size=3)):
        hidden.update(ids[start : start + length])
    return ids, hidden


@settings(steadily, max_examples=120)
@given(tables(), st.integers(1, 90), st.booleans(), st.sampled_from((1, 9, 99)))
def test_boundaries_that_probes_find_tile_every_row(
    table: tuple[list[str], set[str]], slice_rows: int, counts: bool, slices: int
) -> None:
    """The plan's own procedure against a table with hidden rows: each boundary is a row that is shown."""
    ids, hidden = table
    reading = Reading("incident", EncodedQuery(), ("sys_id",), "all", 100, DictDecoder(), RetryPolicy(0, 0.0))
    links = []
    for lo, hi in prefix_bounds(slices):
        procedure = find_chain(reading, lo, hi, slice_rows, Tally())
        try:
            step = next(procedure)
            while True:
                assert isinstance(step, Send)
                step = procedure.send(answer(step.request, ids, hidden, counts=counts))
        except StopIteration as stop:
            links.append(stop.value)
    ranges = join_chains(links, slice_rows)
    must_tile(ranges)
    cuts = [one.lo for one in ranges if one.lo is not None]
    assert set(cuts) <= set(ids) - hidden
    held = [bisect_left(ids, one.hi or "g") - bisect_left(ids, one.lo or "") for one in ranges]
    assert sum(held) == len(ids)
    places = [bisect_left(ids, one.lo or "") for one in ranges]
    if counts:  # a boundary found behind hidden rows lies a little further on than its name says
        assert sum(one.rows or 0 for one in ranges) == len(ids)
        assert all(one.offset <= place for one, place in zip(ranges, places, strict=True))
    if counts and not hidden:
        assert [one.offset for one in ranges] == places
    shown = [len(set(ids[place : place + size]) - hidden) for place, size in zip(places, held, strict=True)]
    assert max(shown) <= 1.5 * slice_rows

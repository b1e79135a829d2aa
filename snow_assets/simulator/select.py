"""From an understood query to its rows: how many there are, and those of one page.

Pages of one ``ORDERBYsys_id`` (or of none but a sys_id range) cost the page, not the table. A sort that does not tell
two rows apart leaves them in an order that depends on where the page begins, so that paging over such a sort loses
some rows and repeats others, the same ones every time: as databases do.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from snow_assets.simulator.collation import Collate
from snow_assets.simulator.operands import Scope, operand, sort_key
from snow_assets.simulator.query import Bounds, Group, Query
from snow_assets.simulator.store import Row, Store

_MAX_ORDERS = 32
_HEAP_BLOCK = 37  # rows that nothing orders lie in blocks of this many; no usual page size is a multiple of it


@dataclass(frozen=True, slots=True)
class Selected:
    """The rows of one page, and how many rows the whole query has."""

    rows: list[Row]
    count: int


def select(table: str, query: Query, scope: Scope, offset: int, limit: int, *, moving_ties: bool = True) -> Selected:
    """Rows ``offset`` to ``offset + limit`` of a query."""
    store = scope.store
    with store.lock:
        ids, first, last = _span(table, query, store)
        page = _page(table, query, scope, (ids, first, last), offset, limit, moving_ties=moving_ties)
        rows = store.rows_of(table)
        return Selected([rows[one] for one in page], last - first)


def matching(table: str, query: Query, store: Store) -> list[Row]:
    """Every row of a query, ordered by sys_id."""
    with store.lock:
        ids, first, last = _span(table, query, store)
        rows = store.rows_of(table)
        return [rows[one] for one in ids[first:last]]


def _span(table: str, query: Query, store: Store) -> tuple[list[str], int, int]:
    """Sorted sys_ids, and which part of them the query selects."""
    if query.nothing:
        return [], 0, 0
    bounds = {group.bounds for group in query.groups}
    if len(bounds) == 1:
        return _cut(_unbounded(table, query.groups, store), next(iter(bounds)), store.collate)
    collate = store.collate
    union: set[str] = set()
    for group in query.groups:
        ids, first, last = _cut(_unbounded(table, (group,), store), group.bounds, collate)
        union.update(ids[first:last])
    return sorted(union, key=collate), 0, len(union)


def _unbounded(table: str, groups: tuple[Group, ...], store: Store) -> list[str]:
    if any(not group.clauses for group in groups):
        return store.view(table).ids
    terms = [term for group in groups for clause in group.clauses for term in clause]
    named = _named(groups)
    if named is not None:
        rows = store.rows_of(table)
        found = (rows[one] for one in _alike(store.view(table).ids, named, store.collate))
        return [row["sys_id"] for row in found if any(group.test(row) for group in groups)]
    key = tuple(group.key for group in groups)
    tests = [group.test for group in groups]
    one = tests[0]
    test = one if len(tests) == 1 else lambda row: any(test(row) for test in tests)
    return store.filtered(table, key, test, keep=all(term.stable for term in terms))


def _named(groups: tuple[Group, ...]) -> set[str] | None:
    """The only sys_ids that can match, where a single group names them (``sys_id=``, ``sys_idIN``)."""
    if len(groups) != 1:
        return None
    for clause in groups[0].clauses:
        if (
            len(clause) == 1
            and isinstance(clause[0].key, tuple)
            and clause[0].key[:2] in (("sys_id", "="), ("sys_id", "IN"))
        ):
            value = str(clause[0].key[2])
            return {value} if clause[0].key[1] == "=" else {part.strip() for part in value.split(",")}
    return None


def _alike(ids: list[str], named: set[str], collate: Collate) -> Iterator[str]:
    """Those of the sorted ``ids`` that the collation takes for one of ``named``, in order."""
    for key in sorted({collate(one) for one in named}):
        yield from ids[bisect_left(ids, key, key=collate) : bisect_right(ids, key, key=collate)]


def _cut(ids: list[str], bounds: Bounds, collate: Collate) -> tuple[list[str], int, int]:
    first, last = 0, len(ids)
    if bounds.low is not None:
        first = (bisect_right if bounds.low_out else bisect_left)(ids, bounds.low, key=collate)
    if bounds.high is not None:
        last = (bisect_left if bounds.high_out else bisect_right)(ids, bounds.high, key=collate)
    return ids, first, max(first, last)


def _page(
    table: str,
    query: Query,
    scope: Scope,
    span: tuple[list[str], int, int],
    offset: int,
    limit: int,
    *,
    moving_ties: bool,
) -> list[str]:
    ids, first, last = span
    if query.order and query.order[0].field == "sys_id":
        if query.order[0].descending:
            return ids[max(first, last - offset - limit) : max(first, last - offset)][::-1]
        return ids[min(last, first + offset) : min(last, first + offset + limit)]
    ordered, keys = _ordered(table, query, scope, span)
    stop = min(len(ordered), offset + limit)
    if offset >= stop:
        return []
    return _moved(ordered, keys, offset, stop) if moving_ties else ordered[offset:stop]


def _ordered(
    table: str, query: Query, scope: Scope, span: tuple[list[str], int, int]
) -> tuple[list[str], list[Hashable]]:
    """The whole result in order, and its sort keys; remembered until a row of the table changes."""
    store = scope.store
    view = store.view(table)
    groups = tuple((group.bounds, group.key) for group in query.groups)
    kept: Hashable = (groups, query.nothing, query.order, store.generation)
    known = view.orders.get(kept)
    if known is None:
        ids, first, last = span
        known = _sorted(table, query, scope, ids[first:last])
        view.orders[kept] = known
        if len(view.orders) > _MAX_ORDERS:
            view.orders.popitem(last=False)
    view.orders.move_to_end(kept)
    return known


def _sorted(table: str, query: Query, scope: Scope, ids: list[str]) -> tuple[list[str], list[Hashable]]:
    rows = scope.store.rows_of(table)
    if not query.order:
        chosen = set(ids)
        heap = [one for one in rows if one in chosen] if len(ids) < len(rows) else list(rows)
        return heap, [at // _HEAP_BLOCK for at in range(len(heap))]
    makers = []
    for order in query.order:
        path = scope.store.columns.resolve(table, order.field)
        if path is not None:
            makers.append((sort_key(operand(path, scope)), order.descending))
    for make, descending in reversed(makers):
        ids.sort(key=lambda one: make(rows[one]), reverse=descending)
    return ids, [tuple(make(rows[one]) for make, _ in makers) for one in ids]


def _moved(ordered: list[str], keys: list[Hashable], first: int, stop: int) -> list[str]:
    """The page with every run of equal keys in an order of its own, which also depends on where the page begins."""
    start, end = first, stop
    while start > 0 and keys[start - 1] == keys[first]:
        start -= 1
    while end < len(keys) and keys[end] == keys[stop - 1]:
        end += 1
    page = ordered[start:end]
    at = 0
    while at < len(page):
        run = at + 1
        while run < len(page) and keys[start + run] == keys[start + at]:
            run += 1
        if run - at > 1:
            mixed = page[at:run]
            random.Random(f"{first} {stop - first} {start + at}").shuffle(mixed)
            page[at:run] = mixed
        at = run
    return page[first - start : stop - start]

"""Our own code made to lose, double, swap or misreport rows: a slice or the totals go red, and nothing is published.

What the verifier cannot know: a decoder that hides the same row from pages and sweeps alike is an access rule to us.
There the row is numbered as hidden, by the instance's count. Nor does it look at each value that is written: every
sys_id, and one row of each page (see docs/reliability.md).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from snow_assets.errors import PlanIncomplete, SnowError
from snow_assets.pulls import Failed, Landed, columns, fetching, publish, published, reconcile, writer
from snow_assets.pulls.ledger import Ledger
from snow_assets.pulls.writer import SliceWriter
from snow_assets.servicenow import proof
from snow_assets.servicenow.decoding import Decoded, StructDecoder
from snow_assets.servicenow.exchange import Page
from snow_assets.servicenow.reading import RangeState
from snow_assets_tests.pulls.conftest import Workbench

Patch = pytest.MonkeyPatch


def _pages(change: Callable[[Page], Page]) -> Callable[[Patch], None]:
    """Between the check of a page and the file."""

    def patch(patch: Patch) -> None:
        add = SliceWriter.add
        patch.setattr(SliceWriter, "add", lambda self, page: add(self, change(page)))

    return patch


def _ledger(**wrong: Any) -> Callable[[Patch], None]:
    def patch(patch: Patch) -> None:
        to_json = Ledger.to_json
        patch.setattr(Ledger, "to_json", lambda self: to_json(replace(self, **wrong)))

    return patch


def _ends_early(patch: Patch) -> None:
    """A reader that takes its first page for all."""

    def read(state: RangeState) -> Any:
        from snow_assets.servicenow.reading import _deliver_until_hi, _next_page

        page, _ = yield from _next_page(state, 20)
        yield from _deliver_until_hi(state, page)

    patch.setattr(proof, "read_pages", read)


def _rows_of_tables(change: Callable[[pa.Table], pa.Table]) -> Callable[[Patch], None]:
    """Between the records, whose digest is taken, and the file."""

    def patch(patch: Patch) -> None:
        to_table = columns.to_table
        patch.setattr(writer, "to_table", lambda *given: change(to_table(*given)))

    return patch


def _renamed(table: pa.Table, *names: str) -> pa.Table:
    """The columns in another order, under the names of the old one."""
    order = [name for name in table.column_names if name not in names]
    return table.select([*order, *reversed(names)]).rename_columns([*order, *names]).select(table.column_names)


def _rows_swapped(patch: Patch) -> None:
    """The first page of a slice waits for that of another, and the first rows of the two change places."""
    add, lock = SliceWriter.add, threading.Lock()
    waiting: list[Page] = []
    seen: set[SliceWriter] = set()

    def swapped(self: SliceWriter, page: Page) -> None:
        with lock:
            if self not in seen and len(seen) < 2:
                seen.add(self)
                if waiting:
                    page = replace(page, records=[waiting[0].records[0], *page.records[1:]])
                waiting.append(page)
        add(self, page)

    patch.setattr(SliceWriter, "add", swapped)


def _page_skipped(patch: Patch) -> None:
    add = SliceWriter.add
    patch.setattr(SliceWriter, "add", lambda self, page: None if self.rows else add(self, page))


def _page_twice(patch: Patch) -> None:
    add = SliceWriter.add

    def twice(self: SliceWriter, page: Page) -> None:
        add(self, page)
        add(self, page)

    patch.setattr(SliceWriter, "add", twice)


def _bounds(change: Callable[[str | None, str | None], tuple[str | None, str | None]]) -> Callable[[Patch], None]:
    """Another range is read than the slice's."""

    def patch(patch: Patch) -> None:
        read = proof.read_range
        patch.setattr(fetching, "read_range", lambda reading, lo, hi, tally: read(reading, *change(lo, hi), tally))

    return patch


def _moved(bound: str | None, by: int) -> str | None:
    return bound and f"{int(bound, 16) + by * 16**30:032x}"


SABOTAGE: dict[str, Callable[[Patch], None]] = {
    "a row comes from another slice": _rows_swapped,
    "a page is skipped": _page_skipped,
    "a page is written twice": _page_twice,
    "two columns change places": _rows_of_tables(lambda table: _renamed(table, "number", "state")),
    "a column is emptied": _rows_of_tables(
        lambda table: table.set_column(1, table.field(1), pa.nulls(len(table), table.field(1).type))
    ),
    "rows change places with their ids kept": _rows_of_tables(
        lambda table: table.take(list(range(len(table)))[::-1]).set_column(0, table.field(0), table.column(0))
    ),
    "the range read is wider": _bounds(lambda lo, hi: (lo, _moved(hi, 1))),
    "the range read begins earlier": _bounds(lambda lo, hi: (_moved(lo, -1), hi)),
    "the range read is narrower": _bounds(lambda lo, hi: (lo, _moved(hi, -1))),
    "the range read begins later": _bounds(lambda lo, hi: (_moved(lo, 1), hi)),
    "the last range ends": _bounds(lambda lo, hi: (lo, hi or "f8" + "0" * 30)),
    "the writer loses a row": _pages(lambda page: replace(page, records=page.records[1:], ids=page.ids[1:])),
    "the writer loses a row and keeps its key": _pages(lambda page: replace(page, records=page.records[1:])),
    "the writer doubles a row": _pages(
        lambda page: replace(page, records=[*page.records, page.records[-1]], ids=[*page.ids, page.ids[-1]])
    ),
    "the writer doubles a row without its key": _pages(
        lambda page: replace(page, records=[*page.records, page.records[-1]])
    ),
    "the ledger has a row more": _ledger(landed=201),
    "the ledger has a row less": _ledger(landed=199),
    "the ledger is of another slice": _ledger(offset=7),
    "the ledger has a wider range": _ledger(hi="f" * 32),
    "the ledger is of another plan": _ledger(fingerprint="0" * 64),
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_nothing_is_published(own: Workbench, monkeypatch: Patch, name: str) -> None:
    plan = own.plan().plan
    with monkeypatch.context() as patch:
        SABOTAGE[name](patch)
        own.pull = own.pull.model_copy(update={"max_workers": 2})
        with suppress(SnowError):
            own.land(plan)
        with pytest.raises(SnowError):
            publish(plan, reconcile(plan, own.landing, own.pull), own.landing, own.pull)
    assert published(own.landing) is None


def test_a_range_that_ends_early_is_swept_and_repaired(own: Workbench, monkeypatch: Patch) -> None:
    """The proof does not trust the reader: keys that the pages did not bring are fetched."""
    plan = own.plan().plan
    _ends_early(monkeypatch)
    assert not [result for result in own.land(plan) if isinstance(result, Failed)]
    assert own.ids(plan) == dict.fromkeys((row["sys_id"] for row in own.sim.rows("incident")), 1)


def test_a_forgotten_slice_is_missed_by_name(own: Workbench) -> None:
    plan = own.plan().plan
    own.land(plan, plan.slices[:-1])
    with pytest.raises(SnowError, match=plan.slices[-1].name):
        reconcile(plan, own.landing, own.pull)


def test_a_row_that_pages_and_sweeps_both_hide_is_numbered(own: Workbench, monkeypatch: Patch) -> None:
    """The one thing that keys cannot show: then the instance's count does."""
    plan = own.plan().plan
    lost = own.sim.rows("incident")[50]["sys_id"]
    decode = StructDecoder.decode

    def without(self: StructDecoder, body: bytes) -> Decoded:
        found = decode(self, body)
        kept = [at for at, sys_id in enumerate(found.ids) if sys_id != lost]
        return Decoded([found.records[at] for at in kept], [found.ids[at] for at in kept])

    monkeypatch.setattr(StructDecoder, "decode", without)
    assert not [result for result in own.land(plan) if isinstance(result, Failed)]
    assert reconcile(plan, own.landing, own.pull).hidden == 1


def test_a_repaired_row_that_is_dropped_is_missed(own: Workbench, monkeypatch: Patch) -> None:
    """Rows that pages lost are fetched by sys_id and merged; a merge that forgets them leaves no file that counts."""
    own.pull = own.pull.model_copy(update={"max_workers": 2})
    plan = own.plan().plan
    own.server.faults.add(kind="lost_rows", rows=2, narrow=False, table="incident", every=2, times=4)
    merge = SliceWriter._merge

    def forgetful(self: SliceWriter, footer: dict[bytes, bytes]) -> None:
        self._repaired = [table.slice(1) for table in self._repaired]
        merge(self, footer)

    with monkeypatch.context() as patch:
        patch.setattr(SliceWriter, "_merge", forgetful)
        results = own.land(plan)
    repaired = [one.slice for one in results if isinstance(one, Landed) and one.ledger.differences]
    assert repaired
    assert not set(repaired) & own.landing.all_landed(plan).keys()
    with pytest.raises(PlanIncomplete, match=repaired[0].name):
        reconcile(plan, own.landing, own.pull)

    own.server.faults.clear()
    assert not [result for result in own.land(plan) if isinstance(result, Failed)]
    assert reconcile(plan, own.landing, own.pull).landed == 1_200
    assert own.ids(plan) == dict.fromkeys((row["sys_id"] for row in own.sim.rows("incident")), 1)

"""Our own code made to lose, double, swap or misreport rows: a slice or the totals go red, and nothing is published.

What the verifier cannot know: a decoder that hides the same row from pages and sweeps alike is an access rule to us.
There the row is numbered as hidden, by the instance's count (see the last test).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from snow_assets.errors import SnowError
from snow_assets.pulls import Failed, publish, published, reconcile
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


SABOTAGE: dict[str, Callable[[Patch], None]] = {
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

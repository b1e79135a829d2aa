"""What a slice's file says of itself, and what its writer leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

from snow_assets.pulls import Plan
from snow_assets.pulls.writer import SliceWriter
from snow_assets.servicenow.decoding import StructDecoder
from snow_assets.servicenow.exchange import Page
from snow_assets_tests.pulls.conftest import Workbench


def _page(decoder: StructDecoder, ids: list[str], *, repaired: bool = False) -> Page:
    decoded = decoder.decode(json.dumps({"result": [{"sys_id": sys_id, "number": "1"} for sys_id in ids]}).encode())
    return Page(decoded.records, decoded.ids, 1, repaired=repaired)


def _writer(bench: Workbench) -> tuple[Plan, SliceWriter, StructDecoder]:
    bench.pull = bench.pull.model_copy(update={"fields": ("sys_id", "number"), "display_value": "false"})
    plan = bench.plan().plan
    decoder = StructDecoder(plan.fields)
    return plan, SliceWriter(bench.landing, plan, plan.slices[0], 1, decoder), decoder


def test_bounds_hold_for_ids_that_the_instance_sorts_without_case(own: Workbench) -> None:
    _, writer, decoder = _writer(own)
    with writer:
        writer.add(_page(decoder, ["a" * 32, "B" * 32, "c" * 32]))
        writer.add(_page(decoder, ["d" * 32, "z" * 32, "D" * 32]))
        assert writer.bounds() == ("B" * 32, "z" * 32)

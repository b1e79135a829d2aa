"""What a slice's file says of itself, and what its writer leaves behind."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from snow_assets.errors import LandingError, SliceFailed
from snow_assets.pulls import Failed, Landed, Landing, Ledger, Plan, publish, reconcile
from snow_assets.pulls.object_store import ObjectStore
from snow_assets.pulls.stores import LocalStore
from snow_assets.pulls.writer import SliceWriter
from snow_assets.servicenow.decoding import StructDecoder
from snow_assets.servicenow.exchange import Page, Tally
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


def _ledger(plan: Plan, writer: SliceWriter) -> Ledger:
    piece, (first, last) = plan.slices[0], writer.bounds()
    return Ledger(
        plan_id=plan.plan_id,
        offset=piece.offset,
        lo=piece.lo,
        hi=piece.hi,
        fingerprint=plan.fingerprint,
        attempt=1,
        counted=writer.rows,
        landed=writer.rows,
        hidden=0,
        pages=1,
        digest=writer.digest,
        first=first,
        last=last,
        started=plan.as_of.isoformat(),
        seconds=0.1,
        tally=Tally(),
    )


@pytest.mark.parametrize("kind", ["local", "object store"])
def test_what_has_landed_is_never_overwritten(own: Workbench, kind: str) -> None:
    if kind == "object store":
        own.data.mkdir()
        own.landing = Landing("incidents", ObjectStore(f"{own.data.as_uri()}/incidents"))
        (own.data / "incidents").mkdir()
    plan, late, decoder = _writer(own)
    with late:
        late.add(_page(decoder, ["a" * 32]))
        landed = own.land(plan)[0]
        assert isinstance(landed, Landed)
        before = own.landing.store.read(landed.file.path)
        with pytest.raises(SliceFailed, match="another run landed it meanwhile"):
            late.commit(_ledger(plan, late))
    assert own.landing.store.read(landed.file.path) == before
    assert reconcile(plan, own.landing, own.pull).landed == 1200


def test_a_merge_that_fails_leaves_nothing_behind(own: Workbench) -> None:
    plan, writer, decoder = _writer(own)
    folder = own.data / "incidents" / plan.plan_id
    with writer:
        writer.add(_page(decoder, ["a" * 32, "c" * 32]))
        writer.add(_page(decoder, ["b" * 32], repaired=True))
        [scratch] = folder.glob(".*.tmp")
        scratch.with_name(scratch.name + "-merged").touch()
        scratch.unlink()  # so that the merge cannot read it
        ledger = _ledger(plan, writer)
        with pytest.raises(FileNotFoundError):
            writer.commit(ledger)
    assert sorted(path.name for path in folder.iterdir()) == ["plan.json", "schema.json"]


def test_publishing_clears_what_dead_runs_left(own: Workbench) -> None:
    plan = own.plan().plan
    folder = own.data / "incidents" / plan.plan_id
    for ending in ("tmp", "tmp-merged"):
        (folder / f".{plan.slices[0].name}-1.parquet.999-dead.{ending}").write_bytes(b"half")
    assert not [result for result in own.land(plan) if isinstance(result, Failed)]
    totals = reconcile(plan, own.landing, own.pull)
    publish(plan, totals, own.landing, own.pull)
    others = {path.name for path in folder.iterdir() if path.suffix != ".parquet"}
    written = {"plan.json", "schema.json", "totals.html", "totals.json"}
    assert {name for name in others if not name.startswith("governor-")} == written
    assert sum(path.suffix == ".parquet" for path in folder.iterdir()) == totals.files


class _Failing(LocalStore):
    """A folder whose files the system does not let be opened."""

    number = errno.EMFILE

    def parquet(self, path: str) -> pq.ParquetFile:
        raise OSError(self.number, os.strerror(self.number), path)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.EACCES])
def test_a_file_that_the_system_cannot_read_is_not_taken_for_damaged(own: Workbench, number: int) -> None:
    plan = own.plan().plan
    own.land(plan)
    asked = own.asked()
    healthy, store = own.landing, _Failing(own.data / "incidents")
    store.number = number
    own.landing = Landing("incidents", store)
    with pytest.raises(LandingError, match=os.strerror(number)):
        own.land(plan)
    assert own.asked() == asked
    own.landing = healthy
    assert reconcile(plan, own.landing, own.pull).landed == 1200


def test_a_file_that_is_gone_is_fetched_again(own: Workbench) -> None:
    plan = own.plan().plan
    own.land(plan)
    gone = Path(own.landing.store.uri(own.landing.all_landed(plan)[plan.slices[1]].path))
    gone.unlink()
    gone.symlink_to(gone.with_name("nowhere"))
    results = own.land(plan)
    assert [r.slice for r in results if isinstance(r, Landed) and not r.adopted] == [plan.slices[1]]

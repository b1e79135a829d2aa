"""Files that something else spoiled: found before they are published, named, and fetched again or refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import snow_assets
from snow_assets.errors import FingerprintError, LandingError, PlanIncomplete, SnowError
from snow_assets.pulls import Failed, Landed, Landing, Plan, publish, published, pull_status, read_totals, reconcile
from snow_assets.pulls.lease import lease, lease_holder
from snow_assets.pulls.seal import is_intact
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.pulls.conftest import Workbench

VICTIM = 1  # the slice whose file is spoiled


def _file(bench: Workbench, plan: Plan, index: int = VICTIM) -> Path:
    return Path(bench.landing.store.uri(bench.landing.all_landed(plan)[plan.slices[index]].path))


def _fetched(results: list[Landed | Failed]) -> list[int]:
    assert not [result for result in results if isinstance(result, Failed)]
    return [result.slice.offset for result in results if isinstance(result, Landed) and not result.adopted]


def _flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


def _zeros(path: Path, start: float, end: float) -> None:
    content = path.read_bytes()
    first, last = int(len(content) * start), int(len(content) * end)
    path.write_bytes(content[:first] + bytes(last - first) + content[last:])


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("left", [0, 8, 0.5, -1])
def test_a_file_cut_short_at_any_length_is_fetched_again(own: Workbench, left: float) -> None:
    plan = own.plan().plan
    own.land(plan)
    path = _file(own, plan)
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content)) if 0 < left < 1 else int(left)])
    assert pull_status("incidents", own.landing).missing == (plan.partition_keys[VICTIM],)
    assert _fetched(own.land(plan)) == [plan.slices[VICTIM].offset]
    assert reconcile(plan, own.landing, own.pull).landed == 1200


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "zeros at the end": lambda path: _zeros(path, 0.9, 1.0),
    "zeros throughout": lambda path: _zeros(path, 0.0, 1.0),
    "another Parquet file": lambda path: pq.write_table(
        pq.read_table(path).slice(0, 3).replace_schema_metadata(), path
    ),
    "a directory": _directory,
    "gone": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_without_its_footer_is_fetched_again(own: Workbench, damage: str) -> None:
    plan = own.plan().plan
    own.land(plan)
    DAMAGE[damage](_file(own, plan))
    assert pull_status("incidents", own.landing).missing == (plan.partition_keys[VICTIM],)
    with pytest.raises(PlanIncomplete, match=plan.slices[VICTIM].name):
        reconcile(plan, own.landing, own.pull)
    assert _fetched(own.land(plan)) == [plan.slices[VICTIM].offset]
    totals = reconcile(plan, own.landing, own.pull)
    assert publish(plan, totals, own.landing, own.pull).rows == 1200


@pytest.mark.parametrize("damage", ["first byte", "a bit in the middle", "zeros in the middle", "in the footer"])
def test_damage_behind_a_good_footer_is_found_before_publication(own: Workbench, damage: str) -> None:
    plan = own.plan().plan
    own.land(plan)
    undamaged = reconcile(plan, own.landing, own.pull)
    path = _file(own, plan)
    size = path.stat().st_size
    if damage == "zeros in the middle":
        _zeros(path, 0.4, 0.6)
    elif damage == "in the footer":
        _flip(path, path.read_bytes().index(b"parquet-cpp-arrow version"))  # who wrote it: no reader minds
    else:
        _flip(path, {"first byte": 0, "a bit in the middle": size // 2}[damage])
    with pytest.raises(PlanIncomplete, match=path.name):
        reconcile(plan, own.landing, own.pull)
    assert published(own.landing) is None
    assert pull_status("incidents", own.landing).missing == (plan.partition_keys[VICTIM],)
    assert _fetched(own.land(plan)) == [plan.slices[VICTIM].offset]
    totals = reconcile(plan, own.landing, own.pull)
    assert totals.digest == undamaged.digest
    assert publish(plan, totals, own.landing, own.pull).rows == 1200


def test_the_seal_holds_every_byte(own: Workbench) -> None:
    plan = own.plan().plan
    own.land(plan, plan.slices[:1])
    path = _file(own, plan, 0)
    assert is_intact(path)
    size = path.stat().st_size
    places = sorted({*range(0, size, max(1, size // 200)), *range(size - 600, size)})
    for at in places:
        _flip(path, at)
        assert not is_intact(path), f"byte {at} of {size}"
        _flip(path, at)
    assert is_intact(path)


def test_a_published_file_that_is_damaged_is_named_and_stays(own: Workbench) -> None:
    totals = own.pull_all()
    plan = own.landing.read_plan(totals.plan)
    path = _file(own, plan)
    _flip(path, path.stat().st_size // 2)
    with pytest.raises(PlanIncomplete, match=f"{path.name}.*--new"):
        reconcile(plan, own.landing, own.pull)
    assert path.exists()
    with pytest.raises(LandingError, match=f"{path.name}.*is damaged"):
        snow_assets.read("incidents", data=str(own.data))
    assert own.pull_all().landed == 1200
    assert snow_assets.read("incidents", data=str(own.data)).num_rows == 1200


def test_a_published_file_that_is_gone_is_named_and_the_next_pull_brings_its_rows(own: Workbench) -> None:
    totals = own.pull_all()
    path = _file(own, own.landing.read_plan(totals.plan))
    path.unlink()
    with pytest.raises(SnowError, match=path.name):
        snow_assets.read("incidents", data=str(own.data))
    own.pull_all()
    assert snow_assets.read("incidents", data=str(own.data)).num_rows == 1200


def test_files_that_changed_after_totals_are_not_published(own: Workbench) -> None:
    plan = own.plan().plan
    own.land(plan)
    totals = reconcile(plan, own.landing, own.pull)
    _file(own, plan).unlink()
    own.sim.update("incident", own.sim.rows("incident")[250]["sys_id"], short_description="longer than it was before")
    own.land(plan)
    with pytest.raises(PlanIncomplete, match="other files than its totals saw"):
        publish(plan, totals, own.landing, own.pull)
    totals = reconcile(plan, own.landing, own.pull)
    assert publish(plan, totals, own.landing, own.pull).rows == 1200


PLAN_DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda content: content[: len(content) // 2],
    "not JSON": lambda _: b"\xff\xfe garbage",
    "another object": lambda _: b"{}",
    "a boundary changed": lambda content: content.replace(b'"hi": "', b'"hi": "0', 1),
    "a number changed": lambda content: content.replace(b'"page_size": 100', b'"page_size": 900'),
}


@pytest.mark.parametrize("damage", PLAN_DAMAGE)
def test_a_damaged_plan_is_named_and_the_next_pull_makes_another(own: Workbench, damage: str) -> None:
    plan = own.plan().plan
    own.land(plan, plan.slices[:2])
    path = own.data / "incidents" / plan.plan_id / "plan.json"
    path.write_bytes(PLAN_DAMAGE[damage](path.read_bytes()))
    with pytest.raises(LandingError, match=rf"{plan.plan_id}/plan\.json.*--new"):
        own.landing.latest_plan()
    planned = own.plan()
    assert not planned.continued
    assert planned.plan.plan_id > plan.plan_id
    own.land(planned.plan)
    assert reconcile(planned.plan, own.landing, own.pull).landed == 1200


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pull": "incidents"}', b"\xff"])
def test_damaged_totals_are_made_again(own: Workbench, content: bytes) -> None:
    plan = own.plan().plan
    own.land(plan)
    totals = reconcile(plan, own.landing, own.pull)
    path = own.data / "incidents" / plan.plan_id / "totals.json"
    path.write_bytes(content)
    assert read_totals(own.landing, plan.plan_id) is None
    assert reconcile(plan, own.landing, own.pull) == totals
    assert read_totals(own.landing, plan.plan_id) == totals


@pytest.mark.parametrize("garbage", ["lease", "holder"])
def test_garbage_in_the_lease_is_no_lease(own: Workbench, garbage: str) -> None:
    own.data.mkdir()
    name = ".incidents.lease" + ("-holder" if garbage == "holder" else "")
    (own.data / name).write_bytes(b"\xff\x00 nobody \xfe")
    assert lease_holder(own.landing) is None
    with lease(own.landing, "somebody"):
        assert lease_holder(own.landing) == "somebody"
    assert list(own.data.iterdir()) == []


def test_a_directory_in_the_place_of_the_lease_is_named(own: Workbench) -> None:
    (own.data / ".incidents.lease").mkdir(parents=True)
    with pytest.raises(LandingError, match=r"\.incidents\.lease"), lease(own.landing, "somebody"):
        pass


def test_what_is_not_ours_is_left_alone(own: Workbench) -> None:
    root = own.data / "incidents"
    plan = own.plan().plan
    strange = [root / "notes.txt", root / "backup" / "x.parquet", root / plan.plan_id / "notes.md"]
    strange += [root / "20200101T000000Z" / "0000000000-1.parquet", root / plan.plan_id / "0000000000-x.parquet"]
    for path in strange:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    (root / "20200102T000000Z").mkdir()  # an empty folder of a plan: of a run that died before it wrote
    assert own.pull_all().landed == 1200
    for path in strange[:2] + strange[3:4]:
        assert path.read_text() == "mine"
    assert pull_status("incidents", own.landing).published_rows == 1200
    assert not (root / "20200102T000000Z").exists()


def test_a_folder_that_a_plan_left_behind_gives_its_id_to_no_other(own: Workbench) -> None:
    own.server.faults.add({"kind": "wrong_date", "date": "Fri, 20 Nov 2026 02:00:00 GMT"})
    first = own.plan().plan
    own.land(first)
    (own.data / "incidents" / first.plan_id / "plan.json").unlink()
    second = own.plan().plan
    assert second.plan_id > first.plan_id
    assert len(_fetched(own.land(second))) == len(second.slices)


FOREIGN: dict[str, dict[str, Any]] = {
    "query": {"query": "active=true"},
    "fields": {"fields": ("sys_id", "number", "priority")},
    "display mode": {"display_value": "true"},
}


@pytest.mark.parametrize("change", [*FOREIGN, "instance", "user"])
def test_files_of_another_reading_are_refused_by_name(small: SimulatorServer, tmp_path: Path, change: str) -> None:
    """Copied under the names of ours, as a restored backup or a mixed-up folder would bring them."""
    ours = Workbench(small, tmp_path / "ours", page_size=600, slice_rows=2000)
    plan = ours.plan().plan
    with Simulator(rows={"incident": 1_200}, seed=11).serve() as twin:
        server = twin if change == "instance" else small
        theirs = Workbench(server, tmp_path / "theirs", page_size=600, slice_rows=2000, **FOREIGN.get(change, {}))
        if change == "user":
            theirs.landing.store.create(f"{plan.plan_id}/plan.json", _as_another_user(plan))
            other = theirs.landing.read_plan(plan.plan_id)
        else:
            other = theirs.plan().plan
        assert not [result for result in theirs.land(other) if isinstance(result, Failed)]
    source, target = (tmp_path / side / "incidents" for side in ("theirs", "ours"))
    for file in (source / other.plan_id).glob("*.parquet"):
        shutil.copy(file, target / plan.plan_id / file.name)
    for ask in (
        lambda: ours.land(plan),
        lambda: pull_status("incidents", ours.landing),
        lambda: reconcile(plan, ours.landing, ours.pull),
    ):
        with pytest.raises(FingerprintError, match=r"0000000000-1\.parquet.*move it out"):
            ask()
    assert published(ours.landing) is None


def _as_another_user(plan: Plan) -> bytes:
    from dataclasses import replace

    return replace(plan, identity={**plan.identity, "account": "0" * 32}).to_json()


def test_a_plan_of_another_pull_is_refused_by_name(own: Workbench) -> None:
    plan = own.plan().plan
    other = Landing.open(str(own.data), "others")
    shutil.copytree(own.data / "incidents" / plan.plan_id, own.data / "others" / plan.plan_id)
    with pytest.raises(FingerprintError, match=f"is plan {plan.plan_id} of pull incidents"):
        other.latest_plan()

"""What a delta's window cannot show: rows that left the filter, were missed, restored, or changed with an old clock."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snow_assets.errors import ForbiddenError, PlanIncomplete, QueryError, SliceFailed
from snow_assets.pulls import swept
from snow_assets.simulator import SimulatorServer
from snow_assets_tests.pulls.sweeping import Deltas, small_instance


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with small_instance().serve() as server:
        yield server


@pytest.fixture
def active(server: SimulatorServer, tmp_path: Path) -> Deltas:
    return Deltas(server, tmp_path / "data", query="active=true", deletes="off")


def test_a_row_that_leaves_the_filter_is_marked(active: Deltas) -> None:
    active.base()
    closed, changed, *_ = active.ids_of(active="true")
    active.sim.update("incident", closed, active="false")
    active.sim.update("incident", changed, short_description="still open")
    found = active.swept()
    assert active.marks(found) == {closed: ("left_filter", "sweep", "")}
    assert (found.kinds, found.left_filter, found.mended) == (("left",), 1, ())


@pytest.fixture
def every(server: SimulatorServer, tmp_path: Path) -> Deltas:
    """Every delta is a verification."""
    return Deltas(server, tmp_path / "data", verify_every=0, deletes="off", display_value="false")


def test_a_row_that_comes_back_while_it_is_swept_stays(active: Deltas) -> None:
    active.base()
    sys_id = active.ids_of(active="true")[0]
    active.sim.update("incident", sys_id, active="false")
    plan = active.delta()
    active.sim.update("incident", sys_id, active="true")
    assert active.marks(active.sweep(plan)) == {}


def test_a_row_that_comes_back_with_its_old_clock_is_mended(active: Deltas) -> None:
    """No later window shows it: it left and came back, and its clock moved before."""
    active.base()
    sys_id = active.ids_of(active="true")[0]
    active.sim.clock.advance(hours=-1)
    active.sim.update("incident", sys_id, active="false", short_description="left and came back")
    active.sim.clock.advance(hours=1)
    plan = active.delta()
    active.sim.store.update("incident", sys_id, {"active": "true"}, quiet=True)
    found = active.sweep(plan)
    assert active.marks(found) == {}
    assert active.mended(found)[sys_id]["short_description"] == "left and came back"


@pytest.mark.slow
def test_a_filter_of_several_groups_is_repeated_in_each(server: SimulatorServer, tmp_path: Path) -> None:
    active = Deltas(server, tmp_path / "data", query="active=true^priority=1^NQactive=true^priority!=1", deletes="off")
    active.base()
    closed, changed, *_ = active.ids_of(active="true")
    active.sim.update("incident", closed, active="false")
    active.sim.update("incident", changed, short_description="still open")
    assert active.marks(active.swept()) == {closed: ("left_filter", "sweep", "")}


def test_a_long_filter_leaves_less_room_for_the_sys_ids_beside_it(server: SimulatorServer, tmp_path: Path) -> None:
    words = "".join(f"^short_descriptionNOT LIKEword{number:05}" for number in range(150))
    active = Deltas(server, tmp_path / "data", query=f"number!=1{words}", deletes="off")
    active.base()
    for sys_id in active.ids_of()[:80]:
        active.sim.update("incident", sys_id, short_description="word00001")
    assert active.swept().left_filter == 80


def test_a_filter_whose_field_was_dropped_since_the_plan_has_been_left_by_no_row(
    server: SimulatorServer, tmp_path: Path
) -> None:
    server.sim.knobs.invalid_terms = "no_rows"
    server.sim.add_column("incident", "u_open")
    pull = Deltas(server, tmp_path / "data", query="u_openISEMPTY", deletes="keys")
    pull.base()
    plan = pull.delta()
    server.sim.drop_column("incident", "u_open")
    with pytest.raises(QueryError, match="query 'u_open': table incident has no such field"):
        pull.sweep(plan)


def test_a_verification_mends_what_the_cursor_cannot_show(every: Deltas) -> None:
    every.base()
    quiet, back, gone, *_ = every.ids_of()
    store = every.sim.store
    put_back = store.find("incident", back)
    assert put_back is not None
    every.sim.delete("incident", back)
    every.sim.delete("incident", gone)
    every.publish_marked(deletes="keys")
    store.update("incident", quiet, {"sys_mod_count": "77", "short_description": "quietly"}, quiet=True)
    store.put("incident", put_back)
    store.put("incident", {**put_back, "sys_id": "0" * 31 + "1", "number": "INC1", "short_description": "imported"})

    found = every.swept()

    assert (found.changed, found.restored, found.missed) == (1, 1, 1)
    mended = every.mended(found)
    assert sorted(mended) == sorted([quiet, back, "0" * 31 + "1"])
    assert mended[quiet]["short_description"] == "quietly"
    assert mended[quiet]["_plan"] == found.plan
    assert every.marks(found) == {}
    every.publish(every.landing.read_plan(found.plan))
    every.sim.clock.advance(hours=2)
    again = every.swept()
    assert (again.known, again.swept, again.changed, again.restored, again.missed) == (120, 120, 0, 0, 0)


def test_a_row_that_changes_after_the_slices_is_left_to_the_next_delta(every: Deltas) -> None:
    every.base()
    changed = every.ids_of()[0]
    plan = every.delta()
    every.sim.update("incident", changed, short_description="meanwhile")
    new = every.sim.insert("incident", short_description="new")
    found = every.sweep(plan)
    assert (found.later, found.changed, found.missed, found.mended) == (2, 0, 0, ())
    every.publish(plan)
    assert {changed, new} <= every.ids(every.delta()).keys()


@pytest.mark.parametrize("mode", ["true", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("false", "all"))])
def test_nothing_differs_where_nothing_moved(server: SimulatorServer, tmp_path: Path, mode: str) -> None:
    pull = Deltas(server, tmp_path / "data", verify_every=0, deletes="keys", display_value=mode)
    pull.base()
    pull.sim.update("incident", pull.ids_of()[0], short_description="something else")
    found = pull.swept()
    assert (found.kinds, found.swept, found.known) == (("verify",), 120, 120)
    assert (found.changed, found.missed, found.later, found.marks) == (0, 0, 0, "")


@pytest.mark.slow
def test_a_row_deleted_before_it_can_be_mended_is_passed_over(every: Deltas) -> None:
    every.base()
    quiet = every.ids_of()[0]
    every.sim.store.update("incident", quiet, {"sys_mod_count": "77"}, quiet=True)
    plan = every.delta()

    def deed(asked: Any) -> None:
        if quiet in asked.params.get("sysparm_query", ""):  # nothing else asks for this row by name
            every.sim.watchers.clear()
            every.sim.delete("incident", quiet)

    every.sim.watchers.append(deed)
    found = every.sweep(plan)
    assert (found.changed, found.mended) == (0, ())
    assert any("gone or changed before they could be fetched" in note for note in found.notes)


def test_a_base_is_swept_by_nothing(every: Deltas) -> None:
    plan = every.delta()
    asked = every.asked()
    found = every.sweep(plan)
    assert (found.kinds, found.swept, every.asked()) == ((), 0, asked)


def test_sweeping_again_asks_nothing(active: Deltas) -> None:
    active.base()
    active.sim.update("incident", active.ids_of(active="true")[0], active="false")
    plan = active.delta()
    found = active.sweep(plan)
    asked = active.asked()
    assert active.sweep(plan) == found
    assert active.asked() == asked
    assert active.landing.beside("sweeps").list("") == []


def test_a_sweep_that_fails_goes_on_where_it_was_unless_it_has_grown_old(
    every: Deltas, monkeypatch: pytest.MonkeyPatch
) -> None:
    every.base()
    plan = every.delta()
    monkeypatch.setattr(swept, "PAGE", 40)
    every.server.faults.add(kind="error_500", table="incident", asks="sys_mod_count", low=every.ids_of()[100])
    for _ in range(2):
        with pytest.raises(SliceFailed):
            every.sweep(plan, max_retries=0)
    every.server.faults.clear()
    keys: list[str] = []
    every.sim.watchers.append(lambda asked: keys.append(asked.params.get("sysparm_fields", "")))
    begun = every.data / "copy"
    shutil.copytree(every.data / "incidents.sweeps", begun)

    assert every.sweep(plan).swept == 120
    assert keys.count("sys_id,sys_updated_on,sys_mod_count") == 1  # of three ranges

    (every.data / "incidents" / plan.plan_id / "sweep.json").unlink()
    shutil.copytree(begun, every.data / "incidents.sweeps")
    every.sim.clock.advance(hours=7)
    keys.clear()
    assert every.sweep(plan).swept == 120
    assert keys.count("sys_id,sys_updated_on,sys_mod_count") == 3


def test_a_sweep_waits_for_the_slices(every: Deltas) -> None:
    every.base()
    plan = every.plan(new=True).plan
    with pytest.raises(PlanIncomplete, match="nothing is swept"):
        every.sweep(plan)


def test_fields_that_tell_versions_apart_must_be_readable(every: Deltas) -> None:
    """Else every row would look changed."""
    every.base()
    plan = every.delta()
    every.sim.knobs.hidden_fields["incident"] = {"sys_mod_count"}
    with pytest.raises(ForbiddenError, match=r"versions cannot be compared.*sys_mod_count"):
        every.sweep(plan)

"""Writes that go wrong: done and not said, or not done and nothing said either."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from snow_assets.simulator import SimulatorServer
from snow_assets.simulator.fault_kinds import KINDS

from .conftest import Got, ask

LOST = ["reset", "hang_up", "reset_inside_body", "empty_body", "truncated", "null_body", "html_503", "login_page",
        "error_500", "dropped_202", "plain_text", "execution_time_500"]  # fmt: skip


def post(server: SimulatorServer, path: str = "table/incident", **values: str) -> Got | None:
    """What came, if anything did."""
    try:
        return ask(server, path, method="POST", body=json.dumps(values))
    except (ConnectionError, http.client.HTTPException):
        return None


def made(server: SimulatorServer) -> int:
    return len([row for row in server.sim.rows("incident") if row.get("short_description") == "new"])


def told(got: Got | None) -> bool:
    """Whether the answer says that the row was inserted, and which it is."""
    try:
        return got is not None and got.status == 201 and len(got.json["result"]["sys_id"]) == 32
    except (ValueError, TypeError, KeyError):
        return False


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("kind", LOST)
def test_both_halves_of_a_lost_answer(small: SimulatorServer, kind: str, committed: bool) -> None:
    small.faults.add(kind=kind, write=True, committed=committed, times=1)
    assert not told(post(small, short_description="new"))
    assert made(small) == int(committed)
    assert told(post(small, short_description="new"))
    assert made(small) == int(committed) + 1
    first, second = small.requests.find(kind="write")
    assert (first.fault, len(first.written), len(second.written)) == (kind, int(committed), 1)


@pytest.mark.parametrize("committed", [True, False])
def test_imports_are_lost_alike(small: SimulatorServer, committed: bool) -> None:
    small.faults.add(kind="empty_body", table="imp_location", method="POST", committed=committed)
    for path, body in (("import/imp_location", {"name": "Oslo"}),
                       ("import/imp_location/insertMultiple", {"records": [{"Name": "Rome"}]})):  # fmt: skip
        got = ask(small, path, method="POST", body=json.dumps(body))
        assert (got.status, got.body) == (200, b"")
    assert len(small.sim.rows("cmn_location")) == (2 if committed else 0)


@pytest.mark.parametrize("committed", [True, False])
def test_updates_and_deletions_too(small: SimulatorServer, committed: bool) -> None:
    small.faults.add(kind="html_502", method=["PATCH", "DELETE"], sys_id="01" * 16, committed=committed)
    assert ask(small, f"table/incident/{'01' * 16}", method="PATCH", body='{"state":"2"}').status == 502
    [row] = [row for row in small.sim.rows("incident") if row["sys_id"] == "01" * 16]
    assert (row["state"] == "2") is committed
    assert ask(small, f"table/incident/{'02' * 16}", method="PATCH", body='{"state":"3"}').status == 200
    assert ask(small, f"table/incident/{'01' * 16}", method="DELETE").status == 502
    assert ("01" * 16 in {row["sys_id"] for row in small.sim.rows("incident")}) is not committed


def test_readers_are_spared_by_faults_of_writes(small: SimulatorServer) -> None:
    small.faults.add(kind="error_500", committed=False)
    small.faults.add(kind="error_500", write=True)
    assert ask(small, "table/incident").status == 200
    assert post(small).status == 500  # type: ignore[union-attr]


def test_a_share_of_the_writes_is_hit_and_the_same_ones_again(small: SimulatorServer) -> None:
    def run() -> list[bool]:
        small.faults.clear()
        small.faults.add(kind="html_503", write=True, committed=False, probability=0.3, seed=5)
        return [told(post(small)) for _ in range(30)]

    first = run()
    assert 0 < first.count(False) < 30
    assert run() == first


def test_no_fault_of_pages_writes_twice(small: SimulatorServer) -> None:
    """Some kinds ask for other rows than those requested: of a write they must not."""
    for kind in KINDS:
        if kind not in ("hang", "hang_inside", "drip", "latency"):
            small.faults.add(kind=kind, times=1)
            post(small, short_description="new")
            small.faults.clear()
    assert made(small) == len(KINDS) - 4


@pytest.mark.parametrize("rule", [
    {"kind": "latency", "committed": False}, {"kind": "numbers", "committed": False},
    {"kind": "short_page", "committed": False}, {"kind": "count_lie", "committed": False},
    {"kind": "reset", "committed": False, "write": False},
])  # fmt: skip
def test_a_write_that_is_not_done_is_never_said_to_be(small: SimulatorServer, rule: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="committed"):
        small.faults.add(rule)

"""The recipe of a pipeline that keeps two corpora: two pulls to JSONL, resumed after a crash, counts held against."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snow_assets import Client, pull_to
from snow_assets.errors import SnowError
from snow_assets.pulls import Landing
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.pulls.asked import only_of, ranges_asked
from snow_assets_tests.pulls.conftest import read_plainly, sys_id_of

PAGE_SIZE = 100
MAX_WORKERS = 16
NAMED = ("sys_id", "number", "short_description")
PEOPLE = ("assignment_group", "caller_id", "assigned_to")

CLOSED = (
    "stateIN6,7^close_notesISNOTEMPTY^sys_updated_on>=javascript:gs.daysAgoStart(730)^ORDERBYsys_created_on",
    [*NAMED, "close_notes", "state", "priority", "urgency", "impact", *PEOPLE, "opened_at", "resolved_at"],
)
ACTIVE = (
    "stateIN1,2,3,4,5^opened_at>=javascript:gs.daysAgoStart(60)^ORDERBYsys_created_on",
    [*NAMED, "state", "priority", "category", "caller_id", "opened_at"],
)


def run_pull(client: Client, query: str, fields: list[str], output: Path, state: Path) -> tuple[int, int]:
    """Run one pull, or go on with it. Returns (records_written, api_total)."""
    pulled = pull_to(state, client, table="incident", query=query, fields=fields)
    return pulled.to_jsonl(output), client.get_count("incident", query=query)


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": 1_500}, seed=3).serve() as server:
        yield server


def connected(server: SimulatorServer, **settings: Any) -> Client:
    return Client(
        instance_url=server.url,
        username=server.username,
        password=server.password,
        page_size=PAGE_SIZE,
        max_workers=MAX_WORKERS,
        display_value="all",
        **{"max_retries": 5, "retry_backoff": 0.01, **settings},
    )


def lines_of(file: Path) -> dict[str, dict[str, Any]]:
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    by_id = {sys_id_of(record): record for record in records}
    assert len(by_id) == len(records)
    return by_id


def answered(server: SimulatorServer, query: str, fields: list[str]) -> dict[str, dict[str, Any]]:
    """What the instance answers to the recipe's question, read by another reader."""
    by_id = query.partition("^ORDERBY")[0]
    return {sys_id_of(record): record for record in read_plainly(server, "incident", fields, "all", by_id)}


def test_two_corpora_are_written_raw_and_hold_what_the_instance_counts(server: SimulatorServer, tmp_path: Path) -> None:
    with connected(server) as client:
        for name, (query, fields) in {"closed": CLOSED, "active": ACTIVE}.items():
            output = tmp_path / f"incidents_{name}.jsonl"
            written, total = run_pull(client, query, fields, output, tmp_path / "state" / f"incidents_{name}")
            truth = answered(server, query, fields)
            assert written == total == len(truth) > 2 * PAGE_SIZE
            assert lines_of(output) == truth


def test_a_crash_does_not_force_a_full_re_fetch(server: SimulatorServer, tmp_path: Path) -> None:
    query, fields = CLOSED
    output, state = tmp_path / "incidents_closed.jsonl", tmp_path / "state" / "incidents_closed"
    rows = sorted(answered(server, query, fields))
    rule = {"kind": "error_500", "table": "incident", "asks": "close_notes", "query": "sys_id<", "sys_id": rows[200]}
    server.faults.add(rule)
    with connected(server, max_retries=0) as client, pytest.raises(SnowError, match="have landed and are kept"):
        run_pull(client, query, fields, output, state)
    assert not output.exists()
    server.faults.clear()
    landing = Landing.open(str(state.parent), state.name)
    plan = landing.latest_plan()
    assert plan is not None
    missing = set(plan.slices) - set(landing.all_landed(plan))
    server.requests.clear()

    with connected(server) as client:
        written, total = run_pull(client, query, fields, output, state)

    assert only_of(missing, ranges_asked(server))
    assert written == total
    assert lines_of(output) == answered(server, query, fields)

"""A small hand-made instance, and a client that only asks and shows what came."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from snow_assets.simulator import Account, Knobs, Simulator, SimulatorServer

NOON = datetime(2026, 3, 11, 12, 0, tzinfo=UTC)  # a Wednesday

ADMIN = "a0000000000000000000000000000001"
LUCY = "a0000000000000000000000000000002"
IT = "d0000000000000000000000000000001"


def incident(number: int, **values: str) -> dict[str, str]:
    """A row whose sys_id and number follow from ``number``."""
    return {
        "sys_id": f"{number:02x}" * 16,
        "number": f"INC{number:04d}",
        "sys_created_on": "2026-03-01 08:00:00",
        "sys_updated_on": "2026-03-02 08:00:00",
        "sys_mod_count": "0",
        "active": "true",
        **values,
    }


def small_tables() -> dict[str, list[dict[str, str]]]:
    """Seven incidents, a problem and those who have them."""
    return {
        "cmn_department": [{"sys_id": IT, "name": "IT"}],
        "sys_user": [
            {"sys_id": ADMIN, "user_name": "admin", "name": "System Administrator", "department": IT},
            {"sys_id": LUCY, "user_name": "lucy", "name": "Lucy Ruggeri"},
        ],
        "incident": [
            incident(1, state="1", priority="1", short_description="Disk full", caller_id=ADMIN, assigned_to=ADMIN,
                     opened_at="2026-03-01 08:15:42", reassignment_count="3", reopen_count="1"),
            incident(2, state="2", priority="4", short_description="disk slow", caller_id=LUCY,
                     opened_at="2026-03-10 23:30:00", closed_at="2026-03-12 23:30:00", reassignment_count="10"),
            incident(3, state="7", priority="4", short_description="Printer^jam", active="false", caller_id=LUCY,
                     opened_at="2026-03-11 05:00:00", closed_at="2026-03-11 06:00:00", reassignment_count="2"),
            incident(4, state="7", priority="", short_description="", active="", opened_at="", reassignment_count=""),
            incident(5, state="3", priority="5", short_description="Ünïcode 日本 🙂 \"quoted\" 50% a,b",
                     caller_id="f" * 32, opened_at="2026-03-11 11:59:59", watch_list=f"{LUCY},x@example.com",
                     calendar_duration="1970-01-02 04:46:44", sys_domain="global"),
            incident(6, state="1", priority="1", short_description="Disk full again", caller_id=ADMIN,
                     assigned_to=LUCY, opened_at="2026-02-27 10:00:00", reassignment_count="1200", reopen_count="1200"),
            incident(7, state="1", priority="2", short_description="Network", problem_id="e" * 32,
                     opened_at="2025-12-31 23:59:59"),
        ],
        "problem": [{"sys_id": "e" * 32, "number": "PRB0001", "short_description": "Disk firmware", "priority": "1"}],
        "sys_journal_field": [
            {"sys_id": "10" * 16, "name": "incident", "element": "work_notes", "element_id": "01" * 16,
             "value": "looking", "sys_created_on": "2026-03-01 08:20:11", "sys_created_by": "admin"},
            {"sys_id": "11" * 16, "name": "incident", "element": "work_notes", "element_id": "01" * 16,
             "value": "rebooted the host", "sys_created_on": "2026-03-02 10:00:00", "sys_created_by": "lucy"},
            {"sys_id": "12" * 16, "name": "incident", "element": "comments", "element_id": "01" * 16,
             "value": "Thanks!", "sys_created_on": "2026-03-02 11:00:00", "sys_created_by": "lucy"},
        ],
    }  # fmt: skip


@dataclass
class Got:
    """An answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: list[str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def rows(self) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = self.json["result"]
        return result

    @property
    def error(self) -> tuple[str, str | None]:
        return self.json["error"]["message"], self.json["error"]["detail"]


Ask = Callable[..., Got]


def ask(server: SimulatorServer, path: str, *, method: str = "GET", login: str = "admin:admin", headers: Any = None,
        body: str | bytes | None = None, timeout: float = 20.0, **params: Any) -> Got:  # fmt: skip
    """One request on a connection of its own. ``path`` without a slash is below ``/api/now/``."""
    target = path if path.startswith("/") else f"/api/now/{path}"
    if params:
        target += "?" + urlencode(params)
    sent = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()} if login else {}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    try:
        connection.request(method, target, body=body, headers=sent | (headers or {}))
        answer = connection.getresponse()
        cookies = [value for name, value in answer.getheaders() if name == "Set-Cookie"]
        return Got(answer.status, dict(answer.getheaders()), answer.read(), cookies)
    finally:
        connection.close()


@pytest.fixture
def knobs() -> Knobs:
    """Two accounts; admin seven hours behind UTC."""
    accounts = {
        "admin": Account("admin", "admin", time_zone="America/Phoenix"),
        "lucy": Account("lucy", "pw", time_zone="Europe/Berlin", date_format="dd/MM/yyyy", interactive=False),
    }
    return Knobs(accounts=accounts)


@pytest.fixture
def small(knobs: Knobs) -> Iterator[SimulatorServer]:
    """The hand-made instance, at noon."""
    with Simulator(tables=small_tables(), at=NOON, knobs=knobs).serve() as server:
        yield server


@pytest.fixture
def get(small: SimulatorServer) -> Ask:
    """Ask the hand-made instance: ``get("table/incident", sysparm_limit=3)``."""

    def get_(path: str, **parts: Any) -> Got:
        return ask(small, path, **parts)

    return get_


@pytest.fixture(scope="module")
def generated() -> Iterator[SimulatorServer]:
    """An instance with generated data; tests that use it do not change it."""
    with Simulator({"incident": 3_000}, seed=3).serve() as server:
        yield server

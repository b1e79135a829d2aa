"""``since``: rows from a moment on, whatever zone it is told in and whatever zone the instance reads it in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from snow_assets.errors import ConfigError
from snow_assets.servicenow.account import text
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.exchange import DisplayValue
from snow_assets.servicenow.records import Records
from snow_assets.simulator import SimulatorServer
from snow_assets.simulator.knobs import Account

STORED = "%Y-%m-%d %H:%M:%S"
both = pytest.mark.parametrize("method", ["get_records", "concurrent_get_records"])


def moment_in_the_middle(instance: SimulatorServer) -> datetime:
    """When the 200th of 300 incidents was last updated."""
    moments = sorted(row["sys_updated_on"] for row in instance.sim.rows("incident"))
    return datetime.strptime(moments[200], STORED).replace(tzinfo=UTC)


def expected(
    instance: SimulatorServer, since: datetime, keep: Callable[[Mapping[str, str]], bool] = lambda _: True
) -> set[str]:
    first = since.strftime(STORED)
    rows = instance.sim.rows("incident")
    return {row["sys_id"] for row in rows if row["sys_updated_on"] >= first and keep(row)}


def ids(records: Records) -> set[str]:
    found = [text(record, "sys_id") for record in records]
    assert len(set(found)) == len(found)
    return set(found)


def in_the_accounts_zone(instance: SimulatorServer, zone: str) -> None:
    account = instance.sim.knobs.accounts["admin"]
    instance.sim.knobs.accounts["admin"] = Account(account.user_name, account.password, time_zone=zone)
    instance.sim.knobs.literal_dates = "account"


@pytest.mark.parametrize(
    "since",
    [
        datetime(2026, 11, 20, 10),  # noqa: DTZ001 - that is the point
        date(2026, 11, 20),
        "2026-11-20 10:00:00",
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=8))),
    ],
)
@both
def test_what_is_no_moment_is_refused_before_anything_is_sent(
    method: str, since: Any, client: Client, instance: SimulatorServer
) -> None:
    with pytest.raises(ConfigError, match="since"):
        getattr(client, method)("incident", since=since)
    assert len(instance.requests) == 0


@both
@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-8)), timezone(timedelta(hours=5, minutes=45))])
def test_rows_at_the_moment_and_after_it_come_in_whatever_zone_it_is_told(
    method: str, zone: timezone, client: Client, instance: SimulatorServer
) -> None:
    since = moment_in_the_middle(instance)
    asked = (since + timedelta(microseconds=999_999)).astimezone(zone)  # the instance knows whole seconds
    records = getattr(client, method)("incident", since=asked, fields=["number"], page_size=20)
    wanted = expected(instance, since)
    assert 0 < len(wanted) <= 100
    assert ids(records) == wanted
    assert records.report.complete
    assert records.report.counted == len(wanted)
    assert datetime.fromisoformat(str(records.report.since)) == asked


def test_the_moment_binds_every_branch_of_a_query(client: Client, instance: SimulatorServer) -> None:
    since = moment_in_the_middle(instance)
    records = client.get_records("incident", "priority=1^ORpriority=2^NQstate=1^ORDERBYDESCnumber", since=since)
    wanted = expected(instance, since, lambda row: row["priority"] in ("1", "2") or row["state"] == "1")
    assert 0 < len(wanted) < len(expected(instance, since))
    assert ids(records) == wanted


def test_the_cursor_comes_along_and_may_be_another_field(client: Client, instance: SimulatorServer) -> None:
    since = moment_in_the_middle(instance)
    record = next(client.get_records("incident", since=since, fields=["number"]))
    assert set(record) == {"sys_id", "sys_updated_on", "number"}
    rows = instance.sim.rows("incident")
    opened = sorted(row["opened_at"] for row in rows)[250]
    since = datetime.strptime(opened, STORED).replace(tzinfo=UTC)
    records = client.get_records("incident", since=since, cursor="opened_at", display_value="false")
    assert ids(records) == {row["sys_id"] for row in rows if row["opened_at"] >= opened}
    with pytest.raises(ConfigError, match="no_such_field"):
        next(client.get_records("incident", since=since, cursor="no_such_field"))


@both
@pytest.mark.parametrize("display_value", ["true", "false", "all"])
@pytest.mark.parametrize("zone", ["US/Pacific", "Asia/Tokyo"])
def test_no_row_is_missed_where_the_instance_reads_moments_in_the_accounts_zone(
    zone: str, display_value: DisplayValue, method: str, client: Client, instance: SimulatorServer
) -> None:
    in_the_accounts_zone(instance, zone)
    since = moment_in_the_middle(instance)
    records = getattr(client, method)("incident", since=since, display_value=display_value, page_size=20)
    found, wanted = ids(records), expected(instance, since)
    report = records.report
    assert report.complete
    assert report.counted + sum(difference.rows for difference in report.differences) == report.delivered
    if display_value == "true":
        assert found >= wanted, "labels cannot be compared: some earlier rows come, too"
        return
    assert found == wanted
    before = next(difference for difference in report.differences if difference.name == "before_since")
    assert before.rows == len(wanted) - report.counted < 0


@both
def test_rows_that_do_not_show_their_moment_are_kept(method: str, client: Client, instance: SimulatorServer) -> None:
    since = moment_in_the_middle(instance)
    instance.faults.add(kind="missing_fields", fields="sys_updated_on", every_row=False, asks="number")
    records = getattr(client, method)("incident", since=since, fields=["number"], display_value="false", page_size=20)
    assert ids(records) == expected(instance, since)


def test_a_limit_counts_rows_since_the_moment(client: Client, instance: SimulatorServer) -> None:
    in_the_accounts_zone(instance, "US/Pacific")
    since = moment_in_the_middle(instance)
    records = client.get_records("incident", since=since, limit=30, display_value="false")
    found = ids(records)
    assert len(found) == 30
    assert found <= expected(instance, since)
    assert records.report.ended == "limit"

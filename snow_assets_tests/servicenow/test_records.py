"""What iterators of records promise: all rows or an error, and a report that adds up; see also test_records_ahead."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from snow_assets.config import Credentials
from snow_assets.errors import (
    Cancelled,
    ConfigError,
    ForbiddenError,
    InstanceUnavailable,
    QueryError,
    RequestFailed,
    SliceFailed,
)
from snow_assets.servicenow import ranges
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.records import IncompleteWarning, Records, Report
from snow_assets.simulator import Account, HiddenRows, SimulatorServer
from snow_assets_tests.servicenow.conftest import ClientFactory

both = pytest.mark.parametrize("method", ["get_records", "concurrent_get_records"])


def ids_of(instance: SimulatorServer) -> list[str]:
    return sorted(row["sys_id"] for row in instance.sim.rows("incident"))


def ask(client: Client, method: str, query: str = "", **options: Any) -> Records:
    records: Records = getattr(client, method)("incident", query, **options)
    return records


def adds_up(report: Report) -> bool:
    """What ``Report`` promises of its figures."""
    assert report.counted is not None
    assert report.missing is not None
    differences = sum(difference.rows for difference in report.differences)
    return report.counted + differences == report.delivered + report.missing


@both
def test_a_report_numbers_what_was_counted_delivered_and_hidden(
    method: str, client: Client, instance: SimulatorServer
) -> None:
    hidden = frozenset(ids_of(instance)[40:160])
    instance.sim.knobs.hidden_rows = [HiddenRows("incident", sys_ids=hidden)]
    records = ask(client, method, page_size=20)
    assert len(list(records)) == 180
    report = records.report
    assert report.complete
    assert (report.counted, report.delivered, report.hidden, report.missing) == (300, 180, 120, 0)
    assert adds_up(report)
    assert report.requests == len(instance.requests)
    assert str(report) == "incident: complete: 300 counted, 180 delivered, 120 hidden, 0 missing"


@both
def test_where_the_instance_does_not_count_the_report_does_not_either(
    method: str, client: Client, instance: SimulatorServer
) -> None:
    instance.sim.knobs.denied_aggregates = {"incident"}
    instance.faults.add(kind="count_absent")
    records = ask(client, method)
    assert sorted(record["sys_id"] for record in records) == ids_of(instance)
    report = records.report
    assert (report.ended, report.counted, report.hidden, report.missing) == ("complete", None, None, 0)
    assert "unknown counted, 300 delivered, unknown hidden" in str(report)


def test_an_error_while_boundaries_are_found_does_not_wait_for_others_to_send_again(
    client_of: ClientFactory, instance: SimulatorServer
) -> None:
    client = client_of(page_size=5, retry_backoff=0.3, max_retries=100)
    client.get_count("incident")
    instance.faults.add(kind="error_500", request="list", narrow=True, query="sys_id<1")
    instance.faults.add(kind="forbidden_403", request="list", narrow=True, query="sys_id>=f")
    records = client.concurrent_get_records("incident", on_incomplete="warn")
    with pytest.raises(ForbiddenError):
        next(records)
    assert records.report.ended == "failed"
    assert client.get_count("incident") == 300, "the client itself goes on"


@both
@pytest.mark.parametrize("factor", [0.2, 3.0])
def test_the_first_count_is_not_what_the_report_goes_by(
    method: str, factor: float, client: Client, instance: SimulatorServer
) -> None:
    instance.faults.add(kind="count_lie", request="count", factor=factor, delta=0)
    records = ask(client, method, page_size=20)
    assert sorted(record["sys_id"] for record in records) == ids_of(instance)
    assert records.report.complete
    assert (records.report.counted, records.report.missing) == (300, 0)
    assert adds_up(records.report)


def test_a_table_that_may_not_be_read_is_not_taken_for_an_empty_one(client: Client, instance: SimulatorServer) -> None:
    instance.sim.knobs.denied_tables = {"incident"}
    with pytest.raises(ForbiddenError):
        list(client.get_records("incident"))


@both
def test_a_range_that_fails_is_told_and_the_others_come(method: str, client: Client, instance: SimulatorServer) -> None:
    ids = ids_of(instance)
    instance.faults.add(kind="empty_body", low=ids[110], high=ids[111], narrow=False)
    with pytest.raises(RequestFailed):
        list(ask(client, method, page_size=20))

    records = ask(client, method, page_size=20, on_incomplete="warn")
    with pytest.warns(IncompleteWarning, match="empty_body") as caught:
        found = [record["sys_id"] for record in records]
    assert caught[0].filename == __file__, "the warning points at the consumer"
    report = records.report
    assert report.ended == "incomplete"
    assert report.failed
    assert report.missing == 300 - len(found) > 0
    assert (report.counted, report.delivered) == (300, len(set(found)))
    assert adds_up(report)
    assert set(found) < set(ids)
    assert ids[110] not in found
    if method == "concurrent_get_records":
        assert report.missing <= 60, "rows of other ranges came"


@both
def test_a_row_that_fails_even_alone_is_named_and_the_others_come(
    method: str, client: Client, instance: SimulatorServer
) -> None:
    broken = ids_of(instance)[111]
    instance.faults.add(kind="error_500", sys_id=broken, narrow=False)
    with pytest.raises(SliceFailed, match=broken):
        list(ask(client, method, page_size=20))

    records = ask(client, method, page_size=20, on_incomplete="warn")
    with pytest.warns(IncompleteWarning, match=broken):
        found = {record["sys_id"] for record in records}
    assert found == set(ids_of(instance)) - {broken}
    assert records.report.ended == "incomplete"
    assert adds_up(records.report)


@both
def test_a_lost_right_is_never_a_mere_warning(method: str, client: Client, instance: SimulatorServer) -> None:
    instance.faults.add(kind="query_forbidden_403", request="list", narrow=False, after=2)
    records = ask(client, method, page_size=20, on_incomplete="warn")
    with pytest.raises(ForbiddenError):
        list(records)
    assert records.report.ended == "failed"


@both
@pytest.mark.parametrize("after", [8, 11, 14, 17])  # while ranges are looked for, or read
def test_an_outage_is_never_a_mere_warning_and_is_named(
    method: str, after: int, client_of: ClientFactory, instance: SimulatorServer
) -> None:
    client = client_of(max_wait=0.2, max_workers=4)
    instance.faults.add(kind="html_503", after=after)
    records = ask(client, method, page_size=20, on_incomplete="warn")
    with pytest.raises(InstanceUnavailable):  # in no thread's words for it, Cancelled
        list(records)
    report = records.report
    assert (report.ended, report.counted, report.missing) == ("failed", None, None)


@both
@pytest.mark.parametrize(
    ("limit", "given", "ended"),
    [
        (0, 0, "limit"),
        (7, 7, "limit"),
        (50, 50, "limit"),
        (130, 130, "limit"),
        (300, 300, "limit"),
        (301, 300, "complete"),
    ],
)
def test_a_limit_is_kept(method: str, limit: int, given: int, ended: str, client: Client) -> None:
    records = ask(client, method, limit=limit)
    found = [record["sys_id"] for record in records]
    assert len(set(found)) == len(found) == given
    assert (records.report.ended, records.report.delivered) == (ended, given)
    assert records.report.counted == (300 if ended == "complete" else None), "not counted to the end is not 0"


def test_a_limit_passes_over_hidden_rows(client: Client, instance: SimulatorServer) -> None:
    ids = ids_of(instance)
    instance.sim.knobs.hidden_rows = [HiddenRows("incident", sys_ids=frozenset(ids[:120]))]
    assert [record["sys_id"] for record in client.get_records("incident", limit=7)] == ids[120:127]


@both
def test_a_report_tells_that_the_consumer_stopped(method: str, client: Client, instance: SimulatorServer) -> None:
    unread = ask(client, method)
    assert unread.report.ended == "running"
    unread.close()
    assert unread.report.ended == "closed"
    assert list(unread) == []
    assert len(instance.requests) == 0

    records = ask(client, method, page_size=20)

    def fail_in_between() -> None:
        with records:
            next(records)
            assert records.report.ended == "running"
            raise LookupError

    with pytest.raises(LookupError):
        fail_in_between()
    assert (records.report.ended, records.report.delivered, records.report.counted) == ("closed", 1, None)
    assert str(records.report) == "incident: closed: 1 delivered"


def test_closing_after_the_end_changes_nothing(client: Client) -> None:
    records = client.get_records("incident")
    assert len(list(records)) == 300
    records.close()
    assert records.report.complete


@both
def test_a_client_that_is_closed_ends_its_iterators_with_an_error(method: str, client: Client) -> None:
    records = ask(client, method, page_size=5)
    next(records)
    client.close()
    with pytest.raises(Cancelled):
        list(records)
    assert records.report.ended == "failed"


@both
def test_small_readings_cost_few_requests(method: str, client_of: ClientFactory, instance: SimulatorServer) -> None:
    instance.sim.knobs.accounts["few"] = Account("few", "few")  # what other tests left under way does not count
    client = client_of(Credentials.model_validate({"username": "few", "password": "few"}))

    def cost(**options: Any) -> int:
        instance.requests.clear()
        records = ask(client, method, "active=true", fields=["number"], page_size=1000, **options)
        list(records)
        assert records.report.requests == len(instance.requests.find(user="few"))
        return records.report.requests

    assert cost() <= 5  # fields, count, page, end, and whether counts are right
    assert cost() <= 3
    assert cost(limit=10) == 1


def test_a_count_that_goes_no_further_than_a_full_page_and_one_empty_answer_end_nothing(
    client: Client, instance: SimulatorServer
) -> None:
    instance.faults.add(kind="count_lie", request="list", narrow=False, factor=0, delta=50)
    instance.faults.add(kind="count_lie", request="list", narrow=True, factor=0, delta=0, times=1)
    instance.faults.add(kind="empty_page", request="list", narrow=True, times=1)
    records = client.get_records("incident", page_size=50)
    assert sorted(record["sys_id"] for record in records) == ids_of(instance)
    assert records.report.complete


def test_fields_that_the_table_lacks_are_refused_or_left_out(client: Client) -> None:
    fields = ["number", "no_such_field"]
    for _ in range(2):
        with pytest.raises(ConfigError, match="no_such_field"):
            next(client.get_records("incident", fields=fields))
    record = next(client.get_records("incident", fields=fields, absent_fields="skip"))
    assert set(record) == {"sys_id", "number"}
    with pytest.raises(ConfigError, match="no_such_field"):
        next(client.get_records("incident", fields=fields))
    only = next(client.get_records("incident", fields=["no_such_field"], absent_fields="skip"))
    assert set(only) == {"sys_id"}, "not all fields"
    with pytest.raises(QueryError, match="no_such_field"):
        next(client.get_records("incident", "no_such_field=1", absent_fields="skip"))


def test_a_field_that_the_first_rows_do_not_show_is_looked_for_in_others(
    client: Client, instance: SimulatorServer
) -> None:
    instance.faults.add(kind="missing_fields", fields="state", asks="state", times=2)
    records = client.get_records("incident", fields=["number", "state"])
    assert all("state" in record for record in records)


def test_a_right_that_was_granted_counts_at_once(client: Client, instance: SimulatorServer) -> None:
    instance.sim.knobs.hidden_fields = {"incident": {"state"}}
    with pytest.raises(ConfigError):
        next(client.get_records("incident", fields=["state"]))
    instance.sim.knobs.hidden_fields = {}
    assert "state" in next(client.get_records("incident", fields=["state"]))


def test_a_right_that_was_lost_between_two_readings_does_not_widen_the_query(
    client: Client, instance: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = len(list(client.get_records("incident", "state=1")))
    assert 0 < some < 300
    instance.sim.knobs.hidden_fields = {"incident": {"state"}}
    monkeypatch.setattr(ranges, "SEEN_FOR", -1.0)  # as after ten minutes
    with pytest.raises(QueryError):
        list(client.get_records("incident", "state=1"))


@both
def test_a_field_that_is_lost_in_the_middle_is_told(method: str, client: Client, instance: SimulatorServer) -> None:
    records = (
        ask(client, method, fields=["number", "state"], page_size=20, max_workers=1)
        if "conc" in method
        else ask(client, method, fields=["number", "state"], page_size=20)
    )
    assert "state" in next(records)
    instance.sim.knobs.hidden_fields = {"incident": {"state"}}
    assert len(list(records)) == 299
    report = records.report
    assert (report.ended, report.delivered) == ("complete", 300)
    assert "state" in next(cause.evidence for cause in report.differences if cause.name == "field_hidden")


def test_where_no_row_is_visible_the_dictionary_proves_the_query(client: Client, instance: SimulatorServer) -> None:
    instance.sim.knobs.hidden_rows = [HiddenRows("incident", fraction=1.0)]
    records = client.get_records("incident", "state=1", fields=["number"])
    assert list(records) == []
    assert records.report.complete
    assert records.report.hidden == records.report.counted
    with pytest.raises(QueryError, match="no_such_field"):
        list(client.get_records("incident", "no_such_field=1"))


@pytest.mark.parametrize("uncounted", [False, True])
def test_a_query_that_nothing_proves_is_not_read(uncounted: bool, client: Client, instance: SimulatorServer) -> None:
    instance.sim.knobs.hidden_rows = [HiddenRows("incident", fraction=1.0)]
    instance.sim.knobs.closed_tables = {"sys_dictionary", "sys_db_object"}
    if uncounted:
        instance.faults.add(kind="answer", request="count", status=500, body="")
    with pytest.raises(QueryError, match="cannot be proven"):
        list(client.get_records("incident", "state=1"))


def test_rows_without_a_sys_id_are_refused_by_name(client: Client) -> None:
    with pytest.raises(ConfigError, match="no sys_id of their own"):
        next(client.get_records("u_incident_journal", fields=["inc_number"]))


def test_many_threads_share_a_client(client: Client, instance: SimulatorServer) -> None:
    def read(number: int) -> list[str]:
        method = ("get_records", "concurrent_get_records")[number % 2]
        return sorted(record["sys_id"] for record in ask(client, method, "active=true", fields=["number", "state"]))

    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(read, range(8))
    assert first
    assert all(found == first for found in others)
    instance.requests.clear()
    assert read(0) == first
    assert not [entry for entry in instance.requests if entry.params.get("sysparm_limit") == "10"], "probed again"


@pytest.fixture(autouse=True)
def _no_warning_is_lost() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield

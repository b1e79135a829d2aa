"""Cases in which other tools lose rows, hammer the instance or run out of memory; here nothing of that happens.

Each docstring says what went wrong elsewhere. 1,000 rows, pages of 100, as it was measured there.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snow_assets.config import Credentials
from snow_assets.errors import CredentialsError, FingerprintError, ForbiddenError, PlanIncomplete
from snow_assets.pulls import Failed, Landed, Landing, Totals, land_slices, make_plan, publish, published, reconcile
from snow_assets.servicenow.client import Client
from snow_assets.simulator import HiddenRows, Simulator, SimulatorServer
from snow_assets.simulator.knobs import Account
from snow_assets_tests.pulls.conftest import Workbench, sys_id_of

ROWS, PAGE = 1_000, 100
FIELDS = ("sys_id", "number", "state")


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": ROWS}, seed=13).serve() as running:
        yield running


@pytest.fixture
def bench(server: SimulatorServer, tmp_path: Path) -> Workbench:
    return Workbench(server, tmp_path / "data", page_size=PAGE, slice_rows=2 * PAGE, fields=FIELDS)


@pytest.fixture
def client(server: SimulatorServer) -> Iterator[Client]:
    with _client(server) as opened:
        yield opened


def _client(server: SimulatorServer, **settings: Any) -> Client:
    credentials = settings.pop("credentials", None) or Credentials(username=server.username, password=server.password)
    return Client(server.url, credentials, **{"page_size": PAGE, "retry_backoff": 0.01, **settings})


def _ids(server: SimulatorServer) -> list[str]:
    return [row["sys_id"] for row in server.sim.rows("incident")]


def _in_order(client: Client, query: str = "") -> list[str]:
    return [sys_id_of(record) for record in client.get_records("incident", query, FIELDS, "false")]


def _threaded(client: Client, query: str = "") -> list[str]:
    return [sys_id_of(record) for record in client.concurrent_get_records("incident", query, FIELDS, "false")]


def _landed(bench: Workbench) -> Totals:
    plan = bench.plan().plan
    assert [result.error for result in bench.land(plan) if isinstance(result, Failed)] == []
    return reconcile(plan, bench.landing, bench.pull)


def test_a_fully_hidden_page_does_not_end_the_sweep(server: SimulatorServer, client: Client) -> None:
    """Item 1: rows 300 to 399 hidden made a reader stop at 300 of 900 readable rows, without a word."""
    ids = _ids(server)
    server.sim.knobs.hidden_rows.append(HiddenRows("incident", sys_ids=frozenset(ids[300:400])))
    readable = ids[:300] + ids[400:]
    assert _in_order(client) == readable
    assert sorted(_threaded(client)) == readable


def test_hidden_rows_are_numbered_and_no_failure(server: SimulatorServer, bench: Workbench) -> None:
    """Item 2: a verification that compares two numbers fails a correct read of 900 rows for 100 hidden ones."""
    ids = _ids(server)
    server.sim.knobs.hidden_rows.append(HiddenRows("incident", sys_ids=frozenset(ids[300:400])))
    totals = bench.pull_all()
    assert (totals.counted, totals.landed, totals.hidden, totals.missing) == (ROWS, 900, 100, 0)


@pytest.mark.parametrize("kind", ["execution_time_in_200", "execution_time_broken"])
def test_an_error_within_a_success_is_no_page(server: SimulatorServer, client: Client, kind: str) -> None:
    """Item 3: a 200 with an error beside some rows ended one read at 300 of 1,000, and was taken for a page: 937."""
    server.faults.add(kind=kind, table="incident", narrow=False, after=2, every=3, times=6)
    assert _in_order(client) == _ids(server)
    server.faults.clear()
    server.faults.add(kind=kind, table="incident", narrow=False, after=2, every=3, times=6)
    assert sorted(_threaded(client)) == _ids(server)


@pytest.mark.parametrize("kind", ["count_malformed", "count_absent", "empty_body", "no_result", "count_refused"])
def test_a_count_that_is_no_count_empties_nothing(server: SimulatorServer, bench: Workbench, kind: str) -> None:
    """Item 4: a malformed or empty answer of the Aggregate API was a count of 0, and 0 rows a success."""
    server.faults.add(kind=kind, request="count")
    totals = _landed(bench)
    assert (totals.landed, totals.missing) == (ROWS, 0)


def test_inserts_do_not_make_up_for_lost_rows(server: SimulatorServer, bench: Workbench) -> None:
    """Item 5: 5 deletes and 10 inserts while reading: the numbers agreed, and 5 rows that stood still were lost."""
    ids = _ids(server)
    plan = bench.plan().plan
    lock, asked = threading.Lock(), Counter[str]()

    def drift(request: Any) -> None:
        with lock:
            asked["rows"] += request.params.get("sysparm_fields") == ",".join(FIELDS)
            if asked["rows"] == 4 and not asked["done"]:
                asked["done"] = 1
                for sys_id in ids[:5]:
                    server.sim.delete("incident", sys_id)
                for _ in range(10):
                    server.sim.insert("incident", short_description="new")

    server.sim.watchers.append(drift)
    assert [result.error for result in bench.land(plan) if isinstance(result, Failed)] == []
    assert asked["done"]
    landed = bench.ids(plan)
    assert set(ids[5:]) <= set(landed)
    assert set(landed.values()) == {1}
    assert reconcile(plan, bench.landing, bench.pull).missing == 0


def test_a_resumed_pull_is_verified_whole(server: SimulatorServer, bench: Workbench) -> None:
    """Item 6: after a resume the verification knew only the rows of the second run, and always failed."""
    plan = bench.plan().plan
    server.faults.add(kind="error_500", sys_id=_ids(server)[450], narrow=False)
    first = bench.land(plan, max_retries=0)
    assert any(isinstance(result, Failed) for result in first)
    server.faults.clear()
    second = bench.land(plan)
    assert {result.adopted for result in second if isinstance(result, Landed)} == {True, False}
    totals = reconcile(plan, bench.landing, bench.pull)
    assert (totals.landed, totals.missing, totals.duplicates) == (ROWS, 0, 0)


def test_what_is_said_to_have_landed_lies_in_a_whole_file(server: SimulatorServer, bench: Workbench) -> None:
    """Item 7: a checkpoint ran ahead of the unflushed rows: 71 lost after a kill. Here the file is the checkpoint."""
    plan = bench.plan().plan
    with bench.client() as client:
        results = land_slices(plan, plan.slices, bench.pull, client, bench.landing)
        said = [result for result in (next(results), next(results)) if isinstance(result, Landed)]
        results.close()  # the run ends here
    assert len(said) == 2
    for result in said:
        assert bench.landing.parquet(result.file.path).metadata.num_rows == result.ledger.landed
    assert [result for result in bench.land(plan) if isinstance(result, Failed)] == []
    assert set(bench.ids(plan)) == set(_ids(server))


def test_deletes_between_two_runs_shift_no_row_out_of_sight(server: SimulatorServer, bench: Workbench) -> None:
    """Item 8: 50 deletes between a run and its resume from an offset: 29 live rows never came."""
    ids = _ids(server)
    plan = bench.plan().plan
    server.faults.add(kind="error_500", sys_id=ids[650], narrow=False)
    bench.land(plan, max_retries=0)
    server.faults.clear()
    for sys_id in ids[100:150]:
        server.sim.delete("incident", sys_id)
    assert [result for result in bench.land(plan) if isinstance(result, Failed)] == []
    assert set(ids[:100] + ids[150:]) <= set(bench.ids(plan))
    assert reconcile(plan, bench.landing, bench.pull).missing == 0


@pytest.mark.parametrize("other", ["instance", "user", "display_value"])
def test_files_of_another_pull_are_not_gone_on_with(
    server: SimulatorServer, bench: Workbench, other: str, tmp_path: Path
) -> None:
    """Item 9: a state of one instance, user or display mode was taken up by another: 500 of 1,000 rows."""
    plan = bench.plan().plan
    server.sim.knobs.accounts["second"] = Account("second", "second")
    with Simulator(rows={"incident": ROWS}, seed=14).serve() as second:
        config = {"display_value": "false"} if other == "display_value" else {}
        another = Workbench(
            second if other == "instance" else server, tmp_path / "data", page_size=PAGE, fields=FIELDS, **config
        )
        who = Credentials(username="second", password="second") if other == "user" else None
        with _client(another.server, credentials=who) as client:
            planned = make_plan(another.pull, client, another.landing)
        assert not planned.continued
        assert planned.plan.fingerprint != plan.fingerprint
        with pytest.raises(FingerprintError):
            _claim(bench, plan.plan_id, planned.plan.plan_id)


def _claim(bench: Workbench, plan_id: str, other_id: str) -> None:
    """Move a file of one plan under the name of another's."""
    from dataclasses import replace

    landing = Landing.open(str(bench.data), bench.pull.name)
    other = landing.read_plan(other_id)
    mine = replace(other, plan_id=plan_id, identity={**other.identity, "instance": "https://elsewhere"})
    (result,) = [one for one in bench.land(other, other.slices[:1]) if isinstance(one, Landed)]
    folder = Path(landing.location)
    (folder / plan_id).mkdir(exist_ok=True)
    (folder / result.file.path).rename(folder / plan_id / Path(result.file.path).name)
    landing.all_landed(mine)


def test_one_refused_page_stops_what_is_queued(server: SimulatorServer) -> None:
    """Item 10: one 403 was raised only after all 60 pages had been asked for; so was a consumer that left early."""
    server.faults.add(kind="query_forbidden_403", table="incident", narrow=False)
    before = len(server.requests)
    with _client(server, max_workers=4, page_size=10) as client, pytest.raises(ForbiddenError):
        list(client.concurrent_get_records("incident", "", FIELDS))
    pages = [one for one in list(server.requests)[before:] if one.params.get("sysparm_fields") == ",".join(FIELDS)]
    assert 1 <= len(pages) <= 4  # what the workers had in flight


def test_a_consumer_that_stops_is_not_read_ahead_of(server: SimulatorServer) -> None:
    """Items 10 and 11: every page was fetched and kept, however slow the consumer, and also when it had gone."""
    workers = 4
    with _client(server, max_workers=workers, page_size=10) as client:
        before = len(server.requests)
        records = client.concurrent_get_records("incident", "", FIELDS)
        next(records)
        records.close()
        asked = [one for one in list(server.requests)[before:] if one.params.get("sysparm_fields") == ",".join(FIELDS)]
    # In the consumer's hands, in the queue, in the workers' hands, and in flight.
    assert len(asked) <= 1 + 3 * workers < ROWS // 10


def test_a_wait_that_one_thread_is_told_holds_for_all(server: SimulatorServer) -> None:
    """Item 12: only the thread that met a 429 waited; the others went on hammering.

    For 0.8 s after the first refusal everything is refused: only what was in flight then may meet that.
    """
    workers = 4
    server.faults.add(
        kind="rate_limited_429",
        table="incident",
        narrow=False,
        after=3,
        lasting=0.8,
        retry_after=1,
        send_retry_after=True,
    )
    with _client(server, max_workers=workers, page_size=20) as client:
        assert sorted(_threaded(client)) == _ids(server)
    assert 1 <= len(server.requests.find(status=429)) <= workers


def test_a_token_that_ends_is_renewed_once_for_all_threads(server: SimulatorServer) -> None:
    """Item 13: one expiry under 16 threads cost 17 token requests."""
    credentials = Credentials(
        client_id="client",
        client_secret="secret",
        username=server.username,
        password=server.password,
    )
    with _client(server, credentials=credentials, max_workers=16, page_size=20) as client:
        assert len(_in_order(client)) == ROWS
        before = len(server.requests.find(kind="token"))
        server.sim.tokens.revoke()
        assert sorted(_threaded(client)) == _ids(server)
        assert len(server.requests.find(kind="token")) - before == 1


def test_times_are_aware_and_the_servers(server: SimulatorServer, bench: Workbench) -> None:
    """Item 14: a time's zone was dropped, 8 hours lost. Deltas come later; cut-offs are aware, UTC, the server's."""
    plan = bench.plan().plan
    offset = plan.as_of.utcoffset()
    assert offset is not None
    assert offset.total_seconds() == 0
    assert abs((plan.as_of - server.sim.clock.now()).total_seconds()) < 3_600


@pytest.mark.parametrize(("display_value", "date_format"), [("true", "MM-dd-yyyy"), ("all", "dd.MM.yyyy")])
def test_formats_and_zone_of_the_user_change_nothing(
    server: SimulatorServer, tmp_path: Path, display_value: str, date_format: str
) -> None:
    """Item 15: under display values and a date format that it did not know, a comparison called itself complete."""
    account = server.sim.knobs.accounts[server.username]
    account.time_zone, account.date_format = "America/Los_Angeles", date_format
    bench = Workbench(
        server, tmp_path / "data", page_size=PAGE, fields=("sys_created_on", "number"), display_value=display_value
    )
    totals = bench.pull_all()
    assert (totals.landed, totals.hidden, totals.missing) == (ROWS, 0, 0)


def test_bounds_hold_in_every_group_of_a_query(server: SimulatorServer, bench: Workbench) -> None:
    """Item 16: a cursor that stood in the last ^NQ group only repeated the first group's rows."""
    query = "active=true^NQpriority=1^ORstate=6"
    rows = server.sim.rows("incident")
    wanted = {one["sys_id"] for one in rows if one["active"] == "true" or one["priority"] == "1" or one["state"] == "6"}
    bench.pull = bench.pull.model_copy(update={"query": query})
    plan = bench.plan().plan
    assert [result.error for result in bench.land(plan) if isinstance(result, Failed)] == []
    assert bench.ids(plan) == dict.fromkeys(wanted, 1)
    with _client(server) as client:
        assert Counter(_threaded(client, query)) == dict.fromkeys(wanted, 1)


@pytest.mark.parametrize(("kind", "error"), [("unauthorized_401", CredentialsError), ("forbidden_403", ForbiddenError)])
def test_a_refusal_is_never_skipped(
    server: SimulatorServer, bench: Workbench, kind: str, error: type[Exception]
) -> None:
    """Item 17: skipping failed pages skipped 401 and 403, too: 0 rows, no exception."""
    bench.pull = bench.pull.model_copy(update={"unreadable_rows": "skip"})
    plan = bench.plan().plan
    server.faults.add(kind=kind, table="incident")
    failed = [result.error for result in bench.land(plan) if isinstance(result, Failed)]
    assert len(failed) == len(plan.slices)
    assert any(isinstance(one, error) for one in failed)
    with pytest.raises(PlanIncomplete):
        reconcile(plan, bench.landing, bench.pull)
    assert published(bench.landing) is None


def test_rows_created_in_one_second_all_come(tmp_path: Path) -> None:
    """An order by creation time alone loses and doubles rows of one second while the count still matches."""
    with Simulator(rows={"incident": 400}, seed=2).serve() as tied:
        for sys_id in _ids(tied):
            tied.sim.update("incident", sys_id, sys_created_on="2026-01-01 00:00:00")
        bench = Workbench(tied, tmp_path / "data", page_size=30, query="ORDERBYsys_created_on", fields=FIELDS)
        totals = bench.pull_all()
        assert bench.ids(bench.landing.read_plan(totals.plan)) == dict.fromkeys(_ids(tied), 1)


@pytest.mark.slow
def test_more_than_ten_thousand_rows_are_no_limit(tmp_path: Path) -> None:
    """The platform's default limit of 10,000 silently ended other reads: 28,124 rows, 10,000 came."""
    with Simulator(rows={"incident": 10_500}, seed=2).serve() as many:
        bench = Workbench(many, tmp_path / "data", page_size=10_000, fields=("number",))
        totals = bench.pull_all()
        assert (totals.landed, totals.missing) == (10_500, 0)
        assert publish(bench.landing.read_plan(totals.plan), totals, bench.landing, bench.pull).rows == 10_500

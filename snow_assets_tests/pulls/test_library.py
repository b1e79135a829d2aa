"""Whole pulls from plain Python: ``pull_to`` and ``lazy_pull_to``."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import snow_assets
from snow_assets.config import load_settings
from snow_assets.errors import ConfigError, ForbiddenError, LeaseHeld, PlanIncomplete, PublishRefused, SnowError
from snow_assets.pulls import Failed, Landed, Plan, Slice, land_slices, library, published, pull_status
from snow_assets.pulls.declared import place_of_pull
from snow_assets.pulls.lease import lease_holder
from snow_assets.pulls.library import lazy_pull_to, pull_to
from snow_assets.pulls.progress import Progress
from snow_assets.servicenow.client import Client
from snow_assets.simulator import SimulatorServer
from snow_assets_tests.conftest import Hold
from snow_assets_tests.pulls.asked import only_of, ranges_asked
from snow_assets_tests.pulls.conftest import FIELDS, ROWS, Workbench, read_plainly, sys_id_of

PAGE = 150
SETTINGS: dict[str, Any] = {"table": "incident", "fields": FIELDS, "page_size": PAGE, "slice_rows": 2 * PAGE}


@pytest.fixture
def workbench(instance: SimulatorServer, tmp_path: Path) -> Iterator[Workbench]:
    """Slices of two pages, of the instance that is shared."""
    yield Workbench(instance, tmp_path / "data", page_size=PAGE, slice_rows=2 * PAGE)
    instance.faults.clear()


@pytest.fixture
def client(workbench: Workbench) -> Iterator[Client]:
    with workbench.client(max_retries=0) as client:
        yield client


@pytest.fixture
def path(workbench: Workbench) -> Path:
    workbench.server.requests.clear()
    return workbench.data / "incidents"


def planned(workbench: Workbench, *broken: int) -> tuple[Plan, list[Slice]]:
    """A plan, some of whose slices the instance cannot answer."""
    plan = workbench.plan().plan
    pieces = [plan.slices[at] for at in broken]
    for piece in pieces:
        workbench.server.faults.add(
            {"kind": "error_500", "table": "incident", "query": "sys_id<", "low": f"{piece.lo}+", "high": piece.hi}
        )
    return plan, pieces


def mended(server: SimulatorServer) -> None:
    server.faults.clear()
    server.requests.clear()


@pytest.fixture
def truth(instance: SimulatorServer) -> dict[str, dict[str, Any]]:
    return {sys_id_of(record): record for record in read_plainly(instance, "incident", FIELDS, "all")}


def test_a_pull_gives_each_record_as_the_api_gave_it(
    client: Client, path: Path, truth: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    pulled = pull_to(path, client, **SETTINGS)

    assert list(pulled.records()) == [truth[sys_id] for sys_id in sorted(truth)]
    assert pulled.to_jsonl(tmp_path / "incidents.jsonl") == ROWS
    written = (tmp_path / "incidents.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in written] == [truth[sys_id] for sys_id in sorted(truth)]
    assert pulled.to_table(["number"], flat=True).column_names == ["number", "number_display"]
    assert pulled.to_table().equals(snow_assets.read("incidents", data=str(path.parent)))


def test_what_is_pulled_is_published_and_told(client: Client, path: Path, workbench: Workbench) -> None:
    pulled = pull_to(str(path), client, query="active=true^ORDERBYDESCnumber", **SETTINGS)

    assert pulled.dataset.plan == pulled.plan_id
    assert published(workbench.landing) is not None
    assert (pulled.table, pulled.query, pulled.location) == ("incident", "active=true", str(path))
    assert (pulled.missing, pulled.hidden, pulled.differences) == (0, 0, ())
    asked = workbench.asked()
    assert pulled.requests == asked
    assert pulled.rows == pulled.counted == client.get_count("incident", "active=true")
    assert str(pulled) == (
        f"incidents: {pulled.rows:,} rows published (counted {pulled.rows:,}, hidden 0), plan {pulled.plan_id}"
    )
    assert lease_holder(workbench.landing) is None


def test_failed_slices_are_told_and_only_they_are_asked_for_again(
    client: Client, path: Path, workbench: Workbench
) -> None:
    plan, broken = planned(workbench, 2, 4)

    with pytest.raises(SnowError) as failure:
        pull_to(path, client, **SETTINGS)
    total = len(plan.slices)
    kept = f"2 of {total} slices of pull incidents failed, {total - 2} have landed and are kept"
    assert kept in str(failure.value)
    assert published(workbench.landing) is None
    mended(workbench.server)
    pulled = pull_to(path, client, **SETTINGS)

    assert only_of(broken, ranges_asked(workbench.server))
    assert pulled.requests == workbench.asked()
    assert (pulled.plan_id, pulled.rows, pulled.adopted) == (plan.plan_id, ROWS, total - 2)


def test_a_right_that_is_lost_stops_the_others_and_is_the_cause_that_is_raised(
    client: Client, path: Path, workbench: Workbench
) -> None:
    plan = workbench.plan().plan
    workbench.land(plan, plan.slices[:2])
    workbench.server.faults.add({"kind": "forbidden_403", "table": "incident", "query": "sys_id<"})

    with pytest.raises(ForbiddenError) as failure:
        pull_to(path, client, max_workers=1, **SETTINGS)

    told = f"1 of {len(plan.slices)} slices of pull incidents failed, {len(plan.slices) - 3} were not asked for, 2 have"
    assert told in str(failure.value)
    mended(workbench.server)
    assert pull_to(path, client, **SETTINGS).adopted == 2


def test_a_pull_whose_slices_have_all_landed_is_only_published(
    client: Client, path: Path, workbench: Workbench
) -> None:
    plan = workbench.plan().plan
    workbench.land(plan)
    workbench.server.requests.clear()

    pulled = pull_to(path, client, **SETTINGS)

    assert ranges_asked(workbench.server) == []
    assert (pulled.plan_id, pulled.adopted, pulled.dataset.changed) == (plan.plan_id, len(plan.slices), True)


def test_a_pull_that_is_published_is_pulled_anew(client: Client, path: Path) -> None:
    first = pull_to(path, client, **SETTINGS)
    second = pull_to(path, client, **SETTINGS)

    assert second.plan_id > first.plan_id
    assert second.adopted == 0


def test_settings_in_python_and_in_yaml_are_the_same_pull(
    client: Client, path: Path, workbench: Workbench, tmp_path: Path
) -> None:
    written = tmp_path / "pulls.yaml"
    written.write_text(
        "pulls: {incidents: {table: incident, query: ' active=true^ORDERBYnumber', display_value: all,"
        f" fields: [{', '.join(FIELDS)}], page_size: {PAGE}, slice_rows: {2 * PAGE}, max_plan_age: 2d}}}}\n"
    )
    declared = load_settings(written).pulls["incidents"]
    workbench.pull = declared
    plan, broken = planned(workbench, 1)
    settings = {**SETTINGS, "query": "active=true", "max_plan_age": "2d", "max_workers": 3}
    with pytest.raises(SnowError, match=f"1 of {len(plan.slices)} slices"):
        pull_to(path, client, **settings)
    mended(workbench.server)

    pulled = pull_to(path, client, pull=declared)

    assert (pulled.plan_id, pulled.totals.fingerprint) == (plan.plan_id, plan.fingerprint)
    assert only_of(broken, ranges_asked(workbench.server))


def test_other_settings_begin_a_new_plan_and_it_is_told(
    client: Client, path: Path, workbench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    plan = workbench.plan().plan
    pulled = pull_to(path, client, **{**SETTINGS, "query": "priority=1"})
    assert pulled.plan_id > plan.plan_id
    assert workbench.landing.plan_ids() == [pulled.plan_id]
    told = [record.getMessage() for record in caplog.records if record.name == library.__name__]
    assert [f"plan {plan.plan_id} of pull incidents was not finished" in line for line in told] == [True]


def test_other_sizes_go_on_with_the_plan_as_it_was_cut(client: Client, path: Path, workbench: Workbench) -> None:
    with lazy_pull_to(path, client, **SETTINGS) as records:
        next(records)
    plan = workbench.landing.latest_plan()
    pulled = pull_to(path, client, **{**SETTINGS, "page_size": 99, "slice_rows": 500, "max_workers": 1})
    assert plan is not None
    assert (pulled.plan_id, pulled.adopted > 0) == (plan.plan_id, True)


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no table": ({"table": None}, "table", "is missing"),
    "a table's name": ({"table": "the incidents"}, "table", "is not a table's name"),
    "page size": ({"page_size": 0}, "page_size", "is less than 1"),
    "page size as text": ({"page_size": "100"}, "page_size", "is not a whole number"),
    "fields as text": ({"fields": "number"}, "fields", "is not a list"),
    "no fields": ({"fields": []}, "fields", "is an empty list"),
    "a field twice": ({"fields": ["number", "number"]}, "fields", "names number twice"),
    "display value": ({"display_value": "both"}, "display_value", "is not one of"),
    "duration": ({"max_plan_age": "soon"}, "max_plan_age", "is neither a number of seconds"),
    "delta that cannot be": ({"mode": "delta", "key": ["number"]}, "mode", "cannot have a key of its own"),
    "a misspelt one": ({"hidden_row": "fail"}, "hidden_row", "did you mean hidden_rows?"),
    "one of the client": ({"max_retries": 9}, "max_retries", "give it to Client(..., max_retries=...)"),
    "one of Dagster": ({"schedule": "@daily"}, "schedule", "is for Dagster alone"),
    "accept and new": ({"accept": "20261120T020000Z", "new": True}, "accept", "does not go with new"),
    "accept without a plan": ({"accept": "20261120T020000Z"}, "accept", "it has no plan"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_is_named_and_nothing_is_asked_for_or_written(
    client: Client, path: Path, workbench: Workbench, case: str
) -> None:
    changes, key, message = WRONG[case]
    with pytest.raises(ConfigError) as failure:
        pull_to(path, client, **{**SETTINGS, **changes})
    assert failure.value.key == key
    assert message in str(failure.value)
    assert workbench.asked() == 0
    assert not workbench.data.exists()


@pytest.mark.parametrize("wrong", ["", ".", "data/in cidents", "data/1st", "s3://bucket", "data/incidents.current"])
def test_a_path_ends_in_the_name_of_a_pull(client: Client, wrong: str) -> None:
    with pytest.raises(ConfigError) as failure:
        pull_to(wrong, client, table="incident")
    assert failure.value.key == "path"


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("incidents", (".", "incidents")),
        ("/data/incidents/", ("/data", "incidents")),
        (Path("data") / "incidents", ("data", "incidents")),
        ("s3://bucket/data/incidents", ("s3://bucket/data", "incidents")),
        ("file:///data/incidents", ("file:///data", "incidents")),
    ],
)
def test_a_path_is_the_folder_of_landings_and_a_name(path: str | Path, place: tuple[str, str]) -> None:
    assert place_of_pull(path) == place


def test_a_pull_of_pulls_yaml_is_given_whole_and_under_its_name(
    client: Client, path: Path, workbench: Workbench
) -> None:
    with pytest.raises(ConfigError, match=r"query.*pull= has them all"):
        pull_to(path, client, pull=workbench.pull, query="active=true")
    with pytest.raises(ConfigError, match="end the path in incidents"):
        pull_to(path.with_name("changes"), client, pull=workbench.pull)
    assert not workbench.data.exists()


def test_a_client_of_asyncio_is_refused(path: Path) -> None:
    client: Any = object()
    with pytest.raises(ConfigError, match=r"asyncio\.to_thread"):
        pull_to(path, client, table="incident")


def test_a_pull_on_which_another_process_works_is_left_alone(
    client: Client, path: Path, workbench: Workbench, another_process: Hold
) -> None:
    with another_process(workbench.data, "incidents"), pytest.raises(LeaseHeld, match="snow-assets pull, process 1"):
        pull_to(path, client, **SETTINGS)
    assert workbench.asked() == 0


def test_a_pull_on_which_this_process_works_is_left_alone(client: Client, path: Path, workbench: Workbench) -> None:
    with lazy_pull_to(path, client, **SETTINGS) as records:
        next(records)
        with ThreadPoolExecutor(1) as pool, pytest.raises(LeaseHeld, match="a Python program"):
            pool.submit(pull_to, path, client, **SETTINGS).result()
        assert len(list(records)) == ROWS - 1
    assert workbench.landing.plan_ids() == [published(workbench.landing).plan]  # type: ignore[union-attr]


def test_a_signal_ends_the_threads_and_leaves_what_landed_and_the_client(
    client: Client, path: Path, workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(KeyboardInterrupt):
        pass

    def interrupted(*arguments: Any) -> Iterator[Landed | Failed]:
        for number, outcome in enumerate(land_slices(*arguments)):
            if number == 3:
                raise Interrupted
            yield outcome

    monkeypatch.setattr(library, "land_slices", interrupted)
    with pytest.raises(Interrupted):
        pull_to(path, client, **SETTINGS)
    monkeypatch.undo()
    assert [thread for thread in threading.enumerate() if thread.name.startswith("slice-")] == []
    landed = pull_status("incidents", workbench.landing).landed
    assert landed >= 3

    assert client.get_count("incident") == ROWS
    assert pull_to(path, client, **SETTINGS).adopted == landed


def test_fewer_rows_are_published_when_their_plan_is_accepted(own: Workbench) -> None:
    path = own.data / "incidents"
    settings: dict[str, Any] = {"table": "incident", "fields": ["number"]}
    with own.client() as client:
        before = pull_to(path, client, **settings)
        for row in list(own.sim.rows("incident"))[:400]:
            own.sim.delete("incident", row["sys_id"])
        with pytest.raises(PublishRefused) as refused:
            pull_to(path, client, **settings)
        newest = own.landing.plan_ids()[-1]
        assert f"in Python: accept='{newest}'" in str(refused.value)
        with pytest.raises(ConfigError, match=f"its newest plan is {newest}"):
            pull_to(path, client, accept=before.plan_id, **settings)
        with pytest.raises(ConfigError, match=f"query 'active=true': is not that of plan {newest}"):
            pull_to(path, client, accept=newest, query="active=true", **settings)
        own.server.requests.clear()

        pulled = pull_to(path, client, accept=newest, **settings)

    assert (pulled.plan_id, pulled.rows, pulled.requests, own.asked()) == (newest, 800, 0, 0)


def test_a_delta_pull_gives_its_current_rows(own: Workbench) -> None:
    path = own.data / "incidents"
    settings: dict[str, Any] = {"table": "incident", "fields": ["number", "short_description"]}
    with own.client() as client:
        pull_to(path, client, mode="delta", deletes="keys", **settings)
        changed, gone = [row["sys_id"] for row in list(own.sim.rows("incident"))[5:7]]
        own.sim.update("incident", changed, short_description="another")
        own.sim.delete("incident", gone)
        own.server.requests.clear()

        pulled = pull_to(path, client, mode="delta", deletes="keys", **settings)

    texts = {sys_id_of(record): record["short_description"]["value"] for record in pulled.records()}
    assert texts == {row["sys_id"]: row["short_description"] for row in own.sim.rows("incident")}
    assert texts[changed] == "another"
    assert (pulled.rows, pulled.to_table().num_rows) == (1_199, 1_199)
    assert pulled.totals.sweep is not None
    assert pulled.requests == own.asked()
    assert str(pulled).endswith("; 1,199 current rows")


def test_records_come_as_their_slices_land_and_then_it_is_published(
    client: Client, path: Path, workbench: Workbench, truth: dict[str, dict[str, Any]]
) -> None:
    plan = workbench.plan().plan
    workbench.land(plan, plan.slices[-2:])
    first = sys_id_of(workbench.landed_records(plan)[0])
    records = lazy_pull_to(path, client, **SETTINGS)

    given = [next(records)]
    assert sys_id_of(given[0]) == first
    assert (records.pulled, published(workbench.landing)) == (None, None)
    given += records

    assert len(given) == ROWS
    assert {sys_id_of(record): record for record in given} == truth
    assert records.pulled is not None
    assert (records.pulled.plan_id, records.pulled.adopted) == (plan.plan_id, 2)


def test_closing_early_keeps_what_landed_and_all_is_given_again(
    client: Client, path: Path, workbench: Workbench
) -> None:
    with lazy_pull_to(path, client, **SETTINGS) as records:
        for _ in range(2 * PAGE + 1):
            next(records)
    status = pull_status("incidents", workbench.landing)
    assert status.landed >= 2
    assert (records.pulled, status.running) == (None, None)
    assert [thread for thread in threading.enumerate() if thread.name.startswith("slice-")] == []
    plan = workbench.landing.read_plan(workbench.landing.plan_ids()[0])
    missing = [plan.slice(key) for key in status.missing]
    workbench.server.requests.clear()

    again = lazy_pull_to(path, client, **SETTINGS)

    assert len({sys_id_of(record) for record in again}) == ROWS
    assert only_of(missing, ranges_asked(workbench.server))
    assert again.pulled is not None
    assert again.pulled.adopted == status.landed


def test_an_iterator_ends_with_the_error_of_its_failed_slices(client: Client, path: Path, workbench: Workbench) -> None:
    plan, [broken] = planned(workbench, 4)
    records = lazy_pull_to(path, client, **SETTINGS)
    given: list[dict[str, Any]] = []
    with pytest.raises(SnowError, match=f"1 of {len(plan.slices)} slices"):
        given.extend(records)
    assert records.pulled is None
    assert not [sys_id for sys_id in map(sys_id_of, given) if str(broken.lo) <= sys_id < str(broken.hi)]


def test_a_file_that_rotted_is_not_given_but_fetched_again(client: Client, path: Path, workbench: Workbench) -> None:
    plan = workbench.plan().plan
    workbench.land(plan)
    file = workbench.landing.all_landed(plan)[plan.slices[2]]
    target = path / file.path
    rotten = bytearray(target.read_bytes())
    rotten[200] ^= 1
    target.write_bytes(rotten)
    records = lazy_pull_to(path, client, **SETTINGS)
    with pytest.raises(PlanIncomplete, match="set aside; run the pull again"):
        next(records)
    workbench.server.requests.clear()

    assert len(list(lazy_pull_to(path, client, **SETTINGS))) == ROWS
    assert only_of([plan.slices[2]], ranges_asked(workbench.server))


def test_a_delta_is_not_given_slice_by_slice(client: Client, path: Path) -> None:
    with pytest.raises(ConfigError, match="call pull_to") as failure:
        lazy_pull_to(path, client, mode="delta", **SETTINGS)
    assert failure.value.key == "mode"


def test_a_file_of_lines_is_whole_or_as_it_was(client: Client, path: Path, tmp_path: Path) -> None:
    pulled = pull_to(path, client, **SETTINGS)
    out = tmp_path / "incidents.jsonl"
    out.write_text("as it was")
    last = Path(pulled.dataset.files[-1])
    last.rename(last.with_suffix(".away"))

    with pytest.raises(SnowError, match="is gone"):
        pulled.to_jsonl(out)

    assert out.read_text() == "as it was"
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == [out.name]
    with pytest.raises(ConfigError, match="mkdir -p"):
        pulled.to_jsonl(tmp_path / "there" / "incidents.jsonl")


def test_progress_is_told_of_this_pull_alone(client: Client, path: Path) -> None:
    mine: list[Progress] = []
    theirs: list[Progress] = []
    with lazy_pull_to(path.with_name("others"), client, on_progress=theirs.append, **SETTINGS) as records:
        next(records)
        pulled = pull_to(path, client, on_progress=mine.append, **SETTINGS)
    assert {(event.pull, event.plan_id) for event in mine} == {("incidents", pulled.plan_id)}
    assert max(event.rows for event in mine) == ROWS
    assert {event.pull for event in theirs} == {"others"}


def test_pulls_land_in_threads_beside_an_event_loop(client: Client, path: Path) -> None:
    async def main() -> list[int]:
        pulls = [
            asyncio.to_thread(
                pull_to, path.with_name(f"priority_{number}"), client, query=f"priority={number}", **SETTINGS
            )
            for number in (1, 2)
        ]
        return [pulled.rows for pulled in await asyncio.gather(*pulls)]

    assert asyncio.run(main()) == [client.get_count("incident", f"priority={number}") for number in (1, 2)]

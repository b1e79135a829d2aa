"""The marts, built by dbt on a simulated instance's data and on the real log: figures, columns, files and docs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from snow_assets.assets.dbt import Warehouse
from snow_assets.config import Credentials, Environment, PullConfig, load_settings
from snow_assets.pulls import Failed, Landing, land_slices, make_plan, publish, reconcile, sweep
from snow_assets.pulls.current import bring_up
from snow_assets.resources import LandingResource
from snow_assets.servicenow.client import Client
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets.simulator.generate import generate
from snow_assets_tests.warehouse import figures

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "warehouse.md"
LOG = Path(os.environ.get("SNOW_EVENT_LOG", ROOT.parent / "shared" / "data" / "incident_event_log.csv.gz"))
MIDNIGHT = datetime(2026, 11, 1, tzinfo=UTC)
KEPT = {"page_size": 1000, "retry_backoff": 0.01}


@dataclass(frozen=True)
class Built:
    """What dbt built from what an instance's pulls published."""

    rows: Sequence[figures.Row]  # of the incidents, as the instance stores them
    as_of: datetime
    warehouse: Warehouse
    status: Mapping[str, str]

    @property
    def incidents(self) -> list[figures.Incident]:
        return [figures.incident(row) for row in self.rows]

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.warehouse.database), read_only=True) as connection:
            return connection.execute(sql).fetchall()

    def mart(self, name: str, keys: str, columns: str) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        """A mart's figures by its three keys."""
        return {row[:3]: row[3:] for row in self.query(f"select {keys}, {columns} from {name}")}


def build(folder: Path, pulls: list[PullConfig]) -> tuple[Warehouse, dict[str, str]]:
    """``dbt build`` over what the pulls published, as Dagster calls it; the status of each node."""
    warehouse = Warehouse.of(Environment({"SNOW_DATA_DIR": str(folder / "data")}, folder))
    with warehouse.written_to():
        given = json.dumps(warehouse.refresh(LandingResource(data=str(folder / "data")), pulls))
    project = str(ROOT / "dbt")
    where = ["--project-dir", project, "--profiles-dir", project, "--target-path", str(folder / "target")]
    command = [str(Path(sys.executable).with_name("dbt")), "--log-path", str(folder / "logs"), "build", "--quiet"]
    environment = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    done = subprocess.run(
        [*command, *where, "--vars", given], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    results = json.loads((folder / "target" / "run_results.json").read_bytes())["results"]
    return warehouse, {each["unique_id"].split(".")[2]: each["status"] for each in results}


def pull_once(server: SimulatorServer, pull: PullConfig, landing: Landing) -> datetime:
    """Publish a pull as its runs do, a delta pull with its current rows; returns the clock of its plan."""
    with Client(server.url, Credentials(username=server.username, password=server.password)) as client:
        plan = make_plan(pull, client, landing).plan
        failed = [each for each in land_slices(plan, plan.slices, pull, client, landing) if isinstance(each, Failed)]
        assert not failed
        if pull.mode == "delta":
            sweep(plan, pull, client, landing)
    publish(plan, reconcile(plan, landing, pull), landing, pull)
    if pull.mode == "delta":
        bring_up(landing, pull)
    return naive(plan.as_of)


def naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """The example pulls on 2,000 generated incidents, and an hour later once more: three changed, one was deleted."""
    folder = tmp_path_factory.mktemp("marts")
    declared = load_settings(ROOT / "pulls.yaml").pulls.values()
    pulls = [
        pull.model_copy(update={**KEPT, "deletes": "keys" if pull.mode == "delta" else "off"}) for pull in declared
    ]
    sim = Simulator(tables=generate({"incident": 2000}, 1, MIDNIGHT), at=MIDNIGHT)
    sim.clock.stop()
    sim.clock.set(MIDNIGHT)
    seen: dict[str, datetime] = {}
    with sim.serve() as server:
        for later in (False, True):
            if later:
                change(sim)
            for pull in pulls:
                landing = Landing.open(str(folder / "data"), pull.name)
                if pull.mode == "delta" or not later:
                    seen[pull.name] = pull_once(server, pull, landing)
        warehouse, status = build(folder, pulls)
        yield Built(sim.rows("incident"), seen["incidents"], warehouse, status)


def change(sim: Simulator) -> None:
    """One incident is taken up, solved and reopened; another one is deleted."""
    sim.clock.advance(hours=1)
    new = [row for row in sim.rows("incident") if row["state"] == "1"]
    first, second, third, gone = (row["sys_id"] for row in sorted(new, key=lambda row: row["number"])[:4])
    now = sim.clock.stored()
    sim.update("incident", first, state="2")
    sim.update("incident", second, state="6", resolved_at=now, close_notes="Restarted.")
    sim.update("incident", third, priority="1", urgency="1", impact="1")
    sim.delete("incident", gone)
    sim.clock.advance(minutes=5)


def test_every_model_builds_and_every_test_passes(built: Built) -> None:
    assert set(built.status.values()) == {"success", "pass"}, built.status


def test_the_marts_figures_are_those_counted_without_sql(built: Built) -> None:
    assert len(built.incidents) == 1999
    compare(built, "assignment_group", "category")


def compare(built: Built, group: str, category: str) -> None:
    """Hold every mart against the figures in plain Python."""
    incidents, as_of = built.incidents, built.as_of
    keys = f"replace({group}, '(none)', ''), priority"
    volume = built.mart("incident_volume", f"day, priority, {category}", "opened, resolved, closed")
    assert volume == {key: tuple(counts) for key, counts in figures.volume(incidents, as_of).items()}
    backlog = built.mart("incident_backlog", "taken_at, priority, age", "incidents")
    assert {key: count for key, (count,) in backlog.items()} == figures.backlog(incidents, as_of)
    hours = "incidents, still_open, resolved, median_hours_to_resolve, p90_hours_to_resolve"
    equal(built.mart("incident_resolution", f"opened_month, {keys}", hours), figures.resolution(incidents))
    rates = "incidents, reopened, reopens, reassigned, reassignments, reopen_rate, reassignment_rate"
    equal(built.mart("incident_rework", f"opened_month, {keys}", rates), figures.rework(incidents))
    kept = "incidents, kept, breached, kept_rate"
    equal(built.mart("incident_sla", f"ended_month, {keys}", kept), figures.sla(incidents, as_of))


def equal(found: Mapping[tuple[Any, ...], tuple[Any, ...]], expected: Mapping[Any, tuple[Any, ...]]) -> None:
    """The same keys and, but for rounding, the same figures."""
    assert found.keys() == expected.keys()
    wrong = {
        key: (row, expected[key])
        for key, row in found.items()
        if row != pytest.approx(expected[key], abs=0.006, nan_ok=True)
    }
    assert not wrong


def test_the_corpora_hold_what_their_queries_find(built: Built) -> None:
    """But for a day at their edges: relative dates count in the account's time zone."""
    found = {sys_id for (sys_id,) in built.query("select sys_id from corpus_recommendation where length(text) > 10")}
    solved = [row for row in built.rows if row["state"] in "67" and row.get("close_notes")]
    assert {row["sys_id"] for row in solved if "2024-11-02" < row["sys_updated_on"] < "2026-11-01"} <= found
    assert found <= {row["sys_id"] for row in solved if row["sys_updated_on"] > "2024-10-30"}
    [(text, title, solution)] = built.query(
        "select text, short_description, close_notes from corpus_recommendation order by number limit 1"
    )
    assert text == f"{title}\n\n{solution}"
    found = {sys_id for (sys_id,) in built.query("select sys_id from corpus_duplicates")}
    open_ = [row for row in built.rows if row["state"] in "12345"]
    assert {row["sys_id"] for row in open_ if row["opened_at"] > "2026-09-03"} <= found
    assert found <= {row["sys_id"] for row in open_ if row["opened_at"] > "2026-08-31"}


def test_journals_are_joined_to_their_incidents(built: Built) -> None:
    number, entries, last = built.query(
        "select number, count(*), max(entry) from incident_journal group by number order by 2 desc, 1 limit 1"
    )[0]
    assert entries == last > 3
    [(found,)] = built.query(f"select count(*) from stg_incidents where number = '{number}'")
    assert found == 1


def test_every_column_is_typed_as_the_dictionary_says(built: Built) -> None:
    types = dict(built.query("select column_name, data_type from duckdb_columns() where table_name = 'stg_incidents'"))
    assert {types[name] for name in ("opened_at", "sys_updated_on", "sla_due")} == {"TIMESTAMP"}
    assert {types[name] for name in ("business_duration", "calendar_duration", "time_worked")} == {"INTERVAL"}
    assert {types[name] for name in ("priority", "reopen_count", "calendar_stc")} == {"BIGINT"}
    assert {types[name] for name in ("active", "made_sla", "knowledge")} == {"BOOLEAN"}
    assert {types[name] for name in ("caller_id", "caller_id_display", "opened_by_display", "category")} == {"VARCHAR"}
    durations = built.query("select epoch(business_duration), business_duration_display from stg_incidents")
    assert any(seconds and display for seconds, display in durations)


def test_every_column_of_every_model_is_described(built: Built) -> None:
    described: dict[str, list[str]] = {}
    for path in (ROOT / "dbt" / "models").rglob("*.yml"):
        for model in YAML(typ="safe").load(path).get("models", ()):
            described[model["name"]] = [column["name"] for column in model["columns"] if column["description"]]
            assert model["description"]
            assert model["data_tests"]
    there: dict[str, list[str]] = {}
    for model, column in built.query(
        "select table_name, column_name from duckdb_columns() where schema_name = 'main' and not internal"
    ):
        there.setdefault(model, []).append(column)
    assert there.keys() == described.keys()
    for model, columns in there.items():
        assert not set(described[model]) - set(columns), model
        typed = model in {"incidents_current", "stg_incidents", "incidents_history", "choice_labels"}
        typed |= model.startswith("corpus_")  # what else the pull lands follows
        assert typed or described[model] == columns, model


def test_history_and_current_rows_agree_with_what_happened(built: Built) -> None:
    ended = built.query("select ended_by, count(*) from incidents_history group by 1 order by 2")
    assert ended == [("deleted", 1), ("update", 3), (None, 1999)]
    [(state, by, at)] = built.query(
        "select _state, _deleted_by, _deleted_at from incidents_current where _state <> 'live'"
    )
    assert (state, by) == ("deleted", "keys")
    assert at > datetime(2026, 11, 1)  # noqa: DTZ001


def test_tables_lie_in_parquet_too_and_can_be_read_while_dbt_writes(built: Built) -> None:
    tables = dict(built.query("select table_name, estimated_size from duckdb_tables() where schema_name = 'main'"))
    files = {path.stem: path for path in built.warehouse.parquet.glob("*.parquet")}
    assert files.keys() == tables.keys()
    with duckdb.connect(str(built.warehouse.database)):  # the one writer
        for name, path in files.items():
            assert pq.read_metadata(path).num_rows == tables[name]
        seconds = pq.read_table(files["incidents_current"], columns=["business_duration"]).to_pydict()
    assert any(value and value > 60 for value in seconds["business_duration"])


def test_the_answers_in_the_docs_are_what_the_queries_say(built: Built) -> None:
    """With ``UPDATE_DOCS=1`` they are renewed."""
    text = PAGE.read_text(encoding="utf-8")
    example = re.compile(r"(```sql\n(.*?)```\n\n)(\|.*?\|\n)(?=\n|\Z)", re.DOTALL)
    found = example.findall(text)
    assert len(found) >= 11
    renewed = example.sub(lambda match: match[1] + answer(built, match[2]), text)
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(renewed, encoding="utf-8")
    assert renewed == PAGE.read_text(encoding="utf-8"), "UPDATE_DOCS=1 pytest " + Path(__file__).name
    models = built.query("select table_name from duckdb_tables() where schema_name = 'main'")
    assert not [name for (name,) in models if f"`{name}`" not in text]


def answer(built: Built, sql: str) -> str:
    """What a query of the docs says, as a table in Markdown. It reads the Parquet files, as a reader would."""
    with duckdb.connect() as connection:
        result = connection.execute(sql.replace("data/warehouse", str(built.warehouse.parquet)))
        names = [str(column[0]) for column in result.description]
        rows = result.fetchall()
    lines = [names, ["---"] * len(names), *([_cell(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cell(cell: object) -> str:
    return "" if cell is None else str(cell).replace("\n", "<br>").replace("|", "\\|")


@pytest.mark.slow
@pytest.mark.skipif(not LOG.exists(), reason=f"THE REAL EVENT LOG IS NOT THERE ({LOG.name}): set SNOW_EVENT_LOG to it")
def test_the_marts_figures_are_those_of_the_real_log(tmp_path: Path) -> None:
    from snow_assets_tests.warehouse.replay_log import read_log, texts_of

    newest = {}
    for version in sorted(read_log(LOG)):
        newest[version.number] = texts_of(version)
    pull = PullConfig(name="incidents", table="incident", **KEPT)
    with Simulator(event_log=LOG).serve() as server:
        as_of = pull_once(server, pull, Landing.open(str(tmp_path / "data"), pull.name))
    warehouse, status = build(tmp_path, [pull])
    warned = {name for name, how in status.items() if how not in ("success", "pass")}
    assert warned <= {"stg_incidents_never_null"}  # the log does not know when some of them were created
    compare(Built(list(newest.values()), as_of, warehouse, status), "assignment_group_name", "category")

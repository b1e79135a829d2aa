"""``snow-assets demo``: all of it at work, on an embedded instance."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snow_assets.cli.app import App, command_options, note, table_lines
from snow_assets.cli.demo_files import PASSING, PULLS, lasting
from snow_assets.cli.demo_imports import IMPORTS, imported, write_files
from snow_assets.cli.estimate import human_bytes
from snow_assets.cli.failures import Reported
from snow_assets.cli.init_files import WORKSPACE
from snow_assets.errors import ConfigError

if TYPE_CHECKING:
    import duckdb

    from snow_assets.simulator import Simulator, SimulatorServer

MARKER = ".snow-assets-demo"  # in a folder that an earlier demonstration made, and that may be replaced
NAMES = ("incidents_closed", "incidents_active", "incidents")
BY_STATE = "select state_display as state, count(*) as incidents from incidents group by all order by 2 desc"
NOT_IMPORTED = "select sys_import_line as line, message from sys_import_set_row_error order by 1"
BY_PRIORITY = "select priority_display as priority, count(*) as incidents from incidents group by all order by 1"


@click.command()
@click.option("--rows", type=click.IntRange(1000, 1_000_000), default=12_000, help="Incidents.  [12000]")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), default="demo", help="[demo]")
@command_options
def demo(app: App, rows: int, folder: Path) -> None:
    """See it at work: an embedded instance, three pulls with faults, a delta, dbt, imports, and a summary.

    Everything lies in the folder demo, which a second demonstration replaces. Your own pulls and data are not touched.
    """
    started = time.monotonic()
    _make_folder(folder)
    note(f"starting an embedded ServiceNow instance with {rows:,} incidents ...")
    from snow_assets.simulator import Simulator

    sim = Simulator({"incident": rows}, seed=1)
    with sim.serve() as server:
        stage = Stage(folder.absolute(), server, quiet=app.json)
        stage.write()
        _play(stage)
    seconds = round(time.monotonic() - started)
    summary = stage.first
    ui = _ui_command(folder)
    command = shlex.quote(str(Path(sys.executable).with_name("snow-assets")))
    simulator = f"{command} simulate --port {server.port} --rows incident={rows}"
    data = {
        "folder": stage.folder,
        "seconds": seconds,
        "pulls": summary,
        "imports": imported(stage.folder, stage.variables),
    }
    data |= {"ui": ui, "simulator": simulator}
    app.result(data, _closing(stage, data))


@dataclass
class Stage:
    """The folder of the demonstration, and how commands are run in it."""

    folder: Path
    server: SimulatorServer
    quiet: bool
    dbt: Path | None = field(init=False)
    first: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        project = Path.cwd() / "dbt"
        self.dbt = project if (project / "dbt_project.yml").is_file() else None

    @property
    def variables(self) -> dict[str, str]:
        """What ``.env`` says."""
        return {
            "SNOW_INSTANCE_URL": self.server.url,
            "SNOW_USERNAME": self.server.username,
            "SNOW_PASSWORD": self.server.password,
            "SNOW_PULLS": str(self.folder / "pulls.yaml"),
            "SNOW_IMPORTS": str(self.folder / "imports.yaml"),
            "SNOW_DATA_DIR": str(self.folder / "data"),
            "SNOW_DBT_DIR": str(self.dbt or self.folder / "dbt"),
            "DAGSTER_HOME": str(self.folder / ".dagster"),
        }

    def write(self) -> None:
        """The files of a working folder."""
        from snow_assets.dagster_home import write_dagster_home

        (self.folder / "pulls.yaml").write_text(PULLS, encoding="utf-8")
        (self.folder / "imports.yaml").write_text(IMPORTS, encoding="utf-8")
        write_files(self.folder / "in")
        (self.folder / "workspace.yaml").write_text(WORKSPACE, encoding="utf-8")
        lines = [f"{name}={value}" for name, value in self.variables.items()]
        (self.folder / ".env").write_text("\n".join(lines) + "\n", encoding="utf-8")
        write_dagster_home(self.folder / ".dagster")

    def run(self, *arguments: str, expect: tuple[int, ...] = (0,)) -> None:
        """Run a command of ours in the folder. Raises `Reported` where it ends with another code than expected."""
        self.say(f"\n$ snow-assets {shlex.join(arguments)}")
        own = {name: value for name, value in os.environ.items() if not name.startswith("SNOW_")}
        command = [sys.executable, "-m", "snow_assets.cli.main", *arguments]
        done = subprocess.run(  # noqa: S603 - our own command
            command, cwd=self.folder, env={**own, **self.variables}, stdout=self.stream, check=False
        )
        if done.returncode not in expect:
            note(f"error: snow-assets {shlex.join(arguments)}: exit code {done.returncode}")
            raise Reported(done.returncode if done.returncode in (1, 2, 130, 143) else 1)

    def say(self, text: str) -> None:
        """A line of the story."""
        print(text, file=self.stream, flush=True)

    @property
    def stream(self) -> Any:
        """Where the story goes: stdout, unless that is kept for a JSON object."""
        return sys.stderr if self.quiet else sys.stdout


def _make_folder(folder: Path) -> None:
    """An empty folder; an earlier demonstration's is replaced, another one is left alone."""
    if folder.exists() and not (folder / MARKER).exists() and any(folder.iterdir()):
        hint = "remove it, or name another with --folder"
        raise ConfigError("is there and was not made by a demonstration", key="--folder", value=folder, hint=hint)
    if (folder / MARKER).exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()


def _play(stage: Stage) -> None:
    sim = stage.server.sim
    stage.run("check")
    stage.say("\nTwo corpora: what was solved, and what is open.")
    stage.run("pull", "incidents_closed", "incidents_active")
    stage.say("\nEvery incident; the instance fails in six ways on the way, and one slice cannot be read at all.")
    sim.faults.add(*PASSING)
    number = sim.faults.add(lasting(sim.rows("incident")[-1]["sys_id"]))
    stage.run("pull", "incidents", expect=(1,))
    stage.say("\nNothing is published: incomplete is not a state that readers see. The instance recovers; once more.")
    sim.faults.clear(number)
    stage.run("pull", "incidents")
    stage.run("sql", BY_PRIORITY, "--format", "table")
    stage.first = _summary(stage)
    stage.say("\nAn hour passes: 60 incidents are resolved and 5 deleted. A delta reads what changed, and what went.")
    _work_an_hour(sim)
    stage.run("pull", "incidents")
    stage.run("sql", BY_STATE, "--format", "table")
    stage.say("\nThe other way: CSV files into DuckDB by concurrent import sets; a child waits for its parent.")
    stage.run("imports", "run", "locations")
    stage.run("imports", "sql", NOT_IMPORTED, "--format", "table")
    stage.say("\nThe same files into the instance: by its Table API, its Import Set API and insertMultiple.")
    stage.run("imports", "run", "sites_to_instance")


def _work_an_hour(sim: Simulator) -> None:
    """What a service desk does in an hour."""
    sim.clock.advance(hours=1)
    active = [row["sys_id"] for row in sim.rows("incident") if row.get("state") == "2"][:65]
    for sys_id in active[:60]:
        resolved = {"state": "6", "incident_state": "6", "close_notes": "Solved.", "resolved_at": sim.clock.stored()}
        sim.store.update("incident", sys_id, resolved)
    for sys_id in active[60:]:
        sim.store.delete("incident", sys_id)


def _summary(stage: Stage) -> list[dict[str, Any]]:
    """What landed, what was retried and why, and where the files are."""
    from snow_assets.pulls import Landing, published, read_totals

    found = []
    for name in NAMES:
        landing = Landing.open(str(stage.folder / "data"), name)
        dataset = published(landing)
        totals = read_totals(landing, dataset.plan) if dataset else None
        if dataset is None or totals is None:
            continue
        figures = {"pull": name, "counted": totals.counted, "landed": totals.landed, "hidden": totals.hidden}
        cost = {key: totals.cost.get(key, 0) for key in ("requests", "retries", "faults")}
        cost["sweeps"] = totals.cost.get("purposes", {}).get("sweep", 0)
        where = {"files": totals.files, "bytes": totals.size, "location": dataset.location, "receipt": totals.receipt}
        found.append({**figures, **cost, **where})
    return found


def _closing(stage: Stage, data: dict[str, Any]) -> Iterator[str]:
    summary = data["pulls"]
    yield f"\nDone in {data['seconds']} s.\n"
    head = ("pull", "counted", "landed", "hidden", "requests", "retries", "files", "size")
    yield from table_lines(head, [[*(each[key] for key in head[:-1]), human_bytes(each["bytes"])] for each in summary])
    faults = {name: count for each in summary for name, count in each["faults"].items()}
    if faults:
        yield "\nretried: " + ", ".join(f"{name} {count}x" for name, count in sorted(faults.items()))
    sweeps = sum(each["sweeps"] for each in summary)
    if sweeps:
        yield f"swept:   {sweeps}x all keys of a slice were read again, since a page had come short"
    yield f"files:   {stage.folder / 'data'}"
    yield f"receipt: {summary[-1]['receipt']}" if summary else ""
    yield f"dbt:     {_models(stage)}"
    yield f"text:    {_documents(stage)}"
    yield ""
    head = ("import", "target", "sets", "total", "inserts", "updates", "errors", "rejected")
    yield from table_lines(head, [[each[key] for key in head] for each in data["imports"]])
    yield f"\ntargets: {stage.folder / 'data' / 'targets.duckdb'}, and the instance"
    yield f"\nOpen the UI on it:        {data['ui']}"
    yield f"and to pull once more:    {data['simulator']}"


def _documents(stage: Stage) -> str:
    """Where documents for an index are, and how many."""
    from snow_assets.documents.export import home_of, read_export
    from snow_assets.pulls import Landing

    landing = Landing.open(str(stage.folder / "data"), "incidents_closed")
    found = read_export(landing)
    return f"{home_of(landing).location}: {found.rows:,} documents for an index" if found else "no documents"


def _models(stage: Stage) -> str:
    """What dbt built, with the rows of each model."""
    import duckdb

    path = stage.folder / "data" / "snow.duckdb"
    if stage.dbt is None or not path.exists():
        return "no project here, so no models were built"
    with duckdb.connect(str(path), read_only=True) as connection:
        models = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main' ORDER BY 1"
        found = connection.execute(models).fetchall()
        counted = [(name, _count(connection, name)) for (name,) in found]
    return f"{path}: " + ", ".join(f"{name} {rows:,} rows" for name, rows in counted)


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    row = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608 - dbt named the table
    return int(row[0]) if row else 0


def _ui_command(folder: Path) -> str:
    beside = Path(sys.executable).parent
    return f"cd {shlex.quote(str(folder))} && {shlex.quote(str(beside / 'dagster'))} dev -w workspace.yaml"

"""The dbt project as assets, where there is one: models over the datasets that pulls publish."""

# Dagster reads the annotations of assets when they are defined, so this module does not defer them.

import json
import logging
import os
import subprocess
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any, Self

import dagster as dg
from filelock import FileLock

from snow_assets.assets.dbt_columns import described
from snow_assets.assets.keys import PREFIX, PullNames
from snow_assets.config import Environment, PullConfig
from snow_assets.errors import LandingError
from snow_assets.pulls import Landing, published
from snow_assets.pulls.current import current
from snow_assets.pulls.marks import FOLDER as MARKS
from snow_assets.pulls.plan import moment_of
from snow_assets.pulls.schema import read_schema
from snow_assets.resources import LandingResource

SOURCE = PREFIX  # name of the dbt source whose tables are pulls
GROUP = "dbt"  # of models that name none
POOL = "dbt"  # DuckDB has one writer: give this pool a limit of 1

_log = logging.getLogger("snow_assets.dbt")
# What a manifest is made of.
_SOURCES = ("dbt_project.yml", "profiles.yml", "models", "macros", "seeds", "snapshots", "tests", "analyses")


@dataclass(frozen=True)
class DbtParts:
    """What the dbt project brings; nothing where there is none."""

    assets: Sequence[dg.AssetsDefinition] = ()
    resources: Mapping[str, Any] = field(default_factory=dict)


def dbt_parts(environment: Environment, pulls: Sequence[PullConfig], pool: str | None = POOL) -> DbtParts:
    """Assets of the project in ``SNOW_DBT_DIR``, those left out that read pulls which are not declared."""
    folder = environment.dbt_dir
    if not (folder / "dbt_project.yml").is_file():
        return DbtParts()
    warehouse = Warehouse.of(environment)
    manifest = _manifest(folder, warehouse)
    if manifest is None:
        return DbtParts()
    from dagster_dbt import (  # noqa: PLC0415 - an extra, and slow to import
        DagsterDbtTranslator,
        DagsterDbtTranslatorSettings,
        DbtCliResource,
        DbtProject,
        dbt_assets,
    )

    project = DbtProject(project_dir=folder, profiles_dir=folder)
    modes = {pull.name: pull.mode for pull in pulls}

    class Translator(DagsterDbtTranslator):
        """A table of our source is what a pull keeps up; models stand in a group of their own."""

        def get_asset_spec(
            self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
        ) -> dg.AssetSpec:
            spec = super().get_asset_spec(manifest, unique_id, project)
            properties = self.get_resource_props(manifest, unique_id)
            if properties["resource_type"] == "source" and properties["source_name"] == SOURCE:
                names = PullNames(_pull_of(properties))
                return spec.replace_attributes(key=names.rows(modes.get(names.pull, "full")))
            return spec if spec.group_name else spec.replace_attributes(group_name=GROUP)

    translator = Translator(DagsterDbtTranslatorSettings(enable_duplicate_source_asset_keys=True))

    @dbt_assets(
        manifest=manifest,
        dagster_dbt_translator=translator,
        project=project,
        exclude=" ".join(_foreign_sources(manifest, modes)) or None,
        name="dbt_build",
        pool=pool,
    )
    def dbt_build(context: dg.AssetExecutionContext, dbt: DbtCliResource, landing: LandingResource) -> Iterator[Any]:
        with warehouse.written_to():  # DuckDB lets one process write; runs from a terminal are in no pool
            variables = warehouse.refresh(landing, pulls)
            arguments = ["build", "--vars", json.dumps(variables)]
            yield from described(dbt.cli(arguments, context=context), translator)

    if not list(dbt_build.keys):
        return DbtParts()
    return DbtParts(assets=[dbt_build], resources={"dbt": DbtCliResource(project_dir=project, dbt_executable=_dbt())})


@dataclass(frozen=True)
class Warehouse:
    """What dbt writes: a DuckDB file, and beside it the folder ``warehouse`` with each table as Parquet.

    They lie with the data, or beside pulls.yaml where the data lies in an object store.
    """

    folder: Path

    @classmethod
    def of(cls, environment: Environment) -> Self:
        """The warehouse of a code location."""
        data = environment.data_dir
        return cls(environment.pulls_path.parent if "://" in data else Path(data))

    @property
    def database(self) -> Path:
        """The DuckDB file."""
        return self.folder / "snow.duckdb"

    @property
    def parquet(self) -> Path:
        """The folder of Parquet files."""
        return self.folder / "warehouse"

    def written_to(self) -> FileLock:
        """The lock of whoever writes."""
        self.parquet.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{self.database}.lock")

    @property
    def arguments(self) -> dict[str, str]:
        """The variables that dbt is given: where it writes, and the file that holds the others.

        Thousands of files do not fit into an argument. And as these never change, dbt need not parse the project anew.
        """
        named = {"snow_vars": self._variables, "duckdb_path": self.database, "warehouse": self.parquet}
        return {name: str(where.absolute()) for name, where in named.items()}

    def refresh(self, landing: LandingResource, pulls: Iterable[PullConfig]) -> dict[str, str]:
        """Write what the pulls have published now to the file of variables; returns ``arguments``.

        Only for who holds ``written_to``.
        """
        scratch = self._variables.with_name(".vars.tmp")
        scratch.write_text(json.dumps(variables_of(landing, pulls)), encoding="utf-8")
        scratch.replace(self._variables)
        return self.arguments

    @property
    def _variables(self) -> Path:
        return self.parquet / ".vars.json"


def variables_of(landing: LandingResource, pulls: Iterable[PullConfig]) -> dict[str, Any]:
    """The dbt variables of what the pulls have published, as of the newest plan that is wholly there.

    ``<pull>_files``: Parquet files with its rows as they are now; ``<pull>_gone``: with rows that went away;
    ``<pull>_versions`` and ``<pull>_marks``: every version that was seen, and what went away when; ``<pull>_columns``:
    type, label, reference and whether it is a choice, by field, empty where the dictionary is unreadable;
    ``<pull>_plan``, ``<pull>_base`` and ``<pull>_as_of`` (UTC): the plan, the first one of its chain, and its clock.
    """
    found: dict[str, Any] = {}
    for pull in pulls:
        found |= {f"{pull.name}_{name}": value for name, value in _published(landing.open(pull.name)).items()}
    return found


def _published(landing: Landing) -> dict[str, Any]:
    dataset = published(landing)
    if dataset is None:
        return {}
    if dataset.mode != "delta":
        rows = {"files": dataset.files, "gone": (), "marks": (), "plan": dataset.plan, "base": dataset.plan}
        return rows | {"versions": dataset.files} | _described(landing, dataset.plan)
    now = current(landing)
    if now is None or now.base != dataset.base:
        return {}
    marks = landing.beside(MARKS)
    rows = {"files": now.files, "gone": now.gone_files, "plan": now.plan, "base": now.base}
    seen = {"versions": dataset.files, "marks": [marks.uri(name) for name in marks.list("")]}
    return rows | seen | _described(landing, now.plan)


def _described(landing: Landing, plan_id: str) -> dict[str, Any]:
    """What the plan says of columns and clock."""
    try:
        as_of = landing.read_plan(plan_id).as_of
    except LandingError:  # pruned
        as_of = moment_of(plan_id)
    schema = read_schema(landing, plan_id)
    columns = {
        column.name: {
            "type": column.type,
            "label": column.label,
            "reference": column.reference,
            "choice": column.choices is not None,
        }
        for column in (schema.columns if schema and schema.readable else ())
    }
    return {"columns": columns, "as_of": as_of.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")}


def _pull_of(source: Mapping[str, Any]) -> str:
    """The pull that a table of our source shows."""
    meta = {**source.get("meta", {}), **source.get("config", {}).get("meta", {})}
    return str(meta.get("pull", source["name"]))


def _foreign_sources(manifest: Mapping[str, Any], pulls: Container[str]) -> list[str]:
    """Selectors of what descends from sources without a pull."""
    tables = [source for source in manifest["sources"].values() if source["source_name"] == SOURCE]
    return [f"source:{SOURCE}.{name}+" for name in sorted(t["name"] for t in tables if _pull_of(t) not in pulls)]


def _manifest(folder: Path, warehouse: Warehouse) -> dict[str, Any] | None:
    """The project's manifest, parsed anew only where it is older than what it is made of.

    A project that does not parse costs its assets, not the code location.
    """
    path = folder / "target" / "manifest.json"
    if _is_stale(path, folder) or _read(path) is None:
        try:
            path.parent.mkdir(exist_ok=True)
            with FileLock(path.with_name(".manifest.lock")):
                if _is_stale(path, folder) or _read(path) is None:
                    _parse(folder, warehouse)
        except OSError as error:
            _log.warning("the dbt project is read-only, so its manifest is used as it is: %s", error)
    return _read(path)


def _read(path: Path) -> dict[str, Any] | None:
    """A manifest; ``None`` where there is none, or a parse was cut short in the middle of it."""
    try:
        manifest = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def _is_stale(manifest: Path, folder: Path) -> bool:
    if not manifest.is_file():
        return True
    made = manifest.stat().st_mtime
    return any(file.stat().st_mtime > made for name in _SOURCES for file in _files(folder / name))


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (file for file in path.rglob("*") if file.is_file())
    elif path.is_file():
        yield path


def _parse(folder: Path, warehouse: Warehouse) -> None:
    """Run ``dbt parse`` in a process of its own: dbt changes global state. A build with other variables parses anew."""
    where = ["--project-dir", str(folder), "--profiles-dir", str(folder)]
    arguments = [_dbt(), "parse", "--quiet", *where, "--vars", json.dumps(warehouse.arguments)]
    environment = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments
            arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    except OSError as error:
        _log.warning("dbt cannot be started, so there are no dbt assets: %s", error)
        return
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        _log.warning(
            "the dbt project does not parse, so its assets are those of the last parse: %s", " ".join(lines[-5:])
        )


def _dbt() -> str:
    """The dbt of this environment, before any other on the PATH."""
    beside = Path(sys.executable).with_name("dbt")
    return str(beside) if beside.is_file() else "dbt"

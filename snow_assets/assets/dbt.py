"""The dbt project as assets, where there is one: models over the datasets that pulls publish."""

# Dagster reads the annotations of assets when they are defined, so this module does not defer them.

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from filelock import FileLock

from snow_assets.assets.keys import PREFIX, PullNames
from snow_assets.config import Environment, PullConfig
from snow_assets.pulls import Landing, published
from snow_assets.resources import LandingResource

SOURCE = PREFIX  # name of the dbt source whose tables are pulls
GROUP = "dbt"  # of models that name none
POOL = "dbt"  # DuckDB has one writer: give this pool a limit of 1

_FILES_NAMED = 500  # of one pull, in an argument; the system allows 128 KiB
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
    manifest = _manifest(folder)
    if manifest is None:
        return DbtParts()
    from dagster_dbt import DagsterDbtTranslator, DbtCliResource, DbtProject, dbt_assets  # noqa: PLC0415 - an extra, and slow to import

    project = DbtProject(project_dir=folder, profiles_dir=folder)
    names = [pull.name for pull in pulls]
    duckdb = _duckdb_path(environment)

    class Translator(DagsterDbtTranslator):
        """A table of our source is the dataset of the pull of that name; models stand in a group of their own."""

        def get_asset_spec(
            self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
        ) -> dg.AssetSpec:
            spec = super().get_asset_spec(manifest, unique_id, project)
            properties = self.get_resource_props(manifest, unique_id)
            if properties["resource_type"] == "source" and properties["source_name"] == SOURCE:
                return spec.replace_attributes(key=PullNames(properties["name"]).dataset)
            return spec if spec.group_name else spec.replace_attributes(group_name=GROUP)

    @dbt_assets(
        manifest=manifest,
        dagster_dbt_translator=Translator(),
        project=project,
        exclude=" ".join(_foreign_sources(manifest, names)) or None,
        name="dbt_build",
        pool=pool,
    )
    def dbt_build(context: dg.AssetExecutionContext, dbt: DbtCliResource, landing: LandingResource) -> Iterator[Any]:
        variables = {**files_of(landing, names), "duckdb_path": duckdb}
        arguments = ["build", "--vars", json.dumps(variables)]
        with FileLock(f"{duckdb}.lock"):  # DuckDB lets one process write; runs from a terminal are in no pool
            yield from dbt.cli(arguments, context=context).stream()

    if not list(dbt_build.keys):
        return DbtParts()
    return DbtParts(assets=[dbt_build], resources={"dbt": DbtCliResource(project_dir=project, dbt_executable=_dbt())})


def files_of(landing: LandingResource, pulls: Iterable[str]) -> dict[str, list[str]]:
    """The dbt variable ``<pull>_files`` of each published pull: the Parquet files that hold its rows now."""
    found: dict[str, list[str]] = {}
    for pull in pulls:
        store = landing.open(pull)
        dataset = published(store)
        if dataset is not None:
            found[f"{pull}_files"] = _short(dataset.files, store)
    return found


def _short(files: Sequence[str], landing: Landing) -> list[str]:
    """The files, or a pattern per folder where they are too many for a command line and the folder holds no other."""
    if len(files) <= _FILES_NAMED:
        return list(files)
    folders = sorted({file.rpartition("/")[0] for file in files})
    lying = [
        f"{folder}/{name}"
        for folder in folders
        for name in landing.store.list(folder.rpartition("/")[2])
        if name.endswith(".parquet")
    ]
    return [f"{folder}/*.parquet" for folder in folders] if sorted(lying) == sorted(files) else list(files)


def _duckdb_path(environment: Environment) -> str:
    """The DuckDB file that dbt writes: with the data, or beside pulls.yaml where those lie in an object store."""
    data = environment.data_dir
    folder = environment.pulls_path.parent if "://" in data else Path(data)
    return str(folder / "snow.duckdb")


def _foreign_sources(manifest: Mapping[str, Any], pulls: Iterable[str]) -> list[str]:
    """Selectors of what descends from sources without a pull."""
    declared = set(pulls)
    tables = [source["name"] for source in manifest["sources"].values() if source["source_name"] == SOURCE]
    return [f"source:{SOURCE}.{name}+" for name in sorted(tables) if name not in declared]


def _manifest(folder: Path) -> dict[str, Any] | None:
    """The project's manifest, parsed anew only where it is older than what it is made of.

    A project that does not parse costs its assets, not the code location.
    """
    path = folder / "target" / "manifest.json"
    if _is_stale(path, folder) or _read(path) is None:
        try:
            path.parent.mkdir(exist_ok=True)
            with FileLock(path.with_name(".manifest.lock")):
                if _is_stale(path, folder) or _read(path) is None:
                    _parse(folder)
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


def _parse(folder: Path) -> None:
    """Run ``dbt parse`` in a process of its own: dbt changes global state."""
    arguments = [_dbt(), "parse", "--quiet", "--project-dir", str(folder), "--profiles-dir", str(folder)]
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

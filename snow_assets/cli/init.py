"""``snow-assets init``: a working folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from snow_assets.cli.app import App, command_options, note, write_whole
from snow_assets.cli.init_files import ENV_EXAMPLE, GITIGNORE, WORKSPACE, TableFound, pulls_yaml
from snow_assets.errors import ConfigError, HostError, InstanceUnavailable, RequestFailed

if TYPE_CHECKING:
    from snow_assets.servicenow.client import Client

DEFAULT_TABLES = ("incident",)


@click.command()
@click.option("--from", "tables", metavar="TABLE,TABLE", default="", help="Tables to declare pulls for.  [incident]")
@command_options
def init(app: App, tables: str) -> None:
    """Start a working folder: pulls.yaml, .env.example, .gitignore, workspace.yaml, and a home for Dagster.

    Where the environment names an instance, pulls.yaml is written from its dictionary, with the rows, columns and
    cost of each table beside it. An existing pulls.yaml is not overwritten; other files that exist are left as they
    are.
    """
    from snow_assets.cli.home import check_dagster_home
    from snow_assets.dagster_home import remember_dagster_home, write_dagster_home

    target = app.environment.pulls_path
    if target.exists():
        raise ConfigError("exists already", key="pulls", value=target, hint="remove it, or name another with --pulls")
    nearest = next(path for path in target.parents if path.exists())
    if not nearest.is_dir():
        raise ConfigError(f"{nearest} is not a folder", key="pulls", value=target, hint="name another with --pulls")
    check_dagster_home(app.environment.dagster_home)
    names = _names(tables)
    found = _find(replace(app, undeclared=True), names)
    content = pulls_yaml(found)
    folder = target.parent
    folder.mkdir(parents=True, exist_ok=True)
    kept = _write_missing(folder)
    home = write_dagster_home(app.environment.dagster_home)
    remember_dagster_home(folder / ".env", home)  # else dagster dev throws its home away at exit
    write_whole(target, content.encode())
    for name in kept:
        note(f"{name} was there already and is left as it is")
    data = {"folder": folder, "pulls": target, "tables": names, "kept": kept}
    app.result(data, [f"{target}: {', '.join(table.pull for table in found)}", *_next_steps(app)])


def _names(tables: str) -> list[str]:
    from snow_assets.config import PullConfig

    names = list(dict.fromkeys(name.strip() for name in tables.split(",") if name.strip())) or list(DEFAULT_TABLES)
    for name in names:
        try:
            PullConfig(name=name, table=name)
        except ValueError:
            raise ConfigError("is not a table's name", key="--from", value=name, hint="such as incident") from None
    return names


def _find(app: App, names: list[str]) -> list[TableFound]:
    """The tables as the instance describes them; as they are named where none is given or reached."""
    plain = [TableFound(name) for name in names]
    if app.environment.instance_url is None:
        note("no instance is given (SNOW_INSTANCE_URL): pulls.yaml is written without figures")
        return plain
    try:
        return [_describe(app, name) for name in names]
    except (HostError, InstanceUnavailable, RequestFailed) as error:
        note(f"the instance is not reached, so pulls.yaml is written without figures: {error}")
        return plain


def _describe(app: App, name: str) -> TableFound:
    from snow_assets.cli.estimate import estimate
    from snow_assets.config import PullConfig
    from snow_assets.pulls import look

    pull = PullConfig(name=name, table=name)
    with app.client(pull) as client:
        preview = look(pull, client)
        return TableFound(name, _label(client, name), preview.fields, estimate(preview, pull, client))


def _label(client: Client, table: str) -> str:
    """The table's label, ``""`` where the account may not read it."""
    from snow_assets.servicenow.account import UNREADABLE, rows, text
    from snow_assets.servicenow.exchange import Tally

    try:
        found = client.run(
            rows("sys_db_object", f"name={table}", ("name", "label"), "columns", client.policy, Tally(), limit=2)
        )
    except UNREADABLE:
        return ""
    label = next((text(record, "label") for record in found if text(record, "name") == table), "")
    return " ".join(label.split())


def _write_missing(folder: Path) -> list[str]:
    """Write the files beside ``pulls.yaml``; returns the names of those that were there."""
    files = {".env.example": ENV_EXAMPLE, ".gitignore": GITIGNORE, "workspace.yaml": WORKSPACE}
    kept = [name for name in files if (folder / name).exists()]
    for name, content in files.items():
        if name not in kept:
            write_whole(folder / name, content.encode())
    return kept


def _next_steps(app: App) -> list[str]:
    steps = ["next: snow-assets check", "then: snow-assets pull --all"]
    if app.environment.instance_url is None:
        return ["next: copy .env.example to .env (or add its lines there) and fill it in", *steps]
    return steps

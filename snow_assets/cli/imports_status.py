"""``snow-assets imports status``: where imports stand, by their books alone."""

from __future__ import annotations

import click

from snow_assets.cli.app import App, command_options, imports_option, note, table_lines
from snow_assets.cli.imports_data import LOAD_HEAD, SET_HEAD, load_data, load_row, set_data, set_row
from snow_assets.errors import ConfigError


@click.command()
@click.argument("name", required=False)
@click.option("--load", "load_id", metavar="ID", help="A load of the import NAME.  [its newest]")
@imports_option
@command_options
def imports_status(app: App, name: str | None, load_id: str | None) -> None:
    """Show the newest load of every import, or a load of the import NAME with its import sets.

    States of a load: loading, loaded (its sets are being transformed), processed, error, cancelled. Counters are those
    of the sets that are applied.
    """
    if load_id and not name:
        raise ConfigError("goes with the NAME of an import", key="--load", value=load_id)
    with app.imports_workspace() as workspace:
        books = workspace.books
        if name is None:
            newest = {each: books.load(each) for each in app.import_settings.imports}
            shown = [load_data(each, load, books.sets(load) if load else ()) for each, load in newest.items()]
            app.result({"imports": shown}, table_lines(LOAD_HEAD, map(load_row, shown)))
            return
        config = workspace.config(name)
        load = books.load(config.name, load_id)
        if load is None and load_id:
            hint = f"see the loads: snow-assets imports status {name} --json"
            raise ConfigError("no such load", key="--load", value=load_id, hint=hint)
        sets = books.sets(load) if load else []
        loads = [{"load": each.load_id, "number": each.number, "state": each.state} for each in books.loads(name)]
    data = load_data(name, load, sets)
    each_set = [set_data(each) for each in sets]
    lines = [*table_lines(LOAD_HEAD, [load_row(data)]), ""] if load else [f"{name}: no load yet"]
    app.result({**data, "sets": each_set, "loads": loads}, [*lines, *table_lines(SET_HEAD, map(set_row, each_set))])
    for each in sets:
        if each.job is not None and each.job.error:
            note(f"import set {each.partition_key}: {each.job.error}")

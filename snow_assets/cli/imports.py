"""``snow-assets imports``: concurrent imports, and where they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from snow_assets.cli.app import App, command_options, imports_option, table_lines
from snow_assets.cli.commands import Commands

if TYPE_CHECKING:
    from snow_assets.config_imports import ImportConfig, ImportSettings

COMMANDS: dict[str, tuple[str, str]] = {
    "list": ("imports", "Show the declared imports, each below its parent; no network."),
    "run": ("imports_run", "Load, transform and close an import, and what follows it."),
    "status": ("imports_status", "Show where imports stand: loads, import sets, jobs, counters."),
    "resume": ("imports_run", "Go on with an unfinished load: what is done is not done again."),
    "reprocess": ("imports_run", "Transform a load, or one import set of it, again."),
    "sql": ("imports_sql", "Query the books: the tables of import sets, jobs, runs and rows."),
}


@click.group(cls=Commands, table=COMMANDS)
def imports() -> None:
    """Run the imports of imports.yaml, and show where they stand."""


@click.command()
@imports_option
@command_options
def imports_list(app: App) -> None:
    """Show the declared imports, children below their parents in the order in which they run. Opens no source."""
    settings = app.import_settings
    found = [(config, depth) for root in _roots(settings) for config, depth in settings.plan(root.name)]
    head = ("import", "source", "target", "sets", "partition", "coalesce", "schedule")
    app.result(
        {"imports": [_data(config, depth) for config, depth in found]},
        table_lines(head, [_row(config, depth) for config, depth in found]),
    )


def _roots(settings: ImportSettings) -> list[ImportConfig]:
    return [config for config in settings.imports.values() if not config.parent]


def _data(config: ImportConfig, depth: int) -> dict[str, Any]:
    return {
        "import": config.name,
        "parent": config.parent,
        "order": config.order,
        "depth": depth,
        "source": config.source.kind,
        "target": {"kind": config.target.kind, "table": config.target.table},
        "nodes": config.nodes,
        "import_sets": None if config.partition.size else config.import_sets,
        "partition": config.partition.method,
        "coalesce": list(config.coalesce.fields),
        "domain": config.sys_domain,
        "on_error": config.on_error,
        "schedule": config.schedule.cron if config.schedule else None,
    }


def _row(config: ImportConfig, depth: int) -> tuple[object, ...]:
    size = config.partition.size
    return (
        "> " * depth + config.name,
        config.source.kind,
        f"{config.target.kind} {config.target.table}",
        f"of {size:,}" if size else str(config.import_sets),
        config.partition.method,
        ", ".join(config.coalesce.fields),
        config.schedule.cron if config.schedule else "",
    )

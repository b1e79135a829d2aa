"""``snow-assets dbt-vars``: what dbt is told when it is run by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from snow_assets.cli.app import App, command_options

if TYPE_CHECKING:
    from snow_assets.config import Environment, PullConfig


@click.command("dbt-vars")
@command_options
def dbt_vars(app: App) -> None:
    """Print the variables of `dbt build` as JSON: dbt build --vars "$(snow-assets dbt-vars)".

    They name a file that says where the rows of each published pull lie; it is written anew by each call. Waits while
    Dagster runs dbt.
    """
    variables = _variables(app.environment, list(app.settings.pulls.values()))
    app.result(variables, [json.dumps(variables)])


def _variables(environment: Environment, pulls: list[PullConfig]) -> dict[str, str]:
    from snow_assets.assets.dbt import Warehouse
    from snow_assets.resources import LandingResource

    warehouse = Warehouse.of(environment)
    with warehouse.written_to():
        return warehouse.refresh(LandingResource(data=environment.data_dir), pulls)

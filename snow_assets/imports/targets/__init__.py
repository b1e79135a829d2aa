"""Where records go: a table of DuckDB, of PostgreSQL, or of a ServiceNow instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snow_assets.imports.contract import Target

if TYPE_CHECKING:
    from snow_assets.config_environment import Environment
    from snow_assets.config_imports import ImportConfig
    from snow_assets.servicenow.client import Client


def open_target(config: ImportConfig, environment: Environment, client: Client | None = None) -> Target:
    """The target of an import. ``client`` is for an instance; without one it is made from the environment.

    Nothing is connected or made before it is needed. Raises ``ConfigError`` where something is missing.
    """
    # Imported where they are used: databases and the client are slow to import.
    if config.target.kind == "servicenow":
        from snow_assets.imports.targets.instance import open_instance  # noqa: PLC0415

        return open_instance(config, environment, client)
    from snow_assets.imports.sql_target import SqlTarget  # noqa: PLC0415

    if config.target.kind == "postgresql":
        from snow_assets.imports.targets.postgres import open_postgres  # noqa: PLC0415

        return open_postgres(config, environment)
    from snow_assets.imports.targets.duckdb import open_duckdb  # noqa: PLC0415

    return SqlTarget(config, open_duckdb(config, environment))

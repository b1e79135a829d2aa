"""What ``snow-assets init`` writes, as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snow_assets.cli.estimate import Estimate, human_bytes, human_seconds

WORKSPACE = """\
# Open the UI on this folder: dagster dev -w workspace.yaml
load_from:
  - python_module:
      module_name: snow_assets.definitions
      location_name: snow_assets
"""

GITIGNORE = """\
.env
.dagster/
data/
dbt/target/
dbt/logs/
"""

ENV_EXAMPLE = """\
# Copy to .env and fill in. What is set in the environment wins. One way to sign in is enough:
# a token, an API key, an OAuth client (with a refresh token, with a user, or alone), or a user.
SNOW_INSTANCE_URL=https://dev00000.service-now.com
SNOW_USERNAME=
SNOW_PASSWORD=
#SNOW_CLIENT_ID=
#SNOW_CLIENT_SECRET=
#SNOW_REFRESH_TOKEN=
#SNOW_TOKEN=
#SNOW_API_KEY=

# A proxy with user and password; one without may be in pulls.yaml.
#SNOW_PROXY=http://user:password@proxy.example.com:3128

# Where things lie; these are the defaults.
#SNOW_DATA_DIR=data
#SNOW_PULLS=pulls.yaml
#SNOW_DBT_DIR=dbt
#SNOW_IMPORTS=imports.yaml

# Imports: where they stage (a folder of this machine), and their books where several machines share them.
#SNOW_IMPORTS_DIR=data/import-sets
#SNOW_IMPORTS_DATABASE=postgresql://user:password@host/database
"""

_HEAD = """\
# The pulls of this folder. Check them with: snow-assets validate (no network), snow-assets check (at the instance).
# JSON is YAML too. A key that is not known is an error.

# instance:                    # never secrets; the environment wins
#   url: https://dev00000.service-now.com
#   max_workers: 8             # at most so many requests at a time, for every pull

# defaults:                    # for every pull below
#   page_size: 1000

pulls:
"""

_OPTIONS = """\
    # query: active=true^priorityIN1,2      # an encoded query; all rows when left out
    # display_value: all                    # values and what users see: all, true or false
    # schedule: {cron: "0 2 * * *", timezone: UTC}
"""


@dataclass(frozen=True)
class TableFound:
    """A table that is to be pulled. ``columns`` is empty and ``estimate`` None where the instance was not asked."""

    name: str
    label: str = ""
    columns: Sequence[str] = ()
    estimate: Estimate | None = None

    @property
    def pull(self) -> str:
        """The name of its pull: the table's own, but for the one that the dbt models and the documentation read."""
        return {"incident": "incidents"}.get(self.name, self.name)


def pulls_yaml(tables: Sequence[TableFound]) -> str:
    """A ``pulls.yaml`` that declares a full pull of each table."""
    return _HEAD + "\n".join(_pull(table) for table in tables)


def _pull(table: TableFound) -> str:
    lines = [f"  {table.pull}:"]
    if table.estimate is not None:
        lines.append(f"    # {_figures(table)}")
    lines += [f"    table: {table.name}", *_fields(table.columns)]
    return "\n".join(lines) + "\n" + _OPTIONS


def _figures(table: TableFound) -> str:
    found = table.estimate
    label = f"{table.label}: " if table.label else ""
    columns = f"{len(table.columns)} columns"
    if found is None or found.counted is None:
        return f"{label}{columns}; the instance does not count its rows"
    cost = f"about {found.requests:,} requests, {human_bytes(found.bytes)} of JSON, {human_seconds(found.seconds)}"
    return f"{label}{found.counted:,} rows, {columns}; {cost}"


def _fields(columns: Sequence[str]) -> list[str]:
    """The columns as a comment: all are pulled until someone chooses."""
    if not columns:
        return ["    # fields: [sys_id, number]              # all columns when left out"]
    lines, line = ["    # All columns are pulled. To choose, uncomment and shorten:", "    # fields: ["], "    #  "
    for column in columns:
        if len(line) + len(column) > 110:
            lines.append(line)
            line = "    #  "
        line += f" {column},"
    return [*lines, line, "    # ]"]

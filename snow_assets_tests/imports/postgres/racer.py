"""An import as a process of its own, which waits for a sign before it transforms what it staged.

``python -m snow_assets_tests.imports.postgres.racer NAME``: works in the current folder, on ``people.csv``, with the
URL in ``PEOPLE_DATABASE``. Each line of stdin is a table to import into, such as ``people`` (``people_off``:
without synchronized inserts); it says ``staged``, waits for another line, and says what it did.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from snow_assets.config import Environment
from snow_assets.config_imports import ImportSettings
from snow_assets.imports import flow
from snow_assets.imports.workspace import Workspace
from snow_assets_tests.imports.postgres.sets import VARIABLE, people


def main(name: str) -> None:
    """Import, as often as asked."""
    for line in sys.stdin:
        table = line.strip()
        config = people(
            name=name, source={"csv": "people.csv"}, target={"table": table}, synchronize_inserts=table == "people"
        )
        values = {VARIABLE: os.environ[VARIABLE], "SNOW_IMPORTS_DIR": f"home-{name}-{table}"}
        environment = Environment(values, Path.cwd())
        with Workspace(ImportSettings(imports={name: config}), environment) as workspace:
            load = flow.stage(config, workspace)
            say("staged")
            sys.stdin.readline()
            for _ in flow.transform(config, workspace, load.load_id):
                pass
            counters = flow.finish(config, workspace, load.load_id).counters
        say(f"{counters.inserts} {counters.updates + counters.ignored}")


def say(line: str) -> None:
    """To whoever started us."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])

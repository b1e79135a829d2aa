"""The home of the local Dagster instance: a folder with our ``dagster.yaml``.

Without ``DAGSTER_HOME``, ``dagster dev`` throws its home away when it ends. Ours lies beside ``pulls.yaml``, and its
absolute path stands in ``.env``, which Dagster and ``snow-assets`` read. This module imports neither Dagster nor the
rest of the package, and is what ``make setup`` runs: ``python -m snow_assets.dagster_home [FOLDER]``.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

NAME = ".dagster"

SETTINGS = """\
# Settings of this Dagster instance (DAGSTER_HOME). Written once; yours to change.

telemetry:
  enabled: false
nux:
  enabled: false # no newsletter dialog on the first visit

concurrency:
  pools:
    # One pool per ServiceNow instance bounds the runs that talk to it at a time: requests in flight are at most this
    # limit times `max_workers`. The dbt pool must stay at 1: DuckDB has one writer.
    # Another limit for one pool: Deployment > Concurrency in the UI, or `dagster instance concurrency set POOL N`.
    default_limit: 1
    granularity: op
  runs:
    max_concurrent_runs: 6

run_monitoring:
  enabled: true
  start_timeout_seconds: 180
  max_runtime_seconds: 86400 # a run whose process died with its container would stay "started" for ever
  free_slots_after_run_end_seconds: 60 # else a killed run keeps its slot in the pool for ever

# Only crashes are retried. The reconciler repairs what failed in a run: it asks for the missing slices alone.
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false

retention:
  schedule:
    purge_after_days: {skipped: 7, success: 90, failure: 90}
  sensor:
    purge_after_days: {skipped: 1, success: 30, failure: 30}
"""

# What a deployment adds: PostgreSQL, and logs in a volume that every service mounts.
DEPLOYMENT = """
storage:
  postgres:
    postgres_db:
      hostname: {env: DAGSTER_POSTGRES_HOST}
      port: {env: DAGSTER_POSTGRES_PORT}
      db_name: {env: DAGSTER_POSTGRES_DB}
      username: {env: DAGSTER_POSTGRES_USER}
      password: {env: DAGSTER_POSTGRES_PASSWORD}
      scheme: postgresql+psycopg2 # SQLAlchemy 2.1 takes psycopg 3 where the driver is not named

compute_logs:
  module: dagster.core.storage.local_compute_log_manager
  class: LocalComputeLogManager
  config:
    base_dir: {env: DAGSTER_COMPUTE_LOGS}
"""


def write_dagster_home(home: Path, *, deployment: bool = False) -> Path:
    """Make the folder ``home`` and its ``dagster.yaml``, unless there is one; returns the absolute path.

    With ``deployment`` the instance keeps its records in PostgreSQL, found by the variables ``DAGSTER_POSTGRES_*``, and
    its logs in ``DAGSTER_COMPUTE_LOGS``. Raises ``OSError`` where the folder cannot be written.
    """
    home = home.expanduser().absolute()
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists():
        _write_whole(settings, SETTINGS + DEPLOYMENT if deployment else SETTINGS)
    return home


def remember_dagster_home(env_file: Path, home: Path) -> bool:
    """Put ``DAGSTER_HOME=<home>`` into ``env_file``; returns whether the file was changed.

    A line that is there already stays, unless the home that it names is a ``.dagster`` that is gone: the folder was
    moved. Other lines are kept as they are. Raises ``OSError`` where the file cannot be written.
    """
    text = env_file.read_text(encoding="utf-8") if env_file.exists() else ""
    kept = []
    for line in text.splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        if name.strip() == "DAGSTER_HOME":
            if not _is_gone(value.strip().strip("'\"")):
                return False
            continue
        kept.append(line)
    kept.append(f"DAGSTER_HOME={_quoted(str(home))}")
    _write_whole(env_file, "\n".join(kept) + "\n")
    return True


def _is_gone(value: str) -> bool:
    path = Path(value)
    return path.name == NAME and not path.is_dir()


def _quoted(value: str) -> str:
    """As dotenv reads it back: quoted where a bare value would end early."""
    return value if not set(value) & set(" #'\"\\$") else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _write_whole(path: Path, text: str) -> None:
    """Write through a temporary file: two processes that start at once never read half of it."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def main(arguments: list[str]) -> int:
    """Write the home beside ``pulls.yaml`` of a folder (this one when none is named), and remember it in ``.env``.

    ``--deployment FOLDER`` writes a deployment's ``dagster.yaml`` into FOLDER, and no ``.env``.
    """
    if arguments[:1] == ["--deployment"]:
        write_dagster_home(Path(*arguments[1:2]), deployment=True)
        return 0
    folder = Path(arguments[0] if arguments else ".").absolute()
    home = write_dagster_home(folder / NAME)
    remember_dagster_home(folder / ".env", home)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Can there be a Dagster instance in ``DAGSTER_HOME``? Told before anything is started or written."""

from __future__ import annotations

import os
from pathlib import Path

from snow_assets.errors import ConfigError


def check_dagster_home(home: Path) -> None:
    """Raise ``ConfigError`` where no Dagster instance can be had in ``home``. Writes nothing."""
    hint = "name another folder by DAGSTER_HOME, or leave it out"
    nearest = next(path for path in (home, *home.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise ConfigError(f"{nearest} is not a folder", key="DAGSTER_HOME", value=home, hint=hint)
    settings = home / "dagster.yaml"
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"{nearest} is not writable", key="DAGSTER_HOME", value=home, hint=hint)
    if settings.exists():
        _check_settings(settings, home)


def _check_settings(settings: Path, home: Path) -> None:
    """Whether ``dagster.yaml`` is a map of YAML; what it says is Dagster's to judge."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    hint = "mend dagster.yaml, or move it away: the next pull writes a new one"
    try:
        document = YAML(typ="safe", pure=True).load(settings.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError) as error:
        problem = getattr(error, "problem", None) or getattr(error, "strerror", None) or "not UTF-8 text"
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        message = f"its dagster.yaml cannot be read{line}: {problem}"
        raise ConfigError(message, key="DAGSTER_HOME", value=home, hint=hint) from None
    if document is not None and not isinstance(document, dict):
        raise ConfigError("its dagster.yaml is not a map", key="DAGSTER_HOME", value=home, hint=hint)

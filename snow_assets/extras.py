"""Optional libraries: imported where they are used, and missed with one clear error."""

from __future__ import annotations

import importlib
from types import ModuleType

from snow_assets.errors import ConfigError


def need(module: str, extra: str) -> ModuleType:
    """The module, imported. Raises ``ConfigError`` that names the extra which brings it, where it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if module.partition(".")[0] != (error.name or "").partition(".")[0]:
            raise  # it is there, and misses something of its own
        hint = f"pip install 'snow_assets[{extra}]'"
        raise ConfigError("is not installed", key="library", value=module.partition(".")[0], hint=hint) from error

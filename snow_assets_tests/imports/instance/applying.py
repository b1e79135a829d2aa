"""Applies one mapped set, in a process that may be killed: ``python -m ...applying URL ROOT CONFIG SET``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from snow_assets.config_imports import ImportConfig
from snow_assets.imports.contract import MappedSet
from snow_assets.imports.home import Home
from snow_assets.imports.targets.instance import InstanceTarget
from snow_assets.servicenow.client import Client

if __name__ == "__main__":
    url, root, config, made = sys.argv[1:]
    mapped = json.loads(made)
    paths = {name: Path(mapped[name]) for name in ("mapped", "rows")}
    with Client(url, username="admin", password="admin", retry_backoff=0.001) as client:
        target = InstanceTarget(ImportConfig.model_validate_json(config), client, Home(Path(root)))
        target.apply(MappedSet(**(mapped | paths)))

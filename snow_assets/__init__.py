"""ServiceNow tables as Dagster assets: planned, sliced by sys_id, proven, and published as Delta Lake tables.

The parts: ``snow_assets.servicenow`` (a client for one instance), ``snow_assets.pulls`` (plan, slices, totals, dataset),
``snow_assets.assets`` (their Dagster face), ``snow_assets.cli`` (the command ``snow-assets``) and
``snow_assets.simulator`` (an instance on loopback).
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("snow_assets")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]

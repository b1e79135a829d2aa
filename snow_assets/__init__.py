"""ServiceNow tables as Dagster assets: planned, sliced by sys_id, proven, and published as Delta Lake tables.

The parts: ``snow_assets.servicenow`` (a client for one instance), ``snow_assets.pulls`` (plan, slices, totals and
dataset), ``snow_assets.assets`` (their Dagster face), ``snow_assets.cli`` (the command ``snow-assets``) and
``snow_assets.simulator`` (an instance on loopback). ``snow_assets.read("incidents")`` gives what a pull has published
as an Arrow table,
``snow_assets.files("incidents")`` its Parquet files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snow_assets.reader import files, read

    __version__: str

__all__ = ["__version__", "files", "read"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, so that importing a part of the package does not import all of it."""
    if name in {"files", "read"}:
        from snow_assets import reader  # noqa: PLC0415 - see above

        return getattr(reader, name)
    if name == "__version__":
        return _version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - costs 20 ms

    try:
        return version("snow_assets")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"

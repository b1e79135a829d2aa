"""The section ``graph`` of a pull of ``cmdb_rel_ci`` in ``pulls.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from snow_assets.config_schedule import Section

_TABLE: Final = "cmdb_rel_ci"
_FIELDS: Final = ("parent", "child", "type")
TOLD_OF_CIS: Final = ("sys_class_name", "operational_status", "install_status")
"""What a pull of CIs gives to a graph."""


class GraphConfig(Section):
    """What a graph has besides the relations. ``cis`` names the pull that lands classes and states of CIs."""

    cis: str | None = None


def check_graph(pull: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` where a pull with these keys lands no graph."""
    if pull.get("table") != _TABLE:
        raise ValueError(f"belongs to a pull of {_TABLE}, and to no other table")
    fields = pull.get("fields")
    missing = [field for field in _FIELDS if fields is not None and field not in fields]
    if missing:
        raise ValueError(f"needs {', '.join(missing)} among the fields")
    if pull.get("display_value") == "true":
        raise ValueError("needs stored values, and display_value: true has none")

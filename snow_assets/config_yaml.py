"""``pulls.yaml`` read into `Settings`, every problem with its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from snow_assets.config_attachments import AttachmentsConfig
from snow_assets.config_document import Document, DocumentReader, Location, dig, first_of, line_of, parse
from snow_assets.config_documents import DocumentsConfig
from snow_assets.config_graph import TOLD_OF_CIS, GraphConfig
from snow_assets.config_models import InstanceConfig, PullConfig, Settings, Timeout, nearest
from snow_assets.config_schedule import MaintenanceConfig, Schedule
from snow_assets.config_wording import PULL_HINTS
from snow_assets.errors import ConfigError

_PULL = tuple(field.alias or name for name, field in PullConfig.model_fields.items() if name != "name")
_DEFAULTS = tuple(name for name in _PULL if name != "table")
_PULLS = Document(
    root="pulls",
    item="pull",
    top=("pulls", "instance", "defaults", "maintenance"),
    needs="table:",
    example="NAME: {table: TABLE}",
    missing="write one with: snow-assets init, or name it with --pulls or SNOW_PULLS",
    unreadable="name a file that can be read with --pulls or SNOW_PULLS",
    first="write one with: snow-assets init --from TABLE",
)


def load_settings(path: Path) -> Settings:
    """Read and check ``path``.

    Raises:
        ConfigError: the first problem, by line, and how many more there are.
    """
    settings, problems = _read(path)
    if settings is None:
        raise first_of(problems)
    return settings


def find_problems(path: Path) -> list[ConfigError]:
    """Everything that is wrong with ``path``, in the order of its lines."""
    return _read(path)[1]


def place_of(path: Path, *location: str) -> str:
    """``in FILE line N``: where a key is, or the default that a pull took it from. Raises ``ConfigError``."""
    document = parse(path, _PULLS)
    inherited = ("defaults", *location[2:])
    if location[0] == "pulls" and not _holds(document, location) and _holds(document, inherited):
        location = inherited
    return f"in {path} line {line_of(document, location)}"


def _holds(document: Any, location: Location) -> bool:
    *parents, key = location
    parent = dig(document, tuple(parents))
    return isinstance(parent, Mapping) and key in parent


def _read(path: Path) -> tuple[Settings | None, list[ConfigError]]:
    try:
        return _Reader(path, parse(path, _PULLS)).read()
    except ConfigError as error:
        return None, [error]


class _Reader(DocumentReader):
    """One ``pulls.yaml`` on its way to `Settings`."""

    kind = _PULLS
    hints = PULL_HINTS
    words = _PULL

    def read(self) -> tuple[Settings | None, list[ConfigError]]:
        """The settings, or None and why."""
        plain = self.top()
        if plain is None:
            return None, self.sorted()
        instance = self.model(InstanceConfig, self.map(plain, "instance"), ("instance",))
        maintenance = self.model(MaintenanceConfig, self.map(plain, "maintenance"), ("maintenance",))
        defaults = self.default_items(self.map(plain, "defaults"), PullConfig, {"name": "x", "table": "x"})
        pulls = self._pulls(plain, defaults)
        if self.problems or instance is None or maintenance is None:
            return None, self.sorted()
        return Settings(pulls=pulls, instance=instance, maintenance=maintenance, path=self.path), []

    def _pulls(self, plain: dict[Any, Any], defaults: dict[Any, Any]) -> dict[str, PullConfig]:
        pulls: dict[str, PullConfig] = {}
        for name, pull in self.items(plain):
            model = self.model(PullConfig, {**defaults, **pull, "name": name}, ("pulls", name))
            if model:
                pulls[model.name] = model
        declared = plain.get("pulls")
        self._other_pulls(pulls, list(map(str, declared)) if isinstance(declared, dict) else [])
        return pulls

    def _other_pulls(self, pulls: Mapping[str, PullConfig], declared: Sequence[str]) -> None:
        """What a pull has beside its rows may be made of another pull, too."""
        for pull in pulls.values():
            for location, name, table in pull.other_pulls:
                where: Location = ("pulls", pull.name, *location)
                other = pulls.get(name)
                if name not in declared:
                    close = nearest(name, declared)
                    hint = f"did you mean {close}?" if close else f"there are: {', '.join(declared)}"
                    self.add(where, "no such pull", value=name, hint=hint)
                elif table and other and other.table != table:
                    self.add(where, f"is a pull of {other.table}", value=name, hint=f"name a pull of {table}")
                elif table and other and other.display_value == "true":
                    hint = "set display_value: all in it"
                    self.add(where, "has no stored values: its display_value is true", value=name, hint=hint)
                elif location == ("graph", "cis") and other and not set(TOLD_OF_CIS) & {*(other.fields or TOLD_OF_CIS)}:
                    hint = f"add to its fields: {', '.join(TOLD_OF_CIS)}"
                    self.add(where, "lands neither classes nor states of CIs", value=name, hint=hint)

    def known(self, location: Location, where: Location) -> Sequence[str]:
        """The keys of a pull or section."""
        inner: dict[str, type[BaseModel]] = {
            "attachments": AttachmentsConfig,
            "documents": DocumentsConfig,
            "graph": GraphConfig,
            "schedule": Schedule,
            "timeout": Timeout,
        }
        if len(location) > 1:
            return tuple(inner[str(location[-2])].model_fields) if location[-2] in inner else ()
        if where[0] == "instance":
            return tuple(InstanceConfig.model_fields)
        if where[0] == "maintenance":
            return tuple(MaintenanceConfig.model_fields)
        return _DEFAULTS if where[0] == "defaults" else _PULL

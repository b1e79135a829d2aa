"""``imports.yaml`` read into `ImportSettings`, every problem with its line. Paths in it start at its folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from snow_assets.config_document import Document, DocumentReader, Location, first_of, parse
from snow_assets.config_import_fields import FieldConfig, HooksConfig, ReferenceConfig, TransformConfig
from snow_assets.config_import_source import SourceConfig
from snow_assets.config_imports import (
    CoalesceConfig,
    ImportConfig,
    ImportSettings,
    KeyConfig,
    PartitionConfig,
    TargetConfig,
)
from snow_assets.config_models import nearest
from snow_assets.config_schedule import Schedule
from snow_assets.config_wording import IMPORT_HINTS
from snow_assets.errors import ConfigError

_IMPORTS: Final = Document(
    root="imports",
    item="import",
    top=("imports", "defaults"),
    needs="source: and target:",
    example="NAME: {source: {csv: FILE}, target: TABLE}",
    missing="write one, or name it with SNOW_IMPORTS",
    unreadable="name a file that can be read with SNOW_IMPORTS",
    first="declare one such as NAME: {source: {csv: FILE}, target: TABLE}",
)
_OWN: Final = {"name": "x", "source": {"csv": "x"}, "target": "x"}  # what each import says by itself
_SECTIONS: Final[dict[str, type[BaseModel]]] = {
    "source": SourceConfig,
    "target": TargetConfig,
    "partition": PartitionConfig,
    "key": KeyConfig,
    "coalesce": CoalesceConfig,
    "transform": TransformConfig,
    "hooks": HooksConfig,
    "reference": ReferenceConfig,
    "schedule": Schedule,
}
_VARIABLES: Final = ("postgresql", "database")  # someone may have written a URL with its password there
_FILES: Final = ("csv", "jsonl", "parquet", "excel")


def load_imports(path: Path, pulls: Collection[str] | None = None, *, required: bool = False) -> ImportSettings:
    """Read and check ``path``; no imports where there is no such file, unless it is ``required``.

    ``pulls`` are those of ``pulls.yaml``, where they are known: an import may read one.

    Raises:
        ConfigError: the first problem, by line, and how many more there are.
    """
    settings, problems = _read(path, pulls, required=required)
    if settings is None:
        raise first_of(problems)
    return settings


def find_import_problems(
    path: Path, pulls: Collection[str] | None = None, *, required: bool = False
) -> list[ConfigError]:
    """Everything that is wrong with ``path``, in the order of its lines."""
    return _read(path, pulls, required=required)[1]


def _read(
    path: Path, pulls: Collection[str] | None, *, required: bool
) -> tuple[ImportSettings | None, list[ConfigError]]:
    if not required and not path.exists():
        return ImportSettings(imports={}, path=path), []
    try:
        return _Reader(path, parse(path, _IMPORTS)).read(pulls)
    except ConfigError as error:
        return None, [error]


def _keys(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items() if name != "name")


class _Reader(DocumentReader):
    """One ``imports.yaml`` on its way to `ImportSettings`."""

    kind = _IMPORTS
    hints = IMPORT_HINTS
    words = _keys(ImportConfig)

    def read(self, pulls: Collection[str] | None) -> tuple[ImportSettings | None, list[ConfigError]]:
        """The settings, or None and why."""
        plain = self.top()
        if plain is None:
            return None, self.sorted()
        defaults = self.default_items(self.map(plain, "defaults"), ImportConfig, _OWN)
        imports: dict[str, ImportConfig] = {}
        for name, keys in self.items(plain):
            model = self.model(ImportConfig, {**defaults, **keys, "name": name}, ("imports", name))
            if model:
                imports[model.name] = resolved(model, self.path.parent)
        self._parents(imports, list(plain.get("imports") or {}))
        self._pulls(imports, pulls)
        return (None if self.problems else ImportSettings(imports=imports, path=self.path)), self.sorted()

    def _parents(self, imports: Mapping[str, ImportConfig], declared: Sequence[Any]) -> None:
        """A parent must be there, and an import must not be below itself."""
        names = list(map(str, declared))
        told: set[str] = set()
        for each in imports.values():
            where: Location = ("imports", each.name, "parent")
            if each.parent and each.parent not in names:
                self._unknown(where, "no such import", each.parent, names)
                continue
            line = [each.name]
            while (parent := imports[line[-1]].parent) in imports and parent not in line:
                line.append(str(parent))
            if parent == each.name and not told & set(line):
                told |= set(line)
                chain = " -> ".join([*line, each.name])
                self.add(where, f"goes round in a circle: {chain}", value=each.parent, hint="take one parent out")

    def _pulls(self, imports: Mapping[str, ImportConfig], pulls: Collection[str] | None) -> None:
        for each in imports.values():
            if each.source.pull and pulls is not None and each.source.pull not in pulls:
                self._unknown(("imports", each.name, "source", "pull"), "no such pull", each.source.pull, list(pulls))

    def _unknown(self, where: Location, message: str, name: str, known: Sequence[str]) -> None:
        close = nearest(name, known)
        hint = f"did you mean {close}?" if close else f"there are: {', '.join(known)}" if known else "there is none"
        self.add(where, message, value=name, hint=hint)

    def known(self, location: Location, where: Location) -> Sequence[str]:
        """The keys of an import or section."""
        if len(location) == 1:
            return [key for key in self.words if key not in _OWN] if where[0] == "defaults" else self.words
        section = str(location[-2])
        if section in _SECTIONS and not (len(location) > 2 and location[-3] == "fields"):
            return _keys(_SECTIONS[section])
        return _keys(FieldConfig) if "fields" in location or location[0] == "transform" else ()

    def written(self, location: Location, data: dict[Any, Any]) -> Location:
        """Short forms leave names out: a transform that is a field map, a text that stands for a map."""
        found: list[str | int] = []
        node: Any = data
        for part in location:
            inner = node.get(part) if isinstance(node, dict) else None
            if inner is None and isinstance(node, dict) and part == "fields" and found == ["transform"]:
                continue
            if found and not isinstance(node, dict | list):
                break
            found.append(part)
            node = inner if isinstance(node, dict) else node[part] if isinstance(part, int) else None
        return tuple(found)

    def told(self, location: Location, value: object) -> object:
        """What may hold a password is not shown."""
        secret = bool(location) and location[-1] in _VARIABLES
        return "" if secret or isinstance(value, dict) else value


def resolved(config: ImportConfig, folder: Path) -> ImportConfig:
    """The import with its files' paths, which are relative to ``folder``, made whole."""
    source = config.source.model_copy(
        update={
            kind: tuple(_whole(path, folder) for path in paths)
            for kind in _FILES
            if (paths := getattr(config.source, kind)) is not None
        }
    )
    hooks = {name: _function(value, folder) for name, value in config.transform.hooks.model_dump().items()}
    changed = {"python": _function(config.transform.python, folder), "hooks": HooksConfig(**hooks)}
    update: dict[str, Any] = {"source": source, "transform": config.transform.model_copy(update=changed)}
    if config.partition.key:
        key = config.partition.key.model_copy(update={"python": _function(config.partition.key.python, folder)})
        update["partition"] = config.partition.model_copy(update={"key": key})
    return config.model_copy(update=update)


def _whole(path: str, folder: Path) -> str:
    return path if "://" in path else str(folder.absolute() / Path(path).expanduser())


def _function(reference: str | None, folder: Path) -> str | None:
    path, _, name = (reference or "").rpartition(":")
    return f"{_whole(path, folder)}:{name}" if path.endswith(".py") else reference

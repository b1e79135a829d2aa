"""``pulls.yaml`` read into `Settings`, every problem with its line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from snow_assets.config_attachments import AttachmentsConfig
from snow_assets.config_documents import DocumentsConfig
from snow_assets.config_graph import TOLD_OF_CIS, GraphConfig
from snow_assets.config_models import InstanceConfig, PullConfig, Settings, Timeout, nearest, without_secrets
from snow_assets.config_schedule import MaintenanceConfig, Schedule
from snow_assets.config_wording import harmless, hint_of, message_of, shown
from snow_assets.errors import ConfigError

_TOP = ("pulls", "instance", "defaults", "maintenance")
_PULL = tuple(field.alias or name for name, field in PullConfig.model_fields.items() if name != "name")
_DEFAULTS = tuple(name for name in _PULL if name != "table")
_MOST_NODES = 100_000
_SHAPE = "it needs a map pulls: with a map such as NAME: {table: TABLE}"
_SECRETS = ("username", "user", "password", "pwd", "client_id", "client_secret", "token", "refresh_token", "api_key")

Location = tuple[str | int, ...]


def load_settings(path: Path) -> Settings:
    """Read and check ``path``.

    Raises:
        ConfigError: the first problem, by line, and how many more there are.
    """
    settings, problems = _read(path)
    if settings is None:
        first, more = problems[0], len(problems) - 1
        note = f"and {more} more, see: snow-assets validate" if more else ""
        hint = "; ".join(part for part in (first.hint, note) if part)
        raise ConfigError(first.message, key=first.key, value=first.value, hint=hint)
    return settings


def find_problems(path: Path) -> list[ConfigError]:
    """Everything that is wrong with ``path``, in the order of its lines."""
    return _read(path)[1]


def place_of(path: Path, *location: str) -> str:
    """``in FILE line N``: where a key is, or the default that a pull took it from. Raises ``ConfigError``."""
    document = _parse(path)
    inherited = ("defaults", *location[2:])
    if location[0] == "pulls" and not _holds(document, location) and _holds(document, inherited):
        location = inherited
    return f"in {path} line {_line(document, location)}"


def _holds(document: Any, location: Location) -> bool:
    *parents, key = location
    parent = _dig(document, tuple(parents))
    return isinstance(parent, Mapping) and key in parent


def _read(path: Path) -> tuple[Settings | None, list[ConfigError]]:
    try:
        document = _parse(path)
        reader = _Reader(path, document)
        return reader.read()
    except ConfigError as error:
        return None, [error]


def _parse(path: Path) -> Any:
    """The file as ruamel's maps and lists, which know their lines."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        hint = "write one with: snow-assets init, or name it with --pulls or SNOW_PULLS"
        raise ConfigError("no such file", key="pulls", value=path, hint=hint) from None
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", key="pulls", value=path, hint="save it as UTF-8") from None
    except OSError as error:
        hint = "name a file that can be read with --pulls or SNOW_PULLS"
        raise ConfigError(f"cannot be read: {error.strerror}", key="pulls", value=path, hint=hint) from None
    if text.lstrip().startswith("{"):  # JSON may be indented by tabs, YAML may not
        text = re.sub(r"^\t+", lambda match: "  " * len(match[0]), text, flags=re.MULTILINE)
    try:
        document = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        raise _syntax_error(path, error) from None
    except RecursionError:
        raise ConfigError("is nested too deeply", key="pulls", value=path, hint=_SHAPE) from None
    except (YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"is not YAML: {reason}", key="pulls", value=path, hint=_SHAPE) from None
    if _nodes(document) > _MOST_NODES:
        message = f"holds more than {_MOST_NODES:,} values once its aliases are filled in"
        raise ConfigError(message, key="pulls", value=path, hint="take out the aliases (*name)")
    return document


def _syntax_error(path: Path, error: MarkedYAMLError) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    line = f", line {mark.line + 1}" if mark else ""
    problem = " ".join((error.problem or "cannot be read").split()).removeprefix("but ")
    if r"'\t'" in problem:
        return ConfigError(f"is not YAML{line}: a tab", key="pulls", value=path, hint="indent by spaces, not by tabs")
    duplicate = re.match(r'found duplicate key "([^"]*)"', problem)
    if duplicate:
        return ConfigError(f"is there twice in {path}{line}", key=duplicate[1], hint="keep one of them")
    return ConfigError(f"is not YAML{line}: {problem}", key="pulls", value=path, hint="check quotes and indentation")


class _Reader:
    """One document on its way to `Settings`; collects problems with the line of each."""

    def __init__(self, path: Path, document: Any) -> None:
        self.path = path
        self.document = document
        self.problems: list[tuple[int, ConfigError]] = []

    def read(self) -> tuple[Settings | None, list[ConfigError]]:
        """The settings, or None and why."""
        plain = _plain(self.document)
        if plain is None:
            self._add((), "the file is empty", hint="it needs a map pulls:")
        elif not isinstance(plain, dict):
            self._add((), "the file is not a map", hint="it needs a map pulls:")
        else:
            return self._sections(plain)
        return None, self._sorted()

    def _sections(self, plain: dict[Any, Any]) -> tuple[Settings | None, list[ConfigError]]:
        for key, value in plain.items():
            if key not in _TOP:
                close = nearest(str(key), _TOP)
                hint = f"did you mean {close}?" if close else f"known keys: {', '.join(_TOP)}"
                self._add((key,), "is not a known key", value=harmless(value) if close else "", hint=hint)
        instance = self._model(InstanceConfig, self._map(plain, "instance"), ("instance",))
        maintenance = self._model(MaintenanceConfig, self._map(plain, "maintenance"), ("maintenance",))
        defaults = self._defaults(self._map(plain, "defaults"))
        pulls = self._pulls(plain, defaults)
        if self.problems or not isinstance(instance, InstanceConfig) or not isinstance(maintenance, MaintenanceConfig):
            return None, self._sorted()
        return Settings(pulls=pulls, instance=instance, maintenance=maintenance, path=self.path), []

    def _map(self, plain: dict[Any, Any], key: str) -> dict[Any, Any]:
        found = plain.get(key)
        if found is not None and not isinstance(found, dict):
            hint = "write NAME: {table: TABLE} under it" if key == "pulls" else f"write keys and values under {key}:"
            self._add((key,), "is not a map", value=found, hint=hint)
        return found if isinstance(found, dict) else {}

    def _defaults(self, defaults: dict[Any, Any]) -> dict[Any, Any]:
        for key in [key for key in defaults if key in ("table", "name")]:
            self._add(("defaults", key), "cannot be a default", value=defaults.pop(key), hint="give it in each pull")
        before = len(self.problems)
        self._model(PullConfig, {"name": "x", "table": "x", **defaults}, ("defaults",))
        return defaults if len(self.problems) == before else {}

    def _pulls(self, plain: dict[Any, Any], defaults: dict[Any, Any]) -> dict[str, PullConfig]:
        if "pulls" not in plain:
            self._add((), "there is no map pulls:", hint="declare at least one pull under pulls:")
        declared = self._map(plain, "pulls")
        if "pulls" in plain and not declared and not self.problems:
            self._add(("pulls",), "declares no pull", hint="write one with: snow-assets init --from TABLE")
        pulls: dict[str, PullConfig] = {}
        seen: dict[str, str] = {}
        for name, pull in declared.items():
            where: Location = ("pulls", name)
            if not isinstance(pull, dict):
                self._add(where, "is not a map", value=pull, hint="a pull needs at least table:")
                continue
            twin = seen.setdefault(str(name).lower(), str(name))
            if twin != str(name):
                self._add(where, f"differs from {twin} only by case", hint="they would share a folder: rename one")
            if "name" in pull:
                self._add((*where, "name"), "is not a known key", value=pull["name"], hint="a pull's key is its name")
                continue
            model = self._model(PullConfig, {**defaults, **pull, "name": name}, where)
            if isinstance(model, PullConfig):
                pulls[model.name] = model
        self._other_pulls(pulls, [str(name) for name in declared])
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
                    self._add(where, "no such pull", value=name, hint=hint)
                elif table and other and other.table != table:
                    self._add(where, f"is a pull of {other.table}", value=name, hint=f"name a pull of {table}")
                elif table and other and other.display_value == "true":
                    hint = "set display_value: all in it"
                    self._add(where, "has no stored values: its display_value is true", value=name, hint=hint)
                elif location == ("graph", "cis") and other and not set(TOLD_OF_CIS) & {*(other.fields or TOLD_OF_CIS)}:
                    hint = f"add to its fields: {', '.join(TOLD_OF_CIS)}"
                    self._add(where, "lands neither classes nor states of CIs", value=name, hint=hint)

    def _model(self, kind: type[BaseModel], data: dict[Any, Any], where: Location) -> BaseModel | None:
        stray = [key for key in data if not isinstance(key, str)]
        for key in stray:
            self._add((*where, key), "is not a known key")
        try:
            model = kind.model_validate({key: value for key, value in data.items() if isinstance(key, str)})
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_context=True):
                self._add_problem(dict(problem), data, where)
            return None
        return None if stray else model

    def _add_problem(self, problem: dict[str, Any], data: dict[Any, Any], where: Location) -> None:
        location: Location = tuple(problem["loc"])
        if problem["type"] == "too_short" and _dig(data, location):
            return  # not empty: its items were refused, each by a problem of its own
        if location == ("name",):  # the pull's own key in the map
            self._add(where, message_of(problem), hint="rename the pull")
            return
        if problem["type"] == "missing":
            parent = (*where, *location)[-2]
            self._add((*where, *location), "is missing", hint=f"add {location[-1]}: under {parent}:")
            return
        hint = _unknown_hint(location, where) if problem["type"] == "extra_forbidden" else hint_of(location)
        value = _dig(data, location) if location else ""  # else it is about several keys at once
        if problem["type"] == "extra_forbidden":
            # It may be a secret, unless its key is a known one misspelt: not to be repeated.
            value = harmless(value) if where[0] != "instance" and hint.startswith("did you mean") else ""
        if location and location[-1] in ("url", "proxy"):
            value = without_secrets(str(value))
        self._add((*where, *location), message_of(problem), value=value, hint=hint)

    def _add(self, location: Location, message: str, *, value: object = "", hint: str = "") -> None:
        line = _line(self.document, location)
        text = f"{message}, in {self.path} line {line}" if location else f"{message}, in {self.path}"
        key = ".".join(str(part) for part in location) or "pulls"
        self.problems.append((line, ConfigError(text, key=key, value=shown(value), hint=hint)))

    def _sorted(self) -> list[ConfigError]:
        return [error for _, error in sorted(self.problems, key=lambda pair: pair[0])]


def _nodes(root: Any) -> int:
    """How many values a document holds, those behind aliases each time they are named; stops above the limit."""
    count, waiting = 0, [root]
    while waiting and count <= _MOST_NODES:
        node = waiting.pop()
        count += 1
        if isinstance(node, Mapping):
            waiting += [part for pair in node.items() for part in pair]
        elif isinstance(node, list | tuple | set):
            waiting += node
    return count


def _plain(node: Any) -> Any:
    """Ruamel's node as dicts, lists, str, int, float, bool and None."""
    if isinstance(node, Mapping):
        return {_plain_key(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple | set):
        return [_plain(value) for value in node]
    if isinstance(node, bool) or node is None:
        return node
    for kind in (str, int, float):
        if isinstance(node, kind):
            return kind(node)
    return bool(node) if type(node).__name__ == "ScalarBoolean" else str(node)


def _plain_key(key: Any) -> Any:
    plain = _plain(key)
    return str(plain) if isinstance(plain, list | dict) else plain


def _line(document: Any, location: Location) -> int:
    """The line (from 1) of the deepest part of ``location`` that is in the document."""
    line = 1
    node: Any = document
    for part in location:
        try:
            place = node.lc.item if hasattr(node, "append") else node.lc.key
            line = place(part)[0] + 1
            node = node[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return line


def _dig(data: Any, location: Location) -> Any:
    for part in location:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            break
    return data


def _unknown_hint(location: Location, where: Location) -> str:
    word = str(location[-1])
    if _secret(word):
        return "secrets belong in the environment or .env, such as SNOW_PASSWORD"
    known = _known(location, where)
    close = nearest(word, known)
    return f"did you mean {close}?" if close else f"known keys: {', '.join(known)}"


def _secret(word: str) -> bool:
    return word.lower() in _SECRETS or (bool(nearest(word.lower(), _SECRETS)) and not nearest(word, _PULL))


def _known(location: Location, where: Location) -> Sequence[str]:
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

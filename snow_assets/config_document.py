"""A file of declarations (``pulls.yaml``, ``imports.yaml``) on its way to its models, every problem with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from snow_assets.config_models import nearest, without_secrets
from snow_assets.config_wording import harmless, hint_of, message_of, shown
from snow_assets.errors import ConfigError

_MOST_NODES = 100_000
_SECRETS = ("username", "user", "password", "pwd", "client_id", "client_secret", "token", "refresh_token", "api_key")

Location = tuple[str | int, ...]
AnyModel = TypeVar("AnyModel", bound=BaseModel)


@dataclass(frozen=True)
class Document:
    """What is particular to one kind of file: its words, and the keys of its top."""

    root: str  # the map that every such file has
    item: str  # what is declared there
    top: tuple[str, ...]  # known keys of the file
    needs: str  # keys that an item cannot do without
    example: str  # an item
    missing: str  # hints: there is no such file
    unreadable: str
    first: str  # how to come to a first item

    @property
    def shape(self) -> str:
        """What such a file looks like."""
        return f"it needs a map {self.root}: with a map such as {self.example}"


def parse(path: Path, kind: Document) -> Any:
    """The file as ruamel's maps and lists, which know their lines. Raises ``ConfigError``."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError("no such file", key=kind.root, value=path, hint=kind.missing) from None
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8 text", key=kind.root, value=path, hint="save it as UTF-8") from None
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise ConfigError(message, key=kind.root, value=path, hint=kind.unreadable) from None
    if text.lstrip().startswith("{"):  # JSON may be indented by tabs, YAML may not
        text = re.sub(r"^\t+", lambda match: "  " * len(match[0]), text, flags=re.MULTILINE)
    try:
        document = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        raise _syntax_error(path, error, kind.root) from None
    except RecursionError:
        raise ConfigError("is nested too deeply", key=kind.root, value=path, hint=kind.shape) from None
    except (YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"is not YAML: {reason}", key=kind.root, value=path, hint=kind.shape) from None
    if _nodes(document) > _MOST_NODES:
        message = f"holds more than {_MOST_NODES:,} values once its aliases are filled in"
        raise ConfigError(message, key=kind.root, value=path, hint="take out the aliases (*name)")
    return document


def _syntax_error(path: Path, error: MarkedYAMLError, root: str) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    line = f", line {mark.line + 1}" if mark else ""
    problem = " ".join((error.problem or "cannot be read").split()).removeprefix("but ")
    if r"'\t'" in problem:
        return ConfigError(f"is not YAML{line}: a tab", key=root, value=path, hint="indent by spaces, not by tabs")
    duplicate = re.match(r'found duplicate key "([^"]*)"', problem)
    if duplicate:
        return ConfigError(f"is there twice in {path}{line}", key=duplicate[1], hint="keep one of them")
    return ConfigError(f"is not YAML{line}: {problem}", key=root, value=path, hint="check quotes and indentation")


class DocumentReader:
    """One document on its way to models; collects problems with the line of each. A base class."""

    kind: ClassVar[Document]
    hints: ClassVar[Mapping[str, str]]  # how keys are written
    words: ClassVar[Sequence[str]]  # keys of an item, which are no misspelt secrets

    def __init__(self, path: Path, document: Any) -> None:
        self.path = path
        self.document = document
        self.problems: list[tuple[int, ConfigError]] = []

    def known(self, location: Location, where: Location) -> Sequence[str]:
        """The keys of the map in which ``location`` (below ``where``) is not known."""
        raise NotImplementedError

    def top(self) -> dict[Any, Any] | None:
        """The file's map, its unknown keys told; None where it is not a map."""
        plain = _plain(self.document)
        if plain is None:
            self.add((), "the file is empty", hint=f"it needs a map {self.kind.root}:")
        elif not isinstance(plain, dict):
            self.add((), "the file is not a map", hint=f"it needs a map {self.kind.root}:")
        else:
            for key, value in plain.items():
                if key not in self.kind.top:
                    close = nearest(str(key), self.kind.top)
                    hint = f"did you mean {close}?" if close else f"known keys: {', '.join(self.kind.top)}"
                    self.add((key,), "is not a known key", value=harmless(value) if close else "", hint=hint)
            return plain
        return None

    def map(self, plain: dict[Any, Any], key: str) -> dict[Any, Any]:
        """The map under a key; empty where it is none, which is told."""
        found = plain.get(key)
        if found is not None and not isinstance(found, dict):
            hint = (
                f"write {self.kind.example} under it"
                if key == self.kind.root
                else f"write keys and values under {key}:"
            )
            self.add((key,), "is not a map", value=found, hint=hint)
        return found if isinstance(found, dict) else {}

    def items(self, plain: dict[Any, Any]) -> Iterator[tuple[str, dict[Any, Any]]]:
        """What is declared under the root, each with its name; what is no item at all is told."""
        root, item = self.kind.root, self.kind.item
        if root not in plain:
            self.add((), f"there is no map {root}:", hint=f"declare at least one {item} under {root}:")
        declared = self.map(plain, root)
        if root in plain and not declared and not self.problems:
            self.add((root,), f"declares no {item}", hint=self.kind.first)
        seen: dict[str, str] = {}
        for name, keys in declared.items():
            where: Location = (root, name)
            if not isinstance(keys, dict):
                self.add(where, "is not a map", value=keys, hint=f"{_a(item)} needs at least {self.kind.needs}")
                continue
            twin = seen.setdefault(str(name).lower(), str(name))
            if twin != str(name):
                self.add(where, f"differs from {twin} only by case", hint="they would share a folder: rename one")
            if "name" in keys:
                hint = f"{_a(item)}'s key is its name"
                self.add((*where, "name"), "is not a known key", value=keys["name"], hint=hint)
                continue
            yield name, keys

    def default_items(self, defaults: dict[Any, Any], model: type[BaseModel], least: dict[str, Any]) -> dict[Any, Any]:
        """What is said for all items; ``least`` is what each says by itself."""
        for key in [key for key in defaults if key in least]:
            hint = f"give it in each {self.kind.item}"
            self.add(("defaults", key), "cannot be a default", value=self.told((key,), defaults.pop(key)), hint=hint)
        before = len(self.problems)
        self.model(model, {**least, **defaults}, ("defaults",))
        return defaults if len(self.problems) == before else {}

    def model(self, kind: type[AnyModel], data: dict[Any, Any], where: Location) -> AnyModel | None:
        """``data`` as a model, or None: what is wrong with it is told."""
        stray = [key for key in data if not isinstance(key, str)]
        for key in stray:
            self.add((*where, key), "is not a known key")
        try:
            model = kind.model_validate({key: value for key, value in data.items() if isinstance(key, str)})
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_context=True):
                self._add_problem(dict(problem), data, where)
            return None
        return None if stray else model

    def _add_problem(self, problem: dict[str, Any], data: dict[Any, Any], where: Location) -> None:
        location: Location = self.written(tuple(problem["loc"]), data)
        if problem["type"] == "too_short" and dig(data, location):
            return  # not empty: its items were refused, each by a problem of its own
        if location == ("name",):  # the item's own key in the map
            self.add(where, message_of(problem), hint=f"rename the {self.kind.item}")
            return
        if problem["type"] == "missing":
            parent = (*where, *location)[-2]
            self.add((*where, *location), "is missing", hint=f"add {location[-1]}: under {parent}:")
            return
        unknown = problem["type"] == "extra_forbidden"
        hint = self._unknown_hint(location, where) if unknown else hint_of(location, self.hints)
        value = dig(data, location) if location else ""  # else it is about several keys at once
        if unknown:
            # It may be a secret, unless its key is a known one misspelt: not to be repeated.
            value = harmless(value) if where[0] != "instance" and hint.startswith("did you mean") else ""
        if location and location[-1] in ("url", "proxy"):
            value = without_secrets(str(value))
        self.add((*where, *location), message_of(problem), value=self.told(location, value), hint=hint)

    def written(self, location: Location, data: dict[Any, Any]) -> Location:  # noqa: ARG002 - for kinds with short forms
        """Where a problem's place in the model is written in the file."""
        return location

    def told(self, location: Location, value: object) -> object:  # noqa: ARG002 - for kinds whose values may be secrets
        """What may be shown of the value of a key."""
        return value

    def add(self, location: Location, message: str, *, value: object = "", hint: str = "") -> None:
        """Note a problem; ``location`` is a place in the file."""
        line = line_of(self.document, location)
        text = f"{message}, in {self.path} line {line}" if location else f"{message}, in {self.path}"
        key = ".".join(str(part) for part in location) or self.kind.root
        self.problems.append((line, ConfigError(text, key=key, value=shown(value), hint=hint)))

    def sorted(self) -> list[ConfigError]:
        """All problems, by line."""
        return [error for _, error in sorted(self.problems, key=lambda pair: pair[0])]

    def _unknown_hint(self, location: Location, where: Location) -> str:
        word = str(location[-1])
        if self._secret(word):
            return "secrets belong in the environment or .env, such as SNOW_PASSWORD"
        known = self.known(location, where)
        close = nearest(word, known)
        return f"did you mean {close}?" if close else f"known keys: {', '.join(known)}"

    def _secret(self, word: str) -> bool:
        return word.lower() in _SECRETS or (bool(nearest(word.lower(), _SECRETS)) and not nearest(word, self.words))


def first_of(problems: Sequence[ConfigError]) -> ConfigError:
    """The first of several problems, which says how many more there are."""
    first, more = problems[0], len(problems) - 1
    note = f"and {more} more, see: snow-assets validate" if more else ""
    hint = "; ".join(part for part in (first.hint, note) if part)
    return ConfigError(first.message, key=first.key, value=first.value, hint=hint)


def _a(item: str) -> str:
    return f"an {item}" if item[0] in "aeiou" else f"a {item}"


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


def line_of(document: Any, location: Location) -> int:
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


def dig(data: Any, location: Location) -> Any:
    """The value at ``location``, or of the deepest part of it that is there."""
    for part in location:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            break
    return data

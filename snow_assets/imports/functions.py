"""Custom code of an import: ``file.py:function`` or ``package.module:function``, loaded once.

A file is loaded by itself: its folder is not put where Python looks for modules, so it cannot hide one.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from snow_assets.config_imports import ImportConfig
from snow_assets.config_models import nearest
from snow_assets.errors import ConfigError

_LOCK = threading.RLock()
_LOADED: dict[tuple[str, int, int], ModuleType] = {}
_FORM = "write file.py:function or package.module:function"


def references(config: ImportConfig) -> Iterator[tuple[str, str]]:
    """Each key of an import that names a function, with the reference."""
    key, transform = config.partition.key, config.transform
    hooks = {f"transform.hooks.{name}": value for name, value in transform.hooks.model_dump().items()}
    found = {"partition.key.python": key.python if key else None, "transform.python": transform.python, **hooks}
    yield from ((name, reference) for name, reference in found.items() if reference)


def check_functions(config: ImportConfig) -> None:
    """Load every function that the import names. Raises ``ConfigError`` for the first that is not there."""
    for name, reference in references(config):
        load_function(reference, f"imports.{config.name}.{name}")


def load_function(reference: str, key: str) -> Callable[..., Any]:
    """The function behind a reference; ``key`` is what errors call it. Raises ``ConfigError``."""
    where, _, name = reference.rpartition(":")
    if not where or not name.isidentifier():
        raise ConfigError("is no reference to a function", key=key, value=reference, hint=_FORM)
    with _LOCK:
        module = _from_file(Path(where), key) if where.endswith(".py") else _from_module(where, key)
    found = getattr(module, name, None)
    if callable(found):
        return found  # type: ignore[no-any-return]
    if found is not None:
        raise ConfigError(f"{name} is not a function", key=key, value=reference)
    close = nearest(name, [each for each, value in vars(module).items() if callable(value)])
    hint = f"did you mean {close}?" if close else ""
    raise ConfigError(f"has no function {name}", key=key, value=reference, hint=hint)


def _from_file(path: Path, key: str) -> ModuleType:
    try:
        status = path.stat()
    except OSError as error:
        hint = "paths are relative to the folder of imports.yaml"
        raise ConfigError(f"cannot be read: {error.strerror}", key=key, value=path, hint=hint) from None
    version = (str(path.resolve()), status.st_mtime_ns, status.st_size)
    if version not in _LOADED:
        _LOADED[version] = _executed(path, key)
    return _LOADED[version]


def _executed(path: Path, key: str) -> ModuleType:
    name = f"snow_assets_custom_{hashlib.md5(str(path.resolve()).encode(), usedforsecurity=False).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError("is not a Python file", key=key, value=path, hint=_FORM)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses of the file look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _raised(error, key, path) from error
    return module


def _from_module(name: str, key: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            hint = f"install it, or name a file: {_FORM}"
            raise ConfigError("no such module", key=key, value=name, hint=hint) from None
        raise _raised(error, key, name) from error
    except Exception as error:
        raise _raised(error, key, name) from error


def _raised(error: Exception, key: str, value: object) -> ConfigError:
    line = error.lineno if isinstance(error, SyntaxError) else traceback.extract_tb(error.__traceback__)[-1].lineno
    return ConfigError(f"raises when it is imported, line {line}: {said(error)}", key=key, value=value)


def clean(value: object) -> str:
    """The text of something, without halves of surrogate pairs, which no file or database takes."""
    return str(value).encode("utf-8", "replace").decode("utf-8")


def said(error: BaseException) -> str:
    """An exception of custom code on one line, cut where it is long."""
    text = " ".join(clean(error).split())
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__

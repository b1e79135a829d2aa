"""What an import works with: its declaration, the folders, the books, the locks, and the target."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from snow_assets.config import Environment
from snow_assets.config_imports import ImportConfig, ImportSettings
from snow_assets.config_imports_yaml import load_imports
from snow_assets.config_models import nearest
from snow_assets.errors import ConfigError, LoadUnfinished
from snow_assets.imports.books import Books
from snow_assets.imports.books_locks import Held, hold, is_held
from snow_assets.imports.books_records import LoadRecord
from snow_assets.imports.contract import Target
from snow_assets.imports.home import Home, LoadFolder
from snow_assets.imports.sources import Source, open_source
from snow_assets.imports.targets import open_target


class Workspace:
    """The imports of one ``imports.yaml``. Safe for threads; to be closed."""

    def __init__(self, settings: ImportSettings, environment: Environment) -> None:
        self.settings = settings
        self.environment = environment
        self.home = Home(environment.imports_dir)
        self.books = Books.open(environment.imports_database, self.home.books)
        self._targets: dict[str, Target] = {}
        self._opening = threading.Lock()

    @classmethod
    def open(cls, environment: Environment | None = None) -> Workspace:
        """The imports that the environment names. Raises ``ConfigError``."""
        found = environment or Environment.load()
        return cls(load_imports(found.imports_path, required=bool(found.get("SNOW_IMPORTS"))), found)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of targets and books."""
        with self._opening:
            targets, self._targets = list(self._targets.values()), {}
        try:
            for target in targets:
                target.close()
        finally:
            self.books.close()

    def config(self, name: str) -> ImportConfig:
        """A declared import. Raises ``ConfigError`` where there is none of this name."""
        found = self.settings.imports.get(name)
        if found is None:
            close = nearest(name, list(self.settings.imports))
            known = ", ".join(sorted(self.settings.imports)) or "none"
            hint = f"did you mean {close}?" if close else f"declared are: {known}"
            raise ConfigError("is no declared import", key="import", value=name, hint=hint)
        return found

    def source(self, config: ImportConfig) -> Source:
        """Where its rows come from, opened; to be closed."""
        return open_source(config, self.environment)

    def target(self, config: ImportConfig) -> Target:
        """Where its records go: one for each import and workspace."""
        with self._opening:
            if config.name not in self._targets:
                self._targets[config.name] = open_target(config, self.environment)
            return self._targets[config.name]

    def load(self, name: str, load_id: str | None = None) -> LoadRecord:
        """A load of an import, by default its newest. Raises ``ConfigError`` where there is none."""
        found = self.books.load(name, load_id)
        if found is None:
            value = f"{name}/{load_id}" if load_id else name
            raise ConfigError("has no such load", key="load", value=value, hint=f"snow-assets imports status {name}")
        return found

    def folder(self, load: LoadRecord) -> LoadFolder:
        """The folder of a load."""
        return self.home.load(load.name, load.load_id)

    @contextmanager
    def loading(self, name: str) -> Iterator[None]:
        """Hold the import while it loads. Raises ``LoadUnfinished`` where another run, of any process, does."""
        with self._holding(self.home.lock(name), key="import", value=name, what="is being loaded by another run"):
            yield

    @contextmanager
    def working(self, load: LoadRecord, set_no: int) -> Iterator[None]:
        """Hold an import set while it is transformed. Raises ``LoadUnfinished`` where another run does."""
        path = self.folder(load).lock(set_no)
        value = f"{load.name}/{load.load_id}/{set_no:04d}"
        with self._holding(path, key="set", value=value, what="is being transformed by another run"):
            yield

    def is_worked_on(self, load: LoadRecord, set_no: int) -> bool:
        """Whether a live run transforms the set right now."""
        return is_held(self.books.database, self.folder(load).lock(set_no))

    def is_loading(self, name: str) -> bool:
        """Whether a live run loads the import right now."""
        return is_held(self.books.database, self.home.lock(name))

    @contextmanager
    def _holding(self, path: Path, *, key: str, value: str, what: str) -> Iterator[None]:
        try:
            with hold(self.books.database, path):
                yield
        except Held:
            raise LoadUnfinished(what, key=key, value=value, hint="wait for it to end") from None

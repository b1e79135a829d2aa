"""What every command shares: its options, what it was told about files and instance, and how it speaks.

stdout carries the result alone; everything else goes to stderr.
"""

from __future__ import annotations

import functools
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from snow_assets.errors import (
    CredentialsError,
    HostError,
    InstanceUnavailable,
    LandingError,
    RequestFailed,
    SnowError,
)

if TYPE_CHECKING:
    from snow_assets.config import Environment, PullConfig, Settings
    from snow_assets.config_imports import ImportSettings
    from snow_assets.imports.workspace import Workspace
    from snow_assets.pulls import Landing
    from snow_assets.servicenow.client import Client

Function = TypeVar("Function", bound=Callable[..., Any])
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class App:
    """One call of the command line: its common options, and what follows from them."""

    pulls: str | None = None
    data: str | None = None
    log_level: str = "warning"
    json: bool = False
    undeclared: bool = False  # pulls.yaml is about to be written
    imports: str | None = None

    @cached_property
    def environment(self) -> Environment:
        """The environment and ``.env``; the options win over both."""
        from snow_assets.config import Environment

        options = {"SNOW_PULLS": self.pulls, "SNOW_DATA_DIR": self.data, "SNOW_IMPORTS": self.imports}
        return Environment.load().with_values(**options)

    @cached_property
    def settings(self) -> Settings:
        """``pulls.yaml``. Raises ``ConfigError``."""
        from snow_assets.config import load_settings

        return load_settings(self.environment.pulls_path)

    @cached_property
    def declared(self) -> Settings | None:
        """``pulls.yaml`` where there is one, for commands that can do without."""
        if self.undeclared:
            return None
        return self.settings if self.pulls or self.environment.pulls_path.exists() else None

    @cached_property
    def import_settings(self) -> ImportSettings:
        """``imports.yaml``. Raises ``ConfigError``."""
        from snow_assets.config_imports_yaml import load_imports

        pulls = self.settings.pulls if self.environment.pulls_path.exists() else None
        return load_imports(self.environment.imports_path, pulls, required=True)

    @contextmanager
    def imports_workspace(self) -> Iterator[Workspace]:
        """The declared imports and their books; nothing is created. Raises ``ConfigError``."""
        from snow_assets.imports.workspace import Workspace

        with Workspace(self.import_settings, self.environment) as workspace:
            yield workspace

    def landing(self, pull: str) -> Landing:
        """The landing of a pull; nothing is created. Raises ``LandingError`` where the data folder is none."""
        from snow_assets.pulls import Landing

        landing = Landing.open(self.environment.data_dir, pull)
        if landing.is_local:
            nearest = next(path for path in (Path(landing.location), *Path(landing.location).parents) if path.exists())
            if not nearest.is_dir():
                hint = "choose another folder with --data or SNOW_DATA_DIR"
                raise LandingError(f"{nearest} is not a folder", key="data", value=landing.location, hint=hint)
        return landing

    def known(self, name: str) -> str:
        """``name`` where it is declared, or has landed something. Raises ``ConfigError`` that suggests the nearest."""
        landed = name.isidentifier() and Path(self.landing(name).location).is_dir()
        if landed or (self.declared is None and name.isidentifier()):
            return name
        return self.settings.pull(name).name

    @contextmanager
    def client(self, pull: PullConfig | None = None, table: str = "") -> Iterator[Client]:
        """A client of the instance, with the tunables of ``pull`` where one is given.

        Errors leave naming the setting or the table that they come from.
        """
        try:
            with self._client(pull) as client:
                yield client
        except SnowError as error:
            self.locate(error, pull.table if pull else table)
            raise

    def locate(self, error: SnowError, table: str = "") -> None:
        """Give an error of the instance that names no key the setting, or the table, that it comes from."""
        from snow_assets.config import Credentials, InstanceConfig

        if error.key:
            given = {"url": self._url_key, "ca_bundle": "instance.ca_bundle"}
            given["proxy"] = "SNOW_PROXY" if self.environment.get("SNOW_PROXY") else "instance.proxy"
            error.key = given.get(error.key, error.key)
            return
        if isinstance(error, HostError | InstanceUnavailable):
            instance = self.declared.instance if self.declared else InstanceConfig()
            error.key, error.value = self._url_key, self.environment.require_url(instance)
        elif isinstance(error, CredentialsError):
            credentials = Credentials.from_environment(self.environment)
            error.key, error.value = credentials.key, credentials.value
        elif isinstance(error, RequestFailed) and table:
            error.key, error.value = "table", table

    @property
    def _url_key(self) -> str:
        return "SNOW_INSTANCE_URL" if self.environment.instance_url else "instance.url"

    def _client(self, pull: PullConfig | None) -> Client:
        from snow_assets.config import Credentials, InstanceConfig
        from snow_assets.servicenow.client import Client

        instance = self.declared.instance if self.declared else InstanceConfig()
        options: dict[str, Any] = {}
        if pull:
            names = ("page_size", "max_workers", "max_retries", "retry_backoff", "display_value", "max_wait")
            options = {name: getattr(pull, name) for name in names}
            options["timeout"] = (pull.timeout.connect, pull.timeout.read)
        return Client(
            self.environment.require_url(instance),
            Credentials.from_environment(self.environment),
            allow_http=instance.allow_http,
            proxy=self.environment.proxy(instance),
            ca_bundle=instance.ca_bundle,
            **options,
        )

    def result(self, data: dict[str, Any], lines: Iterable[str] = ()) -> None:
        """Print the result: ``data`` as one JSON object with ``--json``, else ``lines``."""
        if self.json:
            print_json(data)
        else:
            for line in lines:
                print(line)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Say something that is no result."""
        note(text)


def note(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr, flush=True)


def print_json(data: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def table_lines(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Rows as aligned text, numbers to the right. Never cut, so that it can be piped."""
    shown = [[_cell(cell) for cell in row] for row in rows]
    numeric = [
        bool(shown) and all(not row[i] or row[i].replace(",", "").isdecimal() for row in shown)
        for i in range(len(head))
    ]
    widths = [max(len(line[i]) for line in [list(head), *shown]) for i in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in [list(head), *shown]
    ]


def _cell(cell: object) -> str:
    if cell is None:
        return ""
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else " ".join(str(cell).split())


def command_options(function: Function) -> Function:
    """Add the options of every command, and hand the command its `App` first."""

    @functools.wraps(function)
    def wrapped(pulls: str | None, data: str | None, log_level: str, json: bool, **options: Any) -> Any:
        log_to_stderr(log_level)
        return function(App(pulls, data, log_level, json, imports=options.pop("imports", None)), **options)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]


_OPTIONS = (
    click.option("--pulls", metavar="FILE", help="The declared pulls.  [SNOW_PULLS, pulls.yaml]"),
    click.option("--data", metavar="DIR", help="Folder or URL of the landings.  [SNOW_DATA_DIR, data]"),
    click.option(
        "--log-level",
        type=click.Choice(LOG_LEVELS, case_sensitive=False),
        default="warning",
        help="How much is logged on stderr.  [warning]",
    ),
    click.option("--json", is_flag=True, help="Print one JSON object, also on failure."),
)


imports_option = click.option(
    "--imports", metavar="FILE", help="The declared imports.  [SNOW_IMPORTS, imports.yaml beside pulls.yaml]"
)


def log_to_stderr(level: str) -> None:
    """Send what the libraries log to stderr. Only debug shows tracebacks, Python's warnings and Dagster's own log."""
    debug = level.lower() == "debug"
    if not debug and not sys.warnoptions:
        warnings.simplefilter("ignore")
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(level.upper())  # a logger with a level of its own passes the root's level by
    handler.addFilter(lambda record: debug or not record.name.startswith("dagster"))
    logging.basicConfig(
        handlers=[handler], level=level.upper(), format="%(levelname)s %(name)s: %(message)s", force=True
    )


def complete_pull(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of declared pulls, for the shell's completion."""
    try:
        app = App(pulls=context.params.get("pulls"))
        return [name for name in app.settings.pulls if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - a shell that completes must not be told of errors
        return []


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is whole or absent."""
    import os

    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        scratch.write_bytes(content)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)

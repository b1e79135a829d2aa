"""``snow-assets validate``: the configuration alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from snow_assets.cli.app import App, command_options, imports_option, note
from snow_assets.cli.failures import Reported
from snow_assets.errors import ConfigError, SnowError

if TYPE_CHECKING:
    from snow_assets.config import Environment, InstanceConfig, PullConfig, Settings


@click.command()
@imports_option
@command_options
def validate(app: App) -> None:
    """Check pulls.yaml, the queries in it, imports.yaml and the environment. Asks nothing of the instance.

    Every problem is one line with its key, value, file and line.
    """
    problems = _problems(app)
    path = app.environment.pulls_path
    if problems:
        for problem in problems:
            note(f"error: {problem}")
        first, *_ = problems
        errors = [problem.as_dict() for problem in problems]
        app.result({"valid": False, "file": path, "error": first.as_dict(), "problems": errors, "retryable": False})
        raise Reported(2)
    lines = []
    valid: dict[str, Any] = {"valid": True, "file": path, "pulls": list(app.settings.pulls) if path.exists() else []}
    if app.environment.pulls_path.exists():
        lines.append(_said(path, "pull", valid["pulls"]))
    if _has_imports(app.environment):
        valid |= {"imports_file": app.environment.imports_path, "imports": list(app.import_settings.imports)}
        lines.append(_said(app.environment.imports_path, "import", valid["imports"]))
    app.result(valid, lines)


def _said(path: Path, what: str, names: list[str]) -> str:
    return f"{path} is valid: {len(names)} {what if len(names) == 1 else f'{what}s'} ({', '.join(names)})"


def _has_imports(environment: Environment) -> bool:
    return environment.imports_path.exists() or bool(environment.get("SNOW_IMPORTS"))


def _problems(app: App) -> list[SnowError]:
    from snow_assets.config import find_problems, load_settings

    path = app.environment.pulls_path
    problems = list(_of_environment(app.environment))
    if not path.exists() and _has_imports(app.environment):
        return [*problems, *_of_imports(app, None)]
    found = find_problems(path)
    if found:
        return [*problems, *found, *_of_imports(app, None)]
    settings = load_settings(path)
    problems += _of_instance(app.environment, settings)
    for pull in settings.pulls.values():
        problems += _of_pull(pull, path)
    return [*problems, *_of_imports(app, list(settings.pulls))]


def _of_imports(app: App, pulls: list[str] | None) -> Iterator[SnowError]:
    """``pulls``: the declared ones, where they are known."""
    from snow_assets.config_imports_yaml import find_import_problems

    if _has_imports(app.environment):
        yield from find_import_problems(app.environment.imports_path, pulls, required=True)
        yield from _caught(lambda: app.environment.imports_dir)
        yield from _caught(lambda: app.environment.imports_database)


def _of_environment(environment: Environment) -> Iterator[SnowError]:
    """The address, and the credentials where there are any: a folder may be checked without."""
    from snow_assets.config import Credentials

    yield from _caught(lambda: environment.instance_url)
    if any(map(environment.get, Credentials.VARIABLES.values())):
        yield from _caught(lambda: Credentials.from_environment(environment))


def _of_instance(environment: Environment, settings: Settings) -> Iterator[SnowError]:
    """What a client would refuse before it asks anything."""
    from snow_assets.config import place_of
    from snow_assets.servicenow.route import base_url, check_ca_bundle, check_proxy

    instance = settings.instance
    url = _url(environment, instance)
    checks: dict[str, Callable[[], object]] = {
        "url": lambda: url and base_url(url, allow_http=instance.allow_http),
        "proxy": lambda: (proxy := environment.proxy(instance)) and check_proxy(proxy),
        "ca_bundle": lambda: instance.ca_bundle and check_ca_bundle(instance.ca_bundle),
    }
    for key, check in checks.items():
        for error in _caught(check):
            variable = {"url": "SNOW_INSTANCE_URL", "proxy": "SNOW_PROXY"}.get(key, "")
            if environment.get(variable):
                error.key = variable
            else:
                error.key = f"instance.{key}"
                error.message += f", {place_of(settings.path, 'instance', key)}"
            yield error


def _url(environment: Environment, instance: InstanceConfig) -> str | None:
    try:
        return environment.instance_url or instance.url
    except ConfigError:
        return None  # told with the environment


def _of_pull(pull: PullConfig, path: Path) -> Iterator[SnowError]:
    from snow_assets.config import place_of
    from snow_assets.servicenow.keyed import check_key
    from snow_assets.servicenow.query import EncodedQuery

    for error in _caught(lambda: EncodedQuery.parse(pull.query)):
        error.key = f"pulls.{pull.name}.query"
        error.message += f", {place_of(path, 'pulls', pull.name, 'query')}"
        yield error
    for error in _caught(lambda: check_key(pull.key or (), pull.display_value)):
        error.key = f"pulls.{pull.name}.display_value"
        error.message += f", {place_of(path, 'pulls', pull.name, 'display_value')}"
        yield error


def _caught(check: Callable[[], object]) -> Iterator[SnowError]:
    try:
        check()
    except SnowError as error:
        yield error

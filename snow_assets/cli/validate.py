"""``snow-assets validate``: the configuration alone."""

from __future__ import annotations

import click

from snow_assets.cli.app import App, command_options, note
from snow_assets.cli.failures import Reported
from snow_assets.errors import ConfigError, SnowError


@click.command()
@command_options
def validate(app: App) -> None:
    """Check pulls.yaml, the queries in it, and the environment. Asks nothing of the instance.

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
    names = list(app.settings.pulls)
    app.result(
        {"valid": True, "file": path, "pulls": names},
        [f"{path} is valid: {len(names)} {'pull' if len(names) == 1 else 'pulls'} ({', '.join(names)})"],
    )


def _problems(app: App) -> list[SnowError]:
    from snow_assets.config import find_problems, load_settings
    from snow_assets.servicenow.query import EncodedQuery

    problems: list[SnowError] = []
    try:
        app.environment.instance_url  # noqa: B018 - it is the look that checks
    except ConfigError as error:
        problems.append(error)
    found = find_problems(app.environment.pulls_path)
    if found:
        return [*problems, *found]
    for pull in load_settings(app.environment.pulls_path).pulls.values():
        try:
            EncodedQuery.parse(pull.query)
        except SnowError as error:
            error.key = f"pulls.{pull.name}.query"
            problems.append(error)
    return problems

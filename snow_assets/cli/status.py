"""``snow-assets status``: where pulls stand, by their landings alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from snow_assets.cli.app import App, command_options, complete_pull, note, table_lines
from snow_assets.cli.failures import Reported
from snow_assets.errors import SnowError

if TYPE_CHECKING:
    from snow_assets.pulls import PullStatus


@click.command()
@click.argument("name", required=False, shell_complete=complete_pull)
@command_options
def status(app: App, name: str | None) -> None:
    """Show the newest plan and the dataset of the pull NAME, or of every declared pull.

    States: none (no plan), planned (nothing has landed), unfinished (some slices have), complete (all, not published),
    published.
    """
    from snow_assets.pulls import pull_status

    head = ("pull", "state", "plan", "counted", "slices", "missing", "published", "rows", "running")
    if name:
        found = pull_status(app.known(name), app.landing(name))
        app.result(_data(found), table_lines(head, [_row(found)]))
        return
    shown: list[dict[str, Any]] = []
    lines: list[tuple[object, ...]] = []
    errors: list[SnowError] = []
    landings = {each: app.landing(each) for each in app.settings.pulls}  # a data folder that is none fails for all
    for each, landing in landings.items():
        try:
            found = pull_status(each, landing)
        except SnowError as error:  # of this pull alone: the others are told all the same
            errors.append(error)
            shown.append({"pull": each, "state": "error", "error": error.as_dict()})
            lines.append((each, "error", *("",) * 7))
        else:
            shown.append(_data(found))
            lines.append(_row(found))
    data: dict[str, Any] = {"pulls": shown}
    if errors:
        data |= {"error": errors[0].as_dict(), "retryable": all(e.exit_code == 1 for e in errors)}
    app.result(data, table_lines(head, lines))
    for found_error in errors:
        note(f"error: {found_error}")
    if errors:
        raise Reported(max(e.exit_code for e in errors))


def _data(found: PullStatus) -> dict[str, Any]:
    return {
        "pull": found.pull,
        "state": found.state,
        "mode": found.mode,
        "plan": found.plan,
        "as_of": found.as_of.isoformat() if found.as_of else None,
        "counted": found.counted,
        "slices": {"total": found.total, "landed": found.landed, "missing": list(found.missing)},
        "published": {"plan": found.published_plan, "rows": found.published_rows} if found.published_plan else None,
        "running": found.running,
    }


def _row(found: PullStatus) -> tuple[object, ...]:
    slices = f"{found.landed}/{found.total}" if found.total else ""
    missing = len(found.missing) or ""
    published = (found.published_plan, found.published_rows)
    return (found.pull, found.state, found.plan, found.counted, slices, missing, *published, found.running)

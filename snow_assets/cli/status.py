"""``snow-assets status``: where pulls stand, by their landings alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from snow_assets.cli.app import App, command_options, complete_pull, table_lines

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

    names = [app.known(name)] if name else list(app.settings.pulls)
    found = [pull_status(each, app.landing(each)) for each in names]
    shown = [_data(each) for each in found]
    head = ("pull", "state", "plan", "counted", "slices", "missing", "published", "rows", "running")
    app.result(shown[0] if name else {"pulls": shown}, table_lines(head, [_row(each) for each in found]))


def _data(found: PullStatus) -> dict[str, Any]:
    return {
        "pull": found.pull,
        "state": found.state,
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

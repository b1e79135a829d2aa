"""``snow-assets attachments``: the files attached to the rows of a pull."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from snow_assets.cli.app import App, command_options, complete_pull, note
from snow_assets.cli.failures import Reported, as_snow_error
from snow_assets.cli.progress import progress_bar

if TYPE_CHECKING:
    from snow_assets.pulls.attachments import Attachments

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@click.command()
@click.argument("name", shell_complete=complete_pull)
@click.option("--verify", is_flag=True, help="Read every file that landed, instead of trusting the run before.")
@command_options
def attachments(app: App, name: str, verify: bool) -> None:
    """List and fetch the attachments of the published rows of the pull NAME, on the local Dagster instance.

    What has landed is not fetched again. Exit code 0: every wanted file is there; 1: some failed, run it again; 2:
    something must be fixed first.
    """
    from snow_assets.assets.attachments_here import run_attachments
    from snow_assets.cli.home import check_dagster_home
    from snow_assets.pulls.attachments import read_attachments
    from snow_assets.pulls.live import live_rows

    landing = app.landing(app.settings.pull(name).name)
    check_dagster_home(app.environment.dagster_home)
    live_rows(landing)  # nothing is started where nothing is published
    error = None
    before = read_attachments(landing)
    try:
        with progress_bar(name) as listener:
            run_attachments(app.settings, app.environment, name, verify=verify, on_progress=listener)
    except Exception as raised:  # noqa: BLE001 - what landed is told all the same
        error = as_snow_error(raised)
        app.locate(error, "sys_attachment")
    found = read_attachments(landing)
    if found is not None and (error is None or found != before):
        _show(app, found, error)
    elif app.json and error is not None:
        app.result({"pull": name, "error": error.as_dict(), "retryable": error.exit_code == 1})
    if error is not None:
        note(f"error: {error}")
        raise Reported(error.exit_code)


def _show(app: App, found: Attachments, error: Any) -> None:
    data = asdict(found)
    data["failures"] = [dict(zip(("sys_id", "file_name", "reason"), each, strict=True)) for each in found.failures]
    if error is not None:
        data |= {"error": error.as_dict(), "retryable": error.exit_code == 1}
    came = f", {_size(found.fetched_bytes)} of them now" if found.fetched else ""
    lines = [f"{found.landed:,} files landed, {_size(found.bytes)}{came}"]
    lines += [f"{found.skipped:,} skipped"] if found.skipped else []
    lines += [f"{found.failed:,} failed"] if found.failed else []
    lines += [f"{found.deleted:,} deleted at the instance; their files stay"] if found.deleted else []
    lines += [f"{found.size_only:,} could be checked by their size only"] if found.size_only else []
    lines += [f"{found.hidden:,} records are hidden from this account"] if found.hidden else []
    app.result(data, [*lines, found.table])
    for each in data["failures"] if not app.json else ():
        note(f"{each['file_name']} ({each['sys_id']}): {each['reason']}")


def _size(size: int) -> str:
    number, unit = float(size), 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:,.0f} {_UNITS[unit]}" if unit == 0 else f"{number:,.1f} {_UNITS[unit]}"

"""``snow-assets documents``: the rows of a pull as documents, and what changed since an export of them."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from snow_assets.cli.app import App, command_options, complete_pull, note
from snow_assets.errors import ConfigError

if TYPE_CHECKING:
    from snow_assets.documents.exported import DocumentChange


@click.command()
@click.argument("name", shell_complete=complete_pull)
@click.option("--again", is_flag=True, help="Write every file anew, also where the export is there.")
@click.option(
    "--changes-since",
    metavar="EXPORT",
    help="Print what an index of this export has to do, one JSON object per line; write nothing.",
)
@command_options
def documents(app: App, name: str, again: bool, changes_since: str | None) -> None:
    """Export the published rows of the pull NAME as documents, and what changed since the export before.

    They are made as the pull's section documents says; by the recipe of its table where there is none. What was
    exported before is told as it is. Prints figures and where the files are; --json prints the manifest.
    """
    if changes_since is not None:
        if again:
            raise ConfigError(
                "writes files, and --changes-since writes none", key="--again", hint="leave one of them out"
            )
        _print_changes(app, name, changes_since)
        return
    from snow_assets.documents.declared import write_documents

    landing = app.landing(app.known(name))
    declared = app.declared.pulls.get(landing.pull) if app.declared else None
    wanted = declared.documents if declared else None
    data, holder = app.environment.data_dir, "snow-assets documents"
    found = write_documents(landing.pull, wanted, data=data, again=again, holder=holder)
    since = f" since {found.previous}" if found.previous else ""
    figures = ", ".join(f"{getattr(found, kind):,} {kind}" for kind in ("added", "changed", "deleted", "unchanged"))
    told = {field: value for field, value in asdict(found).items() if field != "history"}
    lines = [f"{found.rows:,} documents, export {found.export}", f"{figures}{since}"]
    app.result(told, [*lines, *(file.location for file in found.files)])


def _print_changes(app: App, name: str, since: str) -> None:
    import msgspec

    from snow_assets.documents.exported import changes_since, newest

    landing = app.landing(app.known(name))
    changes = changes_since(landing, newest(landing), since)
    encode = msgspec.json.Encoder().encode
    for change in changes:
        sys.stdout.buffer.write(encode(_line(change)) + b"\n")
    sys.stdout.buffer.flush()
    note(f"the index is then as export {changes.export}")


def _line(change: DocumentChange) -> dict[str, Any]:
    document = {} if change.document is None else asdict(change.document)
    hashes = {"content_hash": change.content_hash, "previous_hash": change.previous_hash}
    return {"id": change.id, "change": change.change, **hashes, **document}

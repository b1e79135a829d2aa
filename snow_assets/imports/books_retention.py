"""Retention: what finished loads staged is kept for some days. The books keep their rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from snow_assets.imports.books_database import now
from snow_assets.imports.books_records import LoadRecord
from snow_assets.imports.staging import discard
from snow_assets.imports.workspace import Workspace

KEEP: Final = timedelta(days=7)  # as the platform does


def prune(workspace: Workspace, older_than: timedelta = KEEP, name: str | None = None) -> list[LoadRecord]:
    """Remove the files of loads, of one import or of all, that ended longer ago; returns those loads.

    The newest load of an import stays, and so does one that is not finished.
    """
    newest: set[str] = set()
    removed = []
    for load in workspace.books.loads(name):
        is_newest = load.name not in newest
        newest.add(load.name)
        if is_old(load, older_than) and not is_newest and workspace.folder(load).path.exists():
            discard(workspace.folder(load))
            removed.append(load)
    return removed


def is_old(load: LoadRecord, older_than: timedelta = KEEP) -> bool:
    """Whether it ended longer ago."""
    return load.completed is not None and load.completed < now() - older_than and not load.is_open

"""Retention: what finished loads staged is kept for some days. The books keep their rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from snow_assets.imports.books_database import now
from snow_assets.imports.books_records import LoadRecord
from snow_assets.imports.staging import discard
from snow_assets.imports.workspace import Workspace

KEEP: Final = timedelta(days=7)  # as the platform does


def prune(workspace: Workspace, older_than: timedelta = KEEP) -> list[LoadRecord]:
    """Remove the files of loads that ended longer ago; returns those loads.

    The newest load of an import stays, and so does one that is not finished.
    """
    before = now() - older_than
    newest: set[str] = set()
    removed = []
    for load in workspace.books.loads():
        is_newest = load.name not in newest
        newest.add(load.name)
        ended = load.completed is not None and load.completed < before and not load.is_open
        if ended and not is_newest and workspace.folder(load).path.exists():
            discard(workspace.folder(load))
            removed.append(load)
    return removed

"""What a full or read-only disk does to Dagster's own records, as an error of ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from sqlalchemy.exc import DBAPIError

from snow_assets.assets.failures import cause
from snow_assets.errors import LandingError
from snow_assets.pulls.stores import PERSON

_SAID = ("full", "readonly", "disk I/O", "unable to open")  # by SQLite, where it cannot write


@contextmanager
def records_in(home: Path) -> Iterator[None]:
    """Raise ``LandingError`` where the disk keeps Dagster from writing its records in ``home``."""
    try:
        yield
    except (dg.DagsterError, DBAPIError, sqlite3.Error, OSError) as error:
        reason = None if cause(error) else _reason(error)
        if reason is None:
            raise
        raise LandingError(
            f"Dagster's records cannot be written: {reason}",
            key="DAGSTER_HOME",
            value=home,
            hint="make room, or give the right to write; what landed stays",
        ) from error


def _reason(error: BaseException | None) -> str | None:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, sqlite3.Error) and any(word in str(error) for word in _SAID):
            return str(error)
        if isinstance(error, OSError) and error.errno in PERSON:
            return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None

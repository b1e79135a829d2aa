"""From the errors of snow_assets to Dagster's failures and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from snow_assets.errors import SnowError


@contextmanager
def failures() -> Iterator[None]:
    """Turn a ``SnowError`` into a ``dagster.Failure`` of one line, which no retry policy repeats."""
    try:
        yield
    except SnowError as error:
        raise failure(str(error), error) from error


def failure(description: str, error: SnowError) -> dg.Failure:
    """A failure that shows the error's key, value and hint as metadata."""
    parts = {name: text for name, text in error.as_dict().items() if text and name != "message"}
    return dg.Failure(description, metadata={"error": type(error).__name__, **parts}, allow_retries=False)


def cause(error: BaseException | None) -> SnowError | None:
    """The ``SnowError`` behind an exception that Dagster raised, or ``None``."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, SnowError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None

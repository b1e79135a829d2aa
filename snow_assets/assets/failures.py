"""From the errors of snow_assets to Dagster's failures and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from snow_assets.assets.keys import FIX_FIRST_TAG, REFUSED_TAG
from snow_assets.errors import CredentialsError, FixFirst, HostError, InstanceUnavailable, PublishRefused, SnowError
from snow_assets.resources import ServiceNowResource


@contextmanager
def failures(servicenow: ServiceNowResource | None = None) -> Iterator[None]:
    """Turn a ``SnowError`` into a ``dagster.Failure`` of one line, which no retry policy repeats.

    The line says it all: how the error came about is left out, which would fill the screen with frames. ``servicenow``
    lets an error of the instance that names no key name the setting that it comes from.
    """
    try:
        yield
    except SnowError as error:
        if servicenow is not None and not error.key:
            locate(error, servicenow)
        raise failure(str(error), error) from None


@contextmanager
def fix_first_told(context: dg.AssetExecutionContext, kind: type[FixFirst]) -> Iterator[None]:
    """Let the reconciler know of an error of this kind: another try would fail as well."""
    try:
        yield
    except kind:
        tell_fix_first(context)
        raise


@contextmanager
def refusal_told(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Let the reconciler know that the plan waits to be accepted by name."""
    try:
        yield
    except PublishRefused:
        context.instance.add_run_tags(context.run.run_id, {REFUSED_TAG: "true"})
        raise


def tell_fix_first(context: dg.AssetExecutionContext) -> None:
    """Mark the run as one that the reconciler is not to try again."""
    context.instance.add_run_tags(context.run.run_id, {FIX_FIRST_TAG: "true"})


def locate(error: SnowError, servicenow: ServiceNowResource) -> None:
    """Name the address or the variable that an error of the instance comes from."""
    if isinstance(error, HostError | InstanceUnavailable):
        error.key, error.value = "SNOW_INSTANCE_URL", servicenow.url or ""
    elif isinstance(error, CredentialsError):
        credentials = servicenow.credentials()
        error.key, error.value = credentials.key, credentials.value


class StepFailed(dg.Failure):
    """A step failed for a reason that its line tells. The name stands before that line in Dagster's UI."""


def failure(description: str, error: SnowError) -> StepFailed:
    """A failure that shows the error's key, value and hint as metadata."""
    parts = {name: text for name, text in error.as_dict().items() if text and name != "message"}
    return StepFailed(description, metadata={"error": type(error).__name__, **parts}, allow_retries=False)


def cause(error: BaseException | None) -> SnowError | None:
    """The ``SnowError`` behind an exception that Dagster raised, or ``None``."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, SnowError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None

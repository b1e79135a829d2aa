"""A pull that is declared in Python: its settings as keywords, checked as those of ``pulls.yaml`` are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from pydantic import ValidationError

from snow_assets.config import PullConfig
from snow_assets.config_models import nearest
from snow_assets.config_wording import PULL_HINTS, hint_of, message_of, shown
from snow_assets.errors import ConfigError
from snow_assets.servicenow.exchange import DisplayValue

OF_CLIENT = ("max_retries", "retry_backoff", "timeout", "max_wait")


class PullSettings(TypedDict, total=False):
    """What a pull reads and how, by the names of ``pulls.yaml``. ``None`` is as good as left out."""

    table: str | None
    query: str
    fields: Sequence[str] | None
    display_value: DisplayValue | None
    page_size: int | None
    max_workers: int | None
    slice_rows: int | None
    key: Sequence[str] | None
    max_plan_age: float | str | None
    mode: Literal["full", "delta"] | None
    cursor: str | None
    overlap: float | str | None
    lag: float | str | None
    verify_every: float | str | None
    deletes: Literal["audit", "keys", "both", "off"] | None
    max_deleted: float | None
    schema: Literal["evolve", "freeze"] | None
    hidden_rows: Literal["warn", "fail"] | None
    unreadable_rows: Literal["fail", "skip"] | None
    description: str | None


KNOWN = tuple(PullSettings.__annotations__)


def place_of_pull(path: str | Path) -> tuple[str, str]:
    """The folder or URL of all landings, and the pull's name: the last part of ``path``. Raises ``ConfigError``."""
    text = str(path).rstrip("/")
    data, slash, name = text.rpartition("/")
    if not name or data.endswith((":/", "://")):
        hint = "a folder, or a URL such as s3://bucket/data, and the pull's name: data/incidents"
        raise ConfigError("does not name a pull below a folder", key="path", value=path, hint=hint)
    return data or slash or ".", name


def declared(
    path: str | Path, pull: PullConfig | None, settings: Mapping[str, Any], page_size: int, max_workers: int
) -> PullConfig:
    """The pull called like the last part of ``path``: ``pull`` itself, or made of ``settings``.

    ``page_size`` and ``max_workers`` are the client's. Raises ``ConfigError``, which names the keyword.
    """
    name = place_of_pull(path)[1]
    given = {key: value for key, value in settings.items() if value is not None}
    if pull is None:
        return _made(path, {"page_size": page_size, "max_workers": max_workers, **given, "name": name})
    if given:
        hint = "give it there, or give no pull"
        raise ConfigError("is a setting, and pull= has them all", key=next(iter(given)), hint=hint)
    if pull.name != name:
        hint = f"end the path in {pull.name}"
        raise ConfigError(f"is called otherwise than {path} ends", key="pull", value=pull.name, hint=hint)
    return pull


def _made(path: str | Path, data: Mapping[str, Any]) -> PullConfig:
    for key in data:
        if key not in (*KNOWN, "name"):
            raise ConfigError(_why_not(key), key=key, hint=_instead_of(key))
    if "table" not in data:
        raise ConfigError("is missing", key="table", hint='give table="incident", or pull=')
    try:
        return PullConfig.model_validate(data)
    except ValidationError as error:
        problem: dict[str, Any] = dict(error.errors(include_url=False, include_context=True)[0])
    key = str(problem["loc"][0]) if problem["loc"] else "mode"  # the one rule about several is that of deltas
    value, hint = (path, "the last part of the path is the pull's name") if key == "name" else (data.get(key, ""), "")
    name = "path" if key == "name" else key
    raise ConfigError(message_of(problem), key=name, value=shown(value), hint=hint or hint_of((key,), PULL_HINTS))


def _why_not(key: str) -> str:
    if key in OF_CLIENT:
        return "is a setting of the client"
    return "is for Dagster alone" if key in PullConfig.model_fields else "is not a known setting"


def _instead_of(key: str) -> str:
    if key in OF_CLIENT:
        return f"give it to Client(..., {key}=...)"
    if key in PullConfig.model_fields:
        return "declare the pull in pulls.yaml, and give it as pull="
    close = nearest(key, KNOWN)
    return f"did you mean {close}?" if close else f"known are: {', '.join(KNOWN)}"

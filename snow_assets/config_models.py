"""The shapes of ``pulls.yaml`` as pydantic models. Units: seconds, rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from snow_assets.config_attachments import AttachmentsConfig
from snow_assets.config_documents import DocumentsConfig, check_documents
from snow_assets.config_graph import GraphConfig, check_graph
from snow_assets.config_schedule import MaintenanceConfig, Schedule, Section, schedule_of, section_of
from snow_assets.errors import ConfigError

# Windows takes these for devices, whatever their case; a landing copied there could not be made.
_DEVICES = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TABLE = re.compile(r"[A-Za-z0-9_]{1,80}")
_FIELD = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
_LONGEST_QUERY = 7000  # encoded; instances refuse a request line of more than about 8,000 with 414
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd])")
_RELATIVE_DATE = re.compile(r"RELATIVE(GT|GE|LT|LE|EE)")
_WALKED = re.compile(r"(?:^|\^(?:NQ|OR)?)([a-z_][a-z0-9_]*\.[a-z0-9_.]+)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that ``word`` was probably meant to be, or ``""``."""
    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


def without_secrets(url: str) -> str:
    """What of ``url`` may be shown: not what stands before a host, nor what is asked of it."""
    return re.split(r"[?#]", url.rpartition("@")[2])[0]


def check_url(text: str, key: str) -> str:
    """The root address of an instance without its trailing slash; raises `ConfigError` for anything else.

    The value is never repeated whole: someone may have written a password into it.
    """
    example = "write https://<instance>.service-now.com"
    shown = without_secrets(text.strip())
    try:
        parts = urlsplit(text.strip())
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        reason = "its port is not a number up to 65535" if "ort" in str(error) else "it is not a URL"
        raise ConfigError(f"cannot be read: {reason}", key=key, value=shown, hint=example) from None
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() or ord(c) < 32 for c in text.strip()):
        raise ConfigError("is not an http(s) URL", key=key, value=shown, hint=example)
    if "@" in parts.netloc:
        raise ConfigError("holds credentials", key=key, value=shown, hint="use SNOW_USERNAME and SNOW_PASSWORD")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError("has more than a host", key=key, value=shown, hint=f"{example}, without a path")
    return f"{parts.scheme}://{parts.netloc}"


def parse_duration(value: object) -> object:
    """``"24h"``, ``"90m"``, ``"2d"``, ``"30s"`` as seconds; anything else is handed on."""
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if isinstance(value, str) and not match:
        raise ValueError("is neither a number of seconds nor a duration such as 90m, 24h or 2d")
    return float(match[1]) * _SECONDS[match[2]] if match else value


def check_folder(name: str) -> str:
    """``name``, which a folder shall bear; raises ``ValueError`` where it cannot on some system."""
    if _DEVICES.fullmatch(name):
        raise ValueError("is the name of a device on Windows, where no folder may bear it")
    return name


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("is not a number")
    return value


def _matching(pattern: re.Pattern[str], what: str) -> BeforeValidator:
    def check(value: object) -> object:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(f"is not {what}")
        return value

    return BeforeValidator(check)


Count = Annotated[int, Field(strict=True)]
Seconds = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
Duration = Annotated[float, BeforeValidator(_no_bool), BeforeValidator(parse_duration), Field(allow_inf_nan=False)]
Share = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
PullName = Annotated[str, _matching(_NAME, "a pull's name: up to 100 letters, digits and _, not starting with a digit")]
ImportName = Annotated[
    str, _matching(_NAME, "an import's name: up to 100 letters, digits and _, not starting with a digit")
]
VariableName = Annotated[str, _matching(_VARIABLE, "the name of an environment variable, such as HR_DATABASE")]
GroupName = Annotated[str, _matching(_NAME, "a group's name: letters, digits and _, not starting with a digit")]
TableName = Annotated[str, _matching(_TABLE, "a table's name, such as incident or cmdb_ci_server")]
FieldName = Annotated[str, _matching(_FIELD, "a field's name, such as state or caller_id.email")]


class InstanceConfig(Section):
    """How to reach the instance; never who we are. The environment wins over ``url``."""

    url: str | None = None
    allow_http: Annotated[bool, Field(strict=True)] = False
    proxy: str | None = None
    ca_bundle: str | None = None
    max_workers: Annotated[Count, Field(ge=1, le=256)] | None = None

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, value: str | None) -> str | None:
        # Dagster's UI shows the configuration of a resource, and this file is shared.
        if value and "@" in value:
            raise ValueError("holds credentials")
        return value

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        try:
            return check_url(value, "instance.url") if value else None
        except ConfigError as error:
            raise ValueError(error.message) from None


class Timeout(Section):
    """Seconds to wait for a connection, and for an answer."""

    connect: Annotated[Seconds, Field(gt=0)] = 10.0
    read: Annotated[Seconds, Field(gt=0)] = 90.0


def timeout_of(value: object) -> object:
    """A number is the ``read`` of a time-out."""
    return {"read": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


def _switch(value: object) -> object:
    """YAML 1.1 takes a bare ``off`` for a boolean."""
    return "off" if value is False else value


def _display_value(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


class PullConfig(Section):
    """A declared extraction. ``name`` is its key in the map ``pulls``."""

    name: PullName
    table: TableName
    query: str = ""
    fields: Annotated[tuple[FieldName, ...], Field(min_length=1)] | None = None
    display_value: Annotated[Literal["true", "false", "all"], BeforeValidator(_display_value)] = "all"
    page_size: Annotated[Count, Field(ge=1, le=10_000)] = 1000
    slice_rows: Annotated[Count, Field(ge=1)] | None = None
    max_workers: Annotated[Count, Field(ge=1, le=256)] = 16
    max_retries: Annotated[Count, Field(ge=0, le=100)] = 3
    retry_backoff: Annotated[Seconds, Field(ge=0)] = 1.0
    timeout: Annotated[Timeout, BeforeValidator(timeout_of)] = Timeout()
    max_wait: Annotated[Duration, Field(ge=0)] = 900.0
    max_plan_age: Annotated[Duration, Field(gt=0)] = 86_400.0
    key: Annotated[tuple[FieldName, ...], Field(min_length=1)] | None = None
    mode: Literal["full", "delta"] = "full"
    cursor: FieldName = "sys_updated_on"
    overlap: Annotated[Duration, Field(ge=0)] = 900.0
    lag: Annotated[Duration, Field(ge=0)] = 120.0
    verify_every: Annotated[Duration, Field(ge=0)] = 604_800.0
    deletes: Annotated[Literal["audit", "keys", "both", "off"], BeforeValidator(_switch)] = "audit"
    max_deleted: Annotated[Share, Field(ge=0, le=1)] = 0.1
    on_change: Literal["evolve", "freeze"] = Field("evolve", alias="schema")
    keep: Annotated[Duration, Field(gt=0)] | None = None
    keep_current: Annotated[Duration, Field(gt=0)] = 172_800.0
    corpus: Annotated[bool, Field(strict=True)] = False
    documents: Annotated[DocumentsConfig | None, BeforeValidator(section_of)] = None
    hidden_rows: Literal["warn", "fail"] = "warn"
    unreadable_rows: Literal["fail", "skip"] = "fail"
    attachments: Annotated[AttachmentsConfig | None, BeforeValidator(section_of)] = None
    graph: Annotated[GraphConfig | None, BeforeValidator(section_of)] = None
    schedule: Annotated[Schedule, BeforeValidator(schedule_of)] | None = None
    description: str = ""
    repair_attempts: Annotated[Count, Field(ge=0, le=100)] = 3
    group: GroupName | None = None
    slices_per_run: Annotated[Count, Field(ge=1, le=10_000)] = 250

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        return check_folder(value)

    @field_validator("query")
    @classmethod
    def _check_query(cls, value: str) -> str:
        if len(quote(value)) > _LONGEST_QUERY:
            raise ValueError(
                f"is longer than the {_LONGEST_QUERY} characters of an address that instances accept; split the pull"
            )
        if any(ord(character) < 32 for character in value.strip()):
            raise ValueError("has a line break or a tab in it; write the query on one line")
        return value.strip()

    @field_validator("documents")
    @classmethod
    def _check_documents(cls, value: DocumentsConfig | None, info: ValidationInfo) -> DocumentsConfig | None:
        if value:
            check_documents(value, info.data)
        return value

    @field_validator("graph")
    @classmethod
    def _check_graph(cls, value: GraphConfig | None, info: ValidationInfo) -> GraphConfig | None:
        if value:
            check_graph(info.data)
        return value

    @model_validator(mode="after")
    def _check_delta(self) -> PullConfig:
        if self.mode == "delta":
            check_delta(self)
        if self.attachments and self.key:
            raise ValueError("attachments belong to rows with a sys_id, so the pull cannot have a key of its own")
        return self

    @property
    def asset_group(self) -> str:
        """The group of the pull's assets: their names, ``plan`` or ``slices``, are the same in every pull."""
        return self.group or self.name

    @property
    def other_pulls(self) -> Iterator[tuple[tuple[str, str], str, str]]:
        """The keys that name another pull, which one, and the table that it must be of (``""``: any)."""
        if self.graph and self.graph.cis:
            yield ("graph", "cis"), self.graph.cis, ""
        for key, (name, table) in self.documents.other_pulls.items() if self.documents else ():
            yield ("documents", key), name, table

    @property
    def delta_fields(self) -> tuple[str, ...]:
        """What tells two versions of a row apart, besides their sys_id: landed by every delta pull."""
        return tuple(dict.fromkeys((self.cursor, "sys_mod_count")))

    @field_validator("fields", "key")
    @classmethod
    def _check_distinct(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        twice = next((name for i, name in enumerate(value or ()) if name in (value or ())[:i]), None)
        if twice:
            raise ValueError(f"names {twice} twice")
        return value


def check_delta(pull: PullConfig) -> None:
    """Raise ``ValueError`` where a pull changes in ways that its cursor cannot show.

    A relative date moves with the clock, what is read through a reference changes with another record, and display
    values with the account's language and zone: none of these touches the row's own cursor. Where every delta is a
    verification sweep (``verify_every: 0``), the first is seen all the same.
    """
    if pull.key:
        raise ValueError("mode: delta needs rows with a sys_id, so it cannot have a key of its own")
    if "." in pull.cursor:
        raise ValueError("cursor must be a field of the table itself")
    if pull.verify_every == 0:
        return
    sweep = "set verify_every: 0, so that each delta is a verification sweep, or mode: full"
    query = pull.query
    if "javascript:" in query or _RELATIVE_DATE.search(query):
        raise ValueError(f"mode: delta cannot follow a relative date, which moves without the rows; {sweep}")
    walked = _WALKED.search(query)
    if walked:
        raise ValueError(f"mode: delta cannot follow {walked[1]}, which changes with another record; {sweep}")
    far = next((field for field in pull.fields or () if "." in field), None)
    if far:
        raise ValueError(f"mode: delta cannot follow the field {far}, which changes with another record; {sweep}")
    if pull.display_value == "true":
        raise ValueError(f"mode: delta needs stored values, and display_value: true has none; {sweep}")


class Settings(Section):
    """A whole ``pulls.yaml``. ``path`` is where it lies."""

    pulls: dict[str, PullConfig]
    instance: InstanceConfig = InstanceConfig()
    maintenance: MaintenanceConfig = MaintenanceConfig()
    path: Path

    @model_validator(mode="before")
    @classmethod
    def _fill_names(cls, data: Any) -> Any:
        """Let `Settings` be made in code too, from pulls without names."""
        if not isinstance(data, dict) or not isinstance(data.get("pulls"), dict):
            return data
        named = {
            name: {"name": name, **pull} if isinstance(pull, dict) else pull for name, pull in data["pulls"].items()
        }
        return {**data, "pulls": named}

    def pull(self, name: str) -> PullConfig:
        """The pull called ``name``; raises `ConfigError` that suggests the nearest."""
        if name in self.pulls:
            return self.pulls[name]
        close = nearest(name, self.pulls)
        hint = f"did you mean {close}?" if close else f"there are: {', '.join(self.pulls)}"
        raise ConfigError(f"no such pull in {self.path}", key="pull", value=name, hint=hint)

"""When something starts by itself, and the base of every section of ``pulls.yaml``."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, field_validator

from snow_assets.config_cron import check_cron


class Section(BaseModel):
    """A map in ``pulls.yaml``: unknown keys are refused, values are not repeated in errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True)


class Schedule(Section):
    """When a pull starts by itself: five cron fields, in a time zone."""

    cron: str
    timezone: str = "UTC"

    @field_validator("cron")
    @classmethod
    def _check_cron(cls, value: str) -> str:
        return check_cron(value)

    @field_validator("timezone")
    @classmethod
    def _check_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError("is not a time zone's name, such as Europe/Berlin") from None
        return value


class MaintenanceConfig(Schedule):
    """When old things are pruned and small files compacted: by default each night at 04:30 UTC."""

    cron: str = "30 4 * * *"


def schedule_of(value: object) -> object:
    """A text is the ``cron`` of a schedule."""
    return {"cron": value} if isinstance(value, str) else value


def section_of(value: object) -> object:
    """``true`` is a section of defaults, ``false`` none."""
    return ({} if value else None) if isinstance(value, bool) else value

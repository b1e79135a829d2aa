"""The section ``attachments`` of a pull in ``pulls.yaml``. Units: bytes."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from snow_assets.config_schedule import Schedule, Section, schedule_of

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kKMG]?i?B)")
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_CONTENT_TYPE = re.compile(r"[a-z0-9.+-]+/(?:[a-z0-9.+-]+|\*)")


def parse_size(value: object) -> object:
    """``"25MB"``, ``"200 kB"``, ``"1GiB"`` as bytes; anything else is handed on."""
    if not isinstance(value, str):
        if isinstance(value, bool):
            raise ValueError("is not a number")
        return value
    match = _SIZE.fullmatch(value.strip())
    unit = "" if match is None else match[2].replace("KB", "kB").replace("kiB", "KiB")
    if match is None or unit not in _UNITS:
        raise ValueError("is neither a number of bytes nor a size such as 200kB, 25MB or 1GB")
    return int(float(match[1]) * _UNITS[unit])


class AttachmentsConfig(Section):
    """Which attachments of a pull's rows are fetched, and when.

    ``max_size`` in bytes; ``content_types`` such as ``image/*``: others are listed, and not fetched. ``query`` is an
    encoded query of ``sys_attachment``. ``check_hash: false`` is for instances whose hashes are of something else.
    """

    max_size: Annotated[int, BeforeValidator(parse_size), Field(ge=1)] | None = None
    content_types: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    query: str = ""
    check_hash: Annotated[bool, Field(strict=True)] = True
    schedule: Annotated[Schedule, BeforeValidator(schedule_of)] | None = None

    @field_validator("content_types")
    @classmethod
    def _check_content_types(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        lower = tuple(each.strip().lower() for each in value or ())
        wrong = next((each for each in lower if not _CONTENT_TYPE.fullmatch(each)), None)
        if wrong is not None:
            raise ValueError(f"{wrong} is not a content type, such as application/pdf or image/*")
        return lower or None

    @field_validator("query")
    @classmethod
    def _check_query(cls, value: str) -> str:
        if any(ord(character) < 32 for character in value.strip()):
            raise ValueError("has a line break or a tab in it; write the query on one line")
        return value.strip()

    def takes(self, content_type: str) -> bool:
        """Whether files of this content type are fetched."""
        kind = content_type.partition(";")[0].strip().lower()
        family = f"{kind.partition('/')[0]}/*"
        return self.content_types is None or kind in self.content_types or family in self.content_types

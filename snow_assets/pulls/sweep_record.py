"""What a plan's sweep found, as it is kept in ``sweep.json``: once that is there, the plan is swept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import msgspec

from snow_assets.errors import LandingError
from snow_assets.pulls.landing import Landing

SWEEP_FILE: Final = "sweep.json"


@dataclass(frozen=True, slots=True)
class MendedFile:
    """A file of mended rows: ``path`` is relative to the landing, ``size`` in bytes, ``first`` and ``last`` sys_ids."""

    path: str
    rows: int
    size: int
    first: str
    last: str


@dataclass(frozen=True)
class Sweep:
    """What a plan's sweep found.

    ``kinds`` of sweeps that were made: ``left`` (the window without the query), ``verify`` (the keys of all that
    matches), ``audit`` (the delete log). ``known`` rows were live before, ``swept`` were seen. ``missed`` rows had
    never been seen, ``restored`` ones were known to be gone, ``changed`` ones were of another version: all these are in
    the files ``mended``. ``later`` rows differ, and are in the next window. ``left_filter``, ``reclassified`` and
    ``deleted`` (by method) rows are in the marks. ``hidden`` rows are counted and not shown, and kept live; ``None``
    where the instance does not count rightly. ``gone`` rows are deleted, and not marked because of ``deletes: off``.
    ``unknown`` says what deletes nobody can know of; ``notes`` are further lines for people.
    """

    pull: str
    plan: str
    kinds: tuple[str, ...] = ()
    known: int = 0
    swept: int = 0
    missed: int = 0
    restored: int = 0
    changed: int = 0
    later: int = 0
    left_filter: int = 0
    reclassified: int = 0
    deleted: Mapping[str, int] = field(default_factory=dict)
    hidden: int | None = 0
    gone: int = 0
    unknown: str = ""
    notes: tuple[str, ...] = ()
    mended: tuple[MendedFile, ...] = ()
    marks: str = ""
    seconds: float = 0.0
    cost: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The content of ``sweep.json``."""
        return msgspec.json.format(msgspec.json.encode(asdict(self)), indent=1)

    @classmethod
    def from_json(cls, content: bytes) -> Sweep:
        """The inverse of ``to_json``. Raises ``LandingError`` where it is damaged."""
        try:
            return msgspec.json.decode(content, type=cls)
        except (msgspec.DecodeError, ValueError) as error:
            raise LandingError("is damaged", key="file", value=SWEEP_FILE, hint="remove it and sweep again") from error


def read_sweep(landing: Landing, plan_id: str) -> Sweep | None:
    """The sweep of a plan, ``None`` where it was not made to its end. Raises ``LandingError``."""
    try:
        return Sweep.from_json(landing.store.read(f"{plan_id}/{SWEEP_FILE}"))
    except FileNotFoundError:
        return None

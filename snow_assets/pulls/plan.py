"""A plan: one frozen reading of a pull. Written once as ``plan.json``, never changed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import msgspec
import xxhash

from snow_assets.errors import ConfigError, LandingError
from snow_assets.servicenow.exchange import DisplayValue

FORMAT_VERSION = 1
OFFSET_DIGITS = 10
PLAN_ID_FORMAT = "%Y%m%dT%H%M%SZ"
_PLAN_ID = re.compile(r"\d{8}T\d{6}Z(?![^-./])")


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows with ``lo <= sys_id < hi`` (``None``: open).

    ``offset`` is the position of its first row by the plan's own count. ``rows`` is the number
    expected, ``None`` where nothing counted them; it is advisory.
    """

    offset: int
    lo: str | None
    hi: str | None
    rows: int | None = None

    @property
    def name(self) -> str:
        """The offset, zero-padded: the name of the slice in keys and files."""
        return f"{self.offset:0{OFFSET_DIGITS}d}"

    def __str__(self) -> str:
        return f"slice {self.name} [{self.lo or 'start'}, {self.hi or 'end'})"


@dataclass(frozen=True)
class Plan:
    """What a pull is going to read: cut-off, count, fields and slices, bound to a fingerprint.

    ``as_of`` is the instance's clock when the plan was made (aware, UTC). ``counted`` is the Aggregate API's count,
    ``None`` where it was refused; it is advisory. ``identity`` holds the parts of the fingerprint in plain words.
    ``probed`` are the fields that the plan saw in a row; ``types`` are the dictionary's, by field, where readable.
    ``mode`` is the pull's. A delta pull's plan is a *base* (``since`` is ``None``: every row) or a *delta*: the rows
    whose cursor lies at or after ``since`` (aware, UTC); ``base`` is the id of the plan that its chain began with.
    Its rows are landed with the column ``_plan``, and ``as_of`` is the clock less the pull's lag: the next watermark.
    ``verify``: the keys of all that matches are compared with what is known.
    ``witnesses`` are sys_ids of some rows that were visible: were they hidden later, a right was lost meanwhile.
    """

    pull: str
    plan_id: str
    as_of: datetime
    counted: int | None
    table: str
    query: str
    fields: tuple[str, ...]
    display_value: DisplayValue
    page_size: int
    slice_rows: int
    slices: tuple[Slice, ...]
    identity: Mapping[str, Any]
    probed: tuple[str, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    relative_dates: bool = False
    witnesses: tuple[str, ...] = ()
    mode: str = "full"
    base: str = ""
    since: datetime | None = None
    verify: bool = False
    cursor: str = ""

    @property
    def is_delta(self) -> bool:
        """Whether it reads a window only, on top of a base."""
        return self.since is not None

    @property
    def base_query(self) -> str:
        """The pull's own query, without the window of a delta."""
        return str(self.identity.get("base_query", self.query))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of ``identity``: what must be equal for files to belong together."""
        return fingerprint_of(self.identity)

    @cached_property
    def partition_keys(self) -> list[str]:
        """``<plan_id>/<offset>`` of every slice, in offset order."""
        return [f"{self.plan_id}/{piece.name}" for piece in self.slices]

    def slice(self, partition_key: str) -> Slice:
        """The slice of a partition key. Raises ``ConfigError`` where the plan has no such slice."""
        found = self._by_key.get(partition_key)
        if found is None:
            raise ConfigError(
                f"plan {self.plan_id} of pull {self.pull} has no such slice", key="partition", value=partition_key
            )
        return found

    @cached_property
    def _by_key(self) -> dict[str, Slice]:
        return dict(zip(self.partition_keys, self.slices, strict=True))

    def to_json(self) -> bytes:
        """The content of ``plan.json``."""
        data = asdict(self)
        data["as_of"] = self.as_of.isoformat()
        data["since"] = self.since.isoformat() if self.since else None
        data["fingerprint"] = self.fingerprint
        data["format"] = FORMAT_VERSION
        data["digest"] = _digest(data)
        return msgspec.json.format(msgspec.json.encode(data), indent=1)

    @classmethod
    def from_json(cls, content: bytes, source: str = "plan.json", pull: str = "NAME") -> Plan:
        """Read ``plan.json``. Raises ``LandingError`` where it is damaged or of another format.

        The first plans had neither digest nor witnesses: without them nothing is known, and nothing is damaged.
        """
        hint = f"start a new plan with snow-assets pull {pull} --new"
        try:
            data = msgspec.json.decode(content, type=dict[str, Any])
            if data.pop("format") != FORMAT_VERSION:
                raise LandingError("was written by another version of snow_assets", key="plan", value=source)
            digest = data.pop("digest", None)
            whole = digest is None or digest == _digest({**data, "format": FORMAT_VERSION})
            fingerprint = data.pop("fingerprint")
            data["as_of"] = datetime.fromisoformat(data["as_of"])
            since = data.pop("since", None)  # the first plans were all full
            data["since"] = datetime.fromisoformat(since) if since else None
            data["slices"] = tuple(Slice(**piece) for piece in data["slices"])
            for name in ("fields", "probed", "key", "witnesses"):
                data[name] = tuple(data.get(name, ()) if name == "witnesses" else data[name])
            plan = cls(**data)
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            raise LandingError("is damaged", key="plan", value=source, hint=hint) from error
        if plan.fingerprint != fingerprint or not whole:
            raise LandingError("was changed by hand", key="plan", value=source, hint=hint)
        return plan


def _digest(data: Mapping[str, Any]) -> str:
    """Of what ``plan.json`` holds besides: a bit that flips in a boundary would read other rows."""
    return xxhash.xxh3_128_hexdigest(msgspec.json.encode(data, order="deterministic"))


def fingerprint_of(identity: Mapping[str, Any]) -> str:
    """SHA-256, hex, of the canonical JSON of ``identity``."""
    return hashlib.sha256(msgspec.json.encode(identity, order="deterministic")).hexdigest()


def plan_id_of(moment: datetime) -> str:
    """``20261120T020000Z`` for a moment (aware)."""
    return moment.astimezone(UTC).strftime(PLAN_ID_FORMAT)


def moment_of(plan_id: str) -> datetime:
    """The moment in a plan id. Raises ``ConfigError`` where it is none."""
    try:
        return datetime.strptime(plan_id, PLAN_ID_FORMAT).replace(tzinfo=UTC)
    except ValueError as error:
        raise ConfigError("is not a plan id", key="plan", value=plan_id, hint="like 20261120T020000Z") from error


def plan_in(path: str) -> str:
    """The plan id that a name or a path begins with; ``""`` where it begins with none."""
    match = _PLAN_ID.match(path)
    return match[0] if match else ""

"""What a slice knows of itself, kept in the footer of its Parquet file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import msgspec

from snow_assets.servicenow.exchange import Tally

FOOTER_KEY = b"snow_assets.ledger"


@dataclass(frozen=True, slots=True)
class Difference:
    """One cause for which counted and landed differ, or a thing to know about the rows.

    ``cause``: ``hidden`` (counted, but ACLs keep the row from us), ``left_filter`` and ``deleted`` (landed, then gone),
    ``gone`` (seen by its key, gone before it could be read), ``unreadable`` (a row that fails alone), ``count_low``
    (the instance counts fewer than it shows), ``count_unknown``, ``repaired`` (fetched by sys_id after the sweep),
    ``read_by_key`` (how a table without sys_id was read, and what that promises), ``field_hidden``, ``drift`` (the
    count moved between plan and slices). ``rows`` is signed: what it adds to counted to give landed; 0 where it
    explains no difference. ``sys_ids`` is a sample.
    """

    cause: str
    rows: int
    evidence: str
    sys_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """Figures of one slice. ``hidden`` is ``None`` where no count told; ``seconds`` is wall time.

    ``digest`` is the order-independent digest of the rows, 32 hex digits (see ``columns.RowDigest``).
    """

    plan_id: str
    offset: int
    lo: str | None
    hi: str | None
    fingerprint: str
    attempt: int
    counted: int | None
    landed: int
    hidden: int | None
    pages: int
    digest: str
    first: str
    last: str
    started: str
    seconds: float
    tally: Tally
    differences: tuple[Difference, ...] = ()

    @property
    def requests(self) -> int:
        """Requests that the slice cost the instance."""
        return self.tally.requests

    @property
    def retries(self) -> int:
        """How many of them were asked again after a fault."""
        return self.tally.retries

    def to_json(self) -> bytes:
        """The value under ``FOOTER_KEY``."""
        data = {name: getattr(self, name) for name in self.__slots__ if name not in ("tally", "differences")}
        data["tally"] = self.tally.as_dict()
        data["differences"] = [asdict(difference) for difference in self.differences]
        return msgspec.json.encode(data)

    @classmethod
    def from_json(cls, content: bytes) -> Ledger:
        """The inverse of ``to_json``. Raises ``ValueError``, ``KeyError`` or ``TypeError`` where it is none."""
        data = cast(dict[str, Any], msgspec.json.decode(content))
        data["tally"] = Tally.from_dict(data["tally"])
        data["differences"] = differences_from(data["differences"])
        return cls(**data)


def differences_from(items: Sequence[dict[str, Any]]) -> tuple[Difference, ...]:
    """Differences from plain JSON."""
    return tuple(Difference(**{**item, "sys_ids": tuple(item["sys_ids"])}) for item in items)

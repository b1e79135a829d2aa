"""What the parts of an import hand to each other: files with agreed columns, and a few figures.

Staged (one Parquet file per import set): `STAGED` and then the columns of the source, as they are there.
Mapped: `MAPPED` and then the fields of the target, typed; in the order of ``sys_import_row``.
Rows: `ROWS`, one line for each staged row of the set, in that order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias

import pyarrow as pa

RowState: TypeAlias = Literal["pending", "inserted", "updated", "ignored", "skipped", "error"]

# Codes of sys_import_set_row_error, as the platform has them; 400 is ours: a value that is not of its type, or a line
# that cannot be read.
REFERENCE_REJECTED: Final = 100
CHOICE_REJECTED: Final = 200
INVALID_VALUE: Final = 400
INVALID_TARGET: Final = 800
SCRIPT_ERROR: Final = 900

STAGED: Final = pa.schema(
    [
        pa.field("sys_import_row", pa.int64(), nullable=False),  # from 1, in the order of the source, over all sets
        pa.field("sys_import_file", pa.string()),
        pa.field("sys_import_line", pa.int64()),  # from 1, where the source has lines
    ]
)
MAPPED: Final = pa.schema(
    [
        pa.field("sys_import_row", pa.int64(), nullable=False),
        pa.field("sys_import_state", pa.string()),  # null: to be applied; else skipped or error
        pa.field("sys_import_state_comment", pa.string()),
        pa.field("sys_row_error", pa.int32()),
    ]
)
# A column that a mapped file may have besides: the fields which the row empties (list of strings), where a text
# `NULL` says so and the field's type is not text.
CLEARED: Final = "sys_import_cleared"
ROWS: Final = pa.schema(
    [
        pa.field("sys_import_row", pa.int64(), nullable=False),
        pa.field("sys_import_state", pa.string(), nullable=False),
        pa.field("sys_import_state_comment", pa.string()),
        pa.field("sys_row_error", pa.int32()),
        pa.field("sys_target_sys_id", pa.string()),
    ]
)
ERRORS: Final = pa.schema(
    [
        pa.field("sys_import_file", pa.string()),
        pa.field("sys_import_line", pa.int64()),
        pa.field("code", pa.int32()),
        pa.field("message", pa.string()),
        pa.field("text", pa.string()),  # the beginning of what could not be read
    ]
)


NO_FIELDS: Final = frozenset({*MAPPED.names, CLEARED})


def fields_of(mapped: pa.Schema) -> pa.Schema:
    """The fields of the target that a mapped file sets."""
    return pa.schema([field for field in mapped if field.name not in NO_FIELDS])


@dataclass(frozen=True)
class Counters:
    """What became of the rows of an import set, as sys_import_set_run counts it. They add up to ``total``."""

    total: int = 0
    inserts: int = 0
    updates: int = 0
    ignored: int = 0
    skipped: int = 0
    errors: int = 0

    @property
    def accounted(self) -> int:
        """Rows with an outcome; ``total`` where nothing is lost."""
        return self.inserts + self.updates + self.ignored + self.skipped + self.errors

    def __add__(self, other: Counters) -> Counters:
        return Counters(*(mine + others for mine, others in zip(self._all, other._all, strict=True)))

    @property
    def _all(self) -> tuple[int, ...]:
        return self.total, self.inserts, self.updates, self.ignored, self.skipped, self.errors

    def as_dict(self) -> dict[str, int]:
        """Plain JSON, by the platform's names."""
        return asdict(self)

    @classmethod
    def of_states(cls, states: Mapping[str, int]) -> Counters:
        """From the number of rows in each state."""
        found = [states.get(name, 0) for name in ("inserted", "updated", "ignored", "skipped", "error")]
        return cls(sum(states.values()), *found)


@dataclass(frozen=True)
class MappedSet:
    """An import set that is ready to be applied."""

    import_name: str
    load_id: str
    set_no: int
    attempt: str  # names the files of this try
    total: int  # staged rows
    mapped: Path
    rows: Path  # where the outcome of each row is written, before it counts
    reprocess: bool = False  # apply it although it was applied before
    load_sys_id: str = ""  # of the load: others, on other machines, may have begun in the same second

    @property
    def load_key(self) -> str:
        """``<import>/<load id>``, and what tells it from every other load: what new sys_ids are made of."""
        return "/".join(part for part in (self.import_name, self.load_id, self.load_sys_id) if part)

    @property
    def key(self) -> str:
        """``<import>/<load id>/<set>/<sys_id of the load>``: what the target remembers it by."""
        place = f"{self.import_name}/{self.load_id}/{self.set_no:04d}"
        return f"{place}/{self.load_sys_id}" if self.load_sys_id else place


@dataclass(frozen=True)
class Applied:
    """An import set whose rows the target holds. ``attempt`` names its file of rows."""

    attempt: str
    counters: Counters


class Target(Protocol):
    """Where records go. One for each import and process; safe for threads."""

    def check(self, fields: pa.Schema) -> None:
        """Make the table where it is missing; raises ``ConfigError`` where it cannot hold these fields."""

    def applied(self, key: str) -> Applied | None:
        """What the target remembers of an import set: it survives whoever applied it."""

    def apply(self, mapped: MappedSet) -> Applied:
        """Apply a set: all of it, or nothing (an instance: row by row, each once).

        Where the target remembers the set already and ``reprocess`` is not asked for, nothing is done.
        """

    def close(self) -> None:
        """Let go of connections."""


Record: TypeAlias = dict[str, Any]

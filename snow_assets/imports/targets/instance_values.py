"""Rows on their way into an instance: values as the platform stores them, keys, and what became of each row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.config_imports import ImportConfig
from snow_assets.imports.contract import CLEARED, MAPPED, MappedSet, RowState

Key: TypeAlias = tuple[str, ...]
_CLEARS: Final = "NULL"
_LONGEST: Final = 200  # characters of a comment
_MOST_TEXT: Final = 2_000_000  # characters in one request: instances take bodies of 10 MB
_NO_FIELDS: Final = frozenset({*MAPPED.names, CLEARED})


@dataclass(slots=True)
class Row:
    """A mapped row. ``values``: stored text; ``None`` leaves a field as it is, ``""`` empties it."""

    number: int
    values: dict[str, str | None]
    outcome: Outcome | None = None  # where it is known already


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row."""

    number: int
    state: RowState
    comment: str | None = None
    code: int | None = None
    sys_id: str | None = None

    def as_list(self) -> list[Any]:
        """Plain JSON."""
        return [self.number, self.state, self.comment, self.code, self.sys_id]


def pieces(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows in lists that each fit into one request; where a list begins, all that follows is cut the same."""
    kept: list[Row] = []
    size = 0
    for row in rows:
        length = sum(len(value or "") + 100 for value in row.values.values())
        if kept and size + length > _MOST_TEXT:
            yield kept
            kept, size = [], 0
        kept.append(row)
        size += length
    if kept:
        yield kept


def failed(row: Row, comment: str, code: int) -> Outcome:
    """An error of a row."""
    return Outcome(row.number, "error", " ".join(comment.split())[:_LONGEST], code)


@dataclass(frozen=True)
class Shaping:
    """How the values of an import become text: its fields with their types, and what empty ones mean."""

    config: ImportConfig
    types: Mapping[str, pa.DataType] = field(default_factory=dict)

    @classmethod
    def of(cls, config: ImportConfig, schema: pa.Schema) -> Shaping:
        """For a mapped file of ``schema``."""
        return cls(config, {each.name: each.type for each in schema if each.name not in _NO_FIELDS})

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of the target."""
        return tuple(self.types)

    def rows(self, path: Path, size: int) -> Iterator[list[Row]]:
        """The rows of a mapped file in their order, so many at a time."""
        with pq.ParquetFile(path) as file:
            kept: list[Row] = []
            for batch in file.iter_batches(batch_size=size):
                kept += map(self._row, batch.to_pylist())
                while len(kept) >= size:
                    yield kept[:size]
                    kept = kept[size:]
            if kept:
                yield kept

    def normal(self, name: str, stored: str) -> str:
        """What two texts of one value of a field have in common."""
        kind = self.types.get(name)
        if kind is None or not stored or pa.types.is_string(kind):
            return stored
        if pa.types.is_boolean(kind):
            return {"1": "true", "0": "false"}.get(stored, stored.lower())
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            return stored.removesuffix(" 00:00:00")
        try:
            return _plain(Decimal(stored.replace(",", "")))
        except InvalidOperation:
            return stored

    def _row(self, line: Mapping[str, Any]) -> Row:
        number, state = line["sys_import_row"], line["sys_import_state"]
        if state is not None:
            comment, code = line["sys_import_state_comment"], line["sys_row_error"]
            return Row(number, {}, Outcome(number, state, comment, code))
        cleared = frozenset(line.get(CLEARED) or ())
        return Row(number, {name: self._value(line[name], cleared=name in cleared) for name in self.types})

    def _value(self, value: Any, *, cleared: bool) -> str | None:
        copies = self.config.coalesce.copy_empty_fields
        if cleared or (value == _CLEARS and not copies):
            return ""
        if value is None or value == "":
            return "" if copies else None
        return stored_text(value)


def stored_text(value: Any) -> str:
    """A value as the platform stores it: moments are UTC."""
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return (value.astimezone(UTC) if value.tzinfo else value).strftime("%Y-%m-%d %H:%M:%S")
        case date():
            return value.isoformat()
        case Decimal():
            return _plain(value)
        case float():
            return _plain(Decimal(repr(value))) if value - value == 0 else repr(value)
    return str(value)


def own_sys_id(salt: str, mapped: MappedSet, number: int) -> str:
    """The sys_id of the record that a row makes, in whichever try.

    ``salt`` is drawn once for each set: loads of two installations may have begun in the same second.
    """
    return md5(f"{salt}/{mapped.import_name}/{mapped.load_id}/{number}")


def md5(text: str) -> str:
    """32 hex digits."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def key_of(row: Row, fields: Sequence[str]) -> Key:
    """The values of the coalesce fields; empty ones are ``""``."""
    return tuple(row.values.get(name) or "" for name in fields)


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text

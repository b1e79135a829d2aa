"""Import sets, applied one row at a time by plain Python: what every target must come to.

`Story` draws an import with all its options, what the table held before, and several sets; `Model` tells it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from snow_assets.config_imports import ImportConfig
from snow_assets.imports.contract import MAPPED, MappedSet

LOAD: Final = "20261121T020000Z"
FIELDS: Final = {
    "email": pa.string(),
    "site": pa.string(),
    "badge": pa.int64(),
    "note": pa.string(),
    "since": pa.date32(),
}
TEXTS: Final = ("email", "site", "note")
# Letters whose lower case is one character, one that is lower case of two, and one whose lower case is ASCII.
WORDS: Final = ("a", "A", "b", "é", "É", "ß", "Жук", "жУК", "İ", "i", "Σς", "σς", "a ", "NULL", "null", "'", "%_")
Row = dict[str, Any]


def folded(text: str) -> str:
    """Each character by its own lower case."""
    return "".join("i" if each == "İ" else each.lower() for each in text)


@dataclass(frozen=True)
class Story:
    """What is imported. ``sets``: the rows of each, and whether it was applied before."""

    options: Mapping[str, Any]
    domain: str | None
    there: Sequence[Row]
    sets: Sequence[tuple[int, Sequence[Row], bool]]

    @property
    def config(self) -> ImportConfig:
        """The import."""
        declared: dict[str, Any] = {"source": {"csv": "people.csv"}, "target": "people", "coalesce": self.options}
        return ImportConfig(name="people", domain=self.domain, **declared)


@dataclass
class Model:
    """A table that rows are applied to."""

    config: ImportConfig
    rows: list[Row] = field(default_factory=list)

    def apply(self, rows: Sequence[Row], mapped: MappedSet) -> list[tuple[int, str, str | None]]:
        """Apply a set; returns the state of each row and the sys_id of its record."""
        return [(row["sys_import_row"], *self._apply(row, mapped)) for row in rows]

    def _apply(self, row: Row, mapped: MappedSet) -> tuple[str, str | None]:
        rule = self.config.coalesce
        own = _md5(f"people/{LOAD}/{row['sys_import_row']}")
        said = {name: row[name] for name in FIELDS}
        said = {name: None if value == "" else value for name, value in said.items()}
        emptied = {name for name in TEXTS if said[name] == "NULL" and not rule.copy_empty_fields}
        stored = {name: None if name in emptied else value for name, value in said.items()}
        empty = any(stored[name] is None for name in rule.fields)
        if rule.fields and empty and rule.empty == "skip" and not rule.create_on_empty:
            return "skipped", None
        if not rule.fields or (empty and rule.create_on_empty):
            record = self._first(lambda each: bool(each["sys_id"] == own))
        else:
            record = self._first(lambda each: all(self._same(name, stored, each) for name in rule.fields))
            own = _md5(f"people/{LOAD}/{row['sys_import_row']}/{mapped.attempt}") if mapped.reprocess else own
        if record is None:
            self.rows.append({"sys_id": own, "sys_domain": self.config.sys_domain, "sys_mod_count": 0, **stored})
            return "inserted", own
        given = [name for name in FIELDS if rule.copy_empty_fields or said[name] is not None]
        changed = [name for name in given if (record[name] or None) != (stored[name] or None)]
        if any(record[name] == 0 or stored[name] == 0 for name in given):  # 0 is no empty value
            changed = [name for name in given if _filled(record[name]) != _filled(stored[name])]
        if not changed:
            return "ignored", record["sys_id"]
        record.update({name: stored[name] for name in given})
        record["sys_mod_count"] = (record["sys_mod_count"] or 0) + 1
        return "updated", record["sys_id"]

    def _first(self, wanted: Any) -> Row | None:
        domain = self.config.sys_domain
        mine = [each for each in self.rows if (each["sys_domain"] or "global") == domain and wanted(each)]
        return min(mine, key=lambda each: each["sys_id"], default=None)

    def _same(self, name: str, stored: Row, record: Row) -> bool:
        return bool(self._normal(stored[name]) == self._normal(record[name]))

    def _normal(self, value: Any) -> Any:
        value = _filled(value)
        return folded(value) if isinstance(value, str) and not self.config.coalesce.case_sensitive else value

    def table(self) -> list[Row]:
        """The rows, in the order of their sys_ids; an empty text is null."""
        kept = ("sys_id", "sys_domain", *FIELDS, "sys_mod_count")
        return sorted(({name: _filled(row[name]) for name in kept} for row in self.rows), key=lambda row: row["sys_id"])


def _filled(value: Any) -> Any:
    return None if value == "" else value


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def write_mapped(folder: Path, number: int, rows: Sequence[Row], attempt: str, *, reprocess: bool = False) -> MappedSet:
    """The rows as a mapped file."""
    path, outcome = folder / f"{attempt}.parquet", folder / "rows" / f"{attempt}.parquet"
    schema = pa.schema([*MAPPED, *(pa.field(name, kind) for name, kind in FIELDS.items())])
    pq.write_table(pa.Table.from_pylist(list(rows), schema), path)
    return MappedSet("people", LOAD, number, attempt, len(rows), path, outcome, reprocess)


_texts = st.sampled_from((None, "", *WORDS))
_values: dict[str, st.SearchStrategy[Any]] = {
    "email": _texts,
    "site": _texts,
    "badge": st.sampled_from((None, 0, 1, 2**53 + 1)),
    "note": _texts,
    "since": st.sampled_from((None, date(2026, 1, 1), date(1, 1, 1))),
}
_rules = st.tuples(st.booleans(), st.sampled_from(("skip", "match", "create")), st.booleans())


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Any import of these fields, with few different values, so that keys meet."""
    keys = draw(st.permutations(("email", "site", "badge", "since")))[: draw(st.integers(0, 3))]
    sensitive, empty, copy = draw(_rules)
    options = {
        "fields": keys,
        "case_sensitive": sensitive,
        "empty": "skip" if empty == "create" else empty,
        "create_on_empty": empty == "create",
        "copy_empty_fields": copy,
    }
    there = draw(st.lists(st.fixed_dictionaries(_values), max_size=8))
    domains = st.sampled_from((None, "", "global", "acme"))
    for number, row in enumerate(there):
        row |= {
            "sys_id": f"{number:x}" * 32,
            "sys_domain": draw(domains),
            "sys_mod_count": draw(st.sampled_from((None, 3))),
        }
    sets, first = [], 1
    for number in range(1, draw(st.integers(1, 3)) + 1):
        rows = [
            {"sys_import_row": first + at, **each}
            for at, each in enumerate(draw(st.lists(st.fixed_dictionaries(_values), max_size=12)))
        ]
        first += len(rows)
        sets.append((number, rows, False))
    again = draw(st.lists(st.sampled_from(sets), max_size=2))
    sets += [(number, rows, True) for number, rows, _ in again]
    return Story(options, draw(st.sampled_from((None, "acme"))), there, sets)

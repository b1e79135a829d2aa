"""One staged row through one transform map: coalesce, then insert, update, or leave it be."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snow_assets.simulator import altering, records
from snow_assets.simulator.dictionary import lineage, title_column
from snow_assets.simulator.incoming import WriteRefusedError, referred
from snow_assets.simulator.schema import ColumnDef
from snow_assets.simulator.store import Row
from snow_assets.simulator.transform_maps import Entry, TransformMap

if TYPE_CHECKING:
    from snow_assets.simulator.instance import Simulator

UNCHANGED = "No field values changed"
_REFERENCE, _CHOICE, _TARGET, _SCRIPT = "100", "200", "800", "900"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row: its state, the record, and why not, with the code of a row error."""

    map: TransformMap
    state: str
    sys_id: str = ""
    comment: str = ""
    code: str = ""
    field: str = ""


class _RejectedError(Exception):
    """A value that the map rejects with its whole row."""

    def __init__(self, code: str, entry: Entry, text: str) -> None:
        super().__init__(text)
        self.code, self.entry = code, entry


def transform(sim: Simulator, mapping: TransformMap, row: Row, user: str) -> Outcome:
    """Bring one row into its target; never raises for what a row holds.

    With coalesce, rows of a target are transformed one after the other, whoever sent them; the knob
    ``imports_serialized`` leaves a gap between the look for a record and the insert of a new one.
    """
    if not sim.store.has(mapping.target):
        return Outcome(mapping, "error", comment=f"Invalid target table: {mapping.target}", code=_TARGET)
    try:
        with _turn(sim, mapping):
            return _transformed(sim, mapping, row, user)
    except _RejectedError as error:
        return Outcome(mapping, "error", comment=str(error), code=error.code, field=error.entry.target)
    except (WriteRefusedError, ValueError, KeyError) as error:
        return Outcome(mapping, "error", comment=str(error), code=_SCRIPT)


def _turn(sim: Simulator, mapping: TransformMap) -> AbstractContextManager[object]:
    one_by_one = mapping.keys and sim.knobs.imports_serialized
    return sim.imports.turn(mapping.target) if one_by_one else nullcontext()


def _transformed(sim: Simulator, mapping: TransformMap, row: Row, user: str) -> Outcome:
    columns = sim.store.columns.of(mapping.target)
    values: dict[str, str] = {}
    for entry in mapping.entries:
        if entry.target in columns:
            value = _value(sim, mapping, entry, columns[entry.target], row.get(entry.source, ""))
            if value is not None:
                values[entry.target] = value
    empty = [entry.target for entry in mapping.keys if not values.get(entry.target) and not entry.match_empty]
    if empty and not mapping.create_on_empty:
        why = f"Unable to resolve target record, coalesce values not present: {', '.join(empty)}"
        return Outcome(mapping, "skipped", comment=why)
    found = None if empty or not mapping.keys else _matching(sim, mapping, values)
    for hook in sim.imports.before_write:
        hook(row)
    if found is None:
        _enforce(sim, mapping, values)
        return Outcome(mapping, "inserted", records.insert(sim, mapping.target, values, user))
    return _updated(sim, mapping, found, values, user)


def _matching(sim: Simulator, mapping: TransformMap, values: Mapping[str, str]) -> str | None:
    fields = tuple(entry.target for entry in mapping.keys)
    folds = tuple(not entry.case_sensitive for entry in mapping.keys)
    return sim.indexes.first(mapping.target, fields, tuple(values.get(name, "") for name in fields), folds)


def _updated(sim: Simulator, mapping: TransformMap, sys_id: str, values: dict[str, str], user: str) -> Outcome:
    old = sim.store.find(mapping.target, sys_id) or {}
    changed = {name: value for name, value in values.items() if old.get(name, "") != value and name != "sys_id"}
    if not changed:
        return Outcome(mapping, "ignored", sys_id, UNCHANGED)
    records.update(sim, mapping.target, sys_id, changed, user)
    return Outcome(mapping, "updated", sys_id)


def _value(sim: Simulator, mapping: TransformMap, entry: Entry, column: ColumnDef, text: str) -> str | None:
    """The value for a target column; None leaves it as it is."""
    if text == "NULL":
        return ""
    if not text:
        return "" if mapping.copy_empty else None
    if column.reference and column.type == "reference":
        return _reference(sim, entry, column, text)
    if column.choices and text not in dict(column.choices):
        return _choice(sim, mapping, entry, column, text)
    return text


def _reference(sim: Simulator, entry: Entry, column: ColumnDef, text: str) -> str | None:
    if column.name == "sys_domain":  # ``global`` and the like are no records
        return referred(sim.store, sim.indexes, column, text) or text
    found = referred(sim.store, sim.indexes, column, text, entry.by)
    if found is not None:
        return found
    if entry.choice_action == "reject":
        raise _RejectedError(_REFERENCE, entry, f"Reference rejected: {entry.target} '{text}'")
    if entry.choice_action == "ignore":
        return None
    return records.insert(sim, column.reference, {entry.by or title_column(column.reference): text}, "system")


def _choice(sim: Simulator, mapping: TransformMap, entry: Entry, column: ColumnDef, text: str) -> str | None:
    by_label = next((value for value, label in column.choices if label.lower() == text.lower()), None)
    if by_label is not None:
        return by_label
    if entry.choice_action == "reject":
        raise _RejectedError(_CHOICE, entry, f"Choice rejected: {entry.target} '{text}'")
    if entry.choice_action == "ignore":
        return None
    with sim.store.lock:
        known = sim.store.columns.of(mapping.target)[column.name].choices
        if text not in dict(known):
            altering.change(sim.store, mapping.target, column.name, {"choices": (*known, (text, text))})
    return text


def _enforce(sim: Simulator, mapping: TransformMap, values: Mapping[str, str]) -> None:
    """Fields that the dictionary calls mandatory, where the map is to enforce them."""
    if mapping.mandatory == "no":
        return
    mapped = {entry.target for entry in mapping.entries}
    entries = sim.store.rows_of("sys_dictionary").values()
    tables = lineage(mapping.target)
    wanted = {row.get("element", "") for row in entries if row.get("mandatory") == "true" and row.get("name") in tables}
    missing = sorted(name for name in wanted if not values.get(name) and (mapping.mandatory == "all" or name in mapped))
    if missing:
        raise WriteRefusedError(f"Mandatory fields are missing: {', '.join(missing)}")

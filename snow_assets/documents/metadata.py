"""What a record is, as JSON values by name: for filters and joins, not for reading."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote

from snow_assets.documents.cells import Cell, Record, cell_of, seconds_of
from snow_assets.documents.recipes import Recipe

_INTEGER: Final = re.compile(r"-?\d+", re.ASCII)
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)
_OURS: Final = ("table", "url", "raw", "relationships")  # a field of that name is ``field_<name>``


def metadata_of(record: Record, recipe: Recipe, instance: str, *, expand_references: bool) -> dict[str, Any]:
    """The metadata: who the record is, then each field that holds something, typed.

    ``<f>`` is the readable label, an ISO 8601 moment, a boolean or a number. With ``expand_references``,
    ``<f>_sys_id`` is what a reference points at, ``<f>_value`` the code behind another label, and ``<f>_seconds`` the
    length of a duration. A name that is a field of the record stays that field's.
    """
    sys_id, number = cell_of(record, "sys_id").value, cell_of(record, "number").value
    found: dict[str, Any] = {"sys_id": sys_id, **({"number": number} if number else {})}
    found |= {"table": recipe.table, "url": url_of(instance, recipe.table, sys_id)}
    left_out = {"sys_id", "number", *(field for _, field in recipe.texts)}
    for field in record:
        cell = cell_of(record, field)
        if field in left_out or not cell.is_written_down:
            continue
        name = f"field_{field}" if field in _OURS else field
        value = _typed(cell, field, recipe)
        if value != "":
            found[name] = value
        if expand_references:
            found |= {key: more for key, more in _behind(name, cell, value).items() if key not in record}
    return found


def url_of(instance: str, table: str, sys_id: str) -> str:
    """The record's page, as the platform's own links are."""
    return f"{instance}/nav_to.do?uri={quote(f'{table}.do?sys_id={sys_id}', safe='')}"


def _typed(cell: Cell, field: str, recipe: Recipe) -> Any:
    """One type for all records: an index takes a field's type from the first that it is given."""
    if recipe.is_plain(field):
        return cell.plain
    if field in recipe.decimals and _NUMBER.fullmatch(cell.value):
        return float(cell.value)
    if field in recipe.numbers and _INTEGER.fullmatch(cell.value):
        return int(cell.value)
    if cell.is_moment:
        return cell.iso
    if cell.is_flag:
        return cell.value == "true"
    return cell.text


def _behind(name: str, cell: Cell, value: Any) -> dict[str, Any]:
    """What the readable value does not say."""
    if cell.is_reference:
        return {f"{name}_sys_id": cell.value}
    if cell.is_duration:
        return {f"{name}_seconds": seconds_of(cell.value)}
    return (
        {f"{name}_value": cell.value} if isinstance(value, str) and not cell.is_moment and value != cell.value else {}
    )

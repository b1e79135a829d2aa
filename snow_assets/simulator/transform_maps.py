"""Transform maps: read from their records, made by call, and those that every instance has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from snow_assets.simulator import altering
from snow_assets.simulator.dictionary import family
from snow_assets.simulator.generate_rows import named_id
from snow_assets.simulator.schema import ColumnDef
from snow_assets.simulator.store import Row, Store

ROOT = "sys_import_set_row"
_BORN = "2014-05-01 00:00:07"


@dataclass(frozen=True, slots=True)
class Entry:
    """One field map: a column of the staging table and what it becomes."""

    source: str
    target: str
    coalesce: bool = False
    case_sensitive: bool = False
    match_empty: bool = False
    choice_action: str = "create"  # or ignore, reject: what of a choice or a referenced record that there is not
    by: str = ""  # the column of the referenced table that holds the value; its display column where empty


@dataclass(frozen=True, slots=True)
class TransformMap:
    """A transform map with its field maps."""

    sys_id: str
    name: str
    source: str
    target: str
    copy_empty: bool
    create_on_empty: bool
    mandatory: str
    entries: tuple[Entry, ...]

    @property
    def keys(self) -> tuple[Entry, ...]:
        """The field maps that coalesce."""
        return tuple(entry for entry in self.entries if entry.coalesce)


def is_staging(table: str) -> bool:
    """Whether rows of this table are staged for import."""
    return table != ROOT and table in family(ROOT)


def maps_of(store: Store, source: str) -> list[TransformMap]:
    """The active maps of a staging table, in their order."""
    with store.lock:
        known = store.rows_of("sys_transform_map").values()
        rows = [row for row in known if row.get("source_table") == source and row.get("active", "true") == "true"]
        entries = [row for row in store.rows_of("sys_transform_entry").values() if row.get("target_field")]
    rows.sort(key=lambda row: (int(row.get("order") or "100"), row.get("name", ""), row["sys_id"]))
    return [_map(row, [entry for entry in entries if entry.get("map") == row["sys_id"]]) for row in rows]


def _map(row: Row, entries: Iterable[Row]) -> TransformMap:
    return TransformMap(
        sys_id=row["sys_id"],
        name=row.get("name", ""),
        source=row.get("source_table", ""),
        target=row.get("target_table", ""),
        copy_empty=row.get("copy_empty_fields") == "true",
        create_on_empty=row.get("create_new_record_on_empty_coalesce") == "true",
        mandatory=row.get("enforce_mandatory_fields", "no"),
        entries=tuple(_entry(entry) for entry in entries),
    )


def _entry(row: Row) -> Entry:
    return Entry(
        source=row.get("source_field", ""),
        target=row["target_field"],
        coalesce=row.get("coalesce") == "true",
        case_sensitive=row.get("coalesce_case_sensitive") == "true",
        match_empty=row.get("coalesce_empty_fields") == "true",
        choice_action=row.get("choice_action") or "create",
        by=row.get("reference_value_field", ""),
    )


def add_staging_table(store: Store, table: str, columns: Iterable[str] | Mapping[str, str], label: str = "") -> None:
    """Make a staging table of text columns; a mapping gives their labels. Raises ValueError where there is one."""
    labels = columns if isinstance(columns, Mapping) else {name: _label(name) for name in columns}
    own = tuple(ColumnDef(name, "string", text, max_length=4_000) for name, text in labels.items())
    altering.add_table(store, table, label or _label(table), ROOT, own)


def add_map(
    store: Store,
    source: str,
    target: str,
    fields: Mapping[str, str | Mapping[str, Any]],
    coalesce: Iterable[str] = (),
    name: str = "",
    **settings: Any,
) -> str:
    """Make the records of a transform map; see ``Simulator.transform_map``. Raises ValueError, nothing made."""
    keys = set(coalesce)
    _check(store, source, target, fields, keys)
    heading = {"name": name or f"{source} to {target}", "source_table": source, "target_table": target}
    with store.lock:
        map_id = store.insert("sys_transform_map", _DEFAULTS | heading | _texts(settings, _DEFAULTS))
        for column, said in fields.items():
            parts: dict[str, Any] = {"source_field": said} if isinstance(said, str) else dict(said)
            parts = {"coalesce": column in keys, **parts}
            links = {"map": map_id, "source_table": source, "target_table": target, "target_field": column}
            store.insert("sys_transform_entry", _ENTRY | _texts(parts, _ENTRY) | links)
    return map_id


_DEFAULTS = {
    "active": "true",
    "copy_empty_fields": "false",
    "create_new_record_on_empty_coalesce": "false",
    "enforce_mandatory_fields": "no",
    "order": "100",
    "run_business_rules": "true",
}
_ENTRY = {
    "source_field": "",
    "choice_action": "create",
    "coalesce": "false",
    "coalesce_case_sensitive": "false",
    "coalesce_empty_fields": "false",
    "reference_value_field": "",
}


def _check(store: Store, source: str, target: str, fields: Mapping[str, Any], keys: set[str]) -> None:
    if not store.has(source) or not is_staging(source):
        raise ValueError(f"{source} is no staging table")
    if not store.has(target):
        raise ValueError(f"there is no table {target}")
    if unknown := [name for name in fields if name not in store.columns.of(target)]:
        raise ValueError(f"{target} has no column {unknown[0]}")
    if lost := keys - set(fields):
        raise ValueError(f"{min(lost)} is to coalesce and is not mapped")


def _texts(parts: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, str]:
    for name in parts:
        if name not in known:
            raise ValueError(f"unknown setting {name!r}; known: {', '.join(sorted(known))}")
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in parts.items()}


def _label(name: str) -> str:
    words = name.removeprefix("u_").removeprefix("imp_").replace("_", " ")
    return words[:1].upper() + words[1:]


_BY_NAME = {"choice_action": "ignore"}
_SHIPPED: tuple[tuple[str, str, str, str, dict[str, str], dict[str, dict[str, str]]], ...] = (
    ("Location", "imp_location", "cmn_location", "name", {}, {"parent": _BY_NAME}),
    ("User", "imp_user", "sys_user", "user_name", {"user_name": "user_id"},
     {"location": _BY_NAME, "department": _BY_NAME}),
    ("Incident", "imp_incident", "incident", "correlation_id", {},
     {"caller_id": {**_BY_NAME, "reference_value_field": "user_name"}, "location": _BY_NAME, "cmdb_ci": _BY_NAME,
      "assignment_group": _BY_NAME}),
)  # fmt: skip


def install(store: Store) -> None:
    """Give the instance the maps that are part of it, under sys_ids that are always the same."""
    for name, source, target, key, others, said in _SHIPPED:
        map_id = named_id("sys_transform_map", name)
        born = {"sys_created_on": _BORN, "sys_updated_on": _BORN, "sys_created_by": "glide.maint",
                "sys_updated_by": "glide.maint", "sys_mod_count": "0"}  # fmt: skip
        heading = {"sys_id": map_id, "name": name, "source_table": source, "target_table": target}
        store.put("sys_transform_map", born | _DEFAULTS | heading)
        renamed = {source: target for target, source in others.items()}
        for column in store.columns.own(source):
            field = renamed.get(column.name, column.name)
            entry = {"sys_id": named_id("sys_transform_entry", name, field), "map": map_id, "source_table": source,
                     "target_table": target, "source_field": column.name, "target_field": field,
                     "coalesce": "true" if field == key else "false"}  # fmt: skip
            store.put("sys_transform_entry", born | _ENTRY | entry | said.get(field, {}))
        domain = {"sys_id": named_id("sys_transform_entry", name, "sys_domain"), "map": map_id,
                  "source_table": source, "target_table": target, "source_field": "sys_domain",
                  "target_field": "sys_domain"}  # fmt: skip
        store.put("sys_transform_entry", born | _ENTRY | domain)

"""The rows that describe the instance itself: dictionary, tables, field classes, labels, choices, properties."""

from __future__ import annotations

from snow_assets.simulator.generate_rows import Row, named_id
from snow_assets.simulator.schema import SCHEMA, Choices, ColumnDef, TableDef, choice_overrides

_BORN = "2014-05-01 00:00:07"
_TOUCHED = "2026-01-12 03:14:15"
_PACKAGE = "8deaa1d04f11120011ff22d18110c72a"


def make_platform() -> dict[str, list[Row]]:
    """All metadata tables, derived from the schema alone: they do not depend on the seed."""
    return {
        "sys_db_object": [_db_object(table) for table in SCHEMA.values()],
        "sys_dictionary": [row for table in SCHEMA.values() for row in _dictionary(table)],
        "sys_dictionary_override": _overrides(),
        "sys_glide_object": _glide_objects(),
        "sys_documentation": [row for table in SCHEMA.values() for row in _documentation(table)],
        "sys_choice": [row for table in SCHEMA.values() for row in _table_choices(table)],
        "sys_properties": _properties(),
        "sys_scope": [
            _plain(
                "sys_scope",
                "global",
                name="Global",
                scope="global",
                active="true",
                sys_id="global",
            )
        ],
        "sys_package": [
            _plain(
                "sys_package",
                "global",
                name="Base",
                source="base",
                active="true",
                sys_id=_PACKAGE,
            )
        ],
    }


def _plain(table: str, key: str, /, **values: str) -> Row:
    """A row of the base system: dated long ago, by system users."""
    system = {
        "sys_id": named_id(table, key),
        "sys_created_on": _BORN,
        "sys_created_by": "glide.maint",
        "sys_updated_on": _TOUCHED,
        "sys_updated_by": "system",
        "sys_mod_count": "1",
    }
    return system | {name: value for name, value in values.items() if value}


def _metadata(table: str, key: str, /, sys_name: str, **values: str) -> Row:
    """A row of a table that extends sys_metadata."""
    shared = {"sys_class_name": table, "sys_scope": "global", "sys_package": _PACKAGE}
    return _plain(table, key, **values) | shared | ({"sys_name": sys_name} if sys_name else {})


def _db_object(table: TableDef) -> Row:
    return _metadata(
        "sys_db_object",
        table.name,
        table.label,
        name=table.name,
        label=table.label,
        super_class=named_id("sys_db_object", table.parent) if table.parent else "",
        is_extendable="true" if any(other.parent == table.name for other in SCHEMA.values()) else "false",
        ws_access="true",
        read_access="true",
    )


def _dictionary(table: TableDef) -> list[Row]:
    """The collection row (no element), then one row for each column of this very table."""
    head = _metadata(
        "sys_dictionary",
        table.name,
        table.label,
        name=table.name,
        internal_type="collection",
        active="true",
        array="false",
        virtual="false",
        audit="true" if table.name in ("incident", "problem", "change_request", "cmdb_ci") else "false",
        column_label=table.label,
    )
    return [head, *(column_entry(table.name, column) for column in table.columns)]


def table_entries(table: str, label: str, parent: str) -> list[tuple[str, Row]]:
    """The rows that describe a table itself, each with its class; those of its columns are ``column_entry``."""
    made = TableDef(table, label, parent, ())
    return [("sys_db_object", _db_object(made)), ("sys_dictionary", _dictionary(made)[0]),
            ("sys_documentation", _documentation(made)[0])]  # fmt: skip


def column_entry(table: str, column: ColumnDef) -> Row:
    """The row of sys_dictionary of a column that ``table`` defines."""
    return _metadata(
        "sys_dictionary",
        f"{table}.{column.name}",
        column.label,
        name=table,
        element=column.name,
        internal_type=column.type,
        reference=column.reference,
        reference_key="" if column.reference_key == "sys_id" else column.reference_key,
        max_length=str(column.max_length),
        column_label=column.label,
        mandatory="true" if (table, column.name) in (("incident", "caller_id"), ("task", "number")) else "false",
        read_only="true" if column.name.startswith("sys_") else "false",
        display="true" if column.display else "false",
        active="true",
        array="false",
        virtual="true" if column.type == "journal_list" else "false",
        audit="false",
        unique="true" if column.name == "sys_id" else "false",
        primary="true" if column.name == "sys_id" else "false",
        choice="1" if column.choices else "0",
        attributes="encode_utf8=false" if column.type == "reference" else "",
    )


def _overrides() -> list[Row]:
    """A child class that changes a column of its parent has an override, not a second dictionary row."""
    entries = (
        ("incident", "short_description", {"mandatory": "true", "mandatory_override": "true"}),
        ("incident", "priority", {"read_only": "true", "read_only_override": "true", "default_value": "4",
                                  "default_value_override": "true"}),
        ("change_request", "short_description", {"mandatory": "true", "mandatory_override": "true"}),
    )  # fmt: skip
    return [
        _metadata("sys_dictionary_override", f"{table}.{element}", element, name=table, element=element,
                  base_table="task", **values)
        for table, element, values in entries
    ]  # fmt: skip


def _glide_objects() -> list[Row]:
    kinds = sorted({column.type for table in SCHEMA.values() for column in table.columns} | {"collection"})
    scalars = {
        "boolean": "boolean",
        "integer": "integer",
        "glide_date_time": "datetime",
        "glide_date": "date",
    }
    return [
        _metadata("sys_glide_object", kind, kind, name=kind, label=kind.replace("_", " ").title(), visible="true",
                  scalar_type=scalars.get(kind, "string"), scalar_length="40")
        for kind in kinds
    ]  # fmt: skip


def _documentation(table: TableDef) -> list[Row]:
    head = _metadata("sys_documentation", table.name, table.label, name=table.name, label=table.label,
                     plural=f"{table.label}s", language="en")  # fmt: skip
    return [head, *(label_entry(table.name, column) for column in table.columns)]


def label_entry(table: str, column: ColumnDef) -> Row:
    """The row of sys_documentation of a column that ``table`` defines."""
    return _metadata("sys_documentation", f"{table}.{column.name}", column.label, name=table, element=column.name,
                     label=column.label, plural=f"{column.label}s", language="en")  # fmt: skip


def _table_choices(table: TableDef) -> list[Row]:
    """The choices of this very table's columns, and of inherited columns for which it has a set of its own."""
    own = {column.name: column.choices for column in table.columns} | dict(choice_overrides(table.name))
    return [row for element, choices in own.items() for row in choice_entries(table.name, element, choices)]


def choice_entries(table: str, element: str, choices: Choices) -> list[Row]:
    """The rows of sys_choice of a set of choices."""
    return [
        _metadata("sys_choice", f"{table}.{element}.{value}", label, name=table, element=element, value=value,
                  label=label, language="en", sequence=str(position), inactive="false")
        for position, (value, label) in enumerate(choices)
    ]  # fmt: skip


def _properties() -> list[Row]:
    entries = {
        "glide.invalid_query.returns_no_rows": "false",
        "glide.rest.max_content_length": "10",
        "glide.sys.default.tz": "US/Pacific",
        "glide.sys.date_format": "yyyy-MM-dd",
        "glide.buildtag.last": "glide-simulated-01-01-2026__patch1",
        "instance_name": "simulator",
    }
    return [
        _metadata("sys_properties", name, name, name=name, value=value, type="string")
        for name, value in entries.items()
    ]

"""References: texts that name records of other tables, replaced by what is stored for them; under the write lock.

A record is found by its normalised text, within the domain; of several, the one with the lowest sys_id. What an import
set itself inserts into a table cannot be referred to by its own rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from snow_assets.config_import_fields import ReferenceConfig
from snow_assets.config_imports import ImportConfig
from snow_assets.config_models import nearest
from snow_assets.errors import ConfigError
from snow_assets.imports.coalesce_rows import ROWS_TABLE, SHOWN, TEXT, Field, hashed, mark
from snow_assets.imports.contract import REFERENCE_REJECTED
from snow_assets.imports.targets.writer import SYSTEM_TYPES, KeyColumn, Match, TableShape, Writer, fold
from snow_assets.pulls.workspace import literal, quoted

_CREATED: Final = "snow_created_"


@dataclass(frozen=True)
class Created:
    """Records to be inserted into another table: ``records`` is a table of the bench."""

    table: str
    records: str


def references_of(config: ImportConfig) -> dict[str, ReferenceConfig]:
    """The fields that refer to records.

    Raises:
        ConfigError: records are to be made that could not be stored.
    """
    fields = config.transform.fields or {}
    found = {name: field.reference for name, field in fields.items() if field.reference}
    for name, reference in found.items():
        if reference.on_missing != "create":
            continue
        if reference.value not in ("sys_id", reference.by):
            hint = f"value: sys_id or {reference.by}; what else a new record would have is not known"
            raise ConfigError("cannot be made", key=f"fields.{name}.reference", value=reference.value, hint=hint)
        if reference.table == config.target.table:
            hint = "import the records that are referred to first, or take on_missing: ignore"
            raise ConfigError("is the target itself", key=f"fields.{name}.reference", value=reference.table, hint=hint)
    return found


def resolve(
    writer: Writer, config: ImportConfig, shape: TableShape, fields: Sequence[Field], now: str
) -> tuple[list[Field], list[Created]]:
    """Replace the texts of fields that refer; ``now`` is SQL. Returns the fields, and what must be inserted for them.

    Raises:
        ConfigError: a table that is referred to is missing, or lacks a column.
    """
    declared = references_of(config)
    found: dict[str, str] = {}
    created: dict[tuple[str, str], Created] = {}
    places = {name: _prepared(writer, config, name, reference) for name, reference in declared.items()}
    asked = [field for field in fields if field.name in declared]
    for field in asked:
        reference = declared[field.name]
        found[field.name] = f"snow_found_{field.column}"
        _look_up(writer, config, field, reference, places[field.name], found[field.name])
        if reference.on_missing == "reject":
            _reject(writer, config, field, found[field.name], reference)
    for field in asked:
        reference = declared[field.name]
        if reference.on_missing == "create":
            made = _create(writer, config, field, reference, places[field.name], found[field.name], now, created)
            created.setdefault((reference.table, reference.by), made)
    if not asked:
        return list(fields), []
    kinds = {field.name: shape.columns[field.name].type for field in asked}
    _replace(writer, config, asked, kinds, found)
    copy = config.coalesce.copy_empty_fields
    done = [replace(each, type=kinds[each.name], full=copy) if each.name in declared else each for each in fields]
    writer.bench.execute(
        f"CREATE OR REPLACE TEMP TABLE {ROWS_TABLE} AS SELECT * REPLACE ({hashed(done)} AS h) FROM {ROWS_TABLE}"  # noqa: S608
    )
    return done, list(created.values())


def _prepared(writer: Writer, config: ImportConfig, name: str, reference: ReferenceConfig) -> TableShape:
    shape = writer.shape(reference.table)
    if shape is None and reference.on_missing == "create":
        system = {key: kind for key, kind in SYSTEM_TYPES.items() if key != reference.by}
        writer.create(reference.table, {"sys_id": system.pop("sys_id"), reference.by: TEXT, **system})
        shape = writer.shape(reference.table)
    if shape is None:
        hint = "import it first, or take on_missing: create"
        raise ConfigError("is not there", key=f"fields.{name}.reference", value=reference.table, hint=hint)
    for column in ("sys_id", reference.by, reference.value):
        if column not in shape.columns:
            hint = f"its columns: {nearest(column, shape.columns) or ', '.join(shape.columns)}"
            message = f"is no column of the table {reference.table}"
            raise ConfigError(message, key=f"fields.{name}.reference", value=column, hint=hint)
    if reference.on_missing == "create" and shape.columns[reference.by].type != TEXT:
        message = "is no text, and records are made from texts"
        hint = "import the records that are referred to first, or take on_missing: ignore"
        raise ConfigError(message, key=f"fields.{name}.reference", value=f"{reference.table}.{reference.by}", hint=hint)
    if reference.on_missing == "create" and config.domain and "sys_domain" not in shape.columns:
        message = "has no column sys_domain, and records of a domain are to be made in it"
        raise ConfigError(message, key=f"fields.{name}.reference", value=reference.table)
    return shape


def _key(config: ImportConfig, text: str) -> str:
    return text if config.coalesce.case_sensitive else fold(text)


def _domain(config: ImportConfig, shape: TableShape) -> str | None:
    return config.sys_domain if "sys_domain" in shape.columns else None


def _look_up(
    writer: Writer, config: ImportConfig, field: Field, reference: ReferenceConfig, shape: TableShape, into: str
) -> None:
    """Make ``into``: ``named`` (the normalised text), ``shown`` (as its first row has it), ``there`` and ``value``."""
    text = field.value(field.column)
    kind = shape.columns[reference.by].type
    key = f"TRY_CAST(named AS {kind})" if kind != TEXT else "named"
    writer.bench.execute(
        "CREATE OR REPLACE TEMP TABLE snow_asked AS SELECT row_number() OVER (ORDER BY named) AS snow_k, named, shown, "  # noqa: S608
        f"{key} AS key_1 FROM (SELECT {_key(config, text)} AS named, arg_min({text}, r) AS shown FROM {ROWS_TABLE} "
        f"WHERE state IS NULL AND {text} IS NOT NULL GROUP BY ALL)"
    )
    keys = [KeyColumn(reference.by, kind == TEXT, kind == TEXT and not config.coalesce.case_sensitive)]
    columns = [reference.value] if reference.value != "sys_id" else []
    domain = _domain(config, shape)
    writer.match(Match(reference.table, "snow_asked", keys, columns, domain, "snow_answered"))
    writer.bench.execute(
        f"CREATE OR REPLACE TEMP TABLE {into} AS SELECT a.named, a.shown, t.sys_id IS NOT NULL AS there, "  # noqa: S608
        f"CAST(t.{quoted(reference.value)} AS {TEXT}) AS value "
        "FROM snow_asked a LEFT JOIN snow_answered t USING (snow_k)"
    )


def _reject(writer: Writer, config: ImportConfig, field: Field, found: str, reference: ReferenceConfig) -> None:
    text = field.value(field.column)
    words = f" is not in {reference.table}.{reference.by}"
    mark(
        writer.bench,
        f"SELECT r, {literal(field.name + ': ')} || left({text}, {SHOWN}) || {literal(words)} AS note "  # noqa: S608
        f"FROM {ROWS_TABLE} JOIN {found} f ON f.named = {_key(config, text)} AND NOT f.there",
        "error",
        REFERENCE_REJECTED,
    )


def _create(
    writer: Writer,
    config: ImportConfig,
    field: Field,
    reference: ReferenceConfig,
    shape: TableShape,
    found: str,
    now: str,
    created: Mapping[tuple[str, str], Created],
) -> Created:
    """Give missing records a sys_id, always the same one, and note them down."""
    domain, text = _domain(config, shape), field.value(field.column)
    prefix = literal(f"{reference.table}/{domain or ''}/{reference.by}/")
    before = created.get((reference.table, reference.by))
    name = before.records if before else f"{_CREATED}{field.column}"
    made = _new_sys_ids(writer, reference.table, found, f"md5({prefix} || named)", now)
    moment = {"sys_created_on": now, "sys_updated_on": now, "sys_mod_count": "0", "sys_domain": literal(domain or "")}
    kept = {column: value for column, value in moment.items() if column in shape.columns and column != reference.by}
    columns = {"sys_id": "made", reference.by: "shown", **kept}
    typed = ", ".join(
        f"CAST({value} AS {shape.columns[column].type}) AS {quoted(column)}" for column, value in columns.items()
    )
    live = f"SELECT {_key(config, text)} FROM {ROWS_TABLE} WHERE state IS NULL AND {text} IS NOT NULL"  # noqa: S608
    select = f"SELECT {typed} FROM {found} JOIN {made} USING (named) WHERE named IN ({live})"  # noqa: S608
    if before:
        select += f" AND made NOT IN (SELECT sys_id FROM {name})"  # noqa: S608
        writer.bench.execute(f"INSERT INTO {name} BY NAME {select}")
    else:
        writer.bench.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {select}")
    value = "made" if reference.value == "sys_id" else "shown"
    writer.bench.execute(f"UPDATE {found} SET value = {value} FROM {made} m WHERE {found}.named = m.named")  # noqa: S608
    return Created(reference.table, name)


def _new_sys_ids(writer: Writer, table: str, found: str, usual: str, now: str) -> str:
    """``snow_made``: the sys_id that each missing record gets; another one where a record that was renamed has it."""
    ids = f"SELECT row_number() OVER () AS snow_k, named, {usual} AS key_1 FROM {found} WHERE NOT there"  # noqa: S608
    writer.bench.execute(f"CREATE OR REPLACE TEMP TABLE snow_usual AS {ids}")
    writer.match(Match(table, "snow_usual", [KeyColumn("sys_id", text=True)], (), None, "snow_had"))
    other = f"md5(key_1 || CAST({now} AS VARCHAR))"
    writer.bench.execute(
        "CREATE OR REPLACE TEMP TABLE snow_made AS "  # noqa: S608
        f"SELECT named, CASE WHEN h.snow_k IS NULL THEN key_1 ELSE {other} END AS made "
        "FROM snow_usual LEFT JOIN snow_had h USING (snow_k)"
    )
    return "snow_made"


def _replace(
    writer: Writer,
    config: ImportConfig,
    fields: Iterable[Field],
    kinds: Mapping[str, str],
    found: Mapping[str, str],
) -> None:
    for field in fields:
        kind, text = kinds[field.name], field.value(f"w.{field.column}")
        value = f"TRY_CAST(f.value AS {kind})"
        if field.wrapped:
            emptied = f"w.{field.column} IS NOT NULL AND {text} IS NULL"
            value = (
                f"CASE WHEN {emptied} THEN {{'v': CAST(NULL AS {kind})}} "
                f"WHEN {value} IS NOT NULL THEN {{'v': {value}}} END"
            )
        writer.bench.execute(
            f"CREATE OR REPLACE TEMP TABLE {ROWS_TABLE} AS SELECT w.* REPLACE ({value} AS {field.column}) "  # noqa: S608
            f"FROM {ROWS_TABLE} w LEFT JOIN {found[field.name]} f ON f.named = {_key(config, text)}"
        )

"""The section ``transform`` of an import: how a staged row becomes a record of the target."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from snow_assets.config_schedule import Section

ColumnType = Literal["string", "integer", "decimal", "float", "boolean", "date", "datetime"]
Columns = dict[str, ColumnType]


def check_type(column: str, kept: Iterable[str]) -> None:
    """Raise ``ValueError`` for a column that is kept by the target itself."""
    if column in kept:
        raise ValueError(f"columns names {column}, which the target keeps by itself")


def check_names(names: Iterable[str]) -> None:
    """Raise ``ValueError`` for names that no two fields of one table can have: DuckDB would rename one in silence."""
    seen: dict[str, str] = {}
    for name in names:
        lower = name.lower()
        if not name.strip():
            raise ValueError("has a field without a name")
        if lower.startswith("sys_import_") or lower == "sys_row_error":
            raise ValueError(f"sets {name}, a name that imports keep for themselves")
        if lower in seen:
            twin = seen[lower]
            raise ValueError(
                f"sets {name} twice" if twin == name else f"sets {twin} and {name}, differing by case only"
            )
        seen[lower] = name


class ReferenceConfig(Section):
    """A value that names a record of another table of the target: ``by`` finds it, ``value`` is what is stored.

    ``on_missing``: make the record, leave the field empty, or reject the row.
    """

    table: str
    by: str = "name"
    value: str = "sys_id"
    on_missing: Literal["create", "ignore", "reject"] = "ignore"


def _texts(value: object) -> object:
    """YAML reads 1 as a number and true as a boolean; sources and targets of choices hold text."""
    return {_text(key): _text(kept) for key, kept in value.items()} if isinstance(value, dict) else value


def _text(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


class FieldConfig(Section):
    """One field of the target: a column of the source, an SQL expression over its columns (DuckDB), or a constant.

    ``default`` is taken where the value is empty. ``choices`` maps what is found to what is stored; ``choice_action``
    is for a value that is not among them: keep it (``create``), leave the field empty, or reject the row. ``type``
    checks and converts; a value that is none of it is an error of its row. ``format`` reads dates (strptime).
    """

    source: str | None = None
    sql: str | None = None
    value: str | int | float | bool | None = None
    type: ColumnType = "string"
    format: str | None = None
    default: str | int | float | bool | None = None
    choices: Annotated[dict[str, str] | None, Field(min_length=1), BeforeValidator(_texts)] = None
    choice_action: Literal["create", "ignore", "reject"] = "reject"
    reference: ReferenceConfig | None = None

    @model_validator(mode="after")
    def _check_one(self) -> FieldConfig:
        if sum(each is not None for each in (self.source, self.sql, self.value)) != 1:
            raise ValueError("needs one of source, sql and value")
        if "type" in self.model_fields_set:
            if self.reference and self.type != "string":
                raise ValueError("a reference is looked up as text: take type out")
            if self.format and self.type not in ("date", "datetime"):
                raise ValueError("format belongs to the types date and datetime")
        return self


def _field(value: object) -> object:
    return {"source": value} if isinstance(value, str) else value


class HooksConfig(Section):
    """Python functions, as ``file.py:function`` (beside imports.yaml) or ``package.module:function``.

    The platform's onStart (before the rows of a set), onBefore and onAfter (each row) and onComplete.
    """

    on_start: str | None = None
    on_before: str | None = None
    on_after: str | None = None
    on_complete: str | None = None


class TransformConfig(Section):
    """Field map, SQL select over ``staging``, or Python function on Arrow tables; columns keep their names without one.

    ``sql`` reads the set as the table ``staging`` and must hand on its column ``sys_import_row``, so does ``python``.
    """

    fields: dict[str, Annotated[FieldConfig, BeforeValidator(_field)]] | None = Field(None, min_length=1)
    sql: str | None = None
    python: str | None = None
    hooks: HooksConfig = HooksConfig()

    @model_validator(mode="after")
    def _check_one(self) -> TransformConfig:
        if sum(each is not None for each in (self.fields, self.sql, self.python)) > 1:
            raise ValueError("has two ways: keep one of fields, sql and python")
        check_names(self.fields or ())
        return self


def transform_of(value: object) -> object:
    """A map without the keys of a transform is its field map."""
    if isinstance(value, dict) and value and not set(value) & set(TransformConfig.model_fields):
        return {"fields": value}
    return value

"""A field map as SQL: one projection over the rows of an import set, which turns each into a record and its problems.

Every field goes through the same steps, each a column: what is found (text), what is stored (choices, default), its
type, and the code of what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from snow_assets.config_import_fields import ColumnType, FieldConfig
from snow_assets.imports.contract import CHOICE_REJECTED, CLEARED, INVALID_VALUE, SCRIPT_ERROR
from snow_assets.imports.mapping_types import WORDS, typed
from snow_assets.pulls.workspace import literal, quoted

_NULL: Final = "NULL"
LONGEST: Final = 80  # characters of a value that a comment shows
_FOUND = "sys_import_found_"  # no column of a source is called so
STATE = "sys_import_state, sys_import_state_comment, sys_row_error"


@dataclass(frozen=True)
class MappedField:
    """A field of the target on its way into SQL. ``guarded``: its expression fails a row, not the set.

    ``clears``: the text ``NULL`` empties the field of the record, whatever its type and choices are.
    """

    name: str
    config: FieldConfig
    kind: ColumnType
    guarded: bool = False
    clears: bool = False

    @property
    def found(self) -> str:
        """SQL of what the source has, of any type; a struct that is null where it failed, if it is guarded."""
        if self.config.value is not None:
            return literal(text_of(self.config.value))
        if self.config.source is not None:
            return quoted(self.config.source)
        expression = f"(\n{self.config.sql}\n)"  # on a line of its own: a comment may end it
        return f"TRY({{'v': {expression}}})" if self.guarded else expression


def text_of(value: object) -> str:
    """A constant of the declaration as the text that a source would have."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def projection(fields: Sequence[MappedField], relation: str, dropped: str = "") -> str:
    """A SELECT of the mapped columns (`contract.MAPPED`, then the fields) over ``relation``.

    ``dropped`` is a boolean column of it: these rows are skipped, with the comment that is literal in it.
    """
    numbered = list(enumerate(fields))
    keep = f"sys_import_row, {dropped}" if dropped else "sys_import_row"
    found = _select(keep, [f"{each.found} AS {_FOUND}{i}" for i, each in numbered], relation)
    texts = _select(keep, [column for i, each in numbered for column in _text(i, each)], f"({found})")
    stored = _select("*", [f"{_stored(i, each)} AS s{i}" for i, each in numbered], f"({texts})")
    values = _select(
        "*", [f"{typed(f's{i}', each.kind, each.config.format)} AS v{i}" for i, each in numbered], f"({stored})"
    )
    checked = {i: problem for i, each in numbered if (problem := _problem(i, each))}
    codes = _select("*", [f"{problem} AS e{i}" for i, problem in checked.items()], f"({values})")
    cleared = _cleared(fields)
    named = [f"v{i} AS {quoted(each.name)}" for i, each in numbered]
    return _select("sys_import_row", [*_state(fields, list(checked), dropped), *cleared, *named], f"({codes})")


def _select(first: str, columns: Sequence[str], relation: str) -> str:
    return f"SELECT {', '.join([first, *columns])} FROM {relation}"  # noqa: S608


def _text(i: int, each: MappedField) -> list[str]:
    found = f"{_FOUND}{i}"
    if not each.guarded:
        return [f"nullif(CAST({found} AS VARCHAR), '') AS t{i}"]
    return [f"nullif(CAST({found}.v AS VARCHAR), '') AS t{i}", f"{found} IS NULL AS x{i}"]


def _choices(each: MappedField) -> dict[str, str]:
    return {**({_NULL: _NULL} if each.clears else {}), **(each.config.choices or {})}


def _stored(i: int, each: MappedField) -> str:
    """What is stored, as text: the choice of a value, the default of none."""
    value, config = f"t{i}", each.config
    if config.choices is not None:
        cases = " ".join(f"WHEN {literal(key)} THEN {literal(kept)}" for key, kept in _choices(each).items())
        other = f"t{i}" if config.choice_action == "create" else "NULL"
        value = f"CASE t{i} {cases} ELSE {other} END" if cases else other
    if config.default is None:
        return value
    return f"CASE WHEN t{i} IS NULL THEN {literal(text_of(config.default))} ELSE {value} END"


def _problem(i: int, each: MappedField) -> str:
    """SQL of the code of what is wrong with a field, null where nothing is; empty where nothing can be."""
    cases = []
    if each.guarded:
        cases.append(f"WHEN x{i} THEN {SCRIPT_ERROR}")
    if each.config.choices is not None and each.config.choice_action == "reject":
        known = ", ".join(literal(key) for key in _choices(each))
        cases.append(f"WHEN t{i} NOT IN ({known}) THEN {CHOICE_REJECTED}" if known else "")
    if each.kind != "string":
        meant = f"s{i} <> '{_NULL}'" if each.clears else f"s{i} IS NOT NULL"
        cases.append(f"WHEN {meant} AND v{i} IS NULL THEN {INVALID_VALUE}")
    return f"CASE {' '.join(cases)} END" if any(cases) else ""


def _state(fields: Sequence[MappedField], checked: Sequence[int], dropped: str) -> list[str]:
    """The columns of `STATE`: of a row that has problems the code of its first, and all of them in words."""
    codes = ", ".join(f"e{i}" for i in checked)
    code = f"coalesce({codes})" if len(checked) > 1 else codes or "NULL"
    told = ", ".join(_words(i, fields[i]) for i in checked)
    bad = f"{code} IS NOT NULL"
    comment = f"CASE WHEN {bad} THEN concat_ws('; ', {told}) END" if checked else "NULL"
    state = f"CASE WHEN {bad} THEN 'error' END"
    if dropped:
        state = f"CASE WHEN {dropped} THEN 'skipped' ELSE {state} END"
        comment = f"CASE WHEN {dropped} THEN 'the transform hands it not on' ELSE {comment} END"
        code = f"CASE WHEN NOT {dropped} THEN {code} END"
    casts = zip((state, comment, code), ("VARCHAR", "VARCHAR", "INTEGER"), STATE.split(", "), strict=True)
    return [f"CAST({column} AS {kind}) AS {name}" for column, kind, name in casts]


def _cleared(fields: Sequence[MappedField]) -> list[str]:
    """The column `CLEARED`: fields that are no text and whose text says that they are to be emptied."""
    named = {i: each.name for i, each in enumerate(fields) if each.clears and each.kind != "string"}
    if not named:
        return []
    any_of = " OR ".join(f"s{i} = '{_NULL}'" for i in named)
    names = ", ".join(f"CASE WHEN s{i} = '{_NULL}' THEN {literal(name)} END" for i, name in named.items())
    return [f"CASE WHEN {any_of} THEN list_filter([{names}], lambda name: name IS NOT NULL) END AS {CLEARED}"]


def _words(i: int, each: MappedField) -> str:
    source = each.config.source
    field = each.name if source in (None, each.name) else f"{each.name} from {source}"
    cases = []
    if each.guarded:
        cases.append(f"WHEN {SCRIPT_ERROR} THEN {literal(f'{each.name}: its sql fails on this row')}")
    if each.config.choices is not None:
        cases.append(f"WHEN {CHOICE_REJECTED} THEN {_told(f't{i}', field, 'is not among its choices')}")
    form = f" in the format {each.config.format}" if each.config.format else ""
    cases.append(f"WHEN {INVALID_VALUE} THEN {_told(f's{i}', field, f'is not {WORDS[each.kind]}{form}')}")
    return f"CASE e{i} {' '.join(cases)} END"


def _told(value: str, field: str, what: str) -> str:
    cut = f"CASE WHEN length({value}) > {LONGEST} THEN left({value}, {LONGEST}) || '...' ELSE {value} END"
    return f"concat({literal(f'{field}: ')}, '''', {cut}, ''' ', {literal(what)})"


def fields_of(
    declared: Mapping[str, FieldConfig], types: Mapping[str, ColumnType], *, clears: bool
) -> list[MappedField]:
    """The declared fields; ``types`` are those of the target's columns, for fields that say none."""
    return [
        MappedField(name, field, kind_in(name, field, types), field.sql is not None, clears)
        for name, field in declared.items()
    ]


def kind_in(name: str, field: FieldConfig, types: Mapping[str, ColumnType]) -> ColumnType:
    """The type of a field: its own, else the target column's."""
    return field.type if "type" in field.model_fields_set else types.get(name, field.type)

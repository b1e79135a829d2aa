"""The tables of the simulated instance: names, types, labels, references, choices and inheritance.

The tables themselves are written down as text in ``schema_task``, ``schema_cmdb``, ``schema_platform`` and
``schema_imports``, one column a line::

    caller_id | reference | Caller | >sys_user
    priority  | integer   | Priority | =priority
    number    | string    | Number | *

``>table`` names what a reference or a list points to (``>table.name`` where the stored value is the other row's
``name`` instead of its sys_id), ``=set`` the choices, ``#n`` the maximum length, and ``*`` marks the display column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeAlias

from snow_assets.simulator import schema_cmdb, schema_imports, schema_platform, schema_task

Choices: TypeAlias = tuple[tuple[str, str], ...]  # (value, label) pairs in order

_LENGTHS = {
    "boolean": 40,
    "reference": 32,
    "GUID": 32,
    "glide_list": 4000,
    "journal": 4000,
    "journal_input": 4000,
    "journal_list": 4000,
    "html": 65000,
    "script": 8000,
    "conditions": 4000,
    "url": 1024,
    "email": 100,
    "sys_class_name": 80,
    "table_name": 80,
    "domain_path": 255,
}


@dataclass(frozen=True, slots=True)
class ColumnDef:
    """One column of one table.

    ``type`` is the dictionary's internal type, ``reference`` the table that a reference or a glide_list points to,
    and ``reference_key`` the column that the stored value names there: ``sys_id`` for nearly all, ``name`` for the
    references of the dictionary tables. ``choices`` are (value, label) pairs in order.
    """

    name: str
    type: str
    label: str
    reference: str = ""
    choices: Choices = ()
    max_length: int = 40
    display: bool = False
    reference_key: str = "sys_id"


@dataclass(frozen=True, slots=True)
class TableDef:
    """One table: its own columns only, in a fixed order (a root table's own columns include the system columns)."""

    name: str
    label: str
    parent: str | None
    columns: tuple[ColumnDef, ...]


def definition(table: str) -> TableDef:
    """A table of the schema, or one that was made while an instance ran. Raises KeyError."""
    known = SCHEMA.get(table)
    return known if known is not None else MADE[table]


def columns_of(table: str) -> tuple[ColumnDef, ...]:
    """All columns of a table, the oldest ancestor's first. Raises KeyError for an unknown table."""
    return _columns_of(table)


def ancestors(table: str) -> tuple[str, ...]:
    """The tables that this one extends, nearest first."""
    found: list[str] = []
    parent = definition(table).parent
    while parent is not None:
        found.append(parent)
        parent = definition(parent).parent
    return tuple(found)


def descendants(table: str) -> tuple[str, ...]:
    """The tables that extend this one, at any depth, without the table itself."""
    return _descendants(table)


def choice_overrides(table: str) -> Mapping[str, Choices]:
    """The choices that this very table defines for columns that it inherits, by column."""
    return {element: _CHOICES[name] for element, name in _OVERRIDES.get(table, {}).items()}


def merged(
    table: str,
    own: Callable[[str], tuple[ColumnDef, ...]],
    overrides: Callable[[str], Mapping[str, Choices]],
) -> tuple[ColumnDef, ...]:
    """All columns of a table, the oldest ancestor's first, from what each table of its chain defines."""
    chain = (*reversed(ancestors(table)), table)
    choices = {element: pairs for link in chain for element, pairs in overrides(link).items()}
    return tuple(replace(c, choices=choices.get(c.name, c.choices)) for link in chain for c in own(link))


def display_column(table: str) -> str:
    """The column whose value stands for a row of this table; ``sys_id`` where none is marked.

    The nearest class wins, as in the dictionary: its own mark first, then its ancestors'.
    """
    for name in (table, *ancestors(table)):
        for column in definition(name).columns:
            if column.display:
                return column.name
    return "sys_id"


def make(table: str, label: str, parent: str) -> None:
    """Let there be a table ``table`` that extends ``parent``. Its columns are each instance's own."""
    MADE[table] = TableDef(table, label, parent, ())
    _descendants.cache_clear()


@cache
def _columns_of(table: str) -> tuple[ColumnDef, ...]:
    return merged(table, lambda name: definition(name).columns, choice_overrides)


@cache
def _descendants(table: str) -> tuple[str, ...]:
    return tuple(name for name in (*SCHEMA, *MADE) if table in ancestors(name))


def _choices(text: str) -> Choices:
    pairs = (entry.split(":", 1) for entry in text.split(";"))
    return tuple((value.strip(), label.strip()) for value, label in pairs)


def _column(line: str) -> ColumnDef:
    name, kind, label, *options = (part.strip() for part in line.split("|"))
    reference, key, display = "", "sys_id", False
    choices: Choices = ()
    length = _LENGTHS.get(kind, 40)
    for option in options:
        match option[0]:
            case ">":
                reference, _, by = option[1:].partition(".")
                key = by or key
            case "=":
                choices = _CHOICES[option[1:]]
            case "#":
                length = int(option[1:])
            case "*":
                display = True
            case _:
                raise ValueError(f"column {name}: unknown option {option!r}")
    return ColumnDef(name, kind, label, reference, choices, length, display, key)


def _tables(text: str) -> Iterator[TableDef]:
    """Blocks split by blank lines: ``table < parent | Label`` (or ``table | Label``), then a line for each column."""
    for block in text.strip().split("\n\n"):
        head, *lines = block.strip().splitlines()
        names, _, label = head.partition("|")
        name, _, parent = (part.strip() for part in names.partition("<"))
        own = [_column(line) for line in lines]
        if not parent:
            system = [_column(line) for line in schema_platform.SYSTEM_COLUMNS.strip().splitlines()]
            own += [column for column in system if column.name not in schema_platform.LEAN.get(name, ())]
        yield TableDef(name, label.strip(), parent or None, tuple(own))


_PARTS = (schema_task, schema_cmdb, schema_platform, schema_imports)
_CHOICES = {name: _choices(text) for part in _PARTS for name, text in part.CHOICES.items()}

# A child may have its own set of choices for a column that it inherits.
_OVERRIDES: dict[str, dict[str, str]] = schema_task.CHOICE_OVERRIDES

SCHEMA: dict[str, TableDef] = {table.name: table for part in _PARTS for table in _tables(part.TABLES)}
"""Every table of the instance, parents before children within a family."""

MADE: dict[str, TableDef] = {}
"""Tables that instances of this process were given while they ran: which of them has which, its ``Store`` knows."""

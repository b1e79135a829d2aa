"""What the server asks of the schema: columns by name, families of tables, dot-walked paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from snow_assets.simulator.schema import SCHEMA, ColumnDef, ancestors, columns_of, descendants, display_column
from snow_assets.simulator.views import VIEWS

__all__ = [
    "Path",
    "column_map",
    "exists",
    "family",
    "has_classes",
    "is_view",
    "label_of",
    "lineage",
    "resolve_path",
    "root_of",
    "title_column",
]

NUMBER_TYPES = frozenset({"integer", "longint", "decimal", "float", "percent_complete", "currency", "price"})
DATE_TIME_TYPES = frozenset({"glide_date_time", "due_date"})
JOURNAL_TYPES = frozenset({"journal", "journal_input", "journal_list"})
PASSWORD_TYPES = frozenset({"password", "password2"})
DURATION_TYPES = frozenset({"glide_duration", "timer"})


def exists(table: str) -> bool:
    """Whether the instance has this table or view."""
    return table in SCHEMA or table in VIEWS


def is_view(table: str) -> bool:
    """Whether this is a database view: read-only, its rows without a sys_id."""
    return table in VIEWS


@cache
def column_map(table: str) -> Mapping[str, ColumnDef]:
    """Columns of a table by name, inherited ones first; a child's own definition wins."""
    columns = VIEWS[table].columns if table in VIEWS else columns_of(table)
    return {column.name: column for column in columns}


@cache
def root_of(table: str) -> str:
    """The oldest ancestor: the table in whose hierarchy sys_ids are unique."""
    return lineage(table)[-1]


@cache
def family(table: str) -> frozenset[str]:
    """The table and everything that extends it: the classes that a query of it returns."""
    return frozenset((table, *(() if table in VIEWS else descendants(table))))


@cache
def lineage(table: str) -> tuple[str, ...]:
    """The table and its ancestors, nearest first: the tables in which its rows appear."""
    return (table, *(() if table in VIEWS else ancestors(table)))


@cache
def has_classes(table: str) -> bool:
    """Whether rows of this hierarchy are of several classes, told apart by ``sys_class_name``."""
    return len(family(root_of(table))) > 1


@cache
def title_column(table: str) -> str:
    """The column shown for a reference to this table."""
    return display_column(table)


def label_of(table: str) -> str:
    """The label of a table, or the name itself where there is no such table."""
    known = SCHEMA.get(table) or VIEWS.get(table)
    return known.label if known else table


@dataclass(frozen=True, slots=True)
class Path:
    """A column reached by walking ``hops`` references from a table; ``table`` is where the column lives."""

    hops: tuple[ColumnDef, ...]
    column: ColumnDef
    table: str

    @property
    def local(self) -> bool:
        """Whether the column is the row's own."""
        return not self.hops


@cache
def resolve_path(table: str, name: str) -> Path | None:
    """Find ``caller_id.department.name`` from a table; None where some part does not exist.

    ``ref_<class>`` as a part narrows a reference to a parent table to one of its classes.
    """
    *walk, last = name.split(".")
    hops: list[ColumnDef] = []
    current = table
    for part in walk:
        if part.startswith("ref_") and part[4:] in family(current):
            current = part[4:]
            continue
        hop = column_map(current).get(part)
        if hop is None or hop.type == "glide_list" or not exists(hop.reference):
            return None
        hops.append(hop)
        current = hop.reference
    column = column_map(current).get(last)
    return Path(tuple(hops), column, current) if column else None

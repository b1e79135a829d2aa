"""What the server asks of the schema: families of tables, their titles and labels. See ``columns`` for columns."""

from __future__ import annotations

from functools import cache

from snow_assets.simulator.schema import MADE, SCHEMA, ancestors, descendants, display_column, make
from snow_assets.simulator.views import VIEWS

NUMBER_TYPES = frozenset({"integer", "longint", "decimal", "float", "percent_complete", "currency", "price"})
DATE_TIME_TYPES = frozenset({"glide_date_time", "due_date"})
JOURNAL_TYPES = frozenset({"journal", "journal_input", "journal_list"})
PASSWORD_TYPES = frozenset({"password", "password2"})
DURATION_TYPES = frozenset({"glide_duration", "timer"})


def exists(table: str) -> bool:
    """Whether some instance has this table or view; ``Store.has`` knows of one."""
    return table in SCHEMA or table in VIEWS or table in MADE


def make_table(table: str, label: str, parent: str) -> None:
    """Let there be a table that extends ``parent``; a name that is known is left as it is."""
    if not exists(table):
        make(table, label, parent)
        for known in (family, lineage, root_of, has_classes, title_column):
            known.cache_clear()


def is_view(table: str) -> bool:
    """Whether this is a database view: read-only, its rows without a sys_id."""
    return table in VIEWS


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
    known = SCHEMA.get(table) or VIEWS.get(table) or MADE.get(table)
    return known.label if known else table

"""The columns of one instance: the schema's, and what was added, removed or changed while the instance runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from snow_assets.simulator.dictionary import exists, family
from snow_assets.simulator.schema import Choices, ColumnDef, choice_overrides, columns_of, definition, merged
from snow_assets.simulator.views import VIEWS


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


class Columns:
    """Which columns there are. Never changed: each change makes another, so that a request sees one schema."""

    def __init__(
        self,
        own: Mapping[str, tuple[ColumnDef, ...]] | None = None,
        choices: Mapping[str, Mapping[str, Choices]] | None = None,
    ) -> None:
        """``own`` columns and ``choices`` (of inherited columns, by name) of the tables that differ from the schema."""
        self._own = dict(own or {})
        self._choices = dict(choices or {})
        self._maps: dict[str, Mapping[str, ColumnDef]] = {}
        self._paths: dict[tuple[str, str], Path | None] = {}

    def of(self, table: str) -> Mapping[str, ColumnDef]:
        """Columns of a table by name, inherited ones first; a child's own definition wins."""
        known = self._maps.get(table)
        if known is None:
            known = self._maps[table] = {column.name: column for column in self._all(table)}
        return known

    def own(self, table: str) -> tuple[ColumnDef, ...]:
        """The columns that this very table defines."""
        return self._own.get(table, definition(table).columns)

    def choices(self, table: str) -> Mapping[str, Choices]:
        """The choices that this very table defines for columns that it inherits, by column."""
        return self._choices.get(table, choice_overrides(table))

    def resolve(self, table: str, name: str) -> Path | None:
        """Find ``caller_id.department.name`` from a table; None where some part does not exist.

        ``ref_<class>`` as a part narrows a reference to a parent table to one of its classes.
        """
        if (table, name) not in self._paths:
            self._paths[table, name] = self._walk(table, name)
        return self._paths[table, name]

    def with_own(self, table: str, own: tuple[ColumnDef, ...]) -> Columns:
        """The same, but for the columns that ``table`` defines."""
        return Columns({**self._own, table: own}, self._choices)

    def with_choices(self, table: str, element: str, choices: Choices) -> Columns:
        """The same, but that ``table`` has a set of choices of its own for a column that it inherits."""
        return Columns(self._own, {**self._choices, table: {**self.choices(table), element: choices}})

    def _all(self, table: str) -> tuple[ColumnDef, ...]:
        if table in VIEWS:
            return VIEWS[table].columns
        return merged(table, self.own, self.choices) if self._own or self._choices else columns_of(table)

    def _walk(self, table: str, name: str) -> Path | None:
        *walk, last = name.split(".")
        hops: list[ColumnDef] = []
        current = table
        for part in walk:
            if part.startswith("ref_") and part[4:] in family(current):
                current = part[4:]
                continue
            hop = self.of(current).get(part)
            if hop is None or hop.type == "glide_list" or not exists(hop.reference):
                return None
            hops.append(hop)
            current = hop.reference
        column = self.of(current).get(last)
        return Path(tuple(hops), column, current) if column else None

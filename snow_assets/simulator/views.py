"""The database views of the simulated instance: joins of tables, whose rows have no sys_id of their own.

Written down as text, one part a line, the first one being what the others are joined to::

    u_membership | Members of groups
    mem | sys_user_grmember
    usr | sys_user | sys_id = mem_user

Columns bear the prefix of their part (``mem_user``, ``usr_name``). Joins are inner: a row of the first part appears as
often as there are partners.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from snow_assets.simulator.schema import ColumnDef, columns_of

_TEXT = """
u_membership | Members of groups
mem | sys_user_grmember
usr | sys_user | sys_id = mem_user
grp | sys_user_group | sys_id = mem_group

u_incident_journal | Incidents with their journal
jrn | sys_journal_field
inc | incident | sys_id = jrn_element_id
"""

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """One table of a view: rows whose ``column`` is the value of ``joined_to``, a column of the parts before it."""

    prefix: str
    table: str
    column: str = ""
    joined_to: str = ""


@dataclass(frozen=True, slots=True)
class ViewDef:
    """One view."""

    name: str
    label: str
    parts: tuple[Part, ...]

    @property
    def columns(self) -> tuple[ColumnDef, ...]:
        """All columns, in the order of the parts. None shows for a row: nothing can refer to one."""
        return tuple(
            replace(column, name=f"{part.prefix}_{column.name}", display=False)
            for part in self.parts
            for column in columns_of(part.table)
        )

    def join(self, rows_of: Callable[[str], Iterable[Row]]) -> dict[str, Row]:
        """The rows by a name of ours (``sys_id`` in the row), which is no column and is never shown."""
        found: list[dict[str, str]] = [{"sys_id": ""}]
        for part in self.parts:
            partners = _by_column(rows_of(part.table), part.column)
            found = [
                _joined(row, part.prefix, partner)
                for row in found
                for partner in partners.get(row.get(part.joined_to, "") if part.column else "", ())
            ]
        return {row["sys_id"]: row for row in found}


def _by_column(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    """Rows by what they hold in ``column``; all under ``""`` for the part that nothing comes before."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        value = row.get(column, "") if column else ""
        if value or not column:
            found.setdefault(value, []).append(row)
    return found


def _joined(row: Mapping[str, str], prefix: str, partner: Row) -> dict[str, str]:
    named = {f"{prefix}_{name}": value for name, value in partner.items()}
    return {**row, **named, "sys_id": f"{row['sys_id']}{partner['sys_id']}"}


def _views(text: str) -> Iterable[ViewDef]:
    for block in text.strip().split("\n\n"):
        head, *lines = block.splitlines()
        name, label = (part.strip() for part in head.split("|"))
        yield ViewDef(name, label, tuple(_part(line) for line in lines))


def _part(line: str) -> Part:
    prefix, table, *on = (part.strip() for part in line.split("|"))
    column, _, joined_to = (part.strip() for part in (on[0] if on else "").partition("="))
    return Part(prefix, table, column, joined_to)


VIEWS: dict[str, ViewDef] = {view.name: view for view in _views(_TEXT)}
"""Every view of the instance."""

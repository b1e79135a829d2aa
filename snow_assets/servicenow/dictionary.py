"""What columns a table has, from ``sys_db_object`` and ``sys_dictionary``, inherited ones included; and their choices.

Reading these tables needs a right that many accounts lack; the instance then answers with nothing, and the columns
are unknown (``None``), which is not an error. Overrides (``sys_dictionary_override``) change what is mandatory or a
default, never a type, a label or a reference's target, and are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from snow_assets.servicenow.account import UNREADABLE, rows, text
from snow_assets.servicenow.exchange import Procedure, Tally
from snow_assets.servicenow.retry import RetryPolicy

_DEEPEST: Final = 40  # ancestors; deeper than any class tree, so that a loop in the data ends
_NAMES_PER_REQUEST: Final = 20  # tables in one IN list: keeps the address short
_ELEMENTS_PER_REQUEST: Final = 40
_MOST_CHOICES: Final = 10_000  # in one answer; a list that is longer is not taken for whole
# References by name on every instance, also where the dictionary does not say so: their links are queries.
_BY_NAME: Final = frozenset({("sys_dictionary", "internal_type"), ("sys_dictionary", "reference")})


@dataclass(frozen=True, slots=True)
class Column:
    """One active column, as the dictionary describes it.

    ``type`` is the platform's own (``glide_date_time``). ``reference`` is the name of the table that a reference or a
    list points to, and ``keyed_by`` the column there whose value is stored: ``sys_id`` but for references by name;
    empty where nothing is referred to. ``choice``: values come from a list, see ``choices``. ``max_length`` is 0 where
    it is unknown. ``defined_in`` is the table whose entry this is: the table itself, or one that it extends.
    """

    name: str
    type: str
    label: str = ""
    reference: str = ""
    max_length: int = 0
    choice: bool = False
    keyed_by: str = ""
    mandatory: bool = False
    defined_in: str = ""


@dataclass(frozen=True, slots=True)
class Description:
    """A table as the dictionary has it: ``chain`` is the table and those that it extends, nearest first."""

    chain: tuple[str, ...]
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One value that a column may have, and its label. ``dependent`` is the value of another column it belongs to."""

    value: str
    label: str
    sequence: int = 0
    inactive: bool = False
    dependent: str = ""


def ancestors(table: str, policy: RetryPolicy, tally: Tally) -> Procedure[tuple[str, ...]]:
    """``table`` and the tables that it extends, nearest first; empty where the tables may not be read."""
    chain: list[str] = []
    name = table
    while name and name not in chain and len(chain) < _DEEPEST:
        found = yield from rows(
            "sys_db_object", f"name={name}", ("name", "super_class.name"), "columns", policy, tally, limit=2
        )
        if len(found) != 1 or text(found[0], "name") != name:
            break
        chain.append(name)
        name = text(found[0], "super_class.name")
    return tuple(chain)


def description(table: str, policy: RetryPolicy, tally: Tally) -> Procedure[Description | None]:
    """The active columns of ``table``, by name, inherited ones included; ``None`` where the dictionary may not be read.

    A table's own entry for an inherited column wins over its ancestors'.
    """
    try:
        chain = yield from ancestors(table, policy, tally)
        entries = yield from _entries(chain, policy, tally)
    except UNREADABLE:
        return None
    # sys_id stands in every root table's entries: without it the dictionary shows us only a part.
    found = {column.name: column for column in entries}
    return Description(chain, tuple(found[name] for name in sorted(found))) if "sys_id" in found else None


def columns(table: str, policy: RetryPolicy, tally: Tally) -> Procedure[tuple[Column, ...] | None]:
    """The columns of ``description`` alone."""
    found = yield from description(table, policy, tally)
    return None if found is None else found.columns


def _entries(chain: tuple[str, ...], policy: RetryPolicy, tally: Tally) -> Procedure[list[Column]]:
    """Entries of all tables of the chain, the nearest table's last."""
    nearness = {name: -index for index, name in enumerate(chain)}
    names = (
        "name", "element", "internal_type", "column_label", "reference", "reference_key", "max_length", "choice",
        "mandatory",
    )  # fmt: skip
    found: list[dict[str, Any]] = []
    for tables in _batches(chain, _NAMES_PER_REQUEST):
        query = f"nameIN{','.join(tables)}^elementISNOTEMPTY^active=true^ORDERBYsys_id"
        found += yield from rows("sys_dictionary", query, names, "columns", policy, tally)
    # A dictionary that ignores the question would answer for other tables.
    kept = [record for record in found if text(record, "name") in nearness and text(record, "element")]
    kept.sort(key=lambda record: nearness[text(record, "name")])
    return [_column(record) for record in kept]


def _column(record: dict[str, Any]) -> Column:
    table, name, reference = (text(record, part) for part in ("name", "element", "reference"))
    by_name = "name" if (table, name) in _BY_NAME else "sys_id"
    return Column(
        name=name,
        type=text(record, "internal_type"),
        label=text(record, "column_label"),
        reference=reference,
        max_length=_number(text(record, "max_length")),
        choice=_number(text(record, "choice")) > 0,
        keyed_by=text(record, "reference_key") or by_name if reference else "",
        mandatory=text(record, "mandatory") == "true",
        defined_in=table,
    )


def choices(
    chain: Sequence[str], elements: Iterable[str], policy: RetryPolicy, tally: Tally, *, language: str = "en"
) -> Procedure[dict[str, tuple[Choice, ...]] | None]:
    """The choices of columns, by column, in their order; ``None`` where they may not be read, or are too many to hold.

    ``chain`` is a table and those that it extends, nearest first. A table's own set for a column stands for that of its
    ancestors, whole. Labels are in ``language`` where there are any, else in English.
    """
    asked = sorted(set(elements))
    found: list[dict[str, Any]] = []
    languages = ",".join(dict.fromkeys(("en", language)))
    names = ("name", "element", "value", "label", "sequence", "inactive", "dependent_value", "language")
    for tables in _batches(chain, _NAMES_PER_REQUEST):
        for some in _batches(asked, _ELEMENTS_PER_REQUEST):
            query = f"nameIN{','.join(tables)}^elementIN{','.join(some)}^languageIN{languages}^ORDERBYsys_id"
            try:
                answer = yield from rows("sys_choice", query, names, "columns", policy, tally, limit=_MOST_CHOICES)
            except UNREADABLE:
                return None
            if len(answer) >= _MOST_CHOICES:
                return None
            found += answer
    sets: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in found:
        sets.setdefault((text(record, "element"), text(record, "name")), []).append(record)
    nearest = {name: next((sets[name, table] for table in chain if (name, table) in sets), []) for name in asked}
    return {name: _choice_set(records, language) for name, records in nearest.items() if records}


def _choice_set(records: Iterable[Mapping[str, Any]], language: str) -> tuple[Choice, ...]:
    """One table's choices for a column, each once, in the language that is wanted where it has that."""
    kept: dict[tuple[str, str], Mapping[str, Any]] = {}
    for record in sorted(records, key=lambda record: text(record, "language") == language):
        kept[text(record, "value"), text(record, "dependent_value")] = record
    made = [
        Choice(
            value=value,
            label=text(record, "label"),
            sequence=_number(text(record, "sequence")),
            inactive=text(record, "inactive") == "true",
            dependent=dependent,
        )
        for (value, dependent), record in kept.items()
    ]
    return tuple(sorted(made, key=lambda choice: (choice.sequence, choice.value, choice.dependent)))


def _batches(names: Sequence[str], size: int) -> list[Sequence[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]


def _number(shown: str) -> int:
    """A whole number as the platform sends it, with its thousands marked or not; 0 where it is none."""
    plain = shown.replace(",", "")
    return int(plain) if plain.isdecimal() else 0

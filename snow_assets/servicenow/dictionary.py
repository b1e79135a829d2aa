"""What columns a table has, from ``sys_db_object`` and ``sys_dictionary``, inherited ones included.

Reading these tables needs a right that many accounts lack; the instance then answers with nothing, and the columns
are unknown (``None``), which is not an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from snow_assets.servicenow.account import UNREADABLE, rows, text
from snow_assets.servicenow.exchange import Procedure, Tally
from snow_assets.servicenow.retry import RetryPolicy

_DEEPEST: Final = 40  # ancestors; deeper than any class tree, so that a loop in the data ends
_NAMES_PER_REQUEST: Final = 20  # tables in one IN list: keeps the address short


@dataclass(frozen=True, slots=True)
class Column:
    """One column: ``type`` is the platform's own (``glide_date_time``); ``max_length`` is 0 where it is unknown."""

    name: str
    type: str
    label: str = ""
    reference: str = ""
    max_length: int = 0


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


def columns(table: str, policy: RetryPolicy, tally: Tally) -> Procedure[tuple[Column, ...] | None]:
    """The active columns of ``table``, by name; ``None`` where the dictionary may not be read.

    A table's own entry for an inherited column wins over its ancestors'.
    """
    try:
        chain = yield from ancestors(table, policy, tally)
        entries = yield from _entries(chain, policy, tally)
    except UNREADABLE:
        return None
    # sys_id stands in every root table's entries: without it the dictionary shows us only a part.
    found = {column.name: column for column in entries}
    return tuple(found[name] for name in sorted(found)) if "sys_id" in found else None


def _entries(chain: tuple[str, ...], policy: RetryPolicy, tally: Tally) -> Procedure[list[Column]]:
    """Entries of all tables of the chain, the nearest table's last."""
    nearness = {name: -index for index, name in enumerate(chain)}
    names = ("name", "element", "internal_type", "column_label", "reference", "max_length")
    found: list[dict[str, Any]] = []
    for start in range(0, len(chain), _NAMES_PER_REQUEST):
        tables = ",".join(chain[start : start + _NAMES_PER_REQUEST])
        query = f"nameIN{tables}^elementISNOTEMPTY^active=true^ORDERBYsys_id"
        found += yield from rows("sys_dictionary", query, names, "columns", policy, tally)
    # A dictionary that ignores the question would answer for other tables.
    kept = [record for record in found if text(record, "name") in nearness and text(record, "element")]
    kept.sort(key=lambda record: nearness[text(record, "name")])
    return [_column(record) for record in kept]


def _column(record: dict[str, Any]) -> Column:
    length = text(record, "max_length").replace(",", "")
    return Column(
        name=text(record, "element"),
        type=text(record, "internal_type"),
        label=text(record, "column_label"),
        reference=text(record, "reference"),
        max_length=int(length) if length.isdecimal() else 0,
    )

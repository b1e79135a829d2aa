"""Which rows a database refuses: found by trying parts of what is to be written, each in a transaction that is undone.

A record is refused for itself, or for the ones before it in the order of the set; of a record with several rows, the
first row is blamed with which it is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from snow_assets.imports.coalesce import Task
from snow_assets.imports.coalesce_rows import mark
from snow_assets.imports.contract import INVALID_TARGET
from snow_assets.imports.targets.writer import Writer
from snow_assets.pulls.workspace import literal, quoted

MOST: Final = 200  # records that are told one by one; where more are refused the whole set fails

_ORDER: Final = """
CREATE OR REPLACE TEMP TABLE snow_order AS SELECT sys_id, k, found, row_number() OVER (ORDER BY k) AS nr
FROM snow_records WHERE NOT found OR changes > 0
"""


class _TooManyError(Exception):
    """Not worth the search: the set fails."""


class Blame:
    """The search, for one import set. ``write`` inserts and updates: it is given the names of two tables."""

    def __init__(self, writer: Writer, task: Task, write: Callable[[str, str], None]) -> None:
        self._writer = writer
        self._task = task
        self._write = write
        self._found: dict[int, str] = {}

    def mark(self) -> bool:
        """Make errors of the rows that are refused; False where none could be told, or too many are."""
        self._writer.bench.execute(_ORDER)
        if self._refused(1, 0):  # none of the rows: what is made for their references
            return False
        try:
            self._search(1, len(self._rows("SELECT nr FROM snow_order")))
        except _TooManyError:
            return False
        rows = [self._row(*record, words) for record, words in self._offenders()]
        for row, words in rows:
            mark(self._writer.bench, f"SELECT {row} AS r, {literal(words)} AS note", "error", INVALID_TARGET)
        return bool(rows)

    def _search(self, first: int, last: int) -> None:
        """Find the records that are refused between two numbers."""
        words = self._refused(first, last) if first <= last else None
        if words is None:
            return
        if first == last:
            self._blame(first, words)
            return
        middle = (first + last) // 2
        self._search(first, middle)
        self._search(middle + 1, last)
        while words := self._refused(first, last):  # each half is fine: they are refused together
            low, high = first, last
            while low < high:
                middle = (low + high) // 2
                low, high = (low, middle) if self._refused(first, middle) else (middle + 1, high)
            self._blame(low, words)

    def _blame(self, number: int, words: str) -> None:
        is_known = number in self._found
        self._found[number] = words
        if is_known or len(self._found) > MOST:
            raise _TooManyError

    def _refused(self, first: int, last: int) -> str | None:
        told = ", ".join(map(str, self._found)) or "0"
        for name in ("insert", "update"):
            numbers = f"nr BETWEEN {first} AND {last} AND nr NOT IN ({told})"
            records = f"SELECT * FROM snow_{name} WHERE sys_id IN (SELECT sys_id FROM snow_order WHERE {numbers})"  # noqa: S608
            self._writer.bench.execute(f"CREATE OR REPLACE TEMP TABLE snow_try_{name} AS {records}")
        return self._tried()

    def _tried(self) -> str | None:
        words = self._writer.attempt(lambda: self._write("snow_try_insert", "snow_try_update"))
        if words is None:
            self._writer.undo()
        return words

    def _offenders(self) -> list[tuple[tuple[int, bool], str]]:
        found = [self._rows(f"SELECT k, found FROM snow_order WHERE nr = {nr}") for nr in self._found]  # noqa: S608
        return [((rows[0][0], rows[0][1]), words) for rows, words in zip(found, self._found.values(), strict=True)]

    def _row(self, group: int, found: bool, words: str) -> tuple[int, str]:
        """The row of a record that is to blame."""
        states = f"SELECT r FROM snow_states WHERE k = {group} AND state <> 'ignored' ORDER BY r"  # noqa: S608
        rows = [row for (row,) in self._rows(states)]
        for row in rows[:-1]:
            if said := self._version_refused(group, found, row):
                return row, said
        return rows[-1], words

    def _version_refused(self, group: int, found: bool, row: int) -> str | None:
        values = ", ".join(f"s.a{at} AS {quoted(field.name)}" for at, field in enumerate(self._task.values))
        for name, wanted in (("insert", not found), ("update", found)):
            version = (
                f"SELECT w.* REPLACE ({values}) FROM snow_{name} w JOIN snow_records g USING (sys_id), snow_versions s"  # noqa: S608
            )
            self._writer.bench.execute(
                f"CREATE OR REPLACE TEMP TABLE snow_try_{name} AS {version} "
                f"WHERE g.k = {group} AND s.r = {row} AND {wanted}"
            )
        return self._tried()

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._writer.bench.execute(query).fetchall()
        return rows

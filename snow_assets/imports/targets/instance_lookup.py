"""Records of an instance found by what is in their fields, many at a time. Procedures.

Values stand in an encoded query as they are, so that some cannot stand there at all: such a record is looked for by the
longest part of its value that can, and what comes is compared here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from snow_assets.errors import ForbiddenError
from snow_assets.imports.targets.instance_values import Key
from snow_assets.servicenow.account import rows, text
from snow_assets.servicenow.exchange import Procedure, Tally
from snow_assets.servicenow.named import ADDRESS
from snow_assets.servicenow.pages import can_stand
from snow_assets.servicenow.retry import RetryPolicy

_MOST: Final = 10_000  # records in one answer
_KEYS: Final = 100  # in one request
_LONG: Final = 2_000  # characters of a value in an address: a longer one is looked for by its beginning
_BEGINNING: Final = 100
_PIECES: Final = re.compile(r"[\^\x00-\x1f\x7f-\x9f]+|javascript:|^=+")

Normal = Callable[[str, str], str]


@dataclass(frozen=True)
class Lookup:
    """Records of ``table`` by the values of ``by``. ``normal`` makes the texts of one value equal."""

    table: str
    by: tuple[str, ...]
    wanted: tuple[str, ...]
    policy: RetryPolicy
    normal: Normal
    case_sensitive: bool = False
    domain: str | None = None

    def key(self, values: Iterable[str]) -> Key:
        """What records that the instance takes for equal have in common; spaces around a value do not count."""
        texts = (self.normal(name, value).strip() for name, value in zip(self.by, values, strict=True))
        return tuple(texts if self.case_sensitive else (each.lower() for each in texts))

    def find(self, keys: Iterable[Key], tally: Tally) -> Procedure[dict[Key, dict[str, Any]]]:
        """The first record (lowest sys_id) of each key that there is, by `key`."""
        found: dict[Key, dict[str, Any]] = {}
        for query in self._queries(list(dict.fromkeys(keys))):
            yield from self._ask(query, found, tally)
        return found

    def records(self, key: Key, tally: Tally) -> Procedure[list[dict[str, Any]]]:
        """Every record of a key, by sys_id."""
        kept = []
        for query in self._queries([key]):
            found, _ = yield from self._rows(query, tally)
            kept += [record for record in found if self._key_of(record) == self.key(key)]
        return kept

    def can_find(self, key: Key) -> bool:
        """Whether a record of this key can be asked for at all."""
        return all(not value or _can_stand(value) or _piece(value) for value in key)

    def _ask(self, query: Sequence[str], found: dict[Key, dict[str, Any]], tally: Tally) -> Procedure[None]:
        records, cut = yield from self._rows(query, tally)
        if cut:
            middle = len(query) // 2
            yield from self._ask(query[:middle], found, tally)
            yield from self._ask(query[middle:], found, tally)
            return
        for record in records:
            found.setdefault(self._key_of(record), record)

    def _rows(self, query: Sequence[str], tally: Tally) -> Procedure[tuple[list[dict[str, Any]], bool]]:
        """The records of one key; of several, and whether there are more. Raises ``ForbiddenError``."""
        names = tuple(dict.fromkeys((*self.by, *self.wanted, *(() if self.domain is None else ("sys_domain",)))))
        kept: list[dict[str, Any]] = []
        after = ""
        while True:
            where = f"{self._joined(query)}{after}^ORDERBYsys_id"
            found = yield from rows(self.table, where, names, "lookup", self.policy, tally, limit=_MOST)
            self._must_be_whole(found, names)
            kept += [each for each in found if self.domain in (None, text(each, "sys_domain"))]
            if len(found) < _MOST or len(query) > 1:
                return kept, len(found) >= _MOST
            after = f"^sys_id>{text(found[-1], 'sys_id')}"

    def _must_be_whole(self, found: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
        """What is not shown cannot be compared: records would be made twice, or changed again and again."""
        hidden = next((name for record in found for name in names if name not in record), None)
        if hidden is not None:
            what = "the account does not see this field of all records, so that nothing can be told from them"
            raise ForbiddenError(what, key=f"{self.table}.{hidden}", hint="let it read the field, or check its name")

    def _key_of(self, record: Mapping[str, Any]) -> Key:
        return self.key(text(record, name) for name in self.by)

    @property
    def _in_domain(self) -> str:
        return "" if self.domain is None else f"^sys_domain={self.domain}"

    def _joined(self, query: Sequence[str]) -> str:
        """The query for several keys: terms of each, or values of a list."""
        if query[0].startswith(","):
            return f"{self.by[0]}IN{''.join(query)[1:]}{self._in_domain}"
        return "^NQ".join(f"{terms}{self._in_domain}" for terms in query)

    def _queries(self, keys: Sequence[Key]) -> Iterator[list[str]]:
        listed = [key for key in keys if len(key) == 1 and key[0] and _can_stand(key[0]) and "," not in key[0]]
        others = [self._terms(key) for key in keys if key not in set(listed)]
        yield from _fitting([f",{key[0]}" for key in listed], 0)
        yield from _fitting(others, len(self._in_domain) + 3)

    def _terms(self, key: Key) -> str:
        return "^".join(_term(name, value) for name, value in zip(self.by, key, strict=True))


def _term(name: str, value: str) -> str:
    if not value:
        return f"{name}ISEMPTY"
    return f"{name}={value}" if _can_stand(value) else f"{name}LIKE{_piece(value)}"


def _can_stand(value: str) -> bool:
    return can_stand(value) and (len(value) * 12 <= _LONG or len(quote(value)) <= _LONG)


def _piece(value: str) -> str:
    """The longest part of a value that can stand in a query, or its beginning."""
    pieces = [piece.strip()[:_BEGINNING].strip() for piece in _PIECES.split(value)]
    return max((piece for piece in pieces if piece and can_stand(piece)), key=len, default="")


def _fitting(parts: Iterable[str], more: int) -> Iterator[list[str]]:
    """Lists of parts that fit into one address each."""
    gathered: list[str] = []
    room = ADDRESS // 2
    for part in parts:
        length = len(quote(part)) + more
        if gathered and (len(gathered) == _KEYS or length > room):
            yield gathered
            gathered, room = [], ADDRESS // 2
        gathered.append(part)
        room -= length
    if gathered:
        yield gathered

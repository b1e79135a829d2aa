"""Reading an encoded query: groups of terms, sys_id bounds kept apart, sort keys, and what is done about invalid parts.

Shares nothing with the client's parser, so that a misunderstanding on one side shows as a difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from snow_assets.simulator.collation import Collate
from snow_assets.simulator.columns import Columns
from snow_assets.simulator.dictionary import DATE_TIME_TYPES, exists
from snow_assets.simulator.operands import Operand, Scope, operand
from snow_assets.simulator.operators import OPERATORS, InvalidTermError, Operator, Test, literal
from snow_assets.simulator.script_dates import in_utc
from snow_assets.simulator.store import Row

_SYMBOLS = "|".join(re.escape(symbol) for symbol in sorted(OPERATORS, key=len, reverse=True))
_TERM = re.compile(rf"^([a-z0-9_]+(?:\.[a-z0-9_]+)*)({_SYMBOLS})(.*)$", re.DOTALL)
_ORDER = re.compile(r"^(ORDERBYDESC|ORDERBY|GROUPBY)(.+)$")
_RELATED = re.compile(r"^RLQUERY([a-z0-9_]+)\.([a-z0-9_]+),(>=|<=|!=|=|>|<)(\d+)")
_JOIN = re.compile(r"^JOIN([a-z0-9_]+)\.([a-z0-9_]+)=([a-z0-9_]+)\.([a-z0-9_]+)(?:!(.*))?$", re.DOTALL)
_CARET = "\x00"

InvalidPolicy = Literal["drop", "no_rows", "forbid_403"]


class QueryForbiddenError(Exception):
    """The query uses a column that this account may not query, or (in one mode) one that does not exist."""


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: its test, and a key that is equal for equal conditions.

    ``stable``: the test reads nothing but the row itself, so that a result may be kept while others change.
    """

    key: Hashable
    test: Test
    stable: bool = True
    bound: tuple[str, str] | None = None  # < <= > or >=, and a sys_id as the collation sees it


@dataclass(frozen=True, slots=True)
class Bounds:
    """A range of sys_ids, as the collation sees them: bounds, and whether they are left out; None is open."""

    low: str | None = None
    low_out: bool = False
    high: str | None = None
    high_out: bool = False

    def narrowed(self, symbol: str, sys_id: str) -> Bounds:
        """With one more term on sys_id."""
        out = symbol in "<>"
        if symbol in (">", ">="):
            if self.low is None or (sys_id, out) > (self.low, self.low_out):
                return Bounds(sys_id, out, self.high, self.high_out)
        elif self.high is None or (sys_id, not out) < (self.high, not self.high_out):
            return Bounds(self.low, self.low_out, sys_id, out)
        return self


@dataclass(frozen=True, slots=True)
class Group:
    """One ``^NQ`` group: every clause must hold, a clause holds when one of its terms does."""

    bounds: Bounds = Bounds()
    clauses: tuple[tuple[Term, ...], ...] = ()

    @property
    def key(self) -> Hashable:
        """Equal for groups that ask the same, bounds aside."""
        return tuple(tuple(term.key for term in clause) for clause in self.clauses)

    def test(self, row: Row) -> bool:
        """Whether the row satisfies every clause, bounds aside."""
        return all(any(term.test(row) for term in clause) for clause in self.clauses)


@dataclass(frozen=True, slots=True)
class Order:
    """One sort key: a column, perhaps dot-walked, ascending unless ``descending``."""

    field: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A query that was understood: OR of groups, and the order. ``invalid`` lists parts that were not."""

    groups: tuple[Group, ...]
    order: tuple[Order, ...]
    invalid: tuple[str, ...] = ()
    nothing: bool = False  # invalid terms return no rows here


@dataclass(slots=True)
class Rights:
    """What an account may use in queries: columns that it may not read, and may not use in ranges and sorts."""

    unreadable: Callable[[str, str], bool] = field(default=lambda table, column: False)
    unrangeable: Callable[[str, str], bool] = field(default=lambda table, column: False)

    def check(self, columns: Columns, table: str, name: str, *, ranges: bool) -> None:
        """Raise QueryForbiddenError when a part of the path may not be used."""
        path = columns.resolve(table, name)
        if path is None:
            return
        places = [(table if i == 0 else path.hops[i - 1].reference, hop.name) for i, hop in enumerate(path.hops)]
        for where, column in (*places, (path.table, path.column.name)):
            if self.unreadable(where, column) or (ranges and self.unrangeable(where, column)):
                raise QueryForbiddenError(f"{where}.{column}")


def read_query(table: str, text: str, scope: Scope, policy: InvalidPolicy, rights: Rights) -> Query:
    """Understand ``sysparm_query``. Raises QueryForbiddenError."""
    return _Reader(table, scope, policy, rights).read(text)


def read_pairs(table: str, pairs: Mapping[str, str], scope: Scope, rights: Rights) -> Query:
    """Understand ``name=value`` filters: stored or display values, other names than columns ignored."""
    clauses = []
    for name, value in pairs.items():
        path = scope.store.columns.resolve(table, name)
        if path is None:
            continue
        rights.check(scope.store.columns, table, name, ranges=False)
        left = operand(path, scope)
        values = {value, *(stored for stored, label in path.column.choices if label.lower() == value.lower())}
        tests = [OPERATORS["="].make(left, one, scope) for one in sorted(values)]
        if left.kind == "reference":
            tests.append(_shows(left, value.lower()))
        stable = path.local and left.kind != "reference"
        clauses.append(tuple(Term((name, "=", value, at), test, stable) for at, test in enumerate(tests)))
    return Query((Group(clauses=tuple(clauses)),), ())


def _shows(left: Operand, shown: str) -> Test:
    return lambda row: left.display(row).lower() == shown


class _Reader:
    def __init__(self, table: str, scope: Scope, policy: InvalidPolicy, rights: Rights) -> None:
        self.table, self.scope, self.policy, self.rights = table, scope, policy, rights
        self.columns = scope.store.columns
        self.invalid: list[str] = []
        self.order: list[Order] = []

    def read(self, text: str) -> Query:
        groups: list[list[list[Term]]] = [[]]
        tokens = iter(text.replace("^^", _CARET).split("^"))
        for raw in tokens:
            token = raw.replace(_CARET, "^")
            if not token or token == "EQ":
                continue
            if token.startswith("RLQUERY"):
                inner = list(iter(lambda: next(tokens, "ENDRLQUERY"), "ENDRLQUERY"))
                self._add(groups[-1], token, self._attempt(token, partial(self._related, token, inner)), either=False)
                continue
            if order := _ORDER.match(token):
                self._order(order[1], order[2])
                continue
            either = token.startswith("OR")
            if either:
                token = token[2:]
            elif token.startswith("NQ"):
                token = token[2:]
                groups.append([])
                if not token:
                    continue
            term = self._attempt(token, partial(self._term, token))
            self._add(groups[-1], token, term, either=either)
        return self._finish(groups)

    def _finish(self, groups: list[list[list[Term]]]) -> Query:
        if self.invalid and self.policy == "forbid_403":
            raise QueryForbiddenError(self.invalid[0])
        asked = [clauses for clauses in groups if clauses] or [[]]
        nothing = bool(self.invalid) and self.policy == "no_rows"
        return Query(tuple(_group(clauses) for clauses in asked), tuple(self.order), tuple(self.invalid), nothing)

    def _attempt(self, token: str, make: Callable[[], Term]) -> Term | None:
        try:
            return make()
        except InvalidTermError:
            self.invalid.append(token)
            return None

    def _add(self, clauses: list[list[Term]], token: str, term: Term | None, *, either: bool) -> None:
        if term is None:
            return
        if either and clauses:
            clauses[-1].append(term)
        else:
            clauses.append([term])

    def _order(self, word: str, name: str) -> None:
        if self.columns.resolve(self.table, name) is None:
            if self.policy == "forbid_403":
                self.invalid.append(word + name)
            return
        self.rights.check(self.columns, self.table, name, ranges=True)
        self.order.append(Order(name, word == "ORDERBYDESC"))

    def _term(self, token: str) -> Term:
        if token.startswith("123TEXTQUERY321="):
            return self._text_search(token)
        if token.startswith("JOIN"):
            return self._join(token)
        match = _TERM.match(token.removeprefix("GOTO"))
        if match is None:
            raise InvalidTermError(token)
        name, symbol, value = match.groups()
        path = self.columns.resolve(self.table, name)
        if path is None:
            raise InvalidTermError(token)
        operator = OPERATORS[symbol]
        self.rights.check(self.columns, self.table, name, ranges=operator.ranges)
        left = operand(path, self.scope)
        text = value if not operator.takes_value else self._literal(operator, value)
        if self.scope.zoned_dates and left.kind in DATE_TIME_TYPES:
            text = in_utc(text, self.scope.speaker.zone)
        stable = path.local and not (left.kind == "reference" and operator.ranges)
        bound = None
        if name == "sys_id" and symbol in ("<", "<=", ">", ">=") and text:
            bound = (symbol, self.scope.store.collate(text))
        key: Hashable = (name, symbol, text)
        if "!" in symbol or "NOT" in symbol:
            key = (name, symbol, text, self.scope.not_equal_drops_empty)
        if symbol.startswith("RELATIVE") or symbol == "DYNAMIC" or "javascript:" in text:
            key = (name, symbol, text, self.scope.speaker)  # means something else to others, and later
        return Term(key, operator.make(left, text, self.scope), stable, bound)

    def _literal(self, operator: Operator, value: str) -> str:
        """Read a plain ``javascript:`` now, so that the term's key holds what it stands for."""
        simple = value.startswith("javascript:") and operator.symbol not in ("BETWEEN", "DATEPART")
        return literal(value, self.scope) if simple else value

    def _text_search(self, token: str) -> Term:
        words = token.partition("=")[2].lower().split()
        names = [
            name
            for name, column in self.columns.of(self.table).items()
            if column.type in ("string", "html", "journal_input")
        ]

        def test(row: Row) -> bool:
            text = "\n".join(row.get(name, "") for name in names).lower()
            return all(word in text for word in words)

        return Term(token, test)

    def _related(self, token: str, inner: Iterable[str]) -> Term:
        match = _RELATED.match(token)
        if match is None or not exists(match[1]) or self.columns.resolve(match[1], match[2]) is None:
            raise InvalidTermError(token)
        related, column, symbol, wanted = match[1], match[2], match[3], int(match[4])
        counts: dict[str, int] = {}
        for row in self._matching(related, "^".join(inner)):
            counts[row.get(column, "")] = counts.get(row.get(column, ""), 0) + 1
        accept: Callable[[int], bool] = {
            ">=": lambda n: n >= wanted,
            "<=": lambda n: n <= wanted,
            "!=": lambda n: n != wanted,
            "=": lambda n: n == wanted,
            ">": lambda n: n > wanted,
            "<": lambda n: n < wanted,
        }[symbol]
        return Term((token, *inner), lambda row: accept(counts.get(row["sys_id"], 0)), stable=False)

    def _join(self, token: str) -> Term:
        match = _JOIN.match(token)
        if match is None or not exists(match[3]) or match[2] not in self.columns.of(self.table):
            raise InvalidTermError(token)
        column, other = match[2], match[4]
        values = {row.get(other, "") for row in self._matching(match[3], match[5] or "")}
        return Term(token, lambda row: row.get(column, "") in values, stable=False)

    def _matching(self, table: str, text: str) -> list[Row]:
        found = _Reader(table, self.scope, self.policy, self.rights).read(text)
        store = self.scope.store
        rows = (store.rows_of(table)[one] for one in store.view(table).ids)
        return [row for row in rows if any(within(group, row, store.collate) for group in found.groups)]


def within(group: Group, row: Row, collate: Collate) -> bool:
    """Whether a row satisfies a group, bounds included."""
    bounds, sys_id = group.bounds, collate(row["sys_id"])
    if bounds.low is not None and (sys_id < bounds.low or (bounds.low_out and sys_id == bounds.low)):
        return False
    if bounds.high is not None and (sys_id > bounds.high or (bounds.high_out and sys_id == bounds.high)):
        return False
    return group.test(row)


def _group(clauses: list[list[Term]]) -> Group:
    bounds, rest = Bounds(), []
    for clause in clauses:
        if len(clause) == 1 and clause[0].bound is not None:
            bounds = bounds.narrowed(*clause[0].bound)
        else:
            rest.append(tuple(clause))
    return Group(bounds, tuple(rest))

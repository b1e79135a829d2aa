"""The encoded query of the platform as a value: parsed once, printed with terms of ours in every group.

::

    query := group ( "^NQ" group )*           rows of any group
    group := term ( "^" term | "^OR" term )*  "^OR" binds to the term directly before it
    term  := field operator value             field: lower case, dots walk references
    "^ORDERBYf", "^ORDERBYDESCf", "^GROUPBYf" may stand anywhere; "^EQ" means nothing

The platform drops terms that it does not understand and then answers with more rows, so what this parser does not
know whole is refused (``QueryError``), never passed on in the hope that it is understood there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, NoReturn

from snow_assets.errors import QueryError

_NO_VALUE: Final = frozenset({"ISEMPTY", "ISNOTEMPTY", "ANYTHING", "EMPTYSTRING"})
_TWO_FIELDS: Final = frozenset(
    {"SAMEAS", "NSAMEAS", "GT_FIELD", "LT_FIELD", "GT_OR_EQUALS_FIELD", "LT_OR_EQUALS_FIELD", "MORETHAN", "LESSTHAN"}
)
_RELATIVE: Final = frozenset({"RELATIVEGT", "RELATIVEGE", "RELATIVELT", "RELATIVELE", "RELATIVEEE"})
OPERATORS: Final = frozenset(
    {"=", "!=", "<", "<=", ">", ">=", "*", "!*", "%", "BETWEEN", "IN", "NOT IN", "LIKE", "CONTAINS", "NOT LIKE"}
    | {"NOTLIKE", "STARTSWITH", "ENDSWITH", "INSTANCEOF", "DYNAMIC", "ON", "NOTON", "DATEPART"}
    | _NO_VALUE
    | _TWO_FIELDS
    | _RELATIVE
)
"""Operators that a term may use."""

_NAME: Final = r"[a-z_][a-z0-9_]*(?:\.[a-z0-9_]+)*"
_FIELD: Final = re.compile(_NAME)
# The longest operator first: INSTANCEOF before IN, <= before <.
_TERM: Final = re.compile(
    rf"({_NAME})({'|'.join(re.escape(name) for name in sorted(OPERATORS, key=len, reverse=True))})(.*)", re.DOTALL
)
_ORDER: Final = re.compile(r"(ORDERBYDESC|ORDERBY|GROUPBY)(.*)", re.DOTALL)
_ENCODED: Final = re.compile(r"%(?:5E|3D|20|3E|3C)", re.IGNORECASE)
_UNKNOWN: Final = {
    "RLQUERY": "related-list conditions (RLQUERY) cannot be split into groups",
    "ENDRLQUERY": "related-list conditions (RLQUERY) cannot be split into groups",
    "JOIN": "subquery joins (JOIN) cannot be split into groups",
    "SUBQUERY": "subqueries cannot be split into groups",
    "123TEXTQUERY321": "full-text search (123TEXTQUERY321) has no stable set of rows",
    "GOTO": "GOTO is a list's jump, not a filter",
}
_CHANGES: Final = re.compile(rf"{_NAME}(?:VALCHANGES|CHANGESFROM|CHANGESTO)")


@dataclass(frozen=True, slots=True)
class Term:
    """One condition. ``joined_by`` tells how it follows the term before it (``^`` for the first of a group)."""

    field: str
    operator: str
    value: str
    joined_by: Literal["^", "^OR"] = "^"

    def __str__(self) -> str:
        return f"{self.field}{self.operator}{self.value}"


@dataclass(frozen=True, slots=True)
class Order:
    """One sort key of the user's own. ``kind`` is the word that the platform uses."""

    field: str
    kind: Literal["ORDERBY", "ORDERBYDESC", "GROUPBY"] = "ORDERBY"

    def __str__(self) -> str:
        return f"{self.kind}{self.field}"


@dataclass(frozen=True, slots=True)
class EncodedQuery:
    """An immutable encoded query. ``groups`` is empty for the query that matches every row."""

    groups: tuple[tuple[Term, ...], ...] = ()
    order: tuple[Order, ...] = ()

    @classmethod
    def parse(cls, text: str | None) -> EncodedQuery:
        """The query in ``text``, if any. Raises ``QueryError`` (key ``query``) for what is not known whole."""
        text = (text or "").strip("\r\n").removeprefix("^").removesuffix("^")
        groups: list[list[Term]] = [[]]
        order: list[Order] = []
        for piece in re.split(r"[\r\n]*\^[\r\n]*", text) if text else ():  # YAML blocks may break lines at carets
            if piece == "EQ":
                continue
            if sort := _ORDER.fullmatch(piece):
                order.append(_order(sort))
                continue
            if piece.startswith("NQ"):
                groups.append([_term(piece[2:], "^")])
            elif not piece.startswith("OR"):
                groups[-1].append(_term(piece, "^"))
            elif groups[-1]:
                groups[-1].append(_term(piece[2:], "^OR"))
            else:
                _refuse(piece, "^OR without a term before it", "put a term before ^OR")
        if len(groups) > 1 and not groups[0]:
            _refuse(text, "an empty group beside ^NQ would match every row", "put a term on either side of ^NQ")
        return cls(tuple(tuple(group) for group in groups if group), tuple(order))

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field that the terms name, dot-walked ones and the right-hand sides of comparisons included."""
        names: dict[str, None] = {}
        for term in (term for group in self.groups for term in group):
            names[term.field] = None
            if term.operator in _TWO_FIELDS:
                names[term.value.partition("@")[0]] = None
        return tuple(names)

    @property
    def relative_dates(self) -> bool:
        """Whether what matches moves with the clock: a ``javascript:`` value or a RELATIVE operator."""
        terms = (term for group in self.groups for term in group)
        return any("javascript:" in term.value or term.operator in _RELATIVE for term in terms)

    def where(self, *terms: str) -> str:
        """The query without its order, ``terms`` (each ``field operator value``) ANDed into every group."""
        if not self.groups:
            return "^".join(terms)
        return "^NQ".join("^".join([_print(group), *terms]) for group in self.groups)

    @staticmethod
    def ordered(where: str, *fields: str) -> str:
        """``where`` sorted by ``fields``, ascending."""
        return "^".join(part for part in (where, *(f"ORDERBY{field}" for field in fields)) if part)

    def __str__(self) -> str:
        """The whole query, the user's order at its end."""
        return "^".join(part for part in (self.where(), *map(str, self.order)) if part)


def _print(group: tuple[Term, ...]) -> str:
    return "".join(f"{term.joined_by if index else ''}{term}" for index, term in enumerate(group))


def _order(match: re.Match[str]) -> Order:
    kind, field = match.groups()
    if not _FIELD.fullmatch(field):
        _refuse(match[0], "no field to sort by", "name one field per ORDERBY, in lower case")
    return Order(field, kind)  # type: ignore[arg-type]  # the pattern allows no other kind


def _term(piece: str, joined_by: Literal["^", "^OR"]) -> Term:
    if not piece:
        _refuse("^^", "an empty term; a caret inside a value cannot be expressed", "remove the empty term")
    if (unknown := next((word for word in _UNKNOWN if piece.startswith(word)), None)) is not None:
        _refuse(piece, _UNKNOWN[unknown], "filter by plain terms instead")
    if _CHANGES.match(piece):
        _refuse(piece, "the operator is for notifications only; a web service would drop it", "remove the term")
    match = _TERM.fullmatch(piece)
    if match is None:
        _refuse(piece, "not a term: a field in lower case, then an operator such as = or STARTSWITH", "check spelling")
    field, operator, value = match.groups()
    if operator == "%" and _ENCODED.match(piece, match.start(2)):
        _refuse(piece, "the query is URL-encoded", "write it plainly: ^ for %5E, = for %3D")
    if operator in _NO_VALUE and value:
        _refuse(piece, f"{operator} takes no value", f"end the term after {operator}")
    if operator in _TWO_FIELDS and not _FIELD.fullmatch(value.partition("@")[0]):
        _refuse(piece, f"{operator} compares with a field, in lower case", "name the other field")
    return Term(field, operator, value, joined_by)


def _refuse(term: str, message: str, hint: str) -> NoReturn:
    raise QueryError(message, key="query", value=term if len(term) <= 120 else f"{term[:120]}...", hint=hint)

"""The operators of an encoded query, as data: one line each, with the function that makes its test.

A maker gets the operand (the column on the left), the text on the right and the scope, and returns a test of one row.
Comparisons never match an empty value, as NULL never does in SQL.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from snow_assets.simulator.clock import STORED
from snow_assets.simulator.dictionary import exists, family
from snow_assets.simulator.operands import Getter, Operand, Scope, Value, operand
from snow_assets.simulator.script_dates import ScriptRefusedError, end_of, evaluate, shift, start_of, to_stored
from snow_assets.simulator.store import Row

Test: TypeAlias = Callable[[Row], bool]
Maker: TypeAlias = Callable[[Operand, str, Scope], Test]

ME = "90d1921e5f510100a9ad2572f2b477fe"  # the dynamic filter option "Me"


class InvalidTermError(Exception):
    """The term cannot be read: unknown column or operator, or a malformed right side."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator. ``ranges``: it needs the right to query by range, not only by match."""

    symbol: str
    make: Maker
    takes_value: bool = True
    ranges: bool = False


def literal(text: str, scope: Scope) -> str:
    """The right side of a term, with a ``javascript:`` expression replaced by what it stands for."""
    if not text.startswith("javascript:"):
        return text
    try:
        return evaluate(text[len("javascript:") :], scope.speaker)
    except ScriptRefusedError as error:
        raise InvalidTermError(text) from error


def _equals(left: Operand, right: str, scope: Scope) -> Test:
    stored, convert, wanted = left.stored, left.convert, literal(right, scope)
    if not wanted:
        return lambda row: not stored(row)
    target = convert(wanted)
    return lambda row: (text := stored(row)) != "" and convert(text) == target


def _differs(left: Operand, right: str, scope: Scope) -> Test:
    stored, convert, wanted = left.stored, left.convert, literal(right, scope)
    if not wanted:
        return lambda row: stored(row) != ""
    target = convert(wanted)
    empty = left.kind == "boolean" or not scope.not_equal_drops_empty
    return lambda row: convert(text) != target if (text := stored(row)) else empty


def _compares(accept: Callable[[Value, Value], bool]) -> Maker:
    def make(left: Operand, right: str, scope: Scope) -> Test:
        stored, convert, wanted = left.stored, left.convert, literal(right, scope)
        if not wanted:
            return lambda row: False
        target = convert(wanted)
        return lambda row: (text := stored(row)) != "" and accept(convert(text), target)

    return make


def _within(left: Operand, low: str, high: str, *, inside: bool = True) -> Test:
    stored, convert = left.stored, left.convert
    first, last = convert(low), convert(high)
    return lambda row: (text := stored(row)) != "" and (_ordered(first, convert(text), last) is inside)


def _ordered(first: Value, middle: Value, last: Value) -> bool:
    return first <= middle <= last  # type: ignore[operator]  # a column converts all to one type


def _between(left: Operand, right: str, scope: Scope) -> Test:
    low, at, high = right.partition("@")
    if not at:
        raise InvalidTermError(right)
    return _within(left, literal(low, scope), literal(high, scope))


def _on(inside: bool) -> Maker:
    def make(left: Operand, right: str, scope: Scope) -> Test:
        parts = right.split("@")
        if len(parts) != 3:
            raise InvalidTermError(right)
        return _within(left, literal(parts[1], scope), literal(parts[2], scope), inside=inside)

    return make


def _in(member: bool) -> Maker:
    def make(left: Operand, right: str, scope: Scope) -> Test:
        stored, convert = left.stored, left.convert
        wanted = literal(right, scope)
        values = {convert(part.strip()) for part in wanted.split(",") if part.strip()}
        if member:
            return lambda row: (text := stored(row)) != "" and convert(text) in values
        empty = not scope.not_equal_drops_empty
        return lambda row: convert(text) not in values if (text := stored(row)) else empty

    return make


def _text(accept: Callable[[str, str], bool], *, negate: bool = False) -> Maker:
    def make(left: Operand, right: str, scope: Scope) -> Test:
        shown, wanted = left.display, literal(right, scope).lower()
        if negate:
            empty = not scope.not_equal_drops_empty
            return lambda row: not accept(text.lower(), wanted) if (text := shown(row)) else empty
        return lambda row: accept(shown(row).lower(), wanted)

    return make


def _is_empty(left: Operand, right: str, scope: Scope) -> Test:
    stored = left.stored
    return lambda row: not stored(row)


def _is_not_empty(left: Operand, right: str, scope: Scope) -> Test:
    stored = left.stored
    return lambda row: stored(row) != ""


def _other(left: Operand, name: str, scope: Scope) -> Operand:
    path = scope.store.columns.resolve(left.path.table, name) if left.path.local else None
    if path is None:
        raise InvalidTermError(name)
    return operand(path, scope)


def _fields(accept: Callable[[Value, Value], bool]) -> Maker:
    def make(left: Operand, right: str, scope: Scope) -> Test:
        name, _, unit = right.partition("@")
        other = _other(left, name, scope)
        one, two = _by_unit(left.stored, unit), _by_unit(other.stored, unit)
        convert = left.convert
        return lambda row: (a := one(row)) != "" and (b := two(row)) != "" and accept(convert(a), convert(b))

    return make


def _by_unit(stored: Getter, unit: str) -> Getter:
    """Compare dates by year, quarter, month, week, day, hour or minute only, where ``unit`` says so."""
    if not unit:
        return stored
    return lambda row: to_stored(start_of(_moment(text), unit)) if (text := stored(row)) else ""


def _same(left: Operand, right: str, scope: Scope) -> Test:
    name, _, unit = right.partition("@")
    one, two = _by_unit(left.stored, unit), _by_unit(_other(left, name, scope).stored, unit)
    return lambda row: one(row) == two(row)


def _not_same(left: Operand, right: str, scope: Scope) -> Test:
    same = _same(left, right, scope)
    return lambda row: not same(row)


def _distance(more: bool) -> Maker:
    """``closed_atMORETHANopened_at@day@after@1``: how far apart two dates of a row are."""

    def make(left: Operand, right: str, scope: Scope) -> Test:
        parts = right.split("@")
        if len(parts) != 4 or parts[2] not in ("after", "before") or not parts[3].isdigit():
            raise InvalidTermError(right)
        other = _other(left, parts[0], scope)
        unit, sign, count = _unit(parts[1]), 1 if parts[2] == "after" else -1, int(parts[3])

        def test(row: Row) -> bool:
            one, two = left.stored(row), other.stored(row)
            if not one or not two:
                return False
            limit = shift(_moment(two), unit, sign * count)
            gap = (_moment(one) - limit) * sign
            return (
                gap > timedelta(0)
                if more
                else gap < timedelta(0) and (_moment(one) - _moment(two)) * sign >= timedelta(0)
            )

        return test

    return make


def _relative(symbol: str) -> Maker:
    def make(left: Operand, right: str, scope: Scope) -> Test:
        parts = right.split("@")
        if len(parts) != 4 or parts[2] not in ("ago", "ahead") or not parts[3].isdigit():
            raise InvalidTermError(right)
        unit = _unit(parts[1])
        there = shift(
            scope.speaker.now.astimezone(scope.speaker.zone), unit, int(parts[3]) * (-1 if parts[2] == "ago" else 1)
        )
        if symbol == "EE":
            return _within(left, to_stored(start_of(there, unit)), to_stored(end_of(there, unit)))
        return OPERATORS[{"GT": ">", "GE": ">=", "LT": "<", "LE": "<="}[symbol]].make(left, to_stored(there), scope)

    return make


_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)


def _date_part(left: Operand, right: str, scope: Scope) -> Test:
    parts = literal(right.partition("@")[2], scope).split("@")
    if len(parts) != 3:
        raise InvalidTermError(right)
    unit, wanted, sign = parts[0].lower(), parts[1].lower(), parts[2].upper()
    readers: dict[str, Callable[[datetime], int]] = {
        "dayofweek": lambda at: at.weekday(),
        "month": lambda at: at.month - 1,
        "quarter": lambda at: (at.month - 1) // 3 + 1,
        "year": lambda at: at.year,
        "hour": lambda at: at.hour,
        "week": lambda at: at.isocalendar().week,
    }
    if unit not in readers or sign not in ("EE", "GT", "GE", "LT", "LE"):
        raise InvalidTermError(right)
    named = _DAYS if unit == "dayofweek" else _MONTHS if unit == "month" else ()
    digits = re.search(r"\d+", wanted)
    if wanted not in named and digits is None:
        raise InvalidTermError(right)
    target = named.index(wanted) if wanted in named else int(digits[0]) if digits else 0
    accept = {"EE": _eq, "GT": _gt, "GE": _ge, "LT": _lt, "LE": _le}[sign]
    read, zone = readers[unit], scope.speaker.zone
    return lambda row: (text := left.stored(row)) != "" and accept(read(_moment(text).astimezone(zone)), target)


def _instance_of(left: Operand, right: str, scope: Scope) -> Test:
    classes = family(right) if exists(right) else frozenset((right,))
    return lambda row: left.stored(row) in classes


def _dynamic(left: Operand, right: str, scope: Scope) -> Test:
    if right != ME:
        raise InvalidTermError(right)
    return lambda row: left.stored(row) == scope.speaker.user_id


def _unit(name: str) -> str:
    unit = "day" if name == "dayofweek" else name
    if unit not in ("minute", "hour", "day", "week", "month", "quarter", "year"):
        raise InvalidTermError(name)
    return unit


def _moment(stored: str) -> datetime:
    text = stored if len(stored) > 10 else stored + " 00:00:00"
    return datetime.strptime(text, STORED).replace(tzinfo=UTC)


def _eq(one: Value, two: Value) -> bool:
    return one == two


def _gt(one: Value, two: Value) -> bool:
    return one > two  # type: ignore[operator]


def _ge(one: Value, two: Value) -> bool:
    return one >= two  # type: ignore[operator]


def _lt(one: Value, two: Value) -> bool:
    return one < two  # type: ignore[operator]


def _le(one: Value, two: Value) -> bool:
    return one <= two  # type: ignore[operator]


def _contains(text: str, part: str) -> bool:
    return part in text


_TABLE = (
    Operator("=", _equals),
    Operator("!=", _differs),
    Operator("<", _compares(_lt), ranges=True),
    Operator("<=", _compares(_le), ranges=True),
    Operator(">", _compares(_gt), ranges=True),
    Operator(">=", _compares(_ge), ranges=True),
    Operator("BETWEEN", _between, ranges=True),
    Operator("IN", _in(True)),
    Operator("NOT IN", _in(False)),
    Operator("LIKE", _text(_contains), ranges=True),
    Operator("CONTAINS", _text(_contains), ranges=True),
    Operator("*", _text(_contains), ranges=True),
    Operator("NOT LIKE", _text(_contains, negate=True), ranges=True),
    Operator("NOTLIKE", _text(_contains, negate=True), ranges=True),
    Operator("DOES NOT CONTAIN", _text(_contains, negate=True), ranges=True),
    Operator("!*", _text(_contains, negate=True), ranges=True),
    Operator("STARTSWITH", _text(str.startswith), ranges=True),
    Operator("ENDSWITH", _text(str.endswith), ranges=True),
    Operator("%", _text(str.endswith), ranges=True),
    Operator("ISEMPTY", _is_empty, takes_value=False),
    Operator("ISNOTEMPTY", _is_not_empty, takes_value=False),
    Operator("EMPTYSTRING", _is_empty, takes_value=False),
    Operator("ANYTHING", lambda left, right, scope: lambda row: True, takes_value=False),
    Operator("SAMEAS", _same),
    Operator("NSAMEAS", _not_same),
    Operator("GT_FIELD", _fields(_gt), ranges=True),
    Operator("LT_FIELD", _fields(_lt), ranges=True),
    Operator("GT_OR_EQUALS_FIELD", _fields(_ge), ranges=True),
    Operator("LT_OR_EQUALS_FIELD", _fields(_le), ranges=True),
    Operator("MORETHAN", _distance(True), ranges=True),
    Operator("LESSTHAN", _distance(False), ranges=True),
    Operator("INSTANCEOF", _instance_of),
    Operator("DYNAMIC", _dynamic),
    Operator("ON", _on(True), ranges=True),
    Operator("NOTON", _on(False), ranges=True),
    *(Operator(f"RELATIVE{which}", _relative(which), ranges=True) for which in ("GT", "GE", "LT", "LE", "EE")),
    Operator("DATEPART", _date_part, ranges=True),
)

OPERATORS: dict[str, Operator] = {operator.symbol: operator for operator in _TABLE}
"""Every operator by its symbol. VALCHANGES, CHANGESFROM and CHANGESTO are missing on purpose: conditions of
notifications, which the REST interface treats as invalid terms."""

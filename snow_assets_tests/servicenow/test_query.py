from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snow_assets.errors import QueryError
from snow_assets.servicenow.query import OPERATORS, EncodedQuery, Order, Term


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "sys_id>=x"),
        ("^EQ", "sys_id>=x"),
        ("active=true", "active=true^sys_id>=x"),
        ("active=true^EQ", "active=true^sys_id>=x"),
        ("^active=true^", "active=true^sys_id>=x"),
        ("a=1^ORb=2", "a=1^ORb=2^sys_id>=x"),
        ("a=1^NQb=2^ORc=3", "a=1^sys_id>=x^NQb=2^ORc=3^sys_id>=x"),
        ("a=1^ORDERBYb^NQc=2", "a=1^sys_id>=x^NQc=2^sys_id>=x"),
        ("ORDERBYb^a=1^ORDERBYDESCc", "a=1^sys_id>=x"),
        ("a=1^EQ^ORDERBYb", "a=1^sys_id>=x"),
        ("active=true\n^state=1\n", "active=true^state=1^sys_id>=x"),
        ("short_descriptionLIKEa = b, c", "short_descriptionLIKEa = b, c^sys_id>=x"),
    ],
)
def test_our_term_stands_in_every_group(text: str, where: str) -> None:
    assert EncodedQuery.parse(text).where("sys_id>=x") == where


def test_the_users_order_is_kept_apart() -> None:
    query = EncodedQuery.parse("ORDERBYDESCopened_at^active=true^GROUPBYstate")
    assert query.order == (Order("opened_at", "ORDERBYDESC"), Order("state", "GROUPBY"))
    assert query.where() == "active=true"
    assert EncodedQuery.ordered(query.where(), "sys_id") == "active=true^ORDERBYsys_id"
    assert EncodedQuery.ordered("", "sys_id") == "ORDERBYsys_id"
    assert str(query) == "active=true^ORDERBYDESCopened_at^GROUPBYstate"


@pytest.mark.parametrize(
    ("text", "field", "operator", "value"),
    [
        ("sys_class_nameINSTANCEOFcmdb_ci", "sys_class_name", "INSTANCEOF", "cmdb_ci"),
        ("stateIN1,2", "state", "IN", "1,2"),
        ("numberNOT ININC1", "number", "NOT IN", "INC1"),
        ("a<=3", "a", "<=", "3"),
        ("a!=3", "a", "!=", "3"),
        ("a!*b", "a", "!*", "b"),
        ("caller_id.name.firstSTARTSWITHX", "caller_id.name.first", "STARTSWITH", "X"),
        ("opened_atONToday@x@y", "opened_at", "ON", "Today@x@y"),
        ("close_notesISNOTEMPTY", "close_notes", "ISNOTEMPTY", ""),
        ("a=", "a", "=", ""),
    ],
)
def test_the_longest_operator_wins(text: str, field: str, operator: str, value: str) -> None:
    assert EncodedQuery.parse(text).groups == ((Term(field, operator, value),),)


def test_fields_hold_both_sides_of_comparisons_and_dots() -> None:
    query = EncodedQuery.parse("a.b=1^opened_atSAMEASclosed_at@day^NQa.b=2^xGT_FIELDy^ORDERBYz")
    assert query.fields == ("a.b", "opened_at", "closed_at", "x", "y")


@pytest.mark.parametrize(
    ("text", "relative"),
    [
        ("opened_at>javascript:gs.daysAgoStart(7)", True),
        ("sys_updated_onRELATIVEGT@hour@ago@1", True),
        ("opened_at>2026-01-01 00:00:00", False),
    ],
)
def test_relative_dates_are_noticed(text: str, relative: bool) -> None:
    assert EncodedQuery.parse(text).relative_dates is relative


@pytest.mark.parametrize(
    "text",
    [
        "a=1^^b=2",
        "a=x^^y",
        "^RLQUERYincident.problem_id,>=1^priority=1^ENDRLQUERY",
        "123TEXTQUERY321=printer",
        "GOTOnumber>=INC1",
        "JOINincident.sys_id=task.parent!active=true",
        "Active=true",
        "a=1^ b=2",
        "active%3Dtrue",
        "stateISEMPTYx",
        "stateVALCHANGES",
        "a=1^NQ",
        "NQa=1",
        "ORa=1",
        "a=1^NQORb=2",
        "a=1^NQORDERBYb",
        "a=1^ORDERBY",
        "a=1^OR",
        "aSAMEAS",
        "nonsense",
    ],
)
def test_what_is_not_known_whole_is_refused_and_named(text: str) -> None:
    with pytest.raises(QueryError) as caught:
        EncodedQuery.parse(text)
    assert caught.value.key == "query"
    assert caught.value.value
    assert caught.value.hint
    assert "\n" not in str(caught.value)


_names = st.sampled_from(["a", "state", "sys_id", "u_x9", "caller_id.name", "a.b.c", "order", "orderby", "in", "eq"])
_plain = st.text("abEQNORINDBY=<>!*@,. 0é世", max_size=8)
_JOINS: list[Literal["^", "^OR"]] = ["^", "^OR"]
_with_value = sorted(OPERATORS - {"ISEMPTY", "ISNOTEMPTY", "ANYTHING", "EMPTYSTRING", "%"})


@st.composite
def _term(draw: st.DrawFn, joined_by: Literal["^", "^OR"]) -> Term:
    operator = draw(st.sampled_from(_with_value))
    field, value = draw(_names), draw(_plain)
    if operator in {"SAMEAS", "NSAMEAS", "MORETHAN", "LESSTHAN"} or operator.endswith("_FIELD"):
        value = draw(_names)
    # A value that would lengthen the operator is another term: `<` and `=5` is `<=` and `5`.
    known = [other for other in OPERATORS if (operator + value).startswith(other)]
    return Term(field, operator if max(known, key=len) == operator else "LIKE", f"v{value}", joined_by)


@st.composite
def _queries(draw: st.DrawFn) -> EncodedQuery:
    groups = []
    for _ in range(draw(st.integers(0, 3))):
        size = draw(st.integers(1, 4))
        joins = [_JOINS[0], *(draw(st.sampled_from(_JOINS)) for _ in range(size - 1))]
        groups.append(tuple(draw(_term(joined_by)) for joined_by in joins))
    order = tuple(Order(draw(_names)) for _ in range(draw(st.integers(0, 2))))
    return EncodedQuery(tuple(groups), order)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_queries())
def test_a_query_survives_printing_and_parsing(query: EncodedQuery) -> None:
    assert EncodedQuery.parse(str(query)) == query


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_queries())
def test_terms_of_ours_end_every_group(query: EncodedQuery) -> None:
    groups = query.where("sys_id>=a", "sys_id<b").split("^NQ")
    assert len(groups) == max(1, len(query.groups))
    assert all(group.endswith("sys_id>=a^sys_id<b") for group in groups)

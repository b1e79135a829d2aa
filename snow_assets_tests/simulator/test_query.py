"""What encoded queries select, on seven incidents whose values are in ``conftest``."""

from __future__ import annotations

from typing import Any

import pytest

from snow_assets.simulator import Knobs, SimulatorServer
from snow_assets.simulator.operators import OPERATORS

from .conftest import ADMIN, LUCY, Ask, ask

ALL = "1234567"

CASES = [
    # equality: text without regard to case, numbers as numbers, booleans, references by sys_id
    ("number=INC0003", "3"),
    ("number=inc0003", "3"),
    ("priority=1", "16"),
    ("reassignment_count=03", "1"),
    ("active=1", "12567"),
    (f"caller_id={ADMIN}", "16"),
    ("caller_id=David", ""),
    ("short_description=", "4"),
    # inequality drops what is empty, except for booleans
    ("priority!=4", "1567"),
    ("active!=true", "34"),
    ("short_description!=", "123567"),
    # comparisons
    ("reassignment_count>2", "126"),
    ("reassignment_count>=2", "1236"),
    ("reassignment_count<10", "13"),
    ("reassignment_count<=10", "123"),
    ("opened_at>=2026-03-11 05:00:00", "35"),
    ("opened_at<2026-03-01", "67"),
    ("opened_at>2026-03-11 05:00:00", "5"),
    ("number>INC0005", "67"),
    (f"sys_id>={'03' * 16}^sys_id<{'05' * 16}", "34"),
    (f"sys_id>{'03' * 16}^sys_id<={'05' * 16}", "45"),
    (f"sys_id={'03' * 16}", "3"),
    (f"sys_idIN{'03' * 16},{'07' * 16},{'99' * 16}", "37"),
    (f"sys_idIN{'03' * 16},{'07' * 16}^state=1", "7"),
    # lists and ranges
    ("priorityIN1,2", "167"),
    ("priorityIN", ""),
    ("priorityNOT IN1,2", "235"),
    ("priorityBETWEEN1@2", "167"),
    ("opened_atBETWEEN2026-03-10 00:00:00@2026-03-11 05:00:00", "23"),
    (
        (
            "opened_atBETWEENjavascript:gs.dateGenerate('2026-03-10','00:00:00')"
            "@javascript:gs.dateGenerate('2026-03-10','23:59:59')"
        ),
        "23",  # seven hours later in UTC
    ),
    # text
    ("short_descriptionLIKEDISK", "126"),
    ("short_descriptionCONTAINSdisk", "126"),
    ("short_description*disk", "126"),
    ("short_descriptionNOT LIKEdisk", "357"),
    ("short_descriptionNOTLIKEdisk", "357"),
    ("short_description!*disk", "357"),
    ("short_descriptionSTARTSWITHdisk f", "16"),
    ("short_descriptionENDSWITHfull", "1"),
    ("short_description%full", "1"),
    ("short_descriptionLIKE日本", "5"),
    ("short_descriptionLIKE50% a,b", "5"),
    ("short_description=Printer^^jam", "3"),
    ("caller_idSTARTSWITHLucy", "23"),  # a reference is matched by its display value
    ("caller_idENDSWITHadministrator", "16"),
    # emptiness
    ("assigned_toISEMPTY", "23457"),
    ("assigned_toISNOTEMPTY", "16"),
    ("short_descriptionEMPTYSTRING", "4"),
    ("short_descriptionANYTHING", ALL),
    # column against column
    ("assigned_toSAMEAScaller_id", "147"),
    ("assigned_toNSAMEAScaller_id^assigned_toISNOTEMPTY", "6"),
    ("opened_atSAMEASclosed_at@day^closed_atISNOTEMPTY", "3"),
    ("reassignment_countGT_FIELDreopen_count", "1"),
    ("reassignment_countLT_FIELDreopen_count", ""),
    ("reassignment_countGT_OR_EQUALS_FIELDreopen_count", "16"),
    ("reassignment_countLT_OR_EQUALS_FIELDreopen_count", "6"),
    ("closed_atMORETHANopened_at@day@after@1", "2"),
    ("closed_atLESSTHANopened_at@hour@after@2", "3"),
    # classes, dynamic options
    ("sys_class_nameINSTANCEOFtask", ALL),
    ("sys_class_nameINSTANCEOFproblem", ""),
    ("assigned_toDYNAMIC90d1921e5f510100a9ad2572f2b477fe", "1"),
    # dates in the user's zone: at noon UTC it is five in the morning there
    ("opened_atONToday@javascript:gs.beginningOfToday()@javascript:gs.endOfToday()", "5"),
    ("opened_atNOTONToday@javascript:gs.beginningOfToday()@javascript:gs.endOfToday()", "12367"),
    ("opened_at>=javascript:gs.beginningOfToday()", "5"),
    ("opened_at>=javascript:gs.daysAgo(1)", "235"),
    ("opened_at>=javascript:gs.daysAgoStart(1)", "235"),
    ("opened_at<=javascript:gs.daysAgoEnd(12)", "67"),
    ("opened_at>javascript:gs.hoursAgo(1)", "5"),
    ("opened_at>javascript:gs.minutesAgoStart(0)", ""),
    ("opened_at>=javascript:gs.beginningOfThisMonth()", "1235"),
    ("opened_at<javascript:gs.beginningOfThisYear()", "7"),
    ("opened_at<javascript:gs.yearsAgo(0)", "12367" + "5"),
    ("opened_at>=javascript:gs.beginningOfLastWeek()", "235"),
    ("opened_atRELATIVEGT@hour@ago@13", "235"),
    ("opened_atRELATIVELT@day@ago@5", "167"),
    ("opened_atRELATIVEEE@day@ago@0", "5"),
    ("opened_atDATEPARTTuesday@javascript:gs.datePart('dayofweek','tuesday','EE')", "23"),
    ("opened_atDATEPARTMarch@javascript:gs.datePart('month','march','EE')", "1235"),
    ("caller_id=javascript:gs.getUserID()", "16"),
    ("sys_created_by=javascript:gs.getUserName()", ""),
    # structure: OR binds to the term before it, NQ parts whole groups
    ("state=1^priority=1^ORpriority=2", "167"),
    ("priority=1^ORpriority=2^state=1", "167"),
    ("state=7^priority=1^ORpriority=4", "3"),
    ("state=7^priority=4^NQstate=2", "23"),
    (f"state=1^sys_id>={'06' * 16}^NQstate=7^sys_id>={'06' * 16}", "67"),
    (f"state=1^sys_id<{'02' * 16}^NQstate=7^sys_id>={'04' * 16}", "14"),
    ("state=1^EQ", "167"),
    ("ORDERBYnumber^state=1", "167"),
    ("GOTOnumber>=INC0006", "67"),
    # dot-walking
    ("caller_id.name=lucy ruggeri", "23"),
    ("caller_id.department.nameSTARTSWITHI", "16"),
    ("caller_id.nameISEMPTY", "457"),
    ("problem_id.numberLIKEPRB", "7"),
    # the rest of the grammar
    ("123TEXTQUERY321=disk again", "6"),
    ("JOINincident.problem_id=problem.sys_id!priority=1", "7"),
    ("RLQUERYincident.caller_id,>=1^ENDRLQUERY", ""),
]


def numbers(rows: list[dict[str, Any]]) -> str:
    return "".join(row["number"][-1] for row in rows)


@pytest.mark.parametrize(("query", "expected"), CASES, ids=[query for query, _ in CASES])
def test_selects(get: Ask, query: str, expected: str) -> None:
    got = get("table/incident", sysparm_query=query + "^ORDERBYsys_id", sysparm_fields="number")
    assert numbers(got.rows) == "".join(sorted(expected))
    assert got.headers["X-Total-Count"] == str(len(expected))


def test_every_operator_has_a_case() -> None:
    text = "\n".join(query for query, _ in CASES)
    spare = {"RELATIVEGE", "RELATIVELE", "DOES NOT CONTAIN"}
    assert not [symbol for symbol in OPERATORS if symbol not in text and symbol not in spare]


def test_related_list_conditions(get: Ask) -> None:
    got = get("table/sys_user", sysparm_query="RLQUERYincident.caller_id,>=2^state=1^ENDRLQUERY^ORDERBYname")
    assert [row["sys_id"] for row in got.rows] == [ADMIN]


INVALID = ["u_no_such_column=1", "priorityVALCHANGES", "caller_id.nope=1", "nonsense", "priorityFOO1",
           "opened_at>=javascript:gs.sleep(1)", "opened_at>=javascript:while(true){}"]  # fmt: skip


@pytest.mark.parametrize("term", INVALID)
def test_invalid_terms_are_dropped_and_everything_comes_back(get: Ask, term: str) -> None:
    assert numbers(get("table/incident", sysparm_query=f"{term}^ORDERBYsys_id").rows) == ALL
    assert numbers(get("table/incident", sysparm_query=f"{term}^state=1^ORDERBYsys_id").rows) == "167"


@pytest.mark.parametrize("term", INVALID)
def test_hardened_instances_return_no_rows_or_403(get: Ask, knobs: Knobs, term: str) -> None:
    knobs.invalid_terms = "no_rows"
    assert get("table/incident", sysparm_query=f"{term}^state=1").rows == []
    assert get("table/incident", sysparm_query=term).rows == []
    assert len(get("table/incident").rows) == 7
    knobs.invalid_terms = "forbid_403"
    got = get("table/incident", sysparm_query=f"{term}^state=1")
    assert got.status == 403
    assert got.error == (
        "Insufficient rights to query records",
        "Field(s) present in the query do not have permission to be read",
    )


def test_name_value_pairs_take_display_values(get: Ask) -> None:
    def found(**pairs: str) -> str:
        return "".join(sorted(numbers(get("table/incident", **pairs).rows)))

    assert found(state="7", sysparm_fields="number") == "34"
    assert found(priority="1 - Critical") == "16"
    assert found(caller_id="Lucy Ruggeri") == "23"
    assert len(get("table/incident", sysparm_limt="2").rows) == 7


def test_the_zone_of_the_account_decides_what_today_is(small: SimulatorServer) -> None:
    query = "opened_at>=javascript:gs.beginningOfToday()^ORDERBYsys_id"
    assert numbers(ask(small, "table/incident", sysparm_query=query).rows) == "5"
    assert numbers(ask(small, "table/incident", sysparm_query=query, login="lucy:pw").rows) == "235"


@pytest.mark.parametrize("query", ["priority!=4", "priorityNOT IN4,9", "priorityNOT LIKE4"])
def test_not_equal_may_keep_empty_values(get: Ask, knobs: Knobs, query: str) -> None:
    assert numbers(get("table/incident", sysparm_query=f"{query}^ORDERBYsys_id").rows) == "1567"
    knobs.not_equal_drops_empty = False
    assert numbers(get("table/incident", sysparm_query=f"{query}^ORDERBYsys_id").rows) == "14567"


def test_a_parent_table_returns_its_classes_with_its_own_columns(get: Ask) -> None:
    rows = get("table/task", sysparm_query="ORDERBYnumber").rows
    assert [row["sys_class_name"] for row in rows] == ["incident"] * 7 + ["problem"]
    assert "caller_id" not in rows[0]
    assert get("table/task/" + "e" * 32).json["result"]["number"] == "PRB0001"
    assert get("table/incident/" + "e" * 32).status == 404


def test_answers_follow_changes(small: SimulatorServer) -> None:
    """Remembered filters and sorts are kept up to date: the same questions again after every kind of change."""
    sim = small.sim

    def state_one() -> str:
        return numbers(ask(small, "table/incident", sysparm_query="state=1^ORDERBYnumber").rows)

    def through_parent() -> int:
        return len(ask(small, "table/task", sysparm_query="state=1^ORDERBYDESCnumber").rows)

    def called_lucy() -> str:
        return numbers(ask(small, "table/incident", sysparm_query="caller_id.nameLIKELucy^ORDERBYsys_id").rows)

    assert (state_one(), through_parent(), called_lucy()) == ("167", 3, "23")
    sim.update("incident", "02" * 16, state="1")
    new = sim.insert("incident", {"sys_id": "08" * 16, "number": "INC0008", "state": "1", "caller_id": LUCY})
    assert (state_one(), through_parent(), called_lucy()) == ("12678", 5, "238")
    sim.delete("incident", "01" * 16)
    sim.update("task", new, state="2")
    assert (state_one(), through_parent(), called_lucy()) == ("267", 3, "238")
    sim.update("sys_user", LUCY, name="Lisa")
    assert called_lucy() == ""
    sim.update("incident", "06" * 16, sys_class_name="problem")
    assert (state_one(), through_parent()) == ("27", 3)

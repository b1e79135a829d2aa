"""Writing records, each once: what is sent, and what is believed of the answer. Procedures, like all that is asked.

A write is never repeated blindly. After a fault that leaves open whether it was carried out (a time-out, a broken
connection, a 5xx, an answer without a sense) the instance is asked first:

* A record that is created has a sys_id of our choosing, which the instance honours while it is free. It is looked for
  by that before it is sent again, and a second one with the same sys_id is refused by the instance itself.
* An update sets the same values however often it is sent.
* A record to be deleted that is gone is deleted.
* Rows for import sets are looked for by whoever knows how (``look``), or are not sent again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec

from snow_assets.errors import WriteUncertain
from snow_assets.servicenow.account import text
from snow_assets.servicenow.complaints import said_of
from snow_assets.servicenow.exchange import Answer, Procedure, Request, Tally
from snow_assets.servicenow.pages import (
    WRITTEN,
    PageFault,
    check_answered,
    check_envelope,
    check_list,
    check_object,
    platform_message,
)
from snow_assets.servicenow.retry import Look, RetryPolicy, fetch

Record: TypeAlias = dict[str, Any]
Find: TypeAlias = Callable[[], Procedure[Record | None]]
"""Looks for a record by what its key is, where its sys_id does not tell."""

_SHAPE: Final = {"sysparm_display_value": "false", "sysparm_exclude_reference_link": "true"}
_FORBIDDEN: Final = frozenset({"forbidden", "forbidden_query"})


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What a transform map made of a row: ``inserted``, ``updated``, ``ignored``, ``skipped`` or ``error``."""

    state: str
    sys_id: str = ""
    table: str = ""
    comment: str = ""
    import_set: str = ""


@dataclass(frozen=True, slots=True)
class InsertedRows:
    """Where rows were put that the instance transforms on its own time."""

    import_set_id: str
    multi_import_set_id: str = ""


@dataclass(slots=True)
class Habits:
    """What was learned of one instance, by table: whether it honours a sys_id that a new record brings."""

    honours: dict[str, bool]


def new_sys_id() -> str:
    """A sys_id for a new record."""
    return uuid.uuid4().hex


def create(
    table: str,
    record: Mapping[str, Any],
    sys_id: str,
    policy: RetryPolicy,
    tally: Tally,
    habits: Habits,
    *,
    fields: Sequence[str] = (),
    find: Find | None = None,
) -> Procedure[Record]:
    """Create a record whose sys_id is ``sys_id``, once; the record as the instance made it (``fields`` of it).

    Where the instance gives it another sys_id, the answer holds that. ``find`` is asked on such an instance, since the
    sys_id tells nothing there.

    Raises ``WriteRefused``, and ``WriteUncertain`` where a record without its sys_id may have been made.
    """
    creating = _Creating(table, sys_id, policy, tally, habits, _shape(fields), find)
    body = msgspec.json.encode({**record, "sys_id": sys_id})
    request = Request(f"/api/now/table/{table}", _shape(fields), "create", method="POST", body=body)
    return (yield from fetch(request, creating.check, policy, tally, check_first=_anything, look=creating.look))


class _Creating:
    """One record on its way."""

    def __init__(
        self,
        table: str,
        sys_id: str,
        policy: RetryPolicy,
        tally: Tally,
        habits: Habits,
        shape: Mapping[str, str],
        find: Find | None,
    ) -> None:
        self._table, self._sys_id = table, sys_id
        self._policy, self._tally, self._habits = policy, tally, habits
        self._shape, self._find = shape, find
        self._other: Record | None = None  # what an answer told of a record with another sys_id
        self._again = False

    def check(self, answer: Answer) -> Record:
        """The record that was made."""
        self._other = None
        made = check_object(answer, WRITTEN)
        given = text(made, "sys_id")
        if not given:
            raise PageFault("missing_sys_id")
        if given == self._sys_id:
            self._habits.honours[self._table] = True
        elif self._again or self._habits.honours.get(self._table) is not False:
            self._other = made
            raise PageFault("wrong_record", given)
        return made

    def look(self, problem: PageFault) -> Procedure[Record | None]:
        """The record, where it is there already."""
        honours = self._habits.honours
        if honours.get(self._table) is not False:
            found = yield from existing(self._table, self._sys_id, self._policy, self._tally, shape=self._shape)
            if found is not None:
                honours[self._table] = True
                return found
        if honours.get(self._table):
            self._again = True
            return None
        if self._other is not None:
            honours[self._table] = False
            if not self._again or self._find is not None:
                return self._other
        return (yield from self._by_key(problem))

    def _by_key(self, problem: PageFault) -> Procedure[Record | None]:
        found = (yield from self._find()) if self._find is not None else None
        known = self._habits.honours.get(self._table)
        if found is None and known is False and self._find is None and problem.name not in _FORBIDDEN:
            raise WriteUncertain(
                f"create of {self._table}: {said_of(problem)}; the instance gives records sys_ids of its own, so that"
                " nobody can say whether it was made",
                key="sys_id",
                value=self._sys_id if self._other is None else text(self._other, "sys_id"),
                hint="look for the record, and delete it where it is there twice",
            )
        self._again = True
        return found


def update(
    table: str,
    sys_id: str,
    changes: Mapping[str, Any],
    policy: RetryPolicy,
    tally: Tally,
    *,
    fields: Sequence[str] = (),
) -> Procedure[Record]:
    """Set fields of a record; the record as it is then.

    Raises ``WriteRefused``, and ``RequestFailed`` with ``fault == "not_found"`` where there is none.
    """
    request = Request(
        f"/api/now/table/{table}/{sys_id}",
        _shape(fields),
        "update",
        method="PATCH",
        body=msgspec.json.encode(dict(changes)),
    )

    def check(answer: Answer) -> Record:
        changed = check_object(answer, WRITTEN)
        if (given := text(changed, "sys_id")) != sys_id:
            raise PageFault("wrong_record", given)
        return changed

    def look(problem: PageFault) -> Procedure[Record | None]:
        if problem.name not in _FORBIDDEN:
            return None  # sent again, it does the same
        found = yield from existing(table, sys_id, policy, tally, shape=_shape(fields and (*fields, *changes)))
        told = found is not None and all(text(found, name) == str(value) for name, value in changes.items())
        return found if told else None

    return (yield from fetch(request, check, policy, tally, check_first=_anything, look=look))


def delete(table: str, sys_id: str, policy: RetryPolicy, tally: Tally) -> Procedure[bool]:
    """Delete a record; true. Raises ``WriteRefused``, ``RequestFailed`` (``not_found``) where there was none."""
    request = Request(f"/api/now/table/{table}/{sys_id}", {}, "delete", method="DELETE")
    perhaps = False

    def check(answer: Answer) -> bool:
        if perhaps and answer.status == 404 and platform_message(answer):
            return True
        check_answered(answer, (204,))
        return True

    def look(problem: PageFault) -> Procedure[bool | None]:
        nonlocal perhaps
        perhaps = True
        if problem.name not in _FORBIDDEN:
            return None
        return True if (yield from existing(table, sys_id, policy, tally)) is None else None

    return (yield from fetch(request, check, policy, tally, check_first=_anything, look=look))


def existing(
    table: str, sys_id: str, policy: RetryPolicy, tally: Tally, *, shape: Mapping[str, str] = _SHAPE
) -> Procedure[Record | None]:
    """The record with this sys_id, in a session of its own; ``None`` where the instance knows none."""
    request = Request(f"/api/now/table/{table}/{sys_id}", shape, "record", fresh=True)

    def check(answer: Answer) -> Record | None:
        if answer.status == 404 and platform_message(answer):
            return None
        found = check_object(answer)
        if (given := text(found, "sys_id")) != sys_id:
            raise PageFault("wrong_record", given)
        return found

    return (yield from fetch(request, check, policy, tally, check_first=_anything))


def import_row(
    table: str, row: Mapping[str, Any], policy: RetryPolicy, tally: Tally, look: Look[ImportResult]
) -> Procedure[ImportResult]:
    """Post one row to a staging table, which the instance transforms at once."""
    body = msgspec.json.encode(dict(row))
    request = Request(f"/api/now/import/{table}", {}, "import", method="POST", body=body)
    return (yield from fetch(request, _check_import, policy, tally, check_first=_anything, look=look))


def import_rows(
    table: str,
    rows: Sequence[Mapping[str, Any]],
    policy: RetryPolicy,
    tally: Tally,
    look: Look[InsertedRows],
    *,
    run_after: str = "",
    multi_import_set_id: str = "",
) -> Procedure[InsertedRows]:
    """Post rows to a staging table; the instance transforms them later, where it is told so after another set."""
    given = {"run_after": run_after, "multi_import_set_id": multi_import_set_id}
    request = Request(
        f"/api/now/import/{table}/insertMultiple",
        {name: value for name, value in given.items() if value},
        "import",
        method="POST",
        body=msgspec.json.encode({"records": [dict(row) for row in rows]}),
    )
    return (yield from fetch(request, _check_inserted, policy, tally, check_first=_anything, look=look))


def never_again(said: str) -> Look[Any]:
    """The look of who cannot look: whatever may have been carried out is not sent again."""

    def look(problem: PageFault) -> Procedure[None]:
        raise WriteUncertain(
            f"{said}: {said_of(problem)}; it may have been carried out",
            hint="look into the staging table; where the transform map coalesces, pass coalesces=True",
        )
        yield  # type: ignore[unreachable]  # it is a procedure

    return look


def send_again(_problem: PageFault) -> Procedure[None]:
    """The look of who need not look: sent twice, it is one record all the same."""
    yield from ()


def _check_import(answer: Answer) -> ImportResult:
    envelope = check_envelope(answer, WRITTEN)
    entries = [entry for entry in check_list(answer, WRITTEN) if isinstance(entry, dict)]
    if not entries:
        raise PageFault("no_result", "`result` tells of no transform map")
    # Several maps make several entries: the one that went wrong tells, else the one that wrote.
    order = ("error", "inserted", "updated", "ignored", "skipped")
    states = [str(entry.get("status", "")).lower() for entry in entries]
    state = next((each for each in order if each in states), "")
    if not state:
        raise PageFault("no_result", f"unknown status {states[0][:40]!r}")
    entry = entries[states.index(state)]
    comment = text(entry, "error_message") or text(entry, "status_message")
    return ImportResult(
        state, text(entry, "sys_id"), text(entry, "table"), comment[:200], str(envelope.get("import_set", ""))
    )


def _check_inserted(answer: Answer) -> InsertedRows:
    envelope = check_envelope(answer, WRITTEN)
    given = envelope.get("result") if isinstance(envelope.get("result"), dict) else envelope
    import_set = text(given or {}, "import_set_id")
    if not import_set:
        raise PageFault("no_result", "no import_set_id")
    return InsertedRows(import_set, text(given or {}, "multi_import_set_id"))


def _shape(fields: Sequence[str]) -> dict[str, str]:
    """Stored values; ``fields`` and the sys_id, or all."""
    named = {"sysparm_fields": ",".join(dict.fromkeys(("sys_id", *fields)))} if fields else {}
    return {**_SHAPE, **named}


def _anything(_answer: Answer) -> None:
    """What a write's answer has to be is checked at once."""

"""Rows through the Import Set API: the instance's transform map decides what becomes of them.

A row whose answer is lost is looked for in the staging table before it is posted again. Should it come twice all the
same, the map's coalesce fields make one record of it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from snow_assets.config_imports import ImportConfig
from snow_assets.errors import InstanceUnavailable, RequestFailed, WriteRefused
from snow_assets.imports.contract import SCRIPT_ERROR, RowState
from snow_assets.imports.targets.instance_lookup import Lookup
from snow_assets.imports.targets.instance_table import Act, Plan, Setting, run_all
from snow_assets.imports.targets.instance_values import Key, Outcome, Row, failed, key_of, md5
from snow_assets.servicenow import writing
from snow_assets.servicenow.account import rows, text
from snow_assets.servicenow.exchange import Procedure, Tally, Wait
from snow_assets.servicenow.pages import PageFault
from snow_assets.servicenow.reading import is_of_the_row
from snow_assets.servicenow.retry import RetryPolicy
from snow_assets.servicenow.writing import ImportResult

STATED: Final = (
    "sys_import_state", "sys_import_state_comment", "sys_target_sys_id", "sys_import_row",
    "sys_import_set", "sys_created_on",
)  # fmt: skip
_STATES: Final[frozenset[RowState]] = frozenset({"inserted", "updated", "ignored", "skipped", "error"})
_LONGEST_PAUSE: Final = 30.0  # times retry_backoff
_CLEARS: Final = "NULL"  # what the platform empties a field for


class ImportSetWay:
    """How the rows of one set are posted, one by one."""

    chunk = 200

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._config, self._client = setting.config, setting.client
        self._stager = Stager(setting)

    def prepare(self, some: Sequence[Row], before: Plan) -> tuple[Plan, Act]:
        """See ``Way``."""
        groups: dict[Key, list[Row]] = {}
        for row in some:
            if row.outcome is None:
                groups.setdefault(self._key(row), []).append(row)
        newest = Newest(*before["newest"]) if before else self._client.run(self._stager.newest())
        acts = [partial(self._write, group, newest, again=bool(before)) for group in groups.values()]

        def act() -> list[Outcome]:
            written = {each.number: each for group in run_all(self._setting.pool, acts) for each in group}
            return [row.outcome or written[row.number] for row in some]

        return {"newest": newest}, act

    def _key(self, row: Row) -> Key:
        """Rows of one key are posted one after the other; of those with an empty one, equal ones."""
        key = key_of(row, self._config.coalesce.fields)
        return ("key", *(each.lower() for each in key)) if all(key) else (digest(self._stager.posted(row)),)

    def _write(self, group: Sequence[Row], newest: Newest, *, again: bool) -> list[Outcome]:
        seen: Counter[str] = Counter()  # of this chunk; equal rows are of one group
        outcomes = []
        for row in group:
            name = digest(self._stager.posted(row))
            outcome, staged = self._write_row(row, newest, seen[name], again=again)
            seen[name] += staged
            outcomes.append(outcome)
        return outcomes

    def _write_row(self, row: Row, newest: Newest, seen: int, *, again: bool) -> tuple[Outcome, bool]:
        """What became of a row, and whether it is in the staging table."""
        posted = self._stager.posted(row)
        client = self._client

        def look(_problem: PageFault) -> Procedure[ImportResult | None]:
            return (yield from self._stager.look(row, newest, seen))

        try:
            known = client.run(self._stager.look(row, newest, seen)) if again else None
            if known is None:
                table = self._config.staging_table
                known = client.run(writing.import_row(table, posted, client.policy, Tally(), look))
        except WriteRefused as error:
            return failed(row, error.message, SCRIPT_ERROR), False
        except RequestFailed as error:
            if not is_of_the_row(error):
                raise
            return failed(row, error.message, SCRIPT_ERROR), False
        return outcome_of(row, known), True


class Newest(NamedTuple):
    """The newest row of a staging table at some moment: what follows it was posted later."""

    import_set: str = ""
    number: int = 0
    created: str = ""

    def is_before(self, record: Mapping[str, Any]) -> bool:
        """Whether a staged row came later. Rows of one import set are numbered, and moments are whole seconds."""
        created = text(record, "sys_created_on")
        if text(record, "sys_import_set") == self.import_set:
            return _row_number(record) > self.number
        return created >= self.created


class Stager:
    """What is posted of a row, and where it is found again."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._config: ImportConfig = setting.config
        self._lookup = Lookup(
            self._config.staging_table,
            self._config.coalesce.fields,
            (*setting.shaping.fields, *STATED),
            setting.client.policy,
            lambda _, value: value,
        )

    @property
    def policy(self) -> RetryPolicy:
        """How the client retries."""
        return self._setting.client.policy

    def posted(self, row: Row) -> dict[str, str]:
        """The columns of the staging table."""
        given = {name: value or _CLEARS for name, value in row.values.items() if value is not None}
        return given if self._config.domain is None else {**given, "sys_domain": self._config.domain}

    def newest(self) -> Procedure[Newest]:
        """The newest row of the staging table."""
        query = "ORDERBYDESCsys_created_on^ORDERBYDESCsys_import_row"
        table = self._config.staging_table
        found = yield from rows(table, query, STATED, "lookup", self.policy, Tally(), limit=1)
        if not found:
            return Newest()
        return Newest(text(found[0], "sys_import_set"), _row_number(found[0]), text(found[0], "sys_created_on"))

    def staged(self, row: Row, newest: Newest) -> Procedure[list[dict[str, Any]]]:
        """Rows of the staging table that are as this one and came after ``newest``, oldest first."""
        key = key_of(row, self._config.coalesce.fields)
        if not self._lookup.can_find(key):
            return []
        found = yield from self._lookup.records(key, Tally())
        kept = [each for each in found if newest.is_before(each) and self.is_staged(row, each)]
        return sorted(kept, key=lambda each: (text(each, "sys_created_on"), _row_number(each)))

    def is_staged(self, row: Row, record: Mapping[str, Any]) -> bool:
        """Whether a staged row holds what was posted; its columns may be too narrow for all of it."""
        for name, value in row.values.items():
            stored, posted = text(record, name).strip(), (value or _CLEARS).strip() if value is not None else ""
            if stored != posted and not (len(stored) >= 40 and posted.startswith(stored)):
                return False
        return True

    def look(self, row: Row, newest: Newest, seen: int) -> Procedure[ImportResult | None]:
        """What became of a row that may be staged; ``seen``: equal ones that were staged before it."""
        waited = 0.0
        while True:
            staged = yield from self.staged(row, newest)
            if len(staged) <= seen:
                return None
            known = result_of(staged[seen])
            if known is not None:
                return known
            waited = yield from pause(self.policy, waited, f"a row of {self._config.staging_table} stays pending")


def pause(policy: RetryPolicy, waited: float, said: str) -> Procedure[float]:
    """Wait for what the instance does on its own time; the seconds waited in all. Raises ``InstanceUnavailable``."""
    if waited >= policy.max_wait:
        raise InstanceUnavailable(said, key="max_wait", value=f"{policy.max_wait:g}", hint="run it again later")
    seconds = min(max(waited / 2, 0.5 * policy.retry_backoff), _LONGEST_PAUSE * policy.retry_backoff) or 0.1
    yield Wait(seconds, "backoff")
    return waited + seconds


def result_of(record: Mapping[str, Any]) -> ImportResult | None:
    """What a staged row says became of it; ``None`` where nothing did yet."""
    state = text(record, "sys_import_state").lower()
    if state not in _STATES:
        return None
    comment = text(record, "sys_import_state_comment")
    return ImportResult(state, text(record, "sys_target_sys_id"), comment=comment[:200])


def outcome_of(row: Row, result: ImportResult) -> Outcome:
    """The same of one of our rows."""
    if result.state == "error":
        return failed(row, result.comment or "the transform map failed", SCRIPT_ERROR)
    state = next(each for each in _STATES if each == result.state)
    return Outcome(row.number, state, result.comment or None, None, result.sys_id or None)


def digest(posted: Mapping[str, str]) -> str:
    """What equal rows have in common."""
    return md5(json.dumps(posted, sort_keys=True))


def _row_number(record: Mapping[str, Any]) -> int:
    shown = text(record, "sys_import_row")
    return int(shown) if shown.isdecimal() else 0


def by_row_number(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Staged rows in the order in which they were posted."""
    return sorted(records, key=_row_number)

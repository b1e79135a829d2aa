"""Rows through insertMultiple: some hundred at once, which the instance transforms on its own time.

A chunk is an import set of the instance. What became of its rows is read from the staging table, where they have the
order in which they were posted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from snow_assets.errors import ConfigError, InstanceUnavailable, WriteRefused
from snow_assets.imports.contract import SCRIPT_ERROR
from snow_assets.imports.targets.instance_import import (
    STATED,
    Newest,
    Stager,
    by_row_number,
    outcome_of,
    pause,
    result_of,
)
from snow_assets.imports.targets.instance_table import Act, Plan, Setting
from snow_assets.imports.targets.instance_values import Outcome, Row, failed
from snow_assets.servicenow import dictionary, writing
from snow_assets.servicenow.account import UNREADABLE, rows, text
from snow_assets.servicenow.exchange import Procedure, Tally
from snow_assets.servicenow.pages import PageFault
from snow_assets.servicenow.writing import ImportResult, InsertedRows

_LOOKS: Final = 2  # at an import set that is over, before it is believed that the rest of its rows is lost


class InsertMultipleWay:
    """How the rows of one set are posted, a chunk at a time."""

    chunk = 500

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._config, self._client, self._journal = setting.config, setting.client, setting.journal
        self._table = self._config.staging_table
        self._stager = Stager(setting)
        self._keys: dict[str, str] | None = None
        self._after = ""  # the import set of the chunk before; one of another run may be gone

    def prepare(self, some: Sequence[Row], before: Plan) -> tuple[Plan, Act]:
        """See ``Way``."""
        pending = [row for row in some if row.outcome is None]
        newest = Newest(*before["newest"]) if before else self._client.run(self._stager.newest())

        def act() -> list[Outcome]:
            try:
                states = self._client.run(self._chunk(pending, newest, again=bool(before))) if pending else []
            except WriteRefused as error:
                if len(pending) > 1:
                    raise
                pending[0].outcome, states = failed(pending[0], error.message, SCRIPT_ERROR), []
            written = {row.number: outcome_of(row, state) for row, state in zip(pending, states, strict=False)}
            return [row.outcome or written[row.number] for row in some]

        return {"newest": newest}, act

    def _chunk(self, pending: Sequence[Row], newest: Newest, *, again: bool) -> Procedure[list[ImportResult]]:
        """Post a chunk, unless it is there already, and wait until it is transformed."""
        first = pending[0].number
        notes = self._journal.notes
        noted = import_set = next((note["import_set"] for note in reversed(notes) if note["first"] == first), "")
        if not import_set and again:
            found = yield from self._look(pending, newest)
            import_set = found.import_set_id if found else ""
        if not import_set:
            import_set = (yield from self._post(pending, newest)).import_set_id
        if import_set != noted:
            self._journal.noted({"first": first, "import_set": import_set})
        self._after = import_set
        return (yield from self._states(import_set, pending))

    def _post(self, pending: Sequence[Row], newest: Newest) -> Procedure[InsertedRows]:
        keys = yield from self._named()
        posted = [{keys.get(name, name): value for name, value in self._stager.posted(row).items()} for row in pending]

        def look(_problem: PageFault) -> Procedure[InsertedRows | None]:
            return (yield from self._look(pending, newest))

        policy = self._client.policy
        return (yield from writing.import_rows(self._table, posted, policy, Tally(), look, run_after=self._after))

    def _named(self) -> Procedure[dict[str, str]]:
        """The labels of the staging table's columns by name; nothing where the instance takes names."""
        if self._keys is None:
            policy = self._client.policy
            by_name = yield from self._takes_names()
            columns = None if by_name else (yield from dictionary.columns(self._table, policy, Tally()))
            self._keys = self._labels({each.name: each.label for each in columns or () if each.label})
        return self._keys

    def _labels(self, labels: dict[str, str]) -> dict[str, str]:
        """Raise ``ConfigError`` where a label is that of two columns: the instance would fill the other one."""
        times = Counter(labels.values())
        twice = [name for name in self._setting.shaping.fields if times[labels.get(name, "")] > 1]
        if twice:
            raise ConfigError(
                f"column {twice[0]} of {self._table} has the label {labels[twice[0]]!r}, and so has another",
                key=f"imports.{self._config.name}.target.servicenow",
                value="insert_multiple",
                hint="give it a label of its own, let sys_rest_insert_multiple take names, or take import_set",
            )
        return labels

    def _takes_names(self) -> Procedure[bool]:
        query = f"source_table={self._table}"
        names = ("source_table", "column_keys")
        try:
            found = yield from rows("sys_rest_insert_multiple", query, names, "columns", self._client.policy, Tally())
        except UNREADABLE:
            return False
        mine = [each for each in found if text(each, "source_table") == self._table]
        return any(text(each, "column_keys") == "names" for each in mine)

    def _look(self, pending: Sequence[Row], newest: Newest) -> Procedure[InsertedRows | None]:
        """The import set that holds these rows, where there is one that is not known to hold others."""
        known = {note["import_set"] for note in self._journal.notes}
        first = yield from self._stager.staged(pending[0], newest)
        for name in dict.fromkeys(text(each, "sys_import_set") for each in first):
            if name not in known:
                staged = yield from self._staged(name, pending)
                if len(staged) == len(pending) and self._stager.is_staged(pending[-1], staged[-1]):
                    return InsertedRows(name)
        return None

    def _staged(self, import_set: str, pending: Sequence[Row]) -> Procedure[list[dict[str, Any]]]:
        fields = (*STATED, *self._setting.shaping.fields)
        query = f"sys_import_set={import_set}^ORDERBYsys_id"
        found = yield from rows(
            self._table, query, fields, "lookup", self._client.policy, Tally(), limit=max(1000, 2 * len(pending))
        )
        return by_row_number(found)

    def _states(self, import_set: str, pending: Sequence[Row]) -> Procedure[list[ImportResult]]:
        """What became of each row, once the instance is through with the set."""
        waited, looks = 0.0, 0  # after its end: what was read before is older than the state
        while True:
            staged = yield from self._staged(import_set, pending)
            states = [result_of(each) for each in staged]
            if len(states) == len(pending) and all(states):
                self._must_be_understood(pending, staged)
                return [each for each in states if each is not None]
            asked = rows("sys_import_set", f"sys_id={import_set}", ("state",), "lookup", self._client.policy, Tally())
            over = [text(each, "state") for each in (yield from asked)]
            said = f"import set {import_set} of {self._table}: {len(staged)} of {len(pending)} rows, {over[:1]}"
            looks += over[:1] != ["loading"] and over[:1] != ["loaded"]
            if over[:1] == ["cancelled"] or looks > _LOOKS:
                self._journal.noted({"first": pending[0].number, "import_set": ""})  # the next run posts them again
                hint = "look for an active transform map there; resumed, the rows are posted again"
                raise InstanceUnavailable(f"{said}: not all rows were transformed", hint=hint)
            waited = yield from pause(self._client.policy, waited, f"{said}: it is not transformed")

    def _must_be_understood(self, pending: Sequence[Row], staged: Sequence[dict[str, Any]]) -> None:
        fields = self._config.coalesce.fields
        wrong = [name for name in fields if pending[0].values.get(name) and not text(staged[0], name)]
        if wrong:
            raise ConfigError(
                f"the instance dropped column {wrong[0]} of what was posted to {self._table}: it takes labels of "
                "columns, or names where a record of sys_rest_insert_multiple says so",
                key=f"imports.{self._config.name}.target.servicenow",
                value="insert_multiple",
                hint="let the account read sys_dictionary and sys_rest_insert_multiple, or take import_set",
            )

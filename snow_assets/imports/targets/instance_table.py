"""Records through the Table API: found by the coalesce fields, created or updated, each once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, wait
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from snow_assets.config_import_fields import ReferenceConfig
from snow_assets.config_imports import ImportConfig
from snow_assets.errors import Cancelled, RequestFailed, WriteRefused, WriteUncertain
from snow_assets.imports.contract import INVALID_TARGET, REFERENCE_REJECTED, SCRIPT_ERROR, MappedSet, RowState
from snow_assets.imports.targets.instance_journal import Journal
from snow_assets.imports.targets.instance_lookup import Lookup
from snow_assets.imports.targets.instance_values import Key, Outcome, Row, Shaping, failed, key_of, md5, own_sys_id
from snow_assets.servicenow import writing
from snow_assets.servicenow.account import text
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.exchange import Procedure, Tally
from snow_assets.servicenow.pages import is_hex
from snow_assets.servicenow.reading import is_of_the_row

T = TypeVar("T")
Act: TypeAlias = Callable[[], list[Outcome]]
Plan: TypeAlias = dict[str, Any]
_UNFINDABLE: Final = "no query of the instance can hold this key"


@dataclass(frozen=True)
class Setting:
    """What a set is applied with."""

    config: ImportConfig
    client: Client
    pool: Executor
    mapped: MappedSet
    shaping: Shaping
    journal: Journal


class TableWay:
    """How the rows of one set become records of a table."""

    chunk = 200

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._config, self._client, self._shaping = setting.config, setting.client, setting.shaping
        target, coalesce = self._config.target, self._config.coalesce
        self._by_sys_id = self._lookup(target.table, ("sys_id",))
        self._by_key = self._lookup(target.table, coalesce.fields, case_sensitive=coalesce.case_sensitive)

    def prepare(self, rows: Sequence[Row], before: Plan) -> tuple[Plan, Act]:
        """What the rows are to become, and how. ``before``: the plan of a run that died over them."""
        for row in rows:
            if row.outcome is None:
                row.outcome = self._refused(row)
        self._resolve([row for row in rows if row.outcome is None])
        for row in rows:
            if row.outcome is None:
                row.outcome = self._keyless(row)  # once more: a reference that is not found leaves its field empty
        groups: dict[Key, list[Row]] = {}
        for row in rows:
            if row.outcome is None:
                groups.setdefault(self._key(row), []).append(row)
        found = self._found(groups)
        plan = {
            str(row.number): state for key, group in groups.items() for row, state in self._meant(group, found[key])
        }
        plan |= {number: state for number, state in before.items() if number in plan}
        acts = [partial(self._write, group, found[key], before) for key, group in groups.items()]

        def act() -> list[Outcome]:
            written = {each.number: each for some in run_all(self._setting.pool, acts) for each in some}
            return [row.outcome or written[row.number] for row in rows]

        return plan, act

    # -- what a row is about

    def _lookup(self, table: str, by: Sequence[str], *, case_sensitive: bool = False) -> Lookup:
        fields = self._shaping.fields
        normal, domain = self._shaping.normal, self._config.domain
        return Lookup(table, tuple(by), fields, self._client.policy, normal, case_sensitive, domain)

    def _refused(self, row: Row) -> Outcome | None:
        """What is known of a row before the instance is asked."""
        fields = self._config.coalesce.fields
        if (named := row.values.get("sys_id")) and not is_hex(named):
            return failed(row, f"sys_id: {named[:80]!r} is none: 32 hex digits, in lower case", INVALID_TARGET)
        if fields and not self._by_key.can_find(key_of(row, fields)):
            return failed(row, f"{', '.join(fields)}: {_UNFINDABLE}", INVALID_TARGET)
        return self._keyless(row)

    def _keyless(self, row: Row) -> Outcome | None:
        """A row without a key, where that is not to be matched or to make a record."""
        rule = self._config.coalesce
        empty = [name for name in rule.fields if not row.values.get(name)]
        if not empty or rule.empty != "skip" or rule.create_on_empty:
            return None
        return Outcome(row.number, "skipped", f"{', '.join(empty)} is empty")

    def _key(self, row: Row) -> Key:
        """The key of a row; of one that makes a record in any case, the sys_id of that."""
        key = key_of(row, self._config.coalesce.fields)
        if not key or (self._config.coalesce.create_on_empty and not all(key)):
            return ("", self._own(row))  # no key of fields begins so and has two parts
        return ("key", *self._by_key.key(key))

    def _own(self, row: Row) -> str:
        return own_sys_id(self._setting.journal.salt, self._setting.mapped, row.number)

    def _found(self, groups: Mapping[Key, Sequence[Row]]) -> dict[Key, dict[str, Any] | None]:
        """The record of each key, where there is one."""
        fields = self._config.coalesce.fields
        keyed = [key_of(group[0], fields) for key, group in groups.items() if key[0] == "key"]
        named = [(key[1],) for key in groups if key[0] == ""]
        by_key = self._client.run(self._by_key.find(keyed, Tally())) if keyed else {}
        by_name = self._client.run(self._by_sys_id.find(named, Tally())) if named else {}
        return {key: by_key.get(key[1:]) if key[0] == "key" else by_name.get(key[1:]) for key in groups}

    # -- what it is to become

    def _meant(self, group: Sequence[Row], record: Mapping[str, Any] | None) -> list[tuple[Row, str]]:
        """The states that the rows of one key are to have, one after the other."""
        known = None if record is None else dict(record)
        meant = []
        for row in group:
            given = {name: value for name, value in row.values.items() if value is not None}
            if known is None:
                meant.append((row, "inserted"))
                known = given
                continue
            changes = self._changes(row, known)
            meant.append((row, "updated" if changes else "ignored"))
            known |= changes
        return meant

    def _changes(self, row: Row, record: Mapping[str, Any]) -> dict[str, str]:
        normal = self._shaping.normal
        return {
            name: value
            for name, value in row.values.items()
            if value is not None and name != "sys_id" and normal(name, value) != normal(name, text(record, name))
        }

    # -- writing

    def _write(self, group: Sequence[Row], record: dict[str, Any] | None, before: Plan) -> list[Outcome]:
        """The rows of one key, in their order."""
        outcomes = []
        for row in group:
            try:
                outcome, record = self._write_row(row, record, before, last=row is group[-1])
            except (WriteRefused, WriteUncertain) as error:
                outcome = failed(row, error.message, SCRIPT_ERROR)
            except RequestFailed as error:
                if not is_of_the_row(error):
                    raise
                outcome = failed(row, error.message, SCRIPT_ERROR)
            outcomes.append(outcome)
        return outcomes

    def _write_row(
        self, row: Row, record: dict[str, Any] | None, before: Plan, *, last: bool
    ) -> tuple[Outcome, dict[str, Any] | None]:
        state: RowState | None = before.get(str(row.number))
        if record is None:
            record = self._create(row)
            return Outcome(row.number, "inserted", sys_id=text(record, "sys_id")), record
        sys_id = text(record, "sys_id")
        if state == "inserted" and not self._is_ours(row, sys_id):
            state = None
        changes = self._changes(row, record)
        # What the run that died had done with a row stays; only the last of a key has to be what the record says.
        if not changes or (state in ("inserted", "ignored") and not last):
            return Outcome(row.number, state or "ignored", sys_id=sys_id), record
        try:
            changed = self._client.run(self._update(sys_id, changes))
        except RequestFailed as error:
            if error.fault != "not_found":
                raise
            return failed(row, f"record {sys_id} went away while the import ran", INVALID_TARGET), None
        # The instance may keep a value in another way (a reference by its name, trimmed text): then nothing differs.
        differs = any(text(changed, name) != text(record, name) for name in changes)
        outcome: RowState = "updated" if differs else "ignored"
        return Outcome(row.number, state if state in ("inserted", "updated") else outcome, sys_id=sys_id), changed

    def _is_ours(self, row: Row, sys_id: str) -> bool:
        """Whether a record that was found is the one that the row was to make."""
        return sys_id == self._own(row) or self._client.habits.honours.get(self._config.target.table) is False

    def _create(self, row: Row) -> dict[str, Any]:
        body = {name: value for name, value in row.values.items() if value is not None}
        named = body.pop("sys_id", "")
        if named and "sys_id" not in self._config.coalesce.fields:
            self._must_be_free(named)
        sys_id = named or self._own(row)
        if self._config.domain is not None:
            body["sys_domain"] = self._config.domain
        return self._client.run(self._creating(self._config.target.table, body, sys_id, lambda: self._by_fields(row)))

    def _must_be_free(self, sys_id: str) -> None:
        """Raise ``WriteRefused`` for a sys_id of a row that another record has: that would be taken for the row's."""
        table, client = self._config.target.table, self._client
        if client.run(writing.existing(table, sys_id, client.policy, Tally())) is not None:
            raise WriteRefused("another record has this sys_id already", key="sys_id", value=sys_id)

    def _creating(
        self, table: str, body: Mapping[str, str], sys_id: str, find: writing.Find
    ) -> Procedure[writing.Record]:
        client = self._client
        fields = self._shaping.fields
        return writing.create(table, body, sys_id, client.policy, Tally(), client.habits, fields=fields, find=find)

    def _by_fields(self, row: Row) -> Procedure[writing.Record | None]:
        key = key_of(row, self._config.coalesce.fields)
        if not all(key) or not key:
            return None
        found = yield from self._by_key.find([key], Tally())
        return found.get(self._by_key.key(key))

    def _update(self, sys_id: str, changes: Mapping[str, str]) -> Procedure[writing.Record]:
        client = self._client
        table = self._config.target.table
        return writing.update(table, sys_id, changes, client.policy, Tally(), fields=self._shaping.fields)

    # -- references

    def _resolve(self, rows: Sequence[Row]) -> None:
        """Put in the place of each looked-up text what is stored for it."""
        for name, field in (self._config.transform.fields or {}).items():
            if field.reference is None:
                continue
            asking = [row for row in rows if row.outcome is None and row.values.get(name)]
            known = self._referred(field.reference, list(dict.fromkeys(str(row.values[name]) for row in asking)))
            for row in asking:
                value = str(row.values[name])
                stored = known[value]
                if not stored and field.reference.on_missing == "reject":
                    comment = f"{name}: {value[:80]} is not in {field.reference.table}.{field.reference.by}"
                    row.outcome = failed(row, comment, REFERENCE_REJECTED)
                row.values[name] = stored or ("" if self._config.coalesce.copy_empty_fields else None)

    def _referred(self, reference: ReferenceConfig, values: Sequence[str]) -> dict[str, str]:
        """What is stored for each value; ``""`` where there is none."""
        if not values:
            return {}
        lookup = Lookup(
            reference.table, (reference.by,), (reference.value,), self._client.policy, lambda _, value: value
        )
        findable = [(value,) for value in values if lookup.can_find((value,))]
        found = self._client.run(lookup.find(findable, Tally()))
        stored = {
            value: text(found[key], reference.value) if (key := lookup.key((value,))) in found else ""
            for value in values
        }
        missing = {lookup.key((value,)): value for value in reversed(values) if not stored[value]}  # the first stands
        if reference.on_missing == "create" and missing:
            acts = [partial(self._make, reference, lookup, value) for value in missing.values()]
            made = dict(zip(missing, run_all(self._setting.pool, acts), strict=True))
            stored = {value: known or made[lookup.key((value,))] for value, known in stored.items()}
        return stored

    def _make(self, reference: ReferenceConfig, lookup: Lookup, value: str) -> str:
        """The record that a value names, made by whoever comes first: each would give it the same sys_id."""
        client = self._client

        def find() -> Procedure[writing.Record | None]:
            found = yield from lookup.find([(value,)], Tally())
            return found.get(lookup.key((value,)))

        body = {reference.by: value}
        sys_id = md5(f"{reference.table}/{reference.by}/{value.lower()}")
        making = writing.create(
            reference.table, body, sys_id, client.policy, Tally(), client.habits,
            fields=(reference.by, reference.value), find=find,
        )  # fmt: skip
        return text(client.run(making), reference.value)


def run_all(pool: Executor, calls: Sequence[Callable[[], T]]) -> list[T]:
    """What the calls return, in their order. Where one fails, those that have not begun are not, and it is raised."""
    futures = [pool.submit(call) for call in calls]
    try:
        wait(futures, return_when=FIRST_EXCEPTION)
    finally:
        for future in futures:
            future.cancel()
        wait(futures)
    errors = [future.exception() for future in futures if not future.cancelled()]
    raised = sorted((error for error in errors if error is not None), key=lambda error: isinstance(error, Cancelled))
    if raised:
        raise raised[0]
    return [future.result() for future in futures]

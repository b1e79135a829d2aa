"""Import sets: what is staged, what became of it, and the Import Set API (``/api/now/import/{staging table}``)."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from snow_assets.simulator import records
from snow_assets.simulator.access import Access
from snow_assets.simulator.clock import STORED
from snow_assets.simulator.dictionary import title_column
from snow_assets.simulator.incoming import text_of
from snow_assets.simulator.schema import SCHEMA
from snow_assets.simulator.store import Row
from snow_assets.simulator.tables import NOT_FOUND, Place
from snow_assets.simulator.transform_maps import ROOT, TransformMap, is_staging, maps_of
from snow_assets.simulator.transforming import Outcome, transform
from snow_assets.simulator.wire import Asked, Reply, failure, json_reply
from snow_assets.simulator.writes import first_record, refused

if TYPE_CHECKING:
    from snow_assets.simulator.instance import Simulator

COUNTERS = {"inserted": "inserts", "updated": "updates", "ignored": "ignored", "skipped": "skipped", "error": "errors"}
# What only the platform writes to a staged row; its domain is the sender's.
_OWN = frozenset(column.name for column in SCHEMA[ROOT].columns) - {"sys_domain"}


class Imports:
    """The import sets of one instance."""

    def __init__(self, sim: Simulator) -> None:
        """Keep the import sets of ``sim``."""
        self._sim = sim
        self.before_write: list[Callable[[Row], None]] = []  # called between the look for a record and its writing
        self.outcomes: dict[str, list[Outcome]] = {}  # of the rows that were transformed, by the staged row
        self._turns: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
        self._open: dict[str, str] = {}  # the synchronous set of each staging table
        self._day = sim.clock.stored()[:10]

    def turn(self, target: str) -> AbstractContextManager[object]:
        """Held while a row is transformed into ``target``, where rows come one after the other."""
        with self._sim.store.lock:
            return self._turns[target]

    def synchronous_set(self, staging: str, user: str) -> str:
        """The import set that all callers share, opened by the first of the day."""
        with self._sim.store.lock:
            known = self._sim.store.find("sys_import_set", self._open.get(staging, ""))
            if known is None or known.get("state") != "loading":
                self._open[staging] = self.new_set(staging, user, mode="synchronous", creation_source="web service")
            return self._open[staging]

    def new_set(self, staging: str, user: str, **values: str) -> str:
        """Make an import set, loading; returns its sys_id."""
        row = {"state": "loading", "table_name": staging, "max_row_id": "0", **values}
        return records.insert(self._sim, "sys_import_set", row, user)

    def stage(self, set_id: str, staging: str, values: dict[str, str], user: str) -> Row:
        """Put a row into the staging table, pending."""
        store = self._sim.store
        with store.lock:
            number = str(int(store.rows_of("sys_import_set")[set_id].get("max_row_id") or "0") + 1)
            store.update("sys_import_set", set_id, {"max_row_id": number}, user, quiet=True)
            staged = {"sys_import_set": set_id, "sys_import_row": number, "sys_import_state": "pending"}
            sys_id = records.insert(self._sim, staging, values | staged, user)
            return store.rows_of(staging)[sys_id]

    def new_run(self, set_id: str, mapping: TransformMap, user: str, total: int = 0) -> str:
        """Make the transform history of a set and a map, running."""
        row = {"set": set_id, "state": "running", "sys_transform_map": mapping.sys_id, "total": str(total)}
        counters = dict.fromkeys((*COUNTERS.values(), "processed"), "0")
        multi = self._sim.store.rows_of("sys_import_set")[set_id].get("multi_import_set", "")
        return records.insert(self._sim, "sys_import_set_run", row | counters | {"multi_import_set": multi}, user)

    def run_of(self, set_id: str, mapping: TransformMap, user: str) -> str:
        """The history of a set that several requests fill, made at the first."""
        with self._sim.store.lock:
            found = self._sim.indexes.first(
                "sys_import_set_run", ("set", "sys_transform_map"), (set_id, mapping.sys_id)
            )
            return found or self.new_run(set_id, mapping, user)

    def transform(self, row: Row, maps: Iterable[TransformMap], runs: dict[str, str], user: str) -> list[Outcome]:
        """Transform one staged row by every map; what became of it is written to the row."""
        outcomes = [transform(self._sim, mapping, row, user) for mapping in maps]
        self.outcomes[row["sys_id"]] = outcomes
        if outcomes:
            self._note(row, outcomes[-1], runs[outcomes[-1].map.sys_id], user)
        return outcomes

    def _note(self, row: Row, outcome: Outcome, run: str, user: str) -> None:
        store = self._sim.store
        noted = {
            "sys_import_state": outcome.state,
            "sys_import_state_comment": outcome.comment,
            "sys_target_table": outcome.map.target,
            "sys_target_sys_id": outcome.sys_id,
            "sys_transform_map": outcome.map.sys_id,
            "import_set_run": run,
        }
        if outcome.code:
            error = {"code": outcome.code, "message": outcome.comment, "row": row["sys_id"], "import_set_run": run,
                     "import_set": row.get("sys_import_set", ""), "target_field": outcome.field}  # fmt: skip
            noted["sys_row_error"] = store.insert("sys_import_set_row_error", error, user)
        with store.lock:
            if store.find(ROOT, row["sys_id"]) is not None:  # nobody has deleted it meanwhile
                store.update(ROOT, row["sys_id"], noted, user)

    def count(self, run: str, outcomes: Iterable[Outcome], user: str, more: int = 0) -> None:
        """Add outcomes to the counters of a run, whose total grows by ``more`` rows."""
        store, counts = self._sim.store, Counter(outcome.state for outcome in outcomes)
        with store.lock:
            old = store.rows_of("sys_import_set_run").get(run)
            if old is not None:
                sums = {name: counts[state] for state, name in COUNTERS.items()}
                sums |= {"processed": counts.total(), "total": more}
                added = {name: str(int(old.get(name) or "0") + plus) for name, plus in sums.items()}
                store.update("sys_import_set_run", run, added, user)

    def midnight(self) -> None:
        """At midnight the shared sets are processed, and rows of old sets are cleaned up."""
        store, today = self._sim.store, self._sim.clock.stored()[:10]
        if today == self._day:
            return
        with store.lock:
            self._day = today
            for set_id in self._open.values():
                if set_id in store.rows_of("sys_import_set"):
                    store.update("sys_import_set", set_id, {"state": "processed"}, "system")
            self._open.clear()
            self._clean_up()

    def _clean_up(self) -> None:
        store = self._sim.store
        before = (self._sim.clock.now() - timedelta(days=self._sim.knobs.import_days)).strftime(STORED)
        for table in (ROOT, "sys_import_set"):
            old = [key for key, row in store.rows_of(table).items() if row.get("sys_created_on", "") < before]
            for sys_id in old:
                store.delete(table, sys_id, "system", log=False)
                self.outcomes.pop(sys_id, None)


def import_row(access: Access, asked: Asked, place: Place, staging: str) -> Reply:
    """``POST /api/now/import/{staging}``: stage one row and transform it, while the caller waits."""
    reply = refused_staging(access, asked, staging) or _imported(access, asked, place, staging)
    reply.kind, reply.table = "write", staging
    reply.delivery.delay = access.knobs.latency + access.knobs.latency_of_write
    return reply


def _imported(access: Access, asked: Asked, place: Place, staging: str) -> Reply:
    given = first_record(asked)
    if isinstance(given, Reply):
        return given
    if staging in access.knobs.denied_imports:
        return Reply(201)
    imports, user = access.sim.imports, access.account.user_name
    set_id = imports.synchronous_set(staging, user)
    row = imports.stage(set_id, staging, staged_values(access, staging, given), user)
    maps = maps_of(access.store, staging)
    runs = {mapping.sys_id: imports.run_of(set_id, mapping, user) for mapping in maps}
    outcomes = imports.transform(row, maps, runs, user)
    for outcome in outcomes:
        imports.count(runs[outcome.map.sys_id], [outcome], user, more=1)
    base = place.base(access, asked)
    reply = json_reply(_answer(access, base, staging, set_id, outcomes), 201)
    reply.headers["Location"] = f"{base}/import/{staging}/{row['sys_id']}"
    reply.ids = [row["sys_id"]]
    return reply


def imported_row(access: Access, asked: Asked, place: Place, staging: str, sys_id: str) -> Reply:
    """``GET /api/now/import/{staging}/{sys_id}``: the answer of that row's import once more, by the staged row."""
    if refusal := refused_staging(access, asked, staging):
        return refusal
    row = access.store.find(staging, sys_id)
    if row is None:
        return failure(404, *NOT_FOUND)
    outcomes = access.sim.imports.outcomes.get(sys_id, [])
    answer = _answer(access, place.base(access, asked), staging, row.get("sys_import_set", ""), outcomes)
    if not outcomes:
        answer["result"] = [{"status": row.get("sys_import_state", "pending")}]
    reply = json_reply(answer)
    reply.kind, reply.table, reply.ids = "record", staging, [sys_id]
    return reply


def staged_values(access: Access, staging: str, given: dict[str, Any]) -> dict[str, str]:
    """The columns of the staging table that a record sets, all as text."""
    known = access.store.columns.of(staging)
    return {name: text_of(value) for name, value in given.items() if name in known and name not in _OWN}


def refused_staging(access: Access, asked: Asked, staging: str) -> Reply | None:
    """The answer where nothing can be staged there by this account."""
    refusal = refused(access, asked, staging)
    return refusal or (None if is_staging(staging) else failure(400, f"Invalid staging table {staging}"))


def _answer(access: Access, base: str, staging: str, set_id: str, outcomes: Iterable[Outcome]) -> dict[str, Any]:
    number = access.store.rows_of("sys_import_set").get(set_id, {}).get("number", "")
    result = [_entry(access, base, outcome) for outcome in outcomes]
    return {"import_set": number, "staging_table": staging, "result": result}


def _entry(access: Access, base: str, outcome: Outcome) -> dict[str, str]:
    """One entry of the answer: for each transform map."""
    target = outcome.map.target
    entry = {"transform_map": outcome.map.name, "table": target}
    if outcome.sys_id:
        title = title_column(target)
        row = access.store.find(target, outcome.sys_id) or {}
        link = f"{base}/table/{target}/{outcome.sys_id}"
        entry |= {"display_name": title, "display_value": row.get(title, ""), "record_link": link}
    entry["status"] = outcome.state
    if outcome.sys_id:
        entry["sys_id"] = outcome.sys_id
    if outcome.comment:
        entry["error_message" if outcome.state == "error" else "status_message"] = outcome.comment
    return entry

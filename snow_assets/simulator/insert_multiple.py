"""``POST /api/now/import/{staging}/insertMultiple``: many rows at once, transformed behind the caller's back.

Nothing runs on its own: what is due is transformed when the instance is next asked for something, in the order in
which it came, so that the same requests at the same times give the same states.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from snow_assets.simulator import records
from snow_assets.simulator.access import Access
from snow_assets.simulator.import_sets import refused_staging, staged_values
from snow_assets.simulator.store import Row
from snow_assets.simulator.transform_maps import TransformMap, maps_of
from snow_assets.simulator.wire import Asked, Reply, failure, json_reply
from snow_assets.simulator.writes import document_of

if TYPE_CHECKING:
    from snow_assets.simulator.instance import Simulator

_CLOCK_STEP = 0.001  # a clock that is moved by so many seconds rounds them to microseconds
_FINAL = ("processed", "cancelled")


@dataclass(slots=True, eq=False)
class _Job:
    """An import set on its way."""

    set_id: str
    staging: str
    rows: list[str]
    user: str
    loaded_at: float
    run_after: str = ""
    started: float | None = None
    stopped: bool = False
    maps: list[TransformMap] = field(default_factory=list)
    runs: dict[str, str] = field(default_factory=dict)


class Transforms:
    """The import sets that wait for their transform."""

    def __init__(self, sim: Simulator) -> None:
        """Keep the queue of ``sim``."""
        self._sim = sim
        self._jobs: list[_Job] = []
        self._lock = threading.Lock()

    def add(self, job: _Job) -> None:
        """Put a set at the end of the queue; a transform that is going on is not waited for."""
        self._jobs.append(job)

    def tick(self) -> None:
        """Do what is due. Another thread that does it already is not waited for."""
        self._sim.imports.midnight()
        if self._jobs and self._lock.acquire(blocking=False):
            try:
                self._work(None)
            finally:
                self._lock.release()

    def finish(self, sets: int | None = None) -> int:
        """Transform so many sets now (all when None), due or not, held or not; returns how many were."""
        with self._lock:
            return self._work(10**9 if sets is None else sets)

    def run(self, job: _Job) -> None:
        """Transform a set while its sender waits."""
        self._advanced(job, forced=True)

    def waiting(self) -> list[str]:
        """The sys_ids of the sets that are not through, in order."""
        return [job.set_id for job in self._jobs]

    def _work(self, forced: int | None) -> int:
        done, moved = 0, True
        while moved and (forced is None or done < forced):
            moved = False
            for job in list(self._jobs):
                if (forced is None or done < forced) and self._advanced(job, forced is not None):
                    self._jobs.remove(job)
                    done, moved = done + 1, True
        return done

    def _advanced(self, job: _Job, forced: bool) -> bool:
        """Bring a job as far as it may come; whether it is over."""
        store, now = self._sim.store, self._sim.clock.timestamp()
        row = store.rows_of("sys_import_set").get(job.set_id)
        if row is None or row.get("state") in _FINAL:
            return True
        if row.get("state") == "loading" and (forced or now + _CLOCK_STEP >= job.loaded_at):
            values = {"state": "loaded", "load_completed": self._sim.clock.stored()}
            row = store.update("sys_import_set", job.set_id, values, job.user)
        if row.get("state") != "loaded" or not self._may_start(job, forced):
            return False
        if job.started is None:
            self._start(job, now)
        took = self._sim.knobs.transform_seconds + len(job.rows) * self._sim.knobs.transform_seconds_per_row
        if forced or now + _CLOCK_STEP >= (job.started or now) + took:
            return self._transformed(job, forced)
        return False

    def _may_start(self, job: _Job, forced: bool) -> bool:
        before = self._sim.store.rows_of("sys_import_set").get(job.run_after)
        if before is not None and before.get("state") not in _FINAL:
            return False
        return forced or not (self._sim.knobs.hold_transforms or job.stopped)

    def _start(self, job: _Job, now: float) -> None:
        imports, job.started = self._sim.imports, now
        job.maps = maps_of(self._sim.store, job.staging)
        job.runs = {one.sys_id: imports.new_run(job.set_id, one, job.user, len(job.rows)) for one in job.maps}

    def _transformed(self, job: _Job, forced: bool) -> bool:
        """Transform the rows that are pending; False where the knob has it stop on the way."""
        imports, store = self._sim.imports, self._sim.store
        known = store.rows_of(job.staging)
        pending = [row for key in job.rows if (row := known.get(key)) and row.get("sys_import_state") == "pending"]
        stop = 0 if forced else self._sim.knobs.transform_stops_after
        job.stopped = 0 < stop < len(pending)
        outcomes = [
            imports.transform(row, job.maps, job.runs, job.user) for row in pending[: stop if job.stopped else None]
        ]
        for at, mapping in enumerate(job.maps):
            imports.count(job.runs[mapping.sys_id], [found[at] for found in outcomes], job.user)
        if not job.stopped:
            self._close(job)
        return not job.stopped

    def _close(self, job: _Job) -> None:
        store, now = self._sim.store, self._sim.clock.stored()
        for run in job.runs.values():
            failed = store.rows_of("sys_import_set_run")[run].get("errors", "0") != "0"
            state = "complete_with_errors" if failed else "complete"
            store.update("sys_import_set_run", run, {"state": state, "completed": now}, job.user)
        store.update("sys_import_set", job.set_id, {"state": "processed"}, job.user)


@dataclass(frozen=True, slots=True)
class _Way:
    """How a staging table takes many rows."""

    asynchronous: bool
    by_label: bool


def _way(access: Access, staging: str) -> _Way:
    """As the knobs say, unless sys_rest_insert_multiple has a record of the table."""
    knobs = access.knobs
    row: Row = access.store.lookup("sys_rest_insert_multiple", "source_table", staging) or {}
    mode = row.get("asynchronous") or ("true" if knobs.insert_multiple_asynchronous else "false")
    return _Way(mode == "true", (row.get("column_keys") or knobs.insert_multiple_keys) == "labels")


def insert_multiple(access: Access, asked: Asked, staging: str) -> Reply:
    """Stage the records of a body as one import set."""
    reply = refused_staging(access, asked, staging) or _staged(access, asked, staging)
    reply.kind, reply.table = "write", staging
    reply.delivery.delay = access.knobs.latency + access.knobs.latency_of_write
    return reply


def _staged(access: Access, asked: Asked, staging: str) -> Reply:
    document = document_of(asked)
    if isinstance(document, Reply):
        return document
    rows = document.get("records") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not all(isinstance(one, dict) for one in rows):
        return failure(400, "Invalid request body", "An array of objects named records is expected")
    store, user, way = access.store, access.account.user_name, _way(access, staging)
    multi, before = asked.params.get("multi_import_set_id", ""), asked.params.get("run_after", "")
    for table, name in (("sys_multi_import_set", multi), ("sys_import_set", before)):
        if name and name not in store.rows_of(table):
            return failure(400, "Invalid request parameter", f"There is no record {name} in {table}")
    if staging in access.knobs.denied_imports:
        return Reply(201)
    job, multi = _new_job(access, staging, [_by_name(access, staging, one, way) for one in rows], multi, before)
    if way.asynchronous:
        access.sim.transforms.add(job)
    else:
        job.run_after = ""  # which is for asynchronous sets only
        store.update("sys_import_set", job.set_id, {"mode": "synchronous"}, user, quiet=True)
        access.sim.transforms.run(job)
    return json_reply({"import_set_id": job.set_id, "multi_import_set_id": multi}, 201, ids=[job.set_id])


def _new_job(access: Access, staging: str, rows: list[dict[str, Any]], multi: str, before: str) -> tuple[_Job, str]:
    sim, user = access.sim, access.account.user_name
    with sim.store.lock:
        multi = multi or records.insert(sim, "sys_multi_import_set", {}, user)
        source = {"mode": "asynchronous", "creation_source": "insertMultiple", "multi_import_set": multi}
        set_id = sim.imports.new_set(staging, user, **source)
        values = [staged_values(access, staging, one) for one in rows]
        staged = [sim.imports.stage(set_id, staging, one, user)["sys_id"] for one in values]
    took = access.knobs.load_seconds
    return _Job(set_id, staging, staged, user, sim.clock.timestamp() + took, before), multi


def _by_name(access: Access, staging: str, given: dict[str, Any], way: _Way) -> dict[str, Any]:
    """A record whose keys are the names of columns, where they were their labels."""
    if not way.by_label:
        return given
    names = {column.label: name for name, column in access.store.columns.of(staging).items()}
    return {names[label]: value for label, value in given.items() if label in names}

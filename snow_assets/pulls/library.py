"""Whole pulls from plain Python: planned, landed, reconciled and published as the assets do, into the same landing.

What one begins the other may finish: ``pull_to`` goes on with a plan of ``snow-assets pull`` or of Dagster's runs, and
they with one of ``pull_to``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from snow_assets.config import PullConfig
from snow_assets.errors import Cancelled, ConfigError, PublishRefused, SnowError
from snow_assets.pulls.current import bring_up
from snow_assets.pulls.dataset import publish
from snow_assets.pulls.declared import PullSettings, declared, place_of_pull
from snow_assets.pulls.fetching import Failed, Landed, land_slices
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.lease import lease
from snow_assets.pulls.plan import Plan
from snow_assets.pulls.planning import make_plan
from snow_assets.pulls.progress import Listener, Progress, listening
from snow_assets.pulls.pulled import Pulled, PulledRecords
from snow_assets.pulls.records import raw_records
from snow_assets.pulls.sweep import sweep
from snow_assets.pulls.sweep_record import read_sweep
from snow_assets.pulls.totals import must_be_intact, reconcile
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.exchange import Tally
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.records import Record

_log = logging.getLogger(__name__)


def pull_to(
    path: str | Path,
    client: Client,
    *,
    pull: PullConfig | None = None,
    new: bool = False,
    base: bool = False,
    accept: str | None = None,
    on_progress: Listener | None = None,
    **settings: Unpack[PullSettings],
) -> Pulled:
    """Pull a table into ``path``, and publish it there: every readable row that matches, once, by proof.

    ::

        with Client("https://acme.service-now.com", username="u", password="p") as client:
            pulled = pull_to("data/incidents", client, table="incident", query="active=true", fields=["number"])
            pulled.to_jsonl("incidents.jsonl")

    A call that ends early, by an error, a signal or a kill, leaves what has landed. The same call again goes on with
    the plan and asks for the missing slices alone; one whose plan is published already makes a new plan.

    Args:
        path: folder or object-store URL of all landings, and the pull's name as its last part.
        client: its retries, time-outs and connections are used; it stays usable whatever happens.
        pull: a pull of ``load_settings("pulls.yaml").pulls``, instead of settings.
        new: start a new plan, also where an unfinished one could go on.
        base: read every row of a delta pull anew.
        accept: id of the newest plan, to be published although its rows fell or more are hidden.
        on_progress: called with a ``Progress`` now and then, in whatever thread.
        settings: ``table``, ``query``, ``fields``, ``display_value`` (``"all"``), ``page_size`` and ``max_workers``
            (the client's), ``slice_rows``, ``mode``, ``hidden_rows`` and so on, as in ``pulls.yaml``.

    Raises:
        ConfigError: a setting is wrong; nothing was asked for or written.
        LeaseHeld: another run, or another thread, works on the pull.
        PublishRefused: rows fell, or the hidden share rose; ``accept`` publishes the plan all the same.
        SnowError: the first cause for which slices failed, after the others landed; or what else went wrong.
    """
    work = _work(path, client, pull, new, base, accept, on_progress, settings)
    with work.begun() as call:
        for _ in call.land():
            pass
        return call.finish()


def lazy_pull_to(
    path: str | Path,
    client: Client,
    *,
    pull: PullConfig | None = None,
    new: bool = False,
    base: bool = False,
    accept: str | None = None,
    on_progress: Listener | None = None,
    **settings: Unpack[PullSettings],
) -> PulledRecords:
    """Like ``pull_to``, but gives each slice's records, key for key, as soon as it has landed and is proven.

    Slices that had landed before come first. Records are read back from the files, a row group at a time: whoever
    reads slowly holds up nothing, and fills no memory. After the last record the pull is published and ``pulled`` is
    there. Closed early, or after an error, what landed stays: the next call gives all records again, and asks for the
    missing ones alone.

    Raises ``ConfigError`` at once also for ``mode: delta``: what a window shows is not what the pull then holds, since
    rows that went away, or were mended, are known only when all of it is swept.
    """
    work = _work(path, client, pull, new, base, accept, on_progress, settings)
    if work.pull.mode == "delta":
        hint = "call pull_to(...) and take its records()"
        raise ConfigError("a delta's rows are known when it has been swept", key="mode", value="delta", hint=hint)
    return PulledRecords(_records(work))


def _records(work: _Work) -> Generator[Record, None, Pulled]:
    with work.begun() as call:
        must_be_intact(call.plan, call.landing, call.landing.all_landed(call.plan))
        with closing(call.land()) as slices:
            for landed in slices:
                with call.landing.reading(landed.file.path) as file:
                    yield from raw_records(file, call.plan.display_value)
        return call.finish()


def _work(
    path: str | Path,
    client: object,
    pull: PullConfig | None,
    new: bool,
    base: bool,
    accept: str | None,
    on_progress: Listener | None,
    settings: Mapping[str, Any],
) -> _Work:
    """Everything that can be told wrong before anything is asked for or written."""
    if not isinstance(client, Client):
        hint = "a pull runs on threads: in asyncio, await asyncio.to_thread(pull_to, path, Client(...))"
        raise ConfigError("is not a Client", key="client", value=type(client).__name__, hint=hint)
    if accept is not None and (new or base):
        hint = "a plan is published as it is"
        raise ConfigError("does not go with new or base", key="accept", value=accept, hint=hint)
    pull = declared(path, pull, settings, client.page_size, client.max_workers)
    landing = Landing.open(*place_of_pull(path))
    landing.check_writable()
    return _Work(pull, client, landing, new, base, accept, on_progress)


def _must_read_the_same(plan: Plan, pull: PullConfig) -> None:
    """Whoever accepts a plan gets its rows: they must be those that the settings ask for."""
    asked = {
        "table": (pull.table, plan.table),
        "query": (EncodedQuery.parse(pull.query).where(), plan.base_query),
        "display_value": (pull.display_value, plan.display_value),
        "mode": (pull.mode, plan.mode),
    }
    for key, (wanted, frozen) in asked.items():
        if wanted != frozen:
            hint = f"it has {frozen!r}; give the settings with which it was made"
            raise ConfigError(
                f"is not that of plan {plan.plan_id}, which is to be accepted", key=key, value=wanted, hint=hint
            )


@dataclass(frozen=True)
class _Work:
    """What a call is asked to do."""

    pull: PullConfig
    client: Client
    landing: Landing
    new: bool
    base: bool
    accept: str | None
    on_progress: Listener | None

    @contextmanager
    def begun(self) -> Iterator[_Call]:
        """The call, under the pull's lease. What stops it does not stop the client."""
        client = self.client.fork()
        with ExitStack() as stack:
            stack.enter_context(lease(self.landing, f"a Python program, process {os.getpid()}", alone=True))
            call = _Call(self.pull, client, self.landing, *self._plan(client), accepted=self.accept is not None)
            if self.on_progress is not None:
                stack.enter_context(listening(_of_plan(call.plan, self.on_progress)))
            try:
                yield call
            except PublishRefused as error:
                if f"--accept {call.plan.plan_id}" in error.hint:
                    error.hint += f"; in Python: accept={call.plan.plan_id!r}"
                raise
            finally:
                client.cancel(Cancelled("the pull ended"))

    def _plan(self, client: Client) -> tuple[Plan, Tally]:
        if self.accept is None:
            planned = make_plan(self.pull, client, self.landing, new=self.new, base=self.base)
            if planned.retired and not (planned.continued or self.new or self.base):
                given_up = f"plan {', '.join(planned.retired)} of pull {self.pull.name} was not finished"
                _log.warning("%s, and went with what it landed: it read otherwise, or is too old", given_up)
            return planned.plan, planned.cost
        newest = self.landing.latest_plan()
        if newest is None or newest.plan_id != self.accept:
            hint = f"its newest plan is {newest.plan_id}" if newest else "it has no plan"
            message = f"is not the newest plan of pull {self.pull.name}"
            raise ConfigError(message, key="accept", value=self.accept, hint=hint)
        _must_read_the_same(newest, self.pull)
        return newest, Tally()


class _Call:
    """One call at work on a plan: its slices, and then what makes them the dataset."""

    def __init__(
        self, pull: PullConfig, client: Client, landing: Landing, plan: Plan, cost: Tally, *, accepted: bool
    ) -> None:
        self.pull = pull
        self.client = client
        self.landing = landing
        self.plan = plan
        self.accepted = accepted
        self.requests = cost.requests
        self.adopted = 0

    def land(self) -> Generator[Landed, None, None]:
        """Each slice as it has landed, the adopted ones first. Raises why slices failed, once the others landed."""
        failed: list[SnowError] = []
        plan = self.plan
        with closing(land_slices(plan, plan.slices, self.pull, self.client, self.landing)) as outcomes:
            for outcome in outcomes:
                if isinstance(outcome, Failed):
                    failed.append(outcome.error)
                    continue
                self.adopted += outcome.adopted
                self.requests += 0 if outcome.adopted else outcome.ledger.tally.requests
                yield outcome
        if failed:
            raise _because(failed, self.plan)

    def finish(self) -> Pulled:
        """Sweep, reconcile, publish, and bring the current rows up. Done again, or after a crash: the same."""
        plan, pull, landing = self.plan, self.pull, self.landing
        is_delta_pull = plan.mode == "delta"
        if is_delta_pull and read_sweep(landing, plan.plan_id) is None:
            swept = sweep(plan, pull, self.client, landing, accept=self.accepted)
            self.requests += Tally.from_dict(swept.cost).requests if swept.cost else 0
        totals = reconcile(plan, landing, pull)
        dataset = publish(plan, totals, landing, pull, accept=self.accepted)
        now = bring_up(landing, pull) if is_delta_pull else None
        return Pulled(totals, dataset, now, self.requests, self.adopted, landing)


def _because(failed: list[SnowError], plan: Plan) -> SnowError:
    """The first cause, one that must be fixed before the others; it says how much is kept."""
    causes = [error for error in failed if not isinstance(error, Cancelled)] or failed
    error = max(causes, key=lambda each: each.exit_code)
    total, unasked = len(plan.slices), len(failed) - len(causes)
    told = f"{len(causes)} of {total} slices of pull {plan.pull} failed"
    told += f", {unasked} were not asked for" if unasked else ""
    error.message = f"{error.message}; {told}, {total - len(failed)} have landed and are kept"
    return error


def _of_plan(plan: Plan, listener: Listener) -> Listener:
    """Other pulls of this process are none of the caller's business."""

    def tell(event: Progress) -> None:
        if (event.pull, event.plan_id) == (plan.pull, plan.plan_id):
            listener(event)

    return tell

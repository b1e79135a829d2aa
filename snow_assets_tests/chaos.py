"""Chaos: whole pulls under random faults, drift and kills, held against the simulator's own history.

::

    python -m snow_assets_tests.chaos --n 1000 --seed 1 --workers 2     # make chaos N=1000 SEED=1
    python -m snow_assets_tests.chaos --only 1017                       # one case again

Every case follows from one number. A wrong one is printed with its number and its recipe.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snow_assets.config import Credentials, PullConfig
from snow_assets.errors import ForbiddenError, PlanIncomplete, SnowError
from snow_assets.pulls import Failed, Landed, Landing, Plan, land_slices, make_plan, publish, published, reconcile
from snow_assets.servicenow import retry
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.exchange import Answer, Request
from snow_assets.simulator import HiddenRows, Knobs, Simulator, SimulatorServer
from snow_assets.simulator.generate import generate
from snow_assets.simulator.wire import Asked
from snow_assets_tests.chaos_recipe import COUNTS, SILENT, SLOW, Recipe, draw
from snow_assets_tests.chaos_truth import HOST, Truth

TABLE = "incident"
AT = datetime(2026, 11, 20, 2, tzinfo=UTC)
CALM, BRISK, HASTY = (30.0, 60.0), (5.0, 5.0), (2.0, 0.4)  # seconds to connect and to read


class Killed(BaseException):
    """The run is dead: nothing is sent any more."""


@dataclass
class Outcome:
    """What came of a case. ``wrongs`` is empty where every promise was kept."""

    seed: int
    wrongs: list[str] = field(default_factory=list)
    rows: int = 0
    requests: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    drifted: int = 0
    runs: Counter[str] = field(default_factory=Counter)  # how runs ended
    errors: Counter[str] = field(default_factory=Counter)  # by name, of slices and runs
    hidden: int = 0
    slices: int = 0
    seconds: float = 0.0
    lost: int = 0
    doubled: int = 0
    altered: int = 0
    strange: int = 0


@functools.cache
def _data() -> dict[str, list[dict[str, str]]]:
    return generate({TABLE: 3000}, 5, AT)


def _tables(recipe: Recipe, chance: random.Random) -> dict[str, Any]:
    ids: set[str] = set()
    while len(ids) < recipe.rows:
        number = f"{chance.getrandbits(128):032x}"
        prefix = {"prefix": "7c", "prefixes": chance.choice(("0", "4ff", "c"))}.get(recipe.layout, "")
        if recipe.layout == "sequence":
            number = f"{0x3000 + len(ids):08x}{'0' * 24}"
        ids.add(prefix + number[len(prefix) :])
    rows = chance.sample(_data()[TABLE], recipe.rows)
    made = [{**row, "sys_id": sys_id} for row, sys_id in zip(rows, sorted(ids), strict=True)]
    return {**_data(), TABLE: made}


def _hidden_ids(recipe: Recipe, ids: Sequence[str], chance: random.Random) -> frozenset[str]:
    hidden: set[str] = set()
    for rule in recipe.hidden:
        number = max(1, int(len(ids) * rule["share"]))
        match rule["how"]:
            case "first":
                hidden.update(ids[:number])
            case "last":
                hidden.update(ids[-number:])
            case "run":
                start = chance.randint(0, max(0, len(ids) - number))
                hidden.update(ids[start : start + number])
            case "runs":
                for _ in range(4):
                    start = chance.randint(0, len(ids))
                    hidden.update(ids[start : start + number // 4 + 1])
            case "prefix":
                hidden.update(sys_id for sys_id in ids if sys_id[0] in "14c7"[: 1 + int(rule["share"] * 4)])
            case _:
                hidden.update(sys_id for sys_id in ids if chance.random() < rule["share"])
    return frozenset(hidden)


class Case:
    """One chaos pull: an instance, a folder, and the truth."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self.recipe = recipe
        self.folder = folder
        chance = random.Random(recipe.seed + 1_000_000)
        self.sim = Simulator(tables=_tables(recipe, chance), at=AT, knobs=Knobs(canonical_url=HOST))
        ids = [row["sys_id"] for row in self.sim.rows(TABLE)]
        self.hidden = _hidden_ids(recipe, ids, chance)
        self.sim.knobs.hidden_rows = [HiddenRows(TABLE, sys_ids=self.hidden)]
        self.truth = Truth(self.sim, TABLE, recipe.query, self.hidden)
        self.pull = _pull_of(recipe)
        self.landing = Landing.open(str(folder), self.pull.name)
        self.starts: dict[str, int] = {}
        self.ends: dict[str, int] = {}
        self.outcome = Outcome(recipe.seed)
        self.asked = 0
        self.on_request: Callable[[int], None] | None = None
        self._drift = sorted(recipe.drift, key=lambda one: one["at"])
        self._graves: list[dict[str, str]] = []
        self._lock = threading.Lock()
        self.sim.watchers.append(self._watch)
        self.drifting = True
        self._blind = False  # a slice said that the account no longer sees what it saw, and to begin anew

    def _watch(self, _: Asked) -> None:
        with self._lock:
            self.asked += 1
            number = self.asked
            while self.drifting and self._drift and self._drift[0]["at"] <= number:
                self._disturb(self._drift.pop(0))
        if self.on_request is not None:
            self.on_request(number)

    def _disturb(self, event: dict[str, Any]) -> None:
        with self.sim.store.lock:
            ids = self.sim.store.view(TABLE).ids
            victim = ids[int(event["where"] * len(ids))] if ids else ""
            deed = event["deed"]
            if deed == "insert" or not victim:
                sys_id = f"{int(event['where'] * 2**128):032x}"
                if sys_id not in ids:
                    self.sim.insert(TABLE, {**_data()[TABLE][len(ids)], "sys_id": sys_id})
            elif deed == "delete":
                self._graves.append(dict(self.sim.store.rows_of(TABLE)[victim]))
                self.sim.delete(TABLE, victim)
            elif deed == "revive" and self._graves:
                grave = self._graves.pop()
                if grave["sys_id"] not in ids:
                    self.sim.insert(TABLE, {**grave, "short_description": "back again"})
            elif deed in ("leave", "enter"):
                values = {"active": "false", "state": "7", "priority": "4", "assigned_to": ""}
                if deed == "enter":
                    values = {"active": "true", "state": "2", "priority": "1", "assigned_to": "someone"}
                self.sim.update(TABLE, victim, quiet=False, **values)
            else:
                self.sim.update(TABLE, victim, short_description=f"changed {event['where']}")

    # -- runs ---------------------------------------------------------------------------------------------------

    def go(self) -> Outcome:
        """Every run of the case, then the verdict."""
        began = time.monotonic()
        with self.sim.serve() as server:
            self.sim.faults.add(*self.recipe.standing, *self.recipe.faults)
            done = False
            for attempt in self.recipe.attempts:
                done = self._attempt(server, attempt)
                if done:
                    break
            if not done:
                self._calm(server)
        self._judge()
        self._sum_up(time.monotonic() - began)
        return self.outcome

    def _attempt(self, server: SimulatorServer, attempt: dict[str, Any]) -> bool:
        start = self.truth.history.moment
        try:
            done = (self._in_a_process if attempt["how"] == "kill -9" else self._here)(server, attempt)
            self._say("completed" if done else "failed by name")
        except Killed:
            self._say(f"killed: {attempt['how']}")
            done = False
        except SnowError as error:
            self._named(error)
            self._say("stopped by name")
            done = False
        self._note_files(start)
        return done

    def _calm(self, server: SimulatorServer) -> None:
        """All faults are over: whatever was left must now be completed."""
        self.sim.faults.clear()
        self.sim.faults.add(*self.recipe.standing)
        self.drifting = False
        for new in (False, True):
            start = self.truth.history.moment
            try:
                self._blind = False
                with _client(server.url, self.pull, CALM) as client:
                    done = self._pull(client, new=new)
            except SnowError as error:
                self.outcome.wrongs.append(f"a calm run was stopped: {error}")
                return
            finally:
                self._note_files(start)
            if done:
                self._say("completed anew" if new else "completed calmly")
                return
            if not self._blind:
                break
        self.outcome.wrongs.append("a calm run did not complete")

    def _here(self, server: SimulatorServer, attempt: dict[str, Any]) -> bool:
        slow = any(rule["kind"] in SLOW for rule in self.recipe.faults)
        with _client(server.url, self.pull, HASTY if slow else BRISK) as client:
            if attempt["how"].startswith("cut"):
                _cut(client, attempt["at"], after="after" in attempt["how"])
            return self._pull(client, results=attempt["at"] if attempt["how"] == "close" else None)

    def _pull(self, client: Client, *, new: bool = False, results: int | None = None) -> bool:
        start = self.truth.history.moment
        plan = make_plan(self.pull, client, self.landing, new=new).plan
        self.starts.setdefault(plan.plan_id, start)
        before = set(self.landing.all_landed(plan))
        fine = self._land(plan, client, results, {piece.offset for piece in before})
        if not fine:
            with contextlib.suppress(PlanIncomplete):
                reconcile(plan, self.landing, self.pull)
                self.outcome.wrongs.append("totals took an incomplete plan")
            return False
        totals = reconcile(plan, self.landing, self.pull)
        publish(plan, totals, self.landing, self.pull, accept=True)
        return True

    def _land(self, plan: Plan, client: Client, results: int | None, before: set[int]) -> bool:
        failed, seen = 0, 0
        pieces = land_slices(plan, plan.slices, self.pull, client, self.landing)
        with contextlib.closing(pieces):
            for result in pieces:
                if results is not None and seen >= results:
                    raise Killed
                seen += 1
                if isinstance(result, Failed):
                    failed += 1
                    if _is_cut(client):
                        raise Killed
                    self._named(result.error)
                elif isinstance(result, Landed):
                    self.ends.setdefault(result.file.path, self.truth.history.moment)
                    if not result.adopted and result.slice.offset in before:
                        self.outcome.wrongs.append(f"{result.slice} had landed and was read again")
        if not failed and seen != len(plan.slices):
            self.outcome.wrongs.append(f"{seen} results for {len(plan.slices)} slices")
        return not failed

    def _in_a_process(self, server: SimulatorServer, attempt: dict[str, Any]) -> bool:
        command = [sys.executable, "-m", "snow_assets_tests.chaos", "--child", server.url, str(self.folder)]
        child = subprocess.Popen([*command, str(self.recipe.seed)], stderr=subprocess.PIPE, text=True)
        first = self.asked

        def kill(number: int) -> None:
            if number - first == attempt["at"]:
                time.sleep(attempt["delay"])
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)

        self.on_request = kill
        _, errors = child.communicate(timeout=120)
        self.on_request = None
        if child.returncode == -signal.SIGKILL:
            raise Killed
        if child.returncode not in (0, 3):
            self.outcome.wrongs.append(f"a process ended with {child.returncode}: {errors[-500:]}")
        return child.returncode == 0

    # -- records ------------------------------------------------------------------------------------------------

    def _say(self, how: str) -> None:
        self.outcome.runs[how] += 1

    def _named(self, error: SnowError) -> None:
        """An error must be one of ours, with a cause in words; one that hides a fault of our own is a bug."""
        self.outcome.errors[type(error).__name__] += 1
        self._blind |= isinstance(error, ForbiddenError) and "no longer sees" in str(error)
        cause = error.__cause__
        if not str(error) or isinstance(cause, (TypeError, KeyError, AttributeError, ValueError, AssertionError)):
            self.outcome.wrongs.append(f"a fault of our own: {error!r} of {cause!r}")

    def _note_files(self, start: int) -> None:
        """Plans and files that a dead run left: they were made at latest now."""
        for plan_id in self.landing.plan_ids():
            self.starts.setdefault(plan_id, start)
            for names in self.landing.slice_files(self.landing.read_plan(plan_id)).values():
                for name in names:
                    self.ends.setdefault(f"{plan_id}/{name}", self.truth.history.moment)

    def _judge(self) -> None:
        dataset = published(self.landing)
        if dataset is None:
            self.outcome.wrongs.append("nothing was published")
            return
        plan = self.landing.read_plan(dataset.plan)
        totals = reconcile(plan, self.landing, self.pull)
        verdict = self.truth.judge(dataset, plan, self.landing, self.starts[plan.plan_id], self.ends, set())
        outcome = self.outcome
        outcome.wrongs += verdict.wrongs()
        outcome.wrongs += self.truth.numbers(totals, plan, dataset, exact=self._is_exact())
        outcome.lost, outcome.doubled = len(verdict.lost), len(verdict.doubled)
        outcome.altered, outcome.strange = len(verdict.altered), len(verdict.strange)
        outcome.rows, outcome.slices = verdict.rows, len(plan.slices)
        outcome.hidden = totals.hidden or 0

    def _is_exact(self) -> bool:
        met = {kind for entry in self.sim.requests if entry.fault for kind in entry.fault.split(",")}
        return self.recipe.counts == "true" and not self.truth.history.changes and not met & {*COUNTS, *SILENT}

    def _sum_up(self, seconds: float) -> None:
        self.outcome.requests = self.sim.requests.total
        for entry in self.sim.requests:
            self.outcome.faults.update(kind for kind in entry.fault.split(",") if kind)
        self.outcome.drifted = self.truth.history.changes
        self.outcome.seconds = round(seconds, 3)


def _pull_of(recipe: Recipe) -> PullConfig:
    return PullConfig(name="chaos", table=TABLE, query=recipe.query, retry_backoff=0.001, **recipe.pull)


@contextlib.contextmanager
def _client(url: str, pull: PullConfig, timeout: tuple[float, float]) -> Iterator[Client]:
    credentials = Credentials(username="admin", password="admin")
    settings = {"retry_backoff": 0.001, "max_retries": pull.max_retries, "max_workers": pull.max_workers}
    with Client(url, credentials, timeout=timeout, **settings) as client:  # type: ignore[arg-type]
        yield client


def _cut(client: Client, at: int, *, after: bool) -> None:
    """From the n-th request on, nothing is sent any more; ``after``: the n-th itself still reaches the instance."""
    transport = client._transport
    send, lock, sent = transport.send, threading.Lock(), [0]

    def counted(request: Request) -> Answer:
        with lock:
            sent[0] += 1
            number = sent[0]
        if number == at and after:
            send(request)
        if number >= at:
            transport.cut = True  # type: ignore[attr-defined]
            raise Killed
        return send(request)

    transport.send = counted  # type: ignore[method-assign]


def _is_cut(client: Client) -> bool:
    return getattr(client._transport, "cut", False)


def run_case(seed: int) -> Outcome:
    """One case, in a folder of its own that is removed."""
    retry._LEAST_PAUSE = 0.002
    with tempfile.TemporaryDirectory(prefix="chaos") as folder:
        case = Case(draw(seed), Path(folder))
        try:
            return case.go()
        except Exception as error:  # noqa: BLE001 - a wrong of this case, told with its number
            case.outcome.wrongs.append(f"{type(error).__name__}: {error}")
            return case.outcome


def run_child(url: str, folder: str, seed: int) -> int:
    """A run in a process of its own, which is going to be killed."""
    retry._LEAST_PAUSE = 0.002
    pull = _pull_of(draw(seed))
    landing = Landing.open(folder, pull.name)
    try:
        with _client(url, pull, CALM) as client:
            plan = make_plan(pull, client, landing).plan
            results = list(land_slices(plan, plan.slices, pull, client, landing))
            if any(isinstance(result, Failed) for result in results):
                return 3
            publish(plan, reconcile(plan, landing, pull), landing, pull, accept=True)
    except SnowError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


def run(seeds: Sequence[int], workers: int, tell: Callable[[Outcome], None]) -> list[Outcome]:
    """All cases, in so many processes; ``tell`` hears of each as it ends."""
    if workers == 1:
        outcomes = []
        for seed in seeds:
            outcomes.append(run_case(seed))
            tell(outcomes[-1])
        return outcomes
    context = multiprocessing.get_context("spawn")
    found = []
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for outcome in pool.map(run_case, seeds, chunksize=4):
            tell(outcome)
            found.append(outcome)
    return found


def figures(outcomes: Sequence[Outcome], seed: int, seconds: float) -> dict[str, Any]:
    """The sums of all cases, as plain data."""
    sums: dict[str, Any] = {"seed": seed, "cases": len(outcomes), "seconds": round(seconds, 1)}
    for name in ("rows", "slices", "requests", "drifted", "hidden", "lost", "doubled", "altered", "strange"):
        sums[name] = sum(getattr(outcome, name) for outcome in outcomes)
    for name in ("runs", "errors", "faults"):
        total: Counter[str] = sum((getattr(outcome, name) for outcome in outcomes), Counter())
        sums[name] = dict(total.most_common())
    sums["kills"] = sum(times for how, times in sums["runs"].items() if how.startswith("killed"))
    sums["wrong_seeds"] = [outcome.seed for outcome in outcomes if outcome.wrongs]
    return sums


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns 1 where a case went wrong."""
    parser = argparse.ArgumentParser(prog="python -m snow_assets_tests.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=60, help="how many cases")
    parser.add_argument("--seed", type=int, default=1, help="of the first case; each next one has the next number")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--only", type=int, help="one case alone, told at length")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        return run_child(given.child[0], given.child[1], int(given.child[2]))
    write = sys.stdout.write
    if given.only is not None:
        write(f"{draw(given.only).line()}\n")
        outcome = run_case(given.only)
        write(f"{json.dumps(asdict(outcome), indent=1)}\n")
        return 1 if outcome.wrongs else 0

    def tell(outcome: Outcome) -> None:
        if outcome.wrongs:
            write(f"WRONG seed {outcome.seed}: {'; '.join(outcome.wrongs)}\n    {draw(outcome.seed).line()}\n")
            sys.stdout.flush()

    began = time.monotonic()
    outcomes = run(range(given.seed, given.seed + given.n), given.workers, tell)
    sums = figures(outcomes, given.seed, time.monotonic() - began)
    text = json.dumps(sums, indent=1)
    write(f"{text}\n")
    if given.json:
        given.json.write_text(f"{text}\n")
    return 1 if sums["wrong_seeds"] else 0


if __name__ == "__main__":
    raise SystemExit(main())

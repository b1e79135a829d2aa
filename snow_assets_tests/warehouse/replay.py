"""A replayed event log, pulled by deltas, and held against the truth after every sync."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from snow_assets.config import Credentials, PullConfig
from snow_assets.pulls import Failed, Landing, Plan, land_slices, make_plan, publish, reconcile
from snow_assets.pulls.current import Current, bring_up
from snow_assets.pulls.sweep import Sweep, sweep
from snow_assets.servicenow.client import Client
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.warehouse.replay_log import Truth
from snow_assets_tests.warehouse.replay_side import TABLE, Side, Span, read_current


@dataclass
class Line:
    """One sync, as the table of `make replay` shows it. ``wrongs`` is empty where it equals the truth."""

    pull: str
    moment: datetime
    kind: str
    plan: Plan
    landed: int
    left: int
    deleted: int
    mended: int
    requests: int
    rows: int
    unknown: str
    wrongs: list[str] = field(default_factory=list)


Follow: TypeAlias = Callable[[SimulatorServer, PullConfig, Landing], tuple[Plan, Sweep, Current]]


class Story:
    """A log that is replayed, an instance that serves it, and pulls that follow."""

    def __init__(
        self, sim: Simulator, truth: Truth, folder: Path, server: SimulatorServer, syncing: Follow | None = None
    ) -> None:
        """``sim`` was begun with the log of ``truth``, and stands still; pulls land in ``folder``.

        ``syncing`` makes a sync, as ``follow`` does when None.
        """
        self.sim = sim
        self.truth = truth
        self.server = server
        self.sides: dict[str, Side] = {}
        self.lines: list[Line] = []
        self._folder = folder
        self._follow = syncing or follow
        self._ids: dict[str, str] = {}
        truth.commit(sim.replayed)

    def side(self, name: str, **config: Any) -> Side:
        """Follow by another pull."""
        self.sides[name] = Side(name, self._folder, **config)
        return self.sides[name]

    # -- what happens to the instance ---------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The instance's clock."""
        return self.sim.clock.now()

    def move_to(self, moment: datetime) -> None:
        """Replay the log up to a moment."""
        self.sim.move_to(moment)
        self.truth.commit(self.truth.due(moment))
        if self.sim.replayed != self.truth.position:
            raise RuntimeError("the instance committed other versions than the log has")

    def advance(self, versions: int) -> None:
        """Commit so many versions more."""
        self.sim.advance(versions)
        self.truth.commit(self.sim.replayed)

    def delete(self, number: str, *, log: bool = True) -> None:
        """Delete an incident, or archive it."""
        self.sim.delete(TABLE, self.sys_id(number), log=log)
        self.truth.delete(number, self.now)
        self._hide(number, "audit" if not log else "")

    def undelete(self, number: str) -> None:
        """Bring it back; its clock does not move."""
        self.sim.undelete(self.sys_id(number))
        self.truth.undelete(number)
        self._hide(number, "audit")

    def reclassify(self, number: str) -> None:
        """Make it a change request."""
        self.sim.reclassify(TABLE, self.sys_id(number), "change_request")
        self.truth.reclassify(number)
        self._hide(number, "audit")

    def take_back(self, number: str) -> None:
        """Make it an incident again."""
        self.sim.reclassify("change_request", self.sys_id(number), TABLE)
        self.truth.take_back(number, self.now)

    def change(self, number: str, **texts: str) -> None:
        """Change fields and leave the clock alone, or put it back, as ``texts`` say."""
        self.sim.update(TABLE, self.sys_id(number), quiet=True, **texts)
        self.truth.change(number, **texts)
        self._hide(number, "audit", "keys", "both")

    def sys_id(self, number: str) -> str:
        """Of an incident that is there, or was when this was asked of it before."""
        if number not in self._ids:
            self._ids |= {row["number"]: row["sys_id"] for row in self.sim.rows(TABLE)}
        return self._ids[number]

    def _hide(self, number: str, *methods: str) -> None:
        """Pulls that look for deletions in one of these ways see it with a verification sweep, not before."""
        for side in self.sides.values():
            side.touched.add(number)
            if side.pull.deletes in (*methods, "off"):
                side.blind.add(number)

    # -- syncs --------------------------------------------------------------------------------------------------

    def sync(
        self, side: Side, *, verify: bool = False, during: AbstractContextManager[None] | None = None, kind: str = ""
    ) -> Line:
        """All steps of a sync, while ``during`` goes on; and what it brought, held against the truth."""
        pull = side.pull.model_copy(update={"verify_every": 0.0}) if verify else side.pull
        asked, moment = self.sim.requests.total, self.now
        start = dict(self.truth.rows)
        self.truth.events.clear()
        with during or nullcontext():
            plan, swept, current = self._follow(self.server, pull, side.landing)
        self.truth.commit(self.sim.replayed)
        span = Span(start, {})
        for number, row in self.truth.events:
            span.later.setdefault(number, []).append(row)
        side.note(plan, span)
        known = plan.since is None or plan.verify
        line = Line(
            pull=pull.name,
            moment=moment,
            kind=kind or _kind(plan, busy=during is not None),
            plan=plan,
            landed=sum(file.ledger.landed for file in side.landing.all_landed(plan).values()),
            left=swept.left_filter + swept.reclassified,
            deleted=sum(swept.deleted.values()),
            mended=mended_by(swept),
            requests=self.sim.requests.total - asked,
            rows=current.rows,
            unknown=swept.unknown,
            wrongs=side.judge(read_current(current), span, self.truth, known),
        )
        side.touched.clear()
        if known:
            side.blind.clear()
        self.lines.append(line)
        return line


def follow(server: SimulatorServer, pull: PullConfig, landing: Landing) -> tuple[Plan, Sweep, Current]:
    """One sync of a pull, all its steps. Raises the error of a slice that failed."""
    credentials = Credentials(username=server.username, password=server.password)
    settings: dict[str, Any] = {"retry_backoff": pull.retry_backoff, "max_workers": pull.max_workers}
    with Client(server.url, credentials, timeout=(30.0, 60.0), **settings) as client:
        plan = make_plan(pull, client, landing).plan
        for result in land_slices(plan, plan.slices, pull, client, landing):
            if isinstance(result, Failed):
                raise result.error
        swept = sweep(plan, pull, client, landing)
    publish(plan, reconcile(plan, landing, pull), landing, pull)
    return plan, swept, bring_up(landing, pull)


def mended_by(swept: Sweep) -> int:
    """The rows that a sweep mended."""
    return swept.missed + swept.restored + swept.changed


def _kind(plan: Plan, *, busy: bool) -> str:
    kind = "base" if plan.since is None else "verify" if plan.verify else "delta"
    return f"{kind}, busy" if busy else kind

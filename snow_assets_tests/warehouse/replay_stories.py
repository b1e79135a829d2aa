"""The stories that a replayed log is told in: quiet and busy syncs; deletions, undeletions and other classes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from snow_assets.simulator import Knobs, Simulator
from snow_assets.simulator.event_log import EventLog
from snow_assets_tests.warehouse.replay import Follow, Line, Story
from snow_assets_tests.warehouse.replay_log import Truth, Version, late_versions
from snow_assets_tests.warehouse.replay_side import STORED, Side

SECOND = timedelta(seconds=1)
BUSY = 30_000  # versions of the log for each that is committed with a request
LATE = 600  # seconds: within the overlap of 15 minutes
HORIZON = timedelta(days=45)

Tell = Callable[[Line], None]


@contextmanager
def begun(
    log: Path,
    versions: list[Version],
    folder: Path,
    *,
    base: float = 0.4,
    knobs: Knobs | None = None,
    late: Callable[[str, int], float] | None = None,
    syncing: Follow | None = None,
) -> Iterator[Story]:
    """An instance that serves the log, where a share of it (``base``) is committed; pulls land in ``folder``."""
    truth = Truth(versions, late)
    at = truth.commits[int(len(truth.commits) * base)][0]
    sim = Simulator(event_log=EventLog(log, late), at=at, knobs=knobs)
    sim.clock.stop()
    began = {"tablename": "problem", "sys_created_on": (at - HORIZON).strftime(STORED)}
    sim.insert("sys_audit_delete", began)  # the delete log reaches back far enough
    with sim.serve() as server:
        yield Story(sim, truth, folder, server, syncing)


def moments(story: Story, deltas: int, chance: random.Random) -> Iterator[tuple[datetime, str]]:
    """When so many deltas are made, and how.

    ``quiet``: nothing moves meanwhile. ``split``: when a part of a minute's versions is committed; the next one, of the
    same minute, when all are. ``busy``: versions are committed with every request.
    """
    due = [moment for moment, _ in story.truth.commits]
    crowded = sorted(moment for moment, versions in Counter(due).items() if versions > 1)
    end = min(due[-1], story.now + HORIZON)
    step = (end - story.now) / (deltas + 1)
    now = story.now
    for at in range(deltas):
        kind = ("quiet", "busy", "split", "rest")[at % 4]
        if kind != "rest":
            now += chance.choice((timedelta(minutes=3), timedelta(minutes=17), step, step * 1.3, step * 2))
            now = max(now, story.now)
        if kind == "split":
            now = next((moment for moment in crowded if moment > now + SECOND), now + SECOND)
        yield now, "quiet" if kind == "rest" else kind


def go_to(story: Story, moment: datetime, kind: str) -> None:
    """Replay up to a moment; ``split``: but for the last half of the versions of that very moment."""
    if kind != "split":
        story.move_to(max(moment, story.now))
        return
    story.move_to(moment - SECOND)
    story.advance(max(1, (story.truth.due(moment) - story.truth.position) // 2))


def synced(story: Story, side: Side, kind: str, tell: Tell, *, verify: bool = False) -> None:
    """One sync of one pull."""
    versions = 1 + len(story.truth.commits) // BUSY
    during = story.sim.replaying(versions=versions) if kind == "busy" else None
    tell(story.sync(side, verify=verify, during=during, kind="split" if kind == "split" else ""))


def told(story: Story, seed: int, deltas: int, tell: Tell, between: Callable[[Story, int], None] | None = None) -> None:
    """A base and so many deltas of every pull; ``between`` is called before each.

    At the end, history is compared with what the syncs could see, and the current rows with those made anew from it.
    """
    chance = random.Random(seed)
    for side in story.sides.values():
        synced(story, side, "quiet", tell)
    for at, (moment, kind) in enumerate(moments(story, deltas, chance)):
        go_to(story, moment, kind)
        if between is not None:
            between(story, at)
        for side in story.sides.values():
            synced(story, side, kind, tell, verify=at % 10 == 9)
    for side in story.sides.values():  # a busy sync may have read what changed later on
        synced(story, side, "quiet", tell, verify=True)
        story.lines[-1].wrongs += side.history_wrongs() + side.rebuilt_wrongs()


def plain(log: Path, versions: list[Version], folder: Path, seed: int, deltas: int, tell: Tell) -> Story:
    """The whole table and what is active of it, followed through quiet, busy and crowded moments."""
    with begun(log, versions, folder) as story:
        story.side("incidents", deletes="audit")
        story.side("active", query="active=true", deletes="audit")
        told(story, seed, deltas, tell)
        return story


class Fate:
    """Deletes, undeletes, reclassifies and quietly changes incidents at random."""

    def __init__(self, seed: int, share: float = 0.004) -> None:
        self._chance = random.Random(seed)
        self._share = share

    def __call__(self, story: Story, at: int) -> None:
        """What happens before sync number ``at``."""
        truth, chance = story.truth, self._chance
        number = max(2, int(len(truth.rows) * self._share))
        for one in chance.sample(sorted(truth.rows), number):
            story.delete(one, log=at % 5 != 3)
        for one in chance.sample(sorted(truth.deleted), min(number // 2, len(truth.deleted))):
            story.undelete(one)
        for one in chance.sample(sorted(truth.rows), number // 2):
            story.reclassify(one)
        for one in chance.sample(sorted(truth.reclassified), min(number // 3, len(truth.reclassified))):
            story.take_back(one)
        for one in chance.sample(sorted(truth.rows), number // 2):
            self._change(story, one)

    def _change(self, story: Story, number: str) -> None:
        """The clock stands still, and the count tells it; or both go back, as when an old version is restored."""
        row = story.truth.rows[number]
        count = int(row["sys_mod_count"])
        match self._chance.randrange(3):
            case 0:
                active = "false" if row["active"] == "true" else "true"
                story.change(number, active=active, sys_mod_count=str(count + 100))
            case 1:
                old = datetime.fromisoformat(row["sys_updated_on"]) - timedelta(days=self._chance.randint(1, 9))
                story.change(number, sys_updated_on=f"{old:{STORED}}", sys_mod_count=str(max(0, count - 1)))
            case _:
                text = f"changed {self._chance.random():.3f}"
                story.change(number, category=text, sys_mod_count=str(count + 1))


WAYS = {"by_log": ("audit", ""), "by_keys": ("keys", ""), "by_both": ("both", "active=true")}


def fateful(
    log: Path,
    versions: list[Version],
    folder: Path,
    seed: int,
    deltas: int,
    tell: Tell,
    *,
    ways: Collection[str] = tuple(WAYS),
) -> Story:
    """The same with deletions and what else is done to rows, late commits, and each way to find deletions."""
    with begun(log, versions, folder, late=late_versions(0.05, LATE, seed)) as story:
        for name in ways:
            deletes, query = WAYS[name]
            story.side(name, deletes=deletes, query=query)
        told(story, seed, deltas, tell, Fate(seed))
        return story

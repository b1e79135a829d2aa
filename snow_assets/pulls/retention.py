"""Retention: what of a pull is older than its ``keep`` goes, unless something that stays names it.

What a version of the dataset's table names stays while the version is kept, and with it time travel to any moment that
is younger than ``keep``. Every step can be repeated: after a kill the next call removes what is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from snow_assets.config import PullConfig
from snow_assets.errors import ConfigError, LandingError
from snow_assets.pulls.compaction import COMPACTED
from snow_assets.pulls.current import current, home_of, vacuum
from snow_assets.pulls.dataset import open_table
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.marks import FOLDER as MARKS
from snow_assets.pulls.plan import moment_of, plan_in
from snow_assets.pulls.stores import RETIRED, Store
from snow_assets.pulls.swept import FOLDER as SWEEPS
from snow_assets.pulls.table_log import TableLog, Version


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed or, of a dry run, would be. ``before`` (aware, UTC): what was of use after it stays.

    ``plans`` went with their folders; ``files`` are paths or URLs of single files besides, ``size`` the bytes of both.
    ``versions`` of the dataset's table can no longer be read. ``partition_keys`` are those of the plans. ``stays``
    tells of each plan that is older, and why it is left alone.
    """

    pull: str
    before: datetime
    plans: tuple[str, ...]
    files: tuple[str, ...]
    size: int
    versions: tuple[int, ...]
    partition_keys: tuple[str, ...]
    stays: tuple[str, ...]
    dry_run: bool

    @property
    def nothing(self) -> bool:
        """Whether there was nothing to remove."""
        return not (self.plans or self.files or self.versions)


@dataclass
class _Found:
    """What can go: names of plans, of files in the landing and beside it, and versions before ``first``."""

    first: int = 0
    versions: list[int] = field(default_factory=list)
    plans: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    beside: list[tuple[str, str]] = field(default_factory=list)
    stays: list[str] = field(default_factory=list)


def prune(landing: Landing, pull: PullConfig, now: datetime, *, dry_run: bool = False) -> Pruned:
    """Remove what is older than the pull's ``keep`` at ``now`` (aware). Whoever calls this holds the lease.

    The newest plan stays, finished or not, and so does what a kept version of the dataset's table names. A dry run
    changes nothing. Raises ``ConfigError`` where the pull keeps everything, and ``LandingError`` where a log cannot be
    read or a file cannot be removed.
    """
    keep = keep_of(pull)
    table = open_table(landing)
    log = TableLog(landing) if table is not None else None
    sizes = landing.store.sizes("")
    found = _find(landing, log, now - keep, sizes)
    keys = tuple(key for plan_id in found.plans for key in _partition_keys(landing, plan_id))
    pruned = Pruned(
        pull=landing.pull,
        before=now - keep,
        plans=tuple(found.plans),
        files=tuple(_uris(landing, found)),
        size=_size(landing, found, sizes),
        versions=tuple(found.versions),
        partition_keys=keys,
        stays=tuple(found.stays),
        dry_run=dry_run,
    )
    if not dry_run:
        _remove(landing, log, found)
    return _with_current(landing, pruned, now - min(keep, timedelta(seconds=pull.keep_current)))


def prune_current(landing: Landing, pull: PullConfig, now: datetime, *, dry_run: bool = False) -> list[str]:
    """Remove files of current rows that were replaced longer than ``keep_current`` ago; returns where they lay.

    Each sync rewrites some of them, so they would fill the disk also where a pull keeps everything else. Raises
    ``LandingError``.
    """
    gone = vacuum(landing, now - timedelta(seconds=pull.keep_current), dry_run=dry_run)
    return [home_of(landing).store.uri(path) for path in gone]


def keep_of(pull: PullConfig) -> timedelta:
    """For how long old things stay. Raises ``ConfigError`` where they stay for ever."""
    if pull.keep is None:
        hint = "set keep: 30d in pulls.yaml, or say --keep 30d"
        raise ConfigError("keeps everything: it has no keep", key="pull", value=pull.name, hint=hint)
    return timedelta(seconds=pull.keep)


def _find(landing: Landing, log: TableLog | None, before: datetime, sizes: dict[str, int]) -> _Found:
    found = _Found()
    kept = log.kept_since(before) if log else []
    named = log.named(kept) if log else set()
    per_folder = Counter(path.partition("/")[0] for path in named)
    if log and kept:
        found.first = kept[0].number
        found.versions = [version.number for version in log.versions if version.number < found.first]
        found.files += log.files_before(found.first)
    plan_ids = landing.taken_ids()
    now = current(landing)
    newest = max((version.ours["plan"] for version in kept if "plan" in version.ours), default="")
    for plan_id in plan_ids:
        if moment_of(plan_id) >= before:
            continue
        why = _why_kept(plan_id, kept, per_folder[plan_id], is_unfinished=plan_id == plan_ids[-1] > newest)
        if now is not None and plan_id == now.plan:
            why = "is what the current rows are of"
        if not why:
            found.plans.append(plan_id)
            continue
        found.stays.append(f"plan {plan_id} {why}")
        if plan_id <= newest:
            files = [path for path in sizes if path.startswith(f"{plan_id}/")]
            found.files += sorted(path for path in files if _is_idle(path, named, is_newest=plan_id == newest))
    found.files += sorted(path for path in sizes if path.startswith(f"{COMPACTED}/") and _is_idle(path, named))
    found.files += sorted(path for path in sizes if path.startswith(RETIRED))
    found.beside = [*_idle_marks(landing, kept, before), *_idle_sweeps(landing, newest, before)]
    return found


def _why_kept(plan_id: str, kept: list[Version], count: int, *, is_unfinished: bool) -> str:
    """Why a plan stays, whatever its age; ``""`` where it can go. ``count`` of its files are named by kept versions."""
    if is_unfinished:
        return "is the newest and not published: it can go on"
    if count:
        return f"has {count} {'file' if count == 1 else 'files'} that a kept version of the table names"
    if any(plan_id in (version.ours.get("plan"), version.ours.get("base")) for version in kept):
        return "belongs to a kept version of the table"
    return ""


def _is_idle(path: str, named: set[str], *, is_newest: bool = False) -> bool:
    """Whether a file of a published plan is of no use: set aside, or named by no kept version."""
    name = PurePosixPath(path).name
    if name.startswith("."):
        return False  # being written, or a dead run's: swept
    return name.endswith(".damaged") or (name.endswith(".parquet") and path not in named and not is_newest)


def _idle_marks(landing: Landing, kept: list[Version], before: datetime) -> Iterator[tuple[str, str]]:
    """Marks of plans before the base that the oldest kept version began with."""
    ours = kept[0].ours if kept else {}
    oldest = ours.get("base") or ours.get("plan", "")
    for name in landing.beside(MARKS).list(""):
        plan_id = plan_in(name)
        if plan_id and plan_id < oldest and moment_of(plan_id) < before:
            yield MARKS, name


def _idle_sweeps(landing: Landing, newest: str, before: datetime) -> Iterator[tuple[str, str]]:
    """Swept keys of plans that were published since: a sweep that ended leaves none."""
    for name in landing.beside(SWEEPS).list(""):
        plan_id = plan_in(name)
        if plan_id and plan_id <= newest and moment_of(plan_id) < before:
            yield SWEEPS, name


def _partition_keys(landing: Landing, plan_id: str) -> Iterable[str]:
    try:
        return landing.read_plan(plan_id).partition_keys
    except LandingError:  # it has no plan.json that could be read: keys are cleaned up by the plans that are left
        return ()


def _uris(landing: Landing, found: _Found) -> Iterator[str]:
    yield from (landing.store.uri(path) for path in found.files)
    yield from (landing.beside(what).uri(name) for what, name in found.beside)


def _size(landing: Landing, found: _Found, sizes: dict[str, int]) -> int:
    gone, files = set(found.plans), set(found.files)
    own = sum(size for path, size in sizes.items() if path in files or path.partition("/")[0] in gone)
    return own + sum(_size_beside(landing.beside(what), name) for what, name in found.beside)


def _size_beside(store: Store, name: str) -> int:
    return sum(store.sizes(name).values()) if name.endswith("/") else store.size(name)


def _remove(landing: Landing, log: TableLog | None, found: _Found) -> None:
    """The log first: a version whose files are gone must not be offered to readers."""
    if log is not None and found.versions:
        log.cut(found.first)
    for plan_id in found.plans:
        landing.remove_plan(plan_id)
    for path in found.files:
        if not path.startswith(RETIRED):
            landing.store.remove(path)
    for what, name in found.beside:
        store = landing.beside(what)
        if name.endswith("/"):
            store.remove_folder(name.rstrip("/"))
        else:
            store.remove(name)
    landing.sweep()


def _with_current(landing: Landing, pruned: Pruned, before: datetime) -> Pruned:
    """Also the files of the table of current rows that no kept version of it names, and of its log."""
    home = home_of(landing)
    sizes = home.store.sizes("")
    gone = vacuum(landing, before, dry_run=pruned.dry_run)
    size = sum(sizes.get(path, 0) for path in gone)
    files = tuple(home.store.uri(path) for path in gone)
    return replace(pruned, files=(*pruned.files, *files), size=pruned.size + size)

"""The log of a dataset's table, as those who keep it small need it: which versions there are, and what they name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import msgspec
import pyarrow as pa
from deltalake import DeltaTable

from snow_assets.pulls.dataset import PREFIX, log_of
from snow_assets.pulls.landing import Landing

LOG = "_delta_log"
_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\..*parquet")


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a table. ``at`` is when it was committed; ``ours`` is our part of its metadata, often empty."""

    number: int
    at: datetime
    ours: Mapping[str, str]
    added: frozenset[str]


class TableLog:
    """The versions that can be read, oldest first. Opening it reads the log's JSON files; raises ``LandingError``."""

    def __init__(self, landing: Landing) -> None:
        self._landing = landing
        self._names = landing.store.list(LOG)
        with log_of(landing):
            self.versions = list(self._read())

    def _read(self) -> Iterator[Version]:
        commits = self._numbers(_COMMIT)
        checkpoints = self._numbers(_CHECKPOINT)
        oldest = 0 if commits and commits[0] == 0 else min(checkpoints, default=0)
        at = datetime.fromtimestamp(0, UTC)
        if checkpoints and oldest not in commits:
            yield Version(oldest, at, {}, frozenset())  # its commit was cleaned up
        for number in commits:
            lines = self._landing.store.read(f"{LOG}/{number:020}.json").splitlines()
            actions = [msgspec.json.decode(line) for line in lines if line.strip()]
            infos: list[dict[str, Any]] = [action["commitInfo"] for action in actions if "commitInfo" in action]
            at = next((datetime.fromtimestamp(info["timestamp"] / 1000, UTC) for info in infos), at)
            if number < oldest:
                continue  # no checkpoint to start from: a kill came while it was removed
            ours = {
                key.removeprefix(PREFIX): str(info[key]) for info in infos for key in info if key.startswith(PREFIX)
            }
            yield Version(number, at, ours, frozenset(unquote(a["add"]["path"]) for a in actions if "add" in a))

    def _numbers(self, pattern: re.Pattern[str]) -> list[int]:
        found = (pattern.fullmatch(name) for name in self._names)
        return sorted(int(match[1]) for match in found if match)

    def kept_since(self, moment: datetime) -> list[Version]:
        """The versions that a reader at ``moment`` or later could see, oldest first.

        The first bears metadata of ours, where any before it does: the next pull goes on from there.
        """
        first = max((at for at, version in enumerate(self.versions) if version.at <= moment), default=0)
        ours = max((at for at, version in enumerate(self.versions[: first + 1]) if version.ours), default=0)
        return self.versions[ours:]

    def named(self, kept: list[Version]) -> set[str]:
        """Paths, relative to the landing, of the files that any of these consecutive versions names."""
        if not kept:
            return set()
        with log_of(self._landing):
            table = DeltaTable(self._landing.delta_location, version=kept[0].number)
            paths: set[str] = set(pa.table(table.get_add_actions()).column("path").to_pylist())
        return paths.union(*(version.added for version in kept))

    def files_before(self, number: int) -> list[str]:
        """Paths of the log's files that only versions before ``number`` need, oldest first."""
        matches = ((_COMMIT.fullmatch(name) or _CHECKPOINT.fullmatch(name)) for name in self._names)
        old = sorted((int(match[1]), match[0]) for match in matches if match and int(match[1]) < number)
        return [f"{LOG}/{name}" for _, name in old]

    def cut(self, number: int) -> None:
        """Forget the versions before ``number``, which gets a checkpoint first: a kill leaves a log that is whole."""
        old = self.files_before(number)
        if not old:
            return
        with log_of(self._landing):
            DeltaTable(self._landing.delta_location, version=number).create_checkpoint()
        for path in old:
            self._landing.store.remove(path)

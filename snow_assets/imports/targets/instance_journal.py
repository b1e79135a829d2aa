"""How far an import set came into an instance: a journal beside its rows, forced to the disk with every chunk.

An instance has no transaction with us. What is about to be sent is written down before, what came of it after: whoever
takes up a set whose run died knows which rows are done, and what the others were meant to become.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from snow_assets.imports.targets.instance_values import Outcome
from snow_assets.pulls.stores import settle


class Journal:
    """The journal of one set. ``salt``: what the sys_ids of its new records are made of."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self.path = path
        self.id = str(head["id"])
        self.reprocess = bool(head["reprocess"])
        self.salt = str(head["salt"])
        self.done_until = 0  # the last row that is done
        self.plan: dict[str, Any] = {}  # of the chunk that was under way
        self.notes: list[Any] = []

    @classmethod
    def found(cls, path: Path) -> Journal | None:
        """The journal that lies there; a last line that was not written whole is cut off."""
        if not path.exists():
            return None
        _cut_torn(path)
        lines = _lines(path)
        head = next(lines, None)
        if head is None:
            return None
        journal = cls(path, head)
        for line in lines:
            if "done" in line:
                if line["done"]:
                    journal.done_until = line["done"][-1][0]
                journal.plan = {}
            journal.plan = line.get("plan", journal.plan)
            if "note" in line:
                journal.notes.append(line["note"])
        return journal

    @classmethod
    def begin(cls, path: Path, *, reprocess: bool, salt: str = "") -> Journal:
        """A new one, in the place of whatever lies there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        name = uuid.uuid4().hex
        head = {"id": name, "reprocess": reprocess, "salt": salt or name}
        write_whole(path, json.dumps(head) + "\n")
        return cls(path, head)

    def planned(self, plan: dict[str, Any]) -> None:
        """What the rows of the next chunk are to become."""
        self._append({"plan": plan})

    def noted(self, note: Any) -> None:
        """Something to be known again."""
        self.notes.append(note)
        self._append({"note": note})

    def done(self, outcomes: Sequence[Outcome]) -> None:
        """A chunk is done."""
        self._append({"done": [each.as_list() for each in outcomes]})
        self.plan = {}

    def outcomes(self) -> Iterator[list[Outcome]]:
        """What became of the rows, a chunk at a time, in their order."""
        for line in _lines(self.path):
            if "done" in line:
                yield [Outcome(*each) for each in line["done"]]

    def forget(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)

    def _append(self, line: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def write_whole(path: Path, content: str) -> None:
    """Write a file that is there whole or not at all, also after the machine died."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with scratch.open("w", encoding="utf-8") as file:
            file.write(content)
        settle(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _cut_torn(path: Path) -> None:
    with path.open("rb+") as file:
        size = good = 0
        for line in file:
            size += len(line)
            if line.endswith(b"\n"):
                with suppress(ValueError):
                    json.loads(line)
                    good = size
        if good < size:
            file.truncate(good)

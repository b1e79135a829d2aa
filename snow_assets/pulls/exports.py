"""Exports: files that are made of published rows and lie beside the landing, with a manifest that is replaced last.

An export is named by its plan, ``<plan_id>`` or ``<plan_id>-<number>``, and its files ``<export>.<ending>``. The
manifest names only what is whole. A file that a dead run finished is noted beside it with its hash, and adopted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from snow_assets.errors import LandingError
from snow_assets.pulls.stores import PERSON, Store, sha256_of

_NOTES: Final = "parts.json"
_FILE: Final = re.compile(r"(\d{8}T\d{6}Z(?:-\d+)?)\.((?:[a-z]+\.)?(?:parquet|jsonl|json))")

Manifest = TypeVar("Manifest")


@dataclass(frozen=True, slots=True)
class ExportFile:
    """A file of an export: its name beside the manifest, where it is, bytes, SHA-256 in hex, rows."""

    name: str
    location: str
    size: int
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Written:
    """What was written to a file: its rows, and what else is to be known of it where it is adopted."""

    rows: int
    facts: Mapping[str, str] = field(default_factory=dict)


class Parts:
    """The files of one export in the making.

    ``inputs`` tells from what they are made: a file that was made from something else is not adopted. ``again``
    adopts none.
    """

    def __init__(self, store: Store, export: str, *, inputs: str = "", again: bool = False) -> None:
        self.store = store
        self._export, self._inputs = export, inputs
        self._notes = f"{export}.{_NOTES}"
        self._finished: dict[str, dict[str, Any]] = {} if again else self._read_notes()

    def part(self, ending: str, write: Callable[[Path], Written]) -> ExportFile:
        """The file ``<export>.<ending>``; ``write`` fills a scratch file where there is none that is whole."""
        name = f"{self._export}.{ending}"
        if self._is_whole(name):
            return self._file(name)
        self._finished.pop(name, None)
        scratch = self.store.scratch(name)
        try:
            with _told(self.store):
                written = write(scratch)
            self.store.replace(scratch, name)
        finally:
            scratch.unlink(missing_ok=True)
        size, sha256 = self.store.size(name), sha256_of(self.store, name)
        self._finished[name] = {"size": size, "sha256": sha256, "rows": written.rows, "facts": dict(written.facts)}
        noted = {"inputs": self._inputs, "files": self._finished}
        self.store.write(self._notes, msgspec.json.encode(noted))
        return self._file(name)

    def fact(self, file: ExportFile, name: str) -> str:
        """What ``write`` told of a file, now or when it was written."""
        return str(self._finished[file.name]["facts"][name])

    def _is_whole(self, name: str) -> bool:
        """Whether a dead run finished the file, and every byte of it is as it was."""
        noted = self._finished.get(name)
        with suppress(FileNotFoundError):
            return bool(
                noted and self.store.size(name) == noted["size"] and sha256_of(self.store, name) == noted["sha256"]
            )
        return False

    def _file(self, name: str) -> ExportFile:
        noted = self._finished[name]
        return ExportFile(name, self.store.uri(name), noted["size"], noted["sha256"], noted["rows"])

    def _read_notes(self) -> dict[str, dict[str, Any]]:
        try:
            noted = msgspec.json.decode(self.store.read(self._notes), type=dict[str, Any])
        except (FileNotFoundError, msgspec.DecodeError):
            return {}
        files = noted.get("files")
        return files if noted.get("inputs") == self._inputs and isinstance(files, dict) else {}


def read_manifest(store: Store, name: str, kind: type[Manifest]) -> Manifest | None:
    """The manifest of the newest export, or ``None``. Raises ``LandingError`` where it is damaged."""
    try:
        content = store.read(name)
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        hint = "move it away, and export again"
        raise LandingError("is damaged", key="file", value=store.uri(name), hint=hint) from error


def write_manifest(store: Store, name: str, content: Mapping[str, Any]) -> None:
    """Replace the manifest: from now on it names this export."""
    store.write(name, msgspec.json.format(msgspec.json.encode(content), indent=1))


def are_there(store: Store, files: Sequence[ExportFile]) -> bool:
    """Whether files lie there in their size."""
    try:
        return all(store.size(file.name) == file.size for file in files)
    except FileNotFoundError:
        return False


def exports_at(store: Store) -> dict[str, str]:
    """The export of each file that belongs to one, by the file's name."""
    return {name: match[1] for name in store.list("") if (match := _FILE.fullmatch(name))}


def finished_exports(store: Store) -> set[str]:
    """The exports of which files are there, but for those in the making."""
    found = exports_at(store)
    return set(found.values()) - {export for name, export in found.items() if name.endswith(_NOTES)}


def drop_notes(store: Store, export: str) -> None:
    """Forget what was noted of an export in the making."""
    name = f"{export}.{_NOTES}"
    with suppress(FileNotFoundError):
        store.size(name)
        store.remove(name)


def prune(store: Store, kept: Container[str], files: Container[str] = ()) -> None:
    """Remove the files of all but the kept exports, but for those named, and the notes of finished parts."""
    for name, export in exports_at(store).items():
        if name.endswith(_NOTES) or (export not in kept and name not in files):
            store.remove(name)


@contextmanager
def _told(store: Store) -> Iterator[None]:
    """Name the folder where the disk needs a person: it, or the temporary folder, is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in PERSON:
            raise
        raise LandingError(
            f"cannot be written: {os.strerror(error.errno)}",
            key="data",
            value=store.location,
            hint="make room there and in the temporary folder (TMPDIR); what was finished is not written again",
        ) from error

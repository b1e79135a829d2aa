"""Where a landing lies: a local folder or an object store, behind the few operations that a landing needs."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.errors import LandingError

# What a damaged or foreign file raises when its footer is read (pyarrow's errors are OSError and ValueError too; an
# OSError with an errno comes from the system).
DAMAGED = (pa.ArrowException, OSError, ValueError, KeyError, TypeError)
_MISREAD = re.compile(r"%[0-9A-Fa-f]{2}|\\")  # in a path: deltalake decodes it once too often and looks elsewhere


class Store(Protocol):
    """Files by relative path. Every write is whole or absent."""

    location: str  # as people write it
    delta_location: str  # as Delta readers take it: a URL, quoted

    def check_writable(self) -> None:
        """Raise ``LandingError`` where a write would fail, as far as can be told without one."""
        ...

    def list(self, folder: str) -> list[str]:
        """Names in a folder, sorted, temporary ones left out; folders end in ``/``. Empty where there is none."""
        ...

    def read(self, path: str) -> bytes:
        """A file's bytes. Raises ``FileNotFoundError``."""
        ...

    def write(self, path: str, content: bytes) -> None:
        """Replace a file."""
        ...

    def create(self, path: str, content: bytes) -> None:
        """Write a file that must not exist. Raises ``FileExistsError``."""
        ...

    def scratch(self, path: str) -> Path:
        """A local path to write a large file to, before ``commit``."""
        ...

    def commit(self, scratch: Path, path: str) -> None:
        """Make a scratch file durable under its name, which must be new. Raises ``FileExistsError``."""
        ...

    def remove_scratch(self, folder: str) -> None:
        """Remove what dead runs left of the slices of a folder, whose slices have all landed."""
        ...

    def parquet(self, path: str) -> pq.ParquetFile:
        """Open a Parquet file. Raises one of ``DAMAGED``."""
        ...

    def size(self, path: str) -> int:
        """Bytes of a file. Raises ``FileNotFoundError``."""
        ...

    def uri(self, path: str) -> str:
        """Where people and other programs find a file."""
        ...

    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all that is in it; nothing where there is none."""
        ...


class LocalStore:
    """A local folder. Writes go to a temporary file first: written, synced, renamed, and the folder synced."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.location = str(self.root)
        self.delta_location = self.root.as_uri()

    def check_writable(self) -> None:
        """See ``Store``."""
        if _MISREAD.search(self.location):
            raise self._unusable("a backslash, or % before two hex digits, is misread by Delta readers")
        nearest = next(folder for folder in (self.root, *self.root.parents) if os.path.lexists(folder))
        if not nearest.is_dir():
            raise self._unusable(f"{nearest} is not a folder")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise self._unusable(f"{nearest} is not writable")
        if os.statvfs(nearest).f_flag & os.ST_RDONLY:
            raise self._unusable(f"{nearest} is on a read-only file system")

    def list(self, folder: str) -> list[str]:
        """See ``Store``."""
        try:
            entries = list(os.scandir(self.root / folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(entry.name + "/" * entry.is_dir() for entry in entries if not entry.name.startswith("."))

    def read(self, path: str) -> bytes:
        """See ``Store``."""
        return (self.root / path).read_bytes()

    def write(self, path: str, content: bytes) -> None:
        """See ``Store``."""
        scratch = self.scratch(path)
        target = self.root / path
        scratch.write_bytes(content)
        _sync(scratch)
        scratch.replace(target)
        _sync(target.parent)

    def create(self, path: str, content: bytes) -> None:
        """See ``Store``."""
        scratch = self.scratch(path)
        try:
            scratch.write_bytes(content)
            self.commit(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)

    def scratch(self, path: str) -> Path:
        """See ``Store``."""
        target = self.root / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error.strerror or "cannot be created") from error
        return target.parent / f".{target.name}.{os.getpid()}-{uuid4().hex[:8]}.tmp"

    def commit(self, scratch: Path, path: str) -> None:
        """See ``Store``."""
        target = self.root / path
        _sync(scratch)
        os.link(scratch, target)
        scratch.unlink()
        _sync(target.parent)

    def remove_scratch(self, folder: str) -> None:
        """See ``Store``."""
        for scratch in (self.root / folder).glob(".*.parquet.*.tmp*"):
            with suppress(OSError):
                scratch.unlink()

    def parquet(self, path: str) -> pq.ParquetFile:
        """See ``Store``."""
        return pq.ParquetFile(self.root / path, page_checksum_verification=True)

    def size(self, path: str) -> int:
        """See ``Store``."""
        return (self.root / path).stat().st_size

    def uri(self, path: str) -> str:
        """See ``Store``."""
        return str(self.root / path)

    def remove_folder(self, folder: str) -> None:
        """See ``Store``."""
        shutil.rmtree(self.root / folder, ignore_errors=True)
        with suppress(OSError):
            self.root.rmdir()  # only when nothing else is left

    def _unusable(self, why: str) -> LandingError:
        return LandingError(
            why, key="data", value=self.location, hint="choose another folder with --data or SNOW_DATA_DIR"
        )


def open_store(data: str, pull: str) -> Store:
    """The store of a pull's landing below ``data``, a folder or a URL."""
    if "://" not in data:
        return LocalStore(Path(data) / pull)
    scheme, _, rest = data.partition("://")
    if scheme == "file":
        return LocalStore(Path(unquote(rest)) / pull)
    try:
        from snow_assets.pulls.object_store import ObjectStore  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise LandingError(
            "is a URL of an object store, which needs the extra [cloud]",
            key="data",
            value=data,
            hint="pip install 'snow_assets[cloud]'",
        ) from error
    return ObjectStore(f"{data.rstrip('/')}/{pull}")


def _sync(path: Path) -> None:
    """Sync a file or a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

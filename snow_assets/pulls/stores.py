"""Where a landing lies: a local folder or an object store, behind the few operations that a landing needs."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
# What the system says when the disk needs a person. EFBIG: a quota or a limit on the size of files.
PERSON = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR,
)  # fmt: skip
_CHUNK = 1 << 20
RETIRED = ".retired-"  # before the name of a folder that is being removed
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

    def replace(self, scratch: Path, path: str) -> None:
        """Like ``commit``, in place of the file of that name, if there is one. Readers see the old one or the new."""
        ...

    def chunks(self, path: str) -> Iterator[bytes]:
        """A file's bytes, some at a time. Raises ``FileNotFoundError``."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file; nothing where there is none."""
        ...

    def remove_scratch(self, folder: str = "") -> None:
        """Remove what dead runs left in a folder, of which nobody may be writing; in the root: of removed folders."""
        ...

    def parquet(self, path: str) -> pq.ParquetFile:
        """Open a Parquet file. Raises one of ``DAMAGED``."""
        ...

    def size(self, path: str) -> int:
        """Bytes of a file. Raises ``FileNotFoundError``."""
        ...

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of every file below a folder, by path in the store; also hidden ones. Empty where there is none."""
        ...

    def uri(self, path: str) -> str:
        """Where people and other programs find a file."""
        ...

    def set_aside(self, path: str) -> str:
        """Take a damaged file out of use, with its content; returns its new path."""
        ...

    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all that is in it; nothing where there is none. A kill leaves it whole or gone."""
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
        try:
            with self._writing():
                scratch.write_bytes(content)
                settle(scratch, target)
        finally:
            scratch.unlink(missing_ok=True)

    def create(self, path: str, content: bytes) -> None:
        """See ``Store``."""
        scratch = self.scratch(path)
        try:
            with self._writing():
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
        with self._writing():
            sync(scratch)
            os.link(scratch, target)
            scratch.unlink()
            sync(target.parent)

    def replace(self, scratch: Path, path: str) -> None:
        """See ``Store``."""
        with self._writing():
            settle(scratch, self.root / path)

    def chunks(self, path: str) -> Iterator[bytes]:
        """See ``Store``."""
        with (self.root / path).open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def remove(self, path: str) -> None:
        """See ``Store``."""
        with self._writing():
            (self.root / path).unlink(missing_ok=True)

    def remove_scratch(self, folder: str = "") -> None:
        """See ``Store``."""
        for scratch in (self.root / folder).glob(".*.tmp*"):
            with suppress(OSError):
                scratch.unlink()
        if folder:
            with suppress(OSError):
                (self.root / folder).rmdir()  # only where a kill came before anything was written
        for retired in () if folder else self.root.glob(f"{RETIRED}*"):
            shutil.rmtree(retired, ignore_errors=True)

    def parquet(self, path: str) -> pq.ParquetFile:
        """See ``Store``."""
        return pq.ParquetFile(self.root / path, page_checksum_verification=True)

    def size(self, path: str) -> int:
        """See ``Store``."""
        return (self.root / path).stat().st_size

    def sizes(self, folder: str) -> dict[str, int]:
        """See ``Store``."""
        found = {}
        for path in (self.root / folder).rglob("*"):
            with suppress(FileNotFoundError):  # whoever writes renames
                if not path.is_dir():
                    found[path.relative_to(self.root).as_posix()] = path.lstat().st_size
        return found

    def uri(self, path: str) -> str:
        """See ``Store``."""
        return str(self.root / path)

    def set_aside(self, path: str) -> str:
        """See ``Store``."""
        aside = f"{path}.damaged"
        with self._writing():
            (self.root / path).replace(self.root / aside)
        return aside

    def remove_folder(self, folder: str) -> None:
        """See ``Store``."""
        retired = self.root / f"{RETIRED}{folder}-{uuid4().hex[:8]}"
        with suppress(FileNotFoundError), self._writing():
            (self.root / folder).rename(retired)
        shutil.rmtree(retired, ignore_errors=True)
        with suppress(OSError):
            self.root.rmdir()  # only when nothing else is left

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Name the folder where the disk needs a person: it is full, or not ours to write."""
        try:
            yield
        except OSError as error:
            if error.errno not in PERSON:
                raise
            raise LandingError(
                f"cannot be written: {error.strerror}",
                key="data",
                value=self.location,
                hint="make room, or give the right to write; what landed stays",
            ) from error

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


def sha256_of(store: Store, path: str) -> str:
    """The SHA-256 of a file, in hex. Raises ``FileNotFoundError``."""
    digest = hashlib.sha256()
    for chunk in store.chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Sync a file or a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def settle(scratch: Path, path: Path) -> None:
    """Give a written file its name, durably."""
    sync(scratch)
    scratch.replace(path)
    sync(path.parent)

"""One driver at a time: whoever works on a pull holds its lease; whoever meets a live one leaves the pull alone."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from snow_assets.errors import LandingError, LeaseHeld
from snow_assets.pulls.landing import Landing

PROBE_SECONDS = 1.0  # whoever asks for the holder has the lock for an instant; a live run has it for longer
_entering = threading.Lock()


def _lock_path(landing: Landing) -> Path:
    """Beside a local landing; for an object store, in this machine's temporary folder."""
    if landing.is_local:
        root = Path(landing.location)
        return root.parent / f".{root.name}.lease"
    name = hashlib.sha256(landing.location.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"snow_assets-{name}.lease"


@contextmanager
def lease(landing: Landing, holder: str, *, alone: bool = False) -> Iterator[None]:
    """Hold the pull's lease while the block runs. Re-entrant in one process; freed by the system when it dies.

    Raises ``LeaseHeld``, which names the holder, where another process has it, or, with ``alone``, this one. The lock
    file goes with the lease.
    """
    path = _lock_path(landing)
    made = _make_folders(path.parent)
    lock = FileLock(path, is_singleton=True, thread_local=False)
    try:
        with _told(landing, path), _entering:
            if alone and lock.is_locked:
                raise Timeout(str(path))
            lock.acquire(timeout=PROBE_SECONDS)
    except Timeout:
        raise LeaseHeld(
            f"is being worked on by {lease_holder(landing) or 'another run'}",
            key="pull",
            value=landing.pull,
            hint="wait for it to end",
        ) from None
    try:
        if lock.lock_counter == 1:
            with _told(landing, path):
                _note(path).write_text(holder)
        yield
    finally:
        if lock.lock_counter == 1:
            _note(path).unlink(missing_ok=True)
            path.unlink(missing_ok=True)  # filelock sees that a file it waited for is gone, and opens the new one
        lock.release()
        _remove_empty(made)


def lease_holder(landing: Landing) -> str | None:
    """Who holds the lease of the pull right now; ``None`` where nobody does."""
    path = _lock_path(landing)
    try:
        handle = os.open(path, os.O_RDONLY)  # whoever may only read the data may still ask
    except FileNotFoundError:
        return None
    except OSError:
        return "another run"  # of somebody else, who keeps it to himself
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _read(_note(path)) or "another run"
    finally:
        os.close(handle)
    return None


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder and its parents; returns those that were made, deepest first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LandingError(
            error.strerror or "cannot be created",
            key="data",
            value=folder,
            hint="choose another folder with --data or SNOW_DATA_DIR",
        ) from error
    return missing


def _remove_empty(folders: list[Path]) -> None:
    """Leave nothing behind where nothing was landed."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _note(path: Path) -> Path:
    return path.with_name(path.name + "-holder")


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


@contextmanager
def _told(landing: Landing, path: Path) -> Iterator[None]:
    """What the system says of the lock file, as an error of ours."""
    try:
        yield
    except Timeout:
        raise
    except OSError as error:
        raise LandingError(
            f"cannot be locked: {error.strerror or type(error).__name__}",
            key="file",
            value=path,
            hint=f"see that files can be made beside {landing.location}, and that this one is a file",
        ) from error

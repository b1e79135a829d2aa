"""Which files a source is made of, what they are called, and what their columns may be."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from snow_assets.config import Environment
from snow_assets.config_models import nearest
from snow_assets.errors import ConfigError, SourceError
from snow_assets.imports.contract import MAPPED, STAGED

RESERVED = frozenset([*STAGED.names, *MAPPED.names])


def files_of(kind: str, patterns: Sequence[str], environment: Environment) -> dict[str, Path]:
    """The files that the patterns find, sorted by name. Keys are what they are called: from the working folder.

    Raises ``ConfigError`` where a pattern finds none, or one cannot be read.
    """
    found: dict[str, Path] = {}
    for pattern in patterns:
        whole = environment.cwd / Path(pattern).expanduser()
        files = [path for path in ([whole] if whole.is_file() else _matching(whole, environment.cwd)) if path.is_file()]
        if not files:
            hint = f"looked from {environment.cwd}"
            raise ConfigError("no file is there", key=f"source.{kind}", value=pattern, hint=hint)
        found.update((_name(path, environment.cwd), path) for path in files)
    for name, path in found.items():
        with opening(kind, name), path.open("rb"):
            pass
    return dict(sorted(found.items()))


def _matching(pattern: Path, folder: Path) -> list[Path]:
    """What a glob finds; brackets in the name of the working folder are no pattern."""
    inside = pattern.is_relative_to(folder)
    wanted = str(pattern.relative_to(folder) if inside else pattern)
    return [folder / each for each in glob.glob(wanted, root_dir=folder, recursive=True)]  # noqa: PTH207


def _name(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


@contextmanager
def opening(kind: str, name: str) -> Iterator[None]:
    """Turn a fault of the operating system into a ``ConfigError`` that names the file."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"cannot be read: {reason}", key=f"source.{kind}", value=name) from error


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn a fault while rows are read into a ``SourceError`` that names the file."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "its data are damaged"
        raise SourceError(f"cannot be read: {reason}", key="source", value=name) from error


def version(name: str, path: Path) -> tuple[int, int, int]:
    """What differs when a file was written to or replaced."""
    with reading(name):
        status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def named(header: Sequence[str]) -> list[str]:
    """The names of the columns; one that has none is called by its place."""
    return [name if name.strip() else f"column_{number}" for number, name in enumerate(header, 1)]


def check_columns(columns: Sequence[str], where: str) -> None:
    """Raise ``ConfigError`` for names that stand twice, or that are kept for what staging adds."""
    seen: dict[str, str] = {}
    for name in columns:
        lower = name.lower()
        if not name.strip():
            raise ConfigError("has no name", key="column", value=name, hint=f"{where}; give it one")
        if lower in RESERVED:
            message = "is the name of a column that staging adds itself"
            raise ConfigError(message, key="column", value=name, hint=f"{where}; give it another name")
        if lower in seen:
            message = "stands twice" if seen[lower] == name else f"differs from {seen[lower]} by case only"
            raise ConfigError(message, key="column", value=name, hint=f"{where}; column names must differ")
        seen[lower] = name


def same_columns(columns: Mapping[str, Sequence[str]]) -> None:
    """Raise ``ConfigError`` where files have other columns than the first; their order does not matter."""
    first, *others = columns
    for name in others:
        for lacking, there in ((name, first), (first, name)):
            missing = [column for column in columns[there] if column not in columns[lacking]]
            if missing:
                message = f"is not in {lacking}, but in {there}"
                close = _close(missing[0], columns[lacking])
                hint = f"{close}the files of one source need the same columns"
                raise ConfigError(message, key="column", value=missing[0], hint=hint)


def check_needed(needed: Mapping[str, str], columns: Sequence[str], where: str) -> None:
    """Raise ``ConfigError`` where a column that the import needs is not in the source. Values: who needs it."""
    for name, key in needed.items():
        if name not in columns:
            shown = ", ".join(columns[:20]) + (", ..." if len(columns) > 20 else "")
            hint = f"{_close(name, columns)}the columns are: {shown}"
            raise ConfigError(f"{where} has no such column", key=key, value=name, hint=hint)


def _close(name: str, columns: Sequence[str]) -> str:
    lower = {column.strip().lower(): column for column in columns}
    close = lower.get(nearest(name.strip().lower(), lower))
    return f"did you mean {close!r}? " if close else ""

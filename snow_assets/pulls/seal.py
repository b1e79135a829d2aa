"""The seal of a landed file: a digest of all its bytes, kept in its own footer, so that a flipped bit is found.

The digest is XXH3-128 over the whole file with the 32 digits of the seal read as zeros. A footer proves that a file is
not cut short; the checksums of Parquet's pages are looked at by readers that decode every page. This costs one
sequential read, about 0.1 s a gigabyte where the file is in memory.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

SEAL_KEY = b"snow_assets.seal"
BLANK = b"0" * 32
_MARK = b"xxh3-128:"  # before the digits, so that they are found in the footer's bytes
_BLOCK = 1 << 20
_TAIL = 8  # of a Parquet file: the length of its footer, and PAR1


def unsealed() -> dict[bytes, bytes]:
    """The footer's entry as it is written, before ``seal`` fills in the digits."""
    return {SEAL_KEY: _MARK + BLANK}


def seal(path: Path) -> None:
    """Write the digest into a closed Parquet file that was written with ``unsealed()``. Raises ``OSError``."""
    with path.open("r+b") as file:
        at = _digits_at(file)
        if at is None:
            raise OSError(f"{path.name} has no place for a seal")
        digest = _digest(file, at)
        file.seek(at)
        file.write(digest)


def is_intact(path: Path) -> bool:
    """Whether every byte of the file is as it was sealed. Raises ``OSError`` where it cannot be read.

    A file that never had a seal, as the first landed ones, is taken by its footer.
    """
    with path.open("rb") as file:
        at = _digits_at(file)
        if at is None:
            return _never_sealed(file)
        file.seek(at)
        digits = file.read(len(BLANK))
        return _digest(file, at) == digits


def _digits_at(file: BinaryIO) -> int | None:
    """Where the seal's digits lie; ``None`` where the footer is damaged or has none."""
    size = file.seek(0, os.SEEK_END)
    if size < _TAIL:
        return None
    file.seek(size - _TAIL)
    start = size - _TAIL - int.from_bytes(file.read(4), "little")
    if start < 0:
        return None
    file.seek(start)
    at = file.read().rfind(_MARK)
    return None if at < 0 else start + at + len(_MARK)


def _never_sealed(file: BinaryIO) -> bool:
    """Whether a readable footer bears no trace of a seal: a flipped bit spoils its key or its mark, not both."""
    file.seek(0)
    try:
        entries = pq.read_metadata(file).metadata or {}
    except (pa.ArrowException, ValueError):
        return False
    except OSError as error:
        if error.errno is not None:  # of the system
            raise
        return False
    return SEAL_KEY not in entries and not any(len(value) == len(_MARK + BLANK) for value in entries.values())


def _digest(file: BinaryIO, at: int) -> bytes:
    """The digest of the file's bytes, those of the seal at ``at`` taken for zeros."""
    hasher = xxhash.xxh3_128()
    file.seek(0)
    left = at
    while left and (block := file.read(min(left, _BLOCK))):
        hasher.update(block)
        left -= len(block)
    hasher.update(BLANK)
    file.seek(at + len(BLANK))
    while block := file.read(_BLOCK):
        hasher.update(block)
    return hasher.hexdigest().encode()

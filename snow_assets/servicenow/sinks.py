"""Taking a body to a file instead of memory, block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Self

import requests

from snow_assets.errors import Cancelled, LandingError
from snow_assets.servicenow.exchange import Sink, Stored

_BLOCK: Final = 1 << 18  # bytes read at once: all that a body takes of the memory
_HEAD: Final = 1 << 16  # bytes of a body that are looked at, where it turns out to be a page


class Taking:
    """A body on its way to the sink's file, in a ``with`` block.

    Raises ``LandingError`` where the disk does not take it, ``Cancelled`` where the sink says that it is stopped.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._digest = hashlib.sha256()
        self._size = 0
        self._head = b""

    def __enter__(self) -> Self:
        with _disk(self._sink):
            self._file = self._sink.path.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def left(self) -> int:
        """Bytes that are still taken."""
        return self._sink.most - self._size

    def take(self, block: bytes) -> None:
        """The next bytes of the body, as many of them as are taken."""
        if self._sink.stopped():
            raise Cancelled("not read to its end: the run was stopped")
        block = block[: self.left]
        self._head += block[: _HEAD - len(self._head)]
        self._digest.update(block)
        self._size += len(block)
        with _disk(self._sink):
            self._file.write(block)

    def stored(self) -> Stored:
        """What lies in the file, now that the body has come to its end."""
        with _disk(self._sink):
            self._file.flush()
        return Stored(self._size, self._digest.hexdigest(), self._head)


def store_body(response: requests.Response, sink: Sink) -> Stored:
    """Write the body to the sink's file. What the network raises is left to the caller. Raises as ``Taking``."""
    try:
        with Taking(sink) as taking:
            while taking.left > 0 and (block := _block(response, taking.left)):
                taking.take(block)
            return taking.stored()
    finally:
        response.close()


def _block(response: requests.Response, most: int) -> bytes:
    block: bytes = response.raw.read(min(_BLOCK, most), decode_content=True)
    return block


@contextmanager
def _disk(sink: Sink) -> Iterator[None]:
    """What the disk says of the file, which is no fault of the network."""
    try:
        yield
    except OSError as error:
        raise LandingError(
            f"cannot be written: {error.strerror or type(error).__name__}",
            key="file",
            value=sink.path,
            hint="make room, or give the right to write; what landed stays",
        ) from error

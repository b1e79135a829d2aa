"""Taking a body to a file instead of memory, block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import requests

from snow_assets.errors import Cancelled, LandingError
from snow_assets.servicenow.exchange import Sink, Stored

_BLOCK: Final = 1 << 18  # bytes read at once: all that a body takes of the memory
_HEAD: Final = 1 << 16  # bytes of a body that are looked at, where it turns out to be a page


def store_body(response: requests.Response, sink: Sink) -> Stored:
    """Write the body to the sink's file. What the network raises is left to the caller.

    Raises ``LandingError`` where the disk does not take it, ``Cancelled`` where the sink says that it is stopped.
    """
    digest, size, head = hashlib.sha256(), 0, b""
    try:
        with _disk(sink):
            file = sink.path.open("wb")
        with file:
            while size < sink.most and (block := _block(response, sink.most - size)):
                if sink.stopped():
                    raise Cancelled("not read to its end: the run was stopped")
                head += block[: _HEAD - len(head)]
                digest.update(block)
                size += len(block)
                with _disk(sink):
                    file.write(block)
            with _disk(sink):
                file.flush()
    finally:
        response.close()
    return Stored(size, digest.hexdigest(), head)


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

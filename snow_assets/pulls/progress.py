"""Progress of slices, for whoever wants to show it. In one process; events come from several threads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a plan stands. ``rows`` are landed or being written, adopted ones included; ``expected`` may be unknown."""

    pull: str
    plan_id: str
    rows: int
    expected: int | None
    slices: int
    landed: int
    failed: int
    requests: int
    retries: int


Listener = Callable[[Progress], None]
_log = logging.getLogger(__name__)
_listeners: list[Listener] = []
_lock = threading.Lock()


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call ``listener`` with each event while the block runs."""
    with _lock:
        _listeners.append(listener)
    try:
        yield
    finally:
        with _lock:
            _listeners.remove(listener)


def report(event: Progress) -> None:
    """Tell every listener. One that fails is left out of it: showing progress must not end a pull."""
    with _lock:
        listeners = list(_listeners)
    for listener in listeners:
        try:
            listener(event)
        except Exception:  # noqa: BLE001
            _log.debug("a listener of progress failed", exc_info=True)

"""Every fault that is met is logged by its name, and ten thousand of them do not flood the log.

The first three of a name are logged, then the 10th, the 100th, the 1,000th, ...: by number and not by time, so that
the log of a run that failed says how often. Ledgers and totals hold the exact figures.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Final

LOGGER: Final = "snow_assets.faults"
"""The logger's name. Level INFO: the fault was met, and what follows is somebody else's to say."""

_log = logging.getLogger(LOGGER)
_FIRST: Final = 3


class FaultLog:
    """Logs the faults that one client meets. Thread-safe."""

    def __init__(self) -> None:
        self._met: Counter[str] = Counter()
        self._lock = threading.Lock()

    def met(self, name: str, said: str, where: str) -> None:
        """Note a fault: ``said`` is its name with what is known of it, ``where`` the request in words."""
        with self._lock:
            self._met[name] += 1
            number = self._met[name]
        if number <= _FIRST:
            _log.info("%s: %s", where, said)
        elif _is_power_of_ten(number):
            _log.info("%s: %s; %s for the %sth time", where, said, name, f"{number:,}")


def _is_power_of_ten(number: int) -> bool:
    return str(number).strip("0") == "1" and number >= 10

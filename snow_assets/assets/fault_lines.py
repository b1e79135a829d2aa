"""What the client logs about faults, shown in the run's own log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from snow_assets.servicenow.fault_log import LOGGER


@contextmanager
def fault_lines(context: dg.AssetExecutionContext) -> Iterator[None]:
    """While it lasts, faults that are logged appear in the log of the run, by name."""
    logger = logging.getLogger(LOGGER)
    handler = _ToRun(context)
    before = logger.level
    logger.addHandler(handler)
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


class _ToRun(logging.Handler):
    """Hands records to the run's log. A log that cannot be written must not fail the pull."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        super().__init__(logging.INFO)
        self._log = context.log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._log.log(record.levelno, record.getMessage())
        except Exception:  # noqa: BLE001
            self.handleError(record)

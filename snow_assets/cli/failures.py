"""How a command ends: one line on stderr, one JSON object where it was asked for, and the exit code.

=====  ==========================================================================
0      done
1      not finished, and running it again may finish it
2      something must be fixed first
130    interrupted (SIGINT)
143    terminated (SIGTERM)
=====  ==========================================================================
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import click

from snow_assets.cli.app import note, print_json
from snow_assets.errors import ConfigError, LandingError, RunAgain, SnowError

INTERRUPTED, TERMINATED = 130, 143
_NEEDS_A_PERSON = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENOENT,
)


class Reported(Exception):
    """A command failed and has said everything itself, its result included; only the exit code is left."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


class Signals:
    """Which signal came, whoever handled it: Dagster puts handlers of its own in place while a run executes."""

    def __init__(self) -> None:
        self._read, self._write = socket.socketpair()
        for end in (self._read, self._write):
            end.setblocking(False)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Turn SIGTERM into `Terminated`, and note every signal, while the block runs."""
        before = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        handler = signal.signal(signal.SIGTERM, _terminate)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            signal.signal(signal.SIGTERM, handler)

    def exit_code(self) -> int:
        """143 where SIGTERM was among the signals, else 130."""
        seen = b""
        with suppress(BlockingIOError):
            seen = self._read.recv(1024)
        return TERMINATED if signal.SIGTERM in seen else INTERRUPTED


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated


def as_snow_error(error: BaseException) -> SnowError:
    """What went wrong, as an error with key, value and hint. Never shows more of a foreign error than its line."""
    if isinstance(error, SnowError):
        return error
    if isinstance(error, click.UsageError):
        return _usage(error)
    if isinstance(error, click.ClickException):
        return ConfigError(error.format_message().rstrip("."), key="argument")
    if isinstance(error, OSError) and error.errno in _NEEDS_A_PERSON:
        return LandingError(error.strerror or "cannot be used", key="file", value=error.filename or "")
    line = (str(error).strip().splitlines() or [""])[0][:300]
    hint = "this is a fault of snow-assets; --log-level debug shows where"
    return RunAgain(f"{type(error).__name__}: {_redact(line)}", hint=hint)


def _usage(error: click.UsageError) -> ConfigError:
    parameter = getattr(error, "param", None)
    key = getattr(error, "option_name", None) or (parameter.opts[0] if parameter and parameter.opts else "")
    command = error.ctx.command_path if error.ctx else "snow-assets"
    message = error.format_message().rstrip(".")
    return ConfigError(message[:1].lower() + message[1:], key=str(key or "argument"), hint=f"see: {command} --help")


def _redact(text: str) -> str:
    names = ("SNOW_PASSWORD", "SNOW_CLIENT_SECRET", "SNOW_REFRESH_TOKEN", "SNOW_TOKEN", "SNOW_API_KEY", "SNOW_PROXY")
    from snow_assets.config import Environment

    try:
        values = Environment.load().values
    except SnowError:  # .env cannot be read
        values = os.environ
    for secret in filter(None, map(values.get, names)):
        text = text.replace(secret, "***").replace(repr(secret)[1:-1], "***")
    return text


def report_failure(error: BaseException, *, as_json: bool, extra: dict[str, Any] | None = None) -> int:
    """Say what went wrong; returns the exit code. ``extra`` goes into the JSON object."""
    found = as_snow_error(error)
    logging.getLogger("snow_assets.cli").debug("failed", exc_info=error)
    note(f"error: {found}")
    if as_json:
        print_json({**(extra or {}), "error": found.as_dict(), "retryable": found.exit_code == 1})
        sys.stdout.flush()
    return found.exit_code


def report_signal(exit_code: int, *, as_json: bool, hint: str = "") -> int:
    """Say that a signal ended the command; returns the exit code. ``hint``: what becomes of its work."""
    name = "SIGTERM" if exit_code == TERMINATED else "SIGINT"
    note(f"stopped by {name}" + (f"; {hint}" if hint else ""))
    if as_json:
        error = {"key": "signal", "value": name, "message": "stopped by a signal", "hint": hint}
        print_json({"error": error, "retryable": True})
        sys.stdout.flush()
    return exit_code

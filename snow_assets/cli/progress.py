"""The progress bar of a pull: on stderr, and only where that is a terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from snow_assets.pulls.progress import Progress


def bar_of() -> Bar:
    """A bar on stderr whose tasks have the field ``figures``; gone when it ends."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(compact=True),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


@contextmanager
def progress_bar(pull: str) -> Iterator[Callable[[Progress], None] | None]:
    """A listener that draws rows, rows/s, retries, failed slices and the time left; ``None`` without a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with bar_of() as bar:
        task = bar.add_task(pull, total=None, figures="planning")
        yield _Listener(bar, task)


class _Listener:
    """Draws events; they come from several threads."""

    def __init__(self, bar: Bar, task: TaskID) -> None:
        self._bar = bar
        self._task = task
        self._lock = threading.Lock()
        self._started = False

    def __call__(self, event: Progress) -> None:
        with self._lock:
            if not self._started:
                self._bar.reset(self._task)  # planning is not part of the speed
                self._started = True
            speed = self._bar.tasks[0].speed
            rows = f"{event.rows:,}" if event.expected is None else f"{event.rows:,}/{event.expected:,} rows"
            parts = [rows, f"{speed:,.0f} rows/s" if speed else "", f"slices {event.landed}/{event.slices}"]
            parts.append(f"retries {event.retries}" if event.retries else "")
            parts.append(f"failed {event.failed}" if event.failed else "")
            figures = "  ".join(part for part in parts if part)
            self._bar.update(self._task, completed=event.rows, total=event.expected, figures=figures)

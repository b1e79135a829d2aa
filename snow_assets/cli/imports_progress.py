"""The progress bar of imports: on stderr, and only where that is a terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from snow_assets.cli.progress import bar_of

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from snow_assets.assets.import_local import Listener
    from snow_assets.imports.flow import Progress


@contextmanager
def imports_bar() -> Iterator[Listener | None]:
    """A listener that draws rows, import sets and failures of one import after another; ``None`` without a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with bar_of() as bar:
        yield _Listener(bar)


class _Listener:
    """Draws events; they come from several threads."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._lock = threading.Lock()
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Progress) -> None:
        with self._lock:
            if event.name not in self._tasks:
                self._tasks[event.name] = self._bar.add_task(event.name, total=None, figures="loading")
            if event.phase == "staging":
                return
            rows = event.counters.total
            parts = [f"{rows:,}/{event.staged:,} rows", f"import sets {event.ended}/{event.sets}"]
            parts.append(f"errors {event.counters.errors:,}" if event.counters.errors else "")
            parts.append(f"failed {event.failed}" if event.failed else "")
            figures = "  ".join(part for part in parts if part)
            task = self._tasks[event.name]
            self._bar.update(task, completed=rows, total=event.staged, figures=figures)

"""The instance that benches read: a simulator in a process of its own, and the fields that are asked of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# fmt: off
FIELDS = [
    "sys_id", "number", "short_description", "description", "close_notes", "state", "priority", "urgency", "impact",
    "assignment_group", "caller_id", "assigned_to", "opened_at", "resolved_at", "closed_at", "category", "subcategory",
    "cmdb_ci", "location", "sys_updated_on",
]
# fmt: on


@contextmanager
def simulator(rows: int) -> Iterator[str]:
    """The URL of a simulated instance with so many incidents."""
    command = [sys.executable, "-m", "snow_assets.simulator", "--port", "0", "--rows", f"incident={rows}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[0]
        finally:
            process.terminate()

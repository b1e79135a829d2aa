"""Who drives an import from a terminal: the sensor leaves it alone meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from snow_assets.errors import LeaseHeld
from snow_assets.pulls import Landing, lease, lease_holder

if TYPE_CHECKING:
    from snow_assets.imports.workspace import Workspace


@contextmanager
def driving(workspace: Workspace, name: str, holder: str) -> Iterator[None]:
    """Drive an import while the block runs. Raises ``LeaseHeld`` where another terminal does."""
    try:
        with lease(_place(workspace, name), holder):
            yield
    except LeaseHeld as error:
        error.key = "import"
        raise


def driver_of(workspace: Workspace, name: str) -> str | None:
    """Which terminal drives the import right now; ``None`` where none does."""
    return lease_holder(_place(workspace, name))


def _place(workspace: Workspace, name: str) -> Landing:
    return Landing.open(str(workspace.home.root), name)

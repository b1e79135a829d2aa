"""What custom code of a transform is told, and may say, of the import set that it works on."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from snow_assets.imports.home import partition_key


@dataclass
class SetContext:
    """One import set on its way through one transformer job; hooks and Python transforms get it.

    ``scratchpad`` is theirs: it lives from ``on_start`` to ``on_complete`` of the set, and no set sees another's.
    """

    import_name: str
    load_id: str
    set_no: int
    domain: str = "global"
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("snow_assets.imports"))
    scratchpad: dict[str, Any] = field(default_factory=dict)
    started: bool = False  # on_start was called
    skipped: str | None = None  # why the row at hand is skipped

    @property
    def import_set(self) -> str:
        """``<load id>/0001``: the partition of the set."""
        return partition_key(self.load_id, self.set_no)

    @property
    def set_name(self) -> str:
        """``<import>/<load id>/0001``: what errors call it."""
        return f"{self.import_name}/{self.import_set}"

    def skip(self, reason: str | None = "") -> None:
        """Leave the row at hand out: for ``on_before``; None: take it after all."""
        self.skipped = reason

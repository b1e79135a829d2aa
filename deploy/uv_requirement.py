"""Print the lines of a lock file that pin uv, hashes included: ``python uv_requirement.py requirements.lock``."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def locked(lock: Path) -> str:
    """The requirement as pip reads it; ends the process where the lock does not pin uv."""
    found = re.search(r"^uv==(?:.*\\\n)*.*", lock.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{lock.name} does not pin uv")
    return found.group() + "\n"


if __name__ == "__main__":
    sys.stdout.write(locked(Path(sys.argv[1])))

"""A process that imports and dies at a chosen point, as kill -9 would have it: nothing is tidied up.

    python -m snow_assets_tests.imports.crashing FOLDER POINT JSON

``JSON`` are declarations for `Imports.declare`, by name; the first is run. Without a point
that is met, it ends by itself and prints what came of it.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from snow_assets.imports import flow, hierarchy, running, staging
from snow_assets.imports.books import Books
from snow_assets.imports.sql_target import SqlTarget
from snow_assets.imports.targets.duckdb import DuckDbWriter
from snow_assets_tests.imports.loads import Imports

DEAD: Final = 9  # the exit code of the process that died
# Where it dies: after which call of what.
POINTS: Final[dict[str, tuple[Any, str, int]]] = {
    "staging": (staging.SetFiles, "_seal", 2),
    "books of the load": (Books, "add_set", 2),
    "loaded": (Books, "loaded", 1),
    "taken": (Books, "take", 2),
    "mapped": (running, "map_set", 2),
    "in the transaction": (DuckDbWriter, "insert", 2),
    "ledger written": (DuckDbWriter, "remember", 2),
    "committed": (SqlTarget, "apply", 2),
    "booked": (Books, "done", 2),
    "all booked": (Books, "last", 4),
    "finished": (Books, "finish", 1),
    "released": (hierarchy, "release", 1),
}


def die_at(point: str) -> None:
    """From now on the process dies there."""
    place, name, call = POINTS[point]
    calls = itertools.count(1)  # of several threads
    original: Callable[..., Any] = getattr(place, name)

    def dying(*arguments: Any, **keys: Any) -> Any:
        mine = next(calls)
        found = original(*arguments, **keys)
        if mine == call:
            os._exit(DEAD)
        return found

    setattr(place, name, dying)


def main() -> None:
    folder, point, declared = sys.argv[1:]
    imports = Imports(Path(folder))
    for name, keys in json.loads(declared).items():
        imports.declare(name, **keys)
    if point:
        die_at(point)
    with imports.open() as workspace:
        finished = flow.run_import(workspace, next(iter(imports.declared)))
    sys.stdout.write(json.dumps([each.counters.as_dict() for each in finished]))


if __name__ == "__main__":
    main()

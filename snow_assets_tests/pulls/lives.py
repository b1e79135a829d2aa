"""A delta pull that lives for some days: published, brought up and now and then compacted, each at its own moment."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from snow_assets.pulls import Landing
from snow_assets.pulls.columns import HALVES
from snow_assets.pulls.current import bring_up
from snow_assets_tests.pulls.made import Made

START = datetime(2026, 11, 1, tzinfo=UTC)
ROWS = 40


def day(number: float) -> datetime:
    """Midnight of a day; the first is 0."""
    return START + timedelta(days=number)


def plan_of(number: int) -> str:
    """The plan of a day."""
    return day(number).strftime("%Y%m%dT%H%M%SZ")


def rows_of(number: int) -> list[dict[str, Any]]:
    """A base of all rows on day 0, then five rows a day that changed."""
    chosen = range(ROWS) if number == 0 else range(number, number + 5)
    values = {"sys_updated_on": day(number).strftime("%Y-%m-%d %H:%M:%S"), "sys_mod_count": str(number)}
    return [
        {"sys_id": f"{row:032x}", "number": f"INC{row}", "state": None, "short_description": f"day {number}", **values}
        for row in chosen
    ]


def live(made: Made, days: range, *, base: bool = False) -> None:
    """Publish each day's plan, an hour after midnight; in the end, bring the current rows up."""
    for number in days:
        version = made.publish(plan_of(number), rows_of(number), base=base and number == days[0]).version
        commit_at(made.landing, version, day(number) + timedelta(hours=1))
    bring_up(made.landing, made.pull)


def commit_at(landing: Landing, version: int, moment: datetime) -> None:
    """Let a version have been committed at ``moment``."""
    path = Path(landing.store.uri(f"_delta_log/{version:020}.json"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if "commitInfo" in line:
            line["commitInfo"]["timestamp"] = int(moment.timestamp() * 1000)
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    os.utime(path, (moment.timestamp(), moment.timestamp()))  # readers that ask for a moment go by this


def content(landing: Landing, version: int | None = None) -> tuple[int, str]:
    """How many rows a version of the dataset holds, and a digest of them all: sys_id, plan and every cell."""
    table = DeltaTable(landing.delta_location, version=version)
    names = [field.name for field in table.schema().fields]
    rows = []
    for path in pa.table(table.get_add_actions()).column("path").to_pylist():
        with landing.parquet(path) as file:
            rows += [_row(row, names) for row in file.read().to_pylist()]
    return len(rows), hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


def _row(row: dict[str, Any], names: list[str]) -> str:
    """Columns that a file lacks are null, and so is a cell without any half."""
    cells = {name: row.get(name) for name in names}
    nothing = dict.fromkeys(HALVES)
    return json.dumps({name: None if cell == nothing else cell for name, cell in cells.items()})


def tree(data: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    return {str(path.relative_to(data)): path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}

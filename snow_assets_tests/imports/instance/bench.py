"""Import sets for a simulated instance, without staging and mapping: mapped files as the transform writes them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.config_imports import ImportConfig
from snow_assets.imports.contract import CLEARED, MAPPED, Applied, Counters, MappedSet
from snow_assets.imports.home import Home
from snow_assets.imports.targets.instance import InstanceTarget
from snow_assets.servicenow.client import Client
from snow_assets.simulator import SimulatorServer
from snow_assets_tests.servicenow.conftest import ADMIN

LOAD = "20261121T020000Z"
Values = Mapping[str, Any]


def declared(way: str = "table", table: str = "incident", **parts: Any) -> ImportConfig:
    """An import named ``things``."""
    target = {"table": table, "servicenow": way, **parts.pop("target", {})}
    given = {"name": "things", "source": {"csv": "things.csv"}, "target": target, "coalesce": "correlation_id"}
    return ImportConfig.model_validate(given | parts)


@dataclass
class Bench:
    """One import into one instance, and the folder of its loads."""

    server: SimulatorServer
    root: Path
    config: ImportConfig
    settings: dict[str, Any] = field(default_factory=dict)
    attempts: int = 0

    @contextmanager
    def target(self) -> Iterator[InstanceTarget]:
        """As a process opens it."""
        quick: dict[str, Any] = {"retry_backoff": 0.001, "timeout": (2.0, 10.0), "max_retries": 8}
        client = Client(self.server.url, ADMIN, max_workers=self.config.target.max_workers, **(quick | self.settings))
        target = InstanceTarget(self.config, client, Home(self.root))
        try:
            yield target
        finally:
            target.close()

    def mapped(
        self,
        rows: Iterable[tuple[int, Values]],
        set_no: int = 1,
        *,
        load: str = LOAD,
        reprocess: bool = False,
        types: Mapping[str, pa.DataType] | None = None,
    ) -> MappedSet:
        """A mapped set of numbered rows; the fields are ``types``, or those of the first row, as text."""
        self.attempts += 1
        folder = Home(self.root).load(self.config.name, load)
        attempt = f"a{self.attempts}"
        numbered = list(rows)
        names = [name for name in (numbered[0][1] if numbered else {}) if name not in MAPPED.names]
        fields = dict.fromkeys(names, pa.string()) if types is None else dict(types)
        lines = [{"sys_import_row": number, **dict.fromkeys(MAPPED.names[1:]), **values} for number, values in numbered]
        cleared = [pa.field(CLEARED, pa.list_(pa.string()))] if any(CLEARED in line for line in lines) else []
        schema = pa.schema([*MAPPED, *cleared, *(pa.field(name, kind) for name, kind in fields.items())])
        path = folder.mapped(set_no, attempt)
        for each in (path, folder.rows(set_no, attempt)):
            each.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(lines, schema=schema), path)
        return MappedSet(
            self.config.name, load, set_no, attempt, len(lines), path, folder.rows(set_no, attempt), reprocess
        )

    def apply(self, *rows: Values, **how: Any) -> tuple[Counters, list[dict[str, Any]]]:
        """Apply rows numbered from 1 as one set: the counters, and what became of each row."""
        mapped = self.mapped(list(enumerate(rows, 1)), **how)
        with self.target() as target:
            applied = target.apply(mapped)
        return applied.counters, states(mapped, applied)

    def apply_sets(self, sets: Mapping[int, list[tuple[int, Values]]]) -> dict[int, Applied]:
        """Apply several sets at once, a thread each."""
        made = {set_no: self.mapped(rows, set_no) for set_no, rows in sets.items()}
        with self.target() as target, ThreadPoolExecutor(len(sets)) as pool:
            return dict(zip(made, pool.map(target.apply, made.values()), strict=True))

    def records(self, table: str | None = None) -> list[dict[str, str]]:
        return [dict(row) for row in self.server.sim.rows(table or self.config.target.table)]

    def by_key(self, key: str = "correlation_id") -> dict[str, list[dict[str, str]]]:
        """The records of each key that is not empty."""
        found: dict[str, list[dict[str, str]]] = {}
        for record in self.records():
            if record.get(key):
                found.setdefault(record[key], []).append(record)
        return found


def states(mapped: MappedSet, applied: Applied) -> list[dict[str, Any]]:
    """What became of each row of a set."""
    path = mapped.rows.with_name(f"{mapped.set_no:04d}-{applied.attempt}.parquet")
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def dealt(rows: list[Values], sets: int) -> dict[int, list[tuple[int, Values]]]:
    """Rows dealt to sets, round robin."""
    return {
        each: [(i, row) for i, row in enumerate(rows, 1) if (i - 1) % sets + 1 == each] for each in range(1, sets + 1)
    }


def some_rows(number: int, keys: int, seed: int) -> list[Values]:
    """Rows of ``keys`` keys, each at least once, in a random order; versions differ, or are the same as before."""
    rng = random.Random(seed)
    order = [*range(keys), *(rng.randrange(keys) for _ in range(number - keys))]
    rng.shuffle(order)
    return [
        {"correlation_id": f"key-{seed}-{key}", "short_description": f"version {rng.randrange(3)} of {key}"}
        for key in order
    ]


def expected(rows: list[Values]) -> tuple[dict[str, str], Counter[str]]:
    """What rows applied one after the other make of an empty table: the texts by key, and the states."""
    made: dict[str, str] = {}
    counted: Counter[str] = Counter()
    for row in rows:
        key, text = row["correlation_id"], row["short_description"]
        counted["inserted" if key not in made else "ignored" if made[key] == text else "updated"] += 1
        made[key] = text
    return made, counted

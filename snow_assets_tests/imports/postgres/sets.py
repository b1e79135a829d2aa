"""Import sets that are mapped, and the targets that they are applied to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.config import Environment
from snow_assets.config_imports import ImportConfig
from snow_assets.imports.contract import MAPPED, Applied, Counters, MappedSet
from snow_assets.imports.targets.postgres import PostgresTarget, open_postgres

VARIABLE = "PEOPLE_DATABASE"
PEOPLE = pa.schema([("email", pa.string()), ("name", pa.string())])
Rows = Sequence[Mapping[str, Any]]


def people(**changes: Any) -> ImportConfig:
    """An import of people, known by their e-mail address, into PostgreSQL."""
    target = {"table": "people", "postgresql": VARIABLE, **changes.pop("target", {})}
    declared = {"name": "people", "source": {"csv": "people.csv"}, "coalesce": "email", "target": target, **changes}
    return ImportConfig.model_validate(declared)


@contextmanager
def target_of(config: ImportConfig, url: str) -> Iterator[PostgresTarget]:
    """The target of an import in the database with this URL."""
    target = open_postgres(config, Environment({VARIABLE: url}, Path.cwd()))
    try:
        yield target
    finally:
        target.close()


def mapped(folder: Path, rows: Rows, schema: pa.Schema = PEOPLE, **changes: Any) -> MappedSet:
    """An import set with these records, all of them to be applied; ``changes`` are fields of `MappedSet`."""
    own = [{"sys_import_row": number, **row} for number, row in enumerate(rows, 1)]
    said = {"import_name": "people", "load_id": "20261121T020000Z", "set_no": 1, "attempt": "a", **changes}
    path = folder / f"{said['load_id']}-{said['set_no']:04d}-{said['attempt']}"
    pq.write_table(pa.Table.from_pylist(own, pa.schema([*MAPPED, *schema])), path.with_suffix(".mapped"))
    outcome = path.with_suffix(".rows")
    return MappedSet(total=len(own), mapped=path.with_suffix(".mapped"), rows=outcome, **said)


def apply(config: ImportConfig, url: str, given: MappedSet, schema: pa.Schema = PEOPLE) -> Counters:
    """Apply one set; what became of its rows."""
    with target_of(config, url) as target:
        target.check(schema)
        done: Applied = target.apply(given)
    assert done.counters.accounted == given.total
    return done.counters


def states(given: MappedSet) -> list[str]:
    """The states of the rows of a set that was applied."""
    found: list[str] = pq.read_table(given.rows).column("sys_import_state").to_pylist()
    return found

"""What an import costs against one bare MERGE of the same rows into the same kind of database, on one machine.

    python bench/imports.py [--rows 1000000] [--keys 300000] [--rounds 3] [--partition key|round_robin]
                            [--postgres]

The import is the whole flow of the library: a CSV file is staged into import sets, which are mapped and applied to a
new DuckDB file. The bare MERGE reads the same file with DuckDB, keeps the newest row of each key, and merges it into a
table of the same columns in a new DuckDB file. With ``--postgres`` both write to a PostgreSQL server of their own, and
the bare one is COPY, an index and MERGE (`imports_postgres`). Both in turn, each in a process of its own; the ratios
of their wall times, and the peak memory of the processes, are the operating system's (of a server nothing is told). At
the end the table is held against the file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import imports_postgres

COLUMNS = ("number", "name", "email", "city", "amount", "active")
MADE = "sys_id VARCHAR NOT NULL, sys_domain VARCHAR, number VARCHAR, name VARCHAR, email VARCHAR, city VARCHAR, "
KEPT = "sys_created_on TIMESTAMP, sys_updated_on TIMESTAMP, sys_mod_count BIGINT"
MERGE = """
MERGE INTO people t USING (
    SELECT * FROM read_csv('{source}', header = true, all_varchar = true)
    QUALIFY row_number() OVER (PARTITION BY number ORDER BY line DESC) = 1) s
ON t.number = s.number
WHEN MATCHED THEN UPDATE SET name = s.name, email = s.email, city = s.city, amount = s.amount, active = s.active,
    line = s.line
WHEN NOT MATCHED THEN INSERT (sys_id, sys_domain, number, name, email, city, amount, active, line, sys_created_on,
    sys_updated_on, sys_mod_count) VALUES (md5(s.number), 'global', s.number, s.name, s.email, s.city, s.amount,
    s.active, s.line, now()::TIMESTAMP, now()::TIMESTAMP, 0)
"""


def write_source(path: Path, rows: int, keys: int) -> None:
    """A CSV file in which each key is there at least once; ``line`` is the number of the row."""
    chance = random.Random(7)
    numbers = [*range(keys), *(chance.randrange(keys) for _ in range(rows - keys))]
    chance.shuffle(numbers)
    cities = [f"City {number}" for number in range(500)]
    with path.open("w", encoding="utf-8") as file:
        file.write(f"{','.join(COLUMNS)},line\n")
        for at, number in enumerate(numbers, 1):
            name = f"Person {number} {at % 7}"
            email, city = f"p{number}.{at % 11}@example.com", cities[at % 500]
            file.write(f"N{number:07d},{name},{email},{city},{at % 9973},{at % 2},{at:07d}\n")


def imported(folder: Path, source: Path, partition: str) -> None:
    """The whole flow; in a process of its own."""
    from snow_assets.config import Environment  # noqa: PLC0415
    from snow_assets.config_imports import ImportConfig, ImportSettings  # noqa: PLC0415
    from snow_assets.imports.flow import run_import  # noqa: PLC0415
    from snow_assets.imports.workspace import Workspace  # noqa: PLC0415

    declared: dict[str, Any] = {"source": {"csv": str(source)}, "target": "people", "coalesce": "number", "nodes": 5}
    if os.environ.get(imports_postgres.VARIABLE):
        declared["target"] = {"table": "people", "postgresql": imports_postgres.VARIABLE}
    declared["partition"] = {"key": "number"} if partition == "key" else partition
    config = ImportConfig(name="people", **declared)
    environment = Environment.load(folder, {**os.environ, "SNOW_DATA_DIR": str(folder / "data")})
    with Workspace(ImportSettings(imports={"people": config}), environment) as workspace:
        (finished,) = run_import(workspace, "people")
    print(json.dumps(finished.counters.as_dict()), file=sys.stderr)


def merged(folder: Path, source: Path) -> None:
    """The bare MERGE; in a process of its own."""
    if url := os.environ.get(imports_postgres.VARIABLE):
        imports_postgres.merged(url, source)
        return
    (folder / "data").mkdir()
    with duckdb.connect(str(folder / "data" / "targets.duckdb")) as connection:
        connection.execute(f"CREATE TABLE people ({MADE} amount VARCHAR, active VARCHAR, line VARCHAR, {KEPT})")
        connection.execute(MERGE.format(source=source))


def check(folder: Path, source: Path, keys: int, newest: bool) -> None:
    """Each key once; with its last version, where their order was kept."""
    if url := os.environ.get(imports_postgres.VARIABLE):
        imports_postgres.check(url, source, keys, newest)
        return
    with duckdb.connect(str(folder / "data" / "targets.duckdb"), read_only=True) as connection:
        found = connection.execute("SELECT count(*), count(DISTINCT number) FROM people").fetchone()
        assert found == (keys, keys), found
        if not newest:
            return
        stale = connection.execute(
            f"SELECT count(*) FROM (SELECT number, arg_max(email, line) AS email FROM "
            f"read_csv('{source}', all_varchar = true, header = true) GROUP BY number) s JOIN people t USING (number) "
            "WHERE t.email IS DISTINCT FROM s.email"
        ).fetchone()
        assert stale == (0,), stale


def measured(arguments: list[str]) -> tuple[float, float, float]:
    """Seconds, seconds of processors and MiB of a process that runs this file."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, __file__, *arguments])
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, arguments
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--keys", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--partition", choices=["key", "round_robin"], default="key")
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--only", choices=["import", "merge"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only == "import":
        imported(given.folder, given.source, given.partition)
    elif given.only == "merge":
        merged(given.folder, given.source)
    elif given.postgres:
        with imports_postgres.server() as url:
            os.environ[imports_postgres.VARIABLE] = url
            compare(given.rows, given.keys, given.rounds, given.partition)
    else:
        compare(given.rows, given.keys, given.rounds, given.partition)


def compare(rows: int, keys: int, rounds: int, partition: str) -> None:
    """Both in turn, and their ratios."""
    ratios, found = [], {"import": [], "merge": []}  # type: ignore[var-annotated]
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "people.csv"
        write_source(source, rows, keys)
        for number in range(rounds):
            seconds = {}
            for kind in ("merge", "import"):
                folder = Path(scratch) / f"{kind}{number}"
                folder.mkdir()
                place = ["--folder", str(folder), "--source", str(source), "--partition", partition]
                seconds[kind], busy, peak = measured(["--only", kind, *place])
                check(folder, source, keys, kind == "merge" or partition == "key")
                found[kind].append((seconds[kind], busy, peak))
                print(f"{kind}: {seconds[kind]:.2f} s, {busy:.2f} s of processors, {peak:.0f} MiB", flush=True)
            ratios.append(seconds["import"] / seconds["merge"])
    for kind, values in found.items():
        wall, busy, peaks = zip(*values, strict=True)
        middle = f"median {statistics.median(wall):.2f} s, {statistics.median(busy):.2f} s of processors"
        print(f"{kind}: {middle}, at most {max(peaks):.0f} MiB")
    print(f"ratio: median {statistics.median(ratios):.2f} of {', '.join(f'{each:.2f}' for each in ratios)}")


if __name__ == "__main__":
    main()

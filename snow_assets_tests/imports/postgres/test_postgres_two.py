"""Two processes with homes of their own import the same keys into one table at once: each key is there once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from snow_assets_tests.imports.postgres import racer
from snow_assets_tests.imports.postgres.server import Database
from snow_assets_tests.imports.postgres.sets import VARIABLE


class Racer:
    """One of the processes."""

    def __init__(self, name: str, folder: Path, url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", racer.__name__, name],
            cwd=folder,
            env={**os.environ, VARIABLE: url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


def race(database: Database, folder: Path, rows: int, tables: tuple[str, ...]) -> None:
    lines = [f"user{number}@example.com,Name {number}\n" for number in range(rows)]
    (folder / "people.csv").write_text("".join(["email,name\n", *lines]), encoding="utf-8")
    racers = [Racer(name, folder, database.url) for name in ("left", "right")]
    try:
        for table in tables:
            for each in racers:
                each.tell(table)
            assert [each.hear() for each in racers] == ["staged", "staged"]
            for each in racers:
                each.tell("go")
            done = [[int(word) for word in each.hear().split()] for each in racers]
            assert [sum(each) for each in done] == [rows, rows]
            assert sum(inserts for inserts, _ in done) == rows
            [counted] = database.run(f'SELECT count(*), count(DISTINCT email), count(DISTINCT sys_id) FROM "{table}"')
            assert counted == (rows, rows, rows)
    finally:
        for each in racers:
            each.process.communicate(timeout=120)


def test_two_processes_insert_each_of_5000_keys_once(postgres: Database, tmp_path: Path) -> None:
    race(postgres, tmp_path, 5_000, ("people", "people_off"))


@pytest.mark.slow
def test_two_processes_insert_each_of_100000_keys_once(postgres: Database, tmp_path: Path) -> None:
    race(postgres, tmp_path, 100_000, ("people", "people_off"))

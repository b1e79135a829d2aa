"""The truth of a chaos pull, by the simulator's own history, and what a published dataset lacks of it."""

from __future__ import annotations

import bisect
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from snow_assets.pulls import Dataset, Landing, Plan, Totals
from snow_assets.pulls.records import digest_of, json_lines, raw_records
from snow_assets.simulator import Simulator
from snow_assets.simulator.access import Access
from snow_assets.simulator.history import History
from snow_assets.simulator.query import Query, read_query
from snow_assets.simulator.shape import Form
from snow_assets.simulator.store import Row

HOST = "https://chaos.example"


@dataclass
class Verdict:
    """What is wrong with a published dataset: lists of sys_ids, and sentences."""

    rows: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def wrongs(self) -> list[str]:
        """One sentence for each kind of wrong."""
        named = {"lost": self.lost, "doubled": self.doubled, "altered": self.altered, "strange": self.strange}
        return [f"{len(ids)} rows {name}: {ids[:3]}" for name, ids in named.items() if ids] + self.others


class Truth:
    """What ``table`` held and showed, at every moment."""

    def __init__(self, sim: Simulator, table: str, query: str, hidden: frozenset[str]) -> None:
        self.sim = sim
        self.table = table
        self.hidden = hidden
        self.history = History(sim.store, table)
        self.access = Access(sim, next(iter(sim.knobs.accounts.values())))
        self.query: Query = read_query(table, query, self.access.scope, "drop", self.access.rights)

    def matches(self, row: Row | None) -> bool:
        """Whether a version is one that the query shows to somebody who may see everything."""
        return row is not None and any(group.test(row) for group in self.query.groups)

    def record(self, row: Row, plan: Plan) -> dict[str, Any]:
        """A version as the API words it."""
        form = Form(
            table=self.table,
            fields=plan.fields,
            mode=plan.display_value,
            links=True,
            base=f"{HOST}/api/now",
            viewer=self.access.viewer,
            hidden=frozenset(),
            hidden_as_empty=False,
            null_unset_choices=False,
        )
        found: dict[str, Any] = json.loads(self.access.shapes.get(form).render([row])[0])
        return found

    def judge(
        self, dataset: Dataset, plan: Plan, landing: Landing, start: int, ends: Mapping[str, int], skipped: set[str]
    ) -> Verdict:
        """Hold a dataset against the truth. ``ends``: when each file had landed, by its path."""
        verdict = Verdict()
        until = {piece.offset: ends[file.path] for piece, file in landing.all_landed(plan).items()}
        lows = [piece.lo or "" for piece in plan.slices]

        def end(sys_id: str) -> int:
            return until[plan.slices[bisect.bisect_right(lows, sys_id) - 1].offset]

        landed: Counter[str] = Counter()
        for record in self._landed(dataset, plan):
            sys_id = record["sys_id"]["value"] if isinstance(record["sys_id"], dict) else record["sys_id"]
            landed[sys_id] += 1
            versions = [row for row in self.history.between(sys_id, start, end(sys_id)) if self.matches(row)]
            if not versions or sys_id in self.hidden:
                verdict.strange.append(sys_id)
            elif not any(record == self.record(row, plan) for row in versions if row is not None):
                verdict.altered.append(sys_id)
        verdict.rows = landed.total()
        verdict.doubled = [sys_id for sys_id, times in landed.items() if times > 1]
        for sys_id in self.history.sys_ids():
            if sys_id in landed or sys_id in self.hidden or sys_id in skipped:
                continue
            if all(self.matches(row) for row in self.history.between(sys_id, start, end(sys_id))):
                verdict.lost.append(sys_id)
        return verdict

    def numbers(self, totals: Totals, plan: Plan, dataset: Dataset, *, exact: bool) -> Iterator[str]:
        """What is wrong with the totals. ``exact``: nothing moved, and the instance counts as it should."""
        explained = sum(difference.rows for difference in totals.differences)
        if totals.missing or (totals.counted is not None and totals.counted + explained != totals.landed):
            yield f"{totals.counted} counted, {explained} explained, {totals.landed} landed, {totals.missing} missing"
        if totals.landed != dataset.rows:
            yield f"totals say {totals.landed} rows, the dataset {dataset.rows}"
        if digest_of((pq.ParquetFile(_path(name)) for name in dataset.files), plan.display_value) != totals.digest:
            yield "the digest of the files is not that of the totals"
        if exact:
            matching = [row["sys_id"] for row in self.sim.rows(self.table) if self.matches(row)]
            hidden = sum(sys_id in self.hidden for sys_id in matching)
            if (totals.counted, totals.hidden) != (len(matching), hidden):
                yield f"{len(matching)} match and {hidden} are hidden; said: {totals.counted} and {totals.hidden}"

    def _landed(self, dataset: Dataset, plan: Plan) -> Iterator[dict[str, Any]]:
        for name in dataset.files:
            yield from map(json.loads, json_lines(raw_records(pq.ParquetFile(_path(name)), plan.display_value)))


def _path(name: str) -> Path:
    return Path(name.removeprefix("file://"))

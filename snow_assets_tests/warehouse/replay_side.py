"""A delta pull of the replayed incidents: what its syncs must and could have seen, and what it holds."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from snow_assets.config import PullConfig
from snow_assets.pulls import Landing, Plan, published
from snow_assets.pulls.current import Current, bring_up, current
from snow_assets_tests.warehouse.replay_log import FIELDS, REFERENCES, Key, Texts, Truth, key_of

TABLE = "incident"
STORED = "%Y-%m-%d %H:%M:%S"
SHOWN = 3  # examples of each wrong


@dataclass(frozen=True)
class Span:
    """The incidents while one sync read: at its start, and each later state of those that changed (None: gone)."""

    start: dict[str, Texts]
    later: dict[str, list[Texts | None]]

    def versions(self, number: str) -> list[Texts | None]:
        """Every state that an incident had, in order."""
        return [self.start.get(number), *self.later.get(number, ())]


@dataclass(frozen=True)
class Gone:
    """A row of the current table that is not live."""

    state: str
    method: str
    deleted_at: str


@dataclass(frozen=True)
class Held:
    """The table of current rows, by number."""

    rows: dict[str, Texts]
    gone: dict[str, Gone]
    wrongs: list[str]


class Side:
    """One pull. Its slices are small, so that one sync takes many requests."""

    def __init__(self, name: str, data: Path, **config: Any) -> None:
        settings = {"mode": "delta", "retry_backoff": 0.01, "max_workers": 4, "page_size": 500, "slice_rows": 2000}
        self.pull = PullConfig(name=name, table=TABLE, fields=FIELDS, **{**settings, **config})
        self.landing = Landing.open(str(data), name)
        self.must: set[Key] = set()
        self.could: set[Key] = set()
        self.blind: set[str] = set()  # incidents of which something happened that only a verification sweep shows
        self.touched: set[str] = set()  # incidents to which something was done since the last sync
        self._met: set[str] = set()  # incidents that were ever current here

    def matches(self, row: Texts | None) -> bool:
        """Whether the pull's query finds a row."""
        return row is not None and (not self.pull.query or row["active"] == "true")

    def note(self, plan: Plan, span: Span) -> None:
        """Remember what a sync must and could have seen."""
        since = plan.since.astimezone(UTC).strftime(STORED) if plan.since else ""
        moved = {*span.later, *self.blind, *self.touched}
        for number in {*span.start, *span.later}:
            restless = number in moved
            for row in span.versions(number):
                if row is None or not self.matches(row):
                    continue
                if row["sys_updated_on"] >= since and not restless:
                    self.must.add(key_of(row))
                if row["sys_updated_on"] >= since or restless:
                    self.could.add(key_of(row))

    def history_wrongs(self) -> list[str]:
        """Versions that the dataset lacks, and those that no sync could see."""
        history = self._history()
        return [
            f"{len(keys)} versions {what}: {sorted(keys)[:SHOWN]}"
            for what, keys in (("missing", self.must - history), ("never seen", history - self.could))
            if keys
        ]

    def rebuilt_wrongs(self) -> list[str]:
        """What is different where the table of current rows is lost, and made anew from all versions and marks."""
        kept = current(self.landing)
        if kept is None:
            return ["there are no current rows"]
        before = read_current(kept)
        shutil.rmtree(_path(kept.location))
        after = read_current(bring_up(self.landing, self.pull))
        rows = [number for number, row in after.rows.items() if before.rows.get(number) != row]
        gone = [number for number, one in after.gone.items() if before.gone.get(number) != one]
        lost = [*(before.rows.keys() - after.rows.keys()), *(before.gone.keys() - after.gone.keys())]
        named = {"rows": rows, "gone rows": gone, "rows missing": lost}
        return [f"made anew, {len(those)} {what}: {sorted(those)[:SHOWN]}" for what, those in named.items() if those]

    def _history(self) -> set[Key]:
        """The versions that the dataset holds, de-duplicated."""
        dataset = published(self.landing)
        found: set[Key] = set()
        for name in dataset.files if dataset else ():
            columns = ["number", "sys_updated_on", "sys_mod_count"]
            table = pq.read_table(_path(name), columns=columns, partitioning=None)
            found.update(zip(*(_texts(table, column) for column in columns), strict=True))
        return found

    def judge(self, held: Held, span: Span, truth: Truth, known: bool) -> list[str]:
        """What is wrong with the current rows; unless all keys are ``known``, ``blind`` incidents are passed over."""
        unknown = set() if known else self.blind
        found: dict[str, list[str]] = {}
        for number in {*span.start, *span.later, *held.rows} - unknown:
            if what := self._wrong(held.rows.get(number), span.versions(number)):
                found.setdefault(what, []).append(number)
        self._met.update(held.rows)
        for number in self._met - held.rows.keys() - unknown - span.later.keys():
            gone = held.gone.get(number)
            if gone is None or gone.state not in _states(number, truth):
                found.setdefault("are in no or a wrong state", []).append(f"{number} {gone}")
            elif gone.method == "audit" and gone.deleted_at not in truth.deleted_at.get(number, ()):
                found.setdefault("deleted at another moment", []).append(f"{number} {gone}")
        return held.wrongs + [f"{len(those)} {what}: {sorted(those)[:SHOWN]}" for what, those in found.items()]

    def _wrong(self, row: Texts | None, versions: list[Texts | None]) -> str:
        """Whether a row is none of its versions: all must match the pull for it to be there for certain."""
        wanted = [version for version in versions if self.matches(version)]
        if row is None:
            return "missing" if len(wanted) == len(versions) else ""
        if not wanted:
            return "should be gone"
        if row in wanted:
            return ""
        last = wanted[-1]
        fields = sorted(name for name in FIELDS if last is not None and row[name] != last[name])
        return f"differ in {', '.join(fields)}"


def _states(number: str, truth: Truth) -> set[str]:
    """The states that fit an incident which is not current; it may have left the filter before.

    One that came back and went again between two syncs, or came back outside of the filter, keeps the state that it
    had: nothing is asked of what is gone already.
    """
    once = truth.once.get(number, set())
    row = truth.deleted.get(number) or truth.reclassified.get(number)
    return once if row is not None and row["active"] == "true" else {*once, "left_filter"}


def read_current(current: Current) -> Held:
    """The table of current rows, and what is wrong with it by itself."""
    table = DeltaTable(_path(current.location)).to_pyarrow_table()
    wrongs = [f"{n} rows of sys_id {one}" for one, n in Counter(_texts(table, "sys_id")).items() if n > 1][:SHOWN]
    live = table.filter(pc.equal(table.column("_state"), "live"))
    in_files = sum(pq.ParquetFile(_path(name)).metadata.num_rows for name in current.files)
    if not live.num_rows == current.rows == in_files:
        wrongs.append(f"{live.num_rows} live rows, {in_files} in the files, said: {current.rows}")
    columns = [_texts(live, name, "display_value" if name in REFERENCES else "value") for name in FIELDS]
    rows: dict[str, Texts] = {
        values[0]: dict(zip(FIELDS, values, strict=True)) for values in zip(*columns, strict=True)
    }
    moments = [one.strftime(STORED) if one else "" for one in table.column("_deleted_at").to_pylist()]
    shown = (table.column("_state").to_pylist(), table.column("_deleted_by").to_pylist(), moments)
    gone = {
        number: Gone(state, method or "", at)
        for number, state, method, at in zip(_texts(table, "number"), *shown, strict=True)
        if state != "live"
    }
    return Held(rows, gone, wrongs)


def _texts(table: pa.Table, name: str, half: str = "value") -> list[str]:
    found: list[str] = pc.struct_field(table.column(name), half).to_pylist()
    return found


def _path(uri: str) -> str:
    return uri.removeprefix("file://")

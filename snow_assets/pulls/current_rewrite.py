"""One bringing up of a current table: which of its files hold changed rows, and what takes their place."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake.transaction import AddAction, RemoveAction

from snow_assets.pulls.columns import PLAN_COLUMN
from snow_assets.pulls.current_files import (
    ADDED,
    DELETED_AT,
    DELETED_BY,
    LEFT_AT,
    MOMENT,
    CurrentFile,
    FileWriter,
    batches,
    conformed,
    fields_among,
    file_schema,
)
from snow_assets.pulls.current_keys import LIVE, Keys, ids_of
from snow_assets.pulls.dataset import Dataset
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.marks import FOLDER as MARKS
from snow_assets.pulls.plan import plan_in

Writers = Mapping[tuple[str, int], FileWriter]  # by state and part

THREADS = 2  # files that are rewritten at a time
FEW = 8  # files of less than half the usual rows, of one state: more of them are made one
PARTS = 12  # into which many changed rows are cut, older ones apart from newer ones


class Rewrite:
    """One bringing up: what is new, which files it touches, and what takes their place."""

    def __init__(self, landing: Landing, home: Landing, dataset: Dataset, cursor: str, after: str, keys: Keys) -> None:
        self.dataset = dataset
        self.is_delta = bool(after)
        self.removed: list[RemoveAction] = []
        self.added: list[AddAction] = []
        self.fields: tuple[str, ...] = ()
        self._landing = landing
        self._home = home
        self._cursor = cursor
        self._after = after
        self._keys = keys
        self._sources: list[str] = []
        self._arriving: dict[tuple[str, int], int] = {}
        self._own: dict[int, CurrentFile] = {}  # rewritten one by one
        self._pools: dict[str, dict[int, CurrentFile]] = {}  # made one, by state
        self._left: dict[int, int] = {}  # rows that a touched file keeps

    def find(self, old: list[CurrentFile], fields: tuple[str, ...]) -> None:
        """Find what is new, and the files that it touches: all of them, where columns came to the ``fields`` known.

        So all files have the same columns, and every reader can read them in one go.
        """
        self.fields = tuple(dict.fromkeys((*fields, *fields_among(self.dataset.fields))))
        self._sources = _new_files(self._landing, self.dataset, self._after)
        for number, path in enumerate(self._sources):
            with _opened(self._landing, path) as file:
                self._keys.add_versions(number, file, self._cursor, path.partition("/")[0], self._after)
        marks = Landing(self._landing.pull, self._landing.beside(MARKS))
        for path in marks.store.list(""):
            plan = plan_in(path)
            if self._after < plan <= self.dataset.plan and plan >= self.dataset.base:
                with _opened(marks, path) as file:
                    self._keys.add_marks(file.read(), marks.store.uri(path))
        self._arriving = self._keys.settle(sum(known.rows for known in old), PARTS)
        for number, known in enumerate(old):
            with _opened(self._home, known.path) as file:
                replaced = self._keys.add_current(number, ids_of(file.read(columns=["sys_id"])))
            self._left[number] = known.rows - replaced
        for state, rows in self._keys.staying().items():
            self._arriving[state, 0] = self._arriving.get((state, 0), 0) + rows
        for state in {known.state for known in old}:
            of_state = {number: known for number, known in enumerate(old) if known.state == state}
            self._choose(state, of_state, widened=self.fields != fields)

    def _choose(self, state: str, old: dict[int, CurrentFile], *, widened: bool) -> None:
        """Which files of a state are rewritten by themselves, which are made one with others, and which stay."""
        small = {number for number in old if self._left[number] < self._keys.portion // 2}
        touched = {number for number, known in old.items() if widened or self._left[number] < known.rows}
        arriving = sum(rows > 0 for (to, _), rows in self._arriving.items() if to == state)
        pool = small if len(small) + arriving > FEW else small & touched
        self._own.update({number: old[number] for number in sorted(touched - small)})
        self._pools[state] = {number: old[number] for number in sorted(pool)}

    def write(self) -> None:
        """Write what takes the place of the touched files, and the changed rows."""
        schema = file_schema(self.fields)
        with ExitStack() as stack:
            writers = {
                key: stack.enter_context(self._writer(key[0], schema, rows)) for key, rows in self._arriving.items()
            }
            with ThreadPoolExecutor(THREADS, "current") as threads:
                groups = [{number: known} for number, known in self._own.items()]
                groups += [pool for pool in self._pools.values() if pool]
                for added in threads.map(lambda group: self._rewrite(group, schema, writers), groups):
                    self.added += added
                for _ in threads.map(
                    lambda source: self._take(source[0], source[1], writers), enumerate(self._sources)
                ):
                    pass
            for writer in writers.values():
                self.added += writer.close()

    def _writer(self, state: str, schema: pa.Schema, rows: int) -> FileWriter:
        return FileWriter(self._home.store, self.dataset.plan, state, schema, rows, self._keys.portion)

    def _rewrite(self, group: Mapping[int, CurrentFile], schema: pa.Schema, writers: Writers) -> list[AddAction]:
        """Files of one state without the rows that were replaced, made one."""
        state = next(iter(group.values())).state
        with self._writer(state, schema, sum(self._left[number] for number in group)) as stay:
            for number, known in group.items():
                self._copy(number, known, stay, writers)
            return stay.close()

    def _copy(self, number: int, known: CurrentFile, stay: FileWriter, writers: Writers) -> None:
        """What stays of a file; rows that were only marked move to their new state."""
        self.removed.append(known.removed())
        held = self._keys.held(number)
        if not self._left[number] and not pc.any(held.column("stays")).as_py():
            return
        positions = held.column("pos").to_pylist()
        with _opened(self._home, known.path) as file:
            for at, rows in batches(file):
                some = _within(held, positions, at, rows.num_rows)
                table = conformed(rows, stay.schema)
                if not some.num_rows:
                    stay.add(table)
                    continue
                here = pc.subtract(some.column("pos"), at)
                kept = pc.invert(pc.is_in(pa.array(range(table.num_rows), pa.int64()), value_set=here.combine_chunks()))
                stay.add(table.filter(kept))
                _sort_out(table, at, some.filter(some.column("stays")), writers)

    def _take(self, number: int, path: str, writers: Writers) -> None:
        """The newest versions of a landed file, each to its state."""
        picked = self._keys.changed(number)
        if not picked.num_rows:
            return
        positions = picked.column("pos").to_pylist()
        with _opened(self._landing, path) as file:
            for at, rows in batches(file):
                table = conformed(rows, file_schema(self.fields))
                if PLAN_COLUMN not in rows.column_names:
                    plan = pa.array([path.partition("/")[0]] * rows.num_rows, pa.string())
                    table = table.set_column(table.column_names.index(PLAN_COLUMN), PLAN_COLUMN, plan)
                _sort_out(table, at, _within(picked, positions, at, rows.num_rows), writers)


def _within(picked: pa.Table, positions: list[int], at: int, rows: int) -> pa.Table:
    """Of picked rows in the order of their positions: those that a batch holds."""
    first = bisect_left(positions, at)
    return picked.slice(first, bisect_left(positions, at + rows) - first)


def _sort_out(table: pa.Table, at: int, picked: pa.Table, writers: Writers) -> None:
    """Hand picked rows of a batch that begins at position ``at`` to the writers of their states and parts."""
    for state, part in sorted(set(zip(*(picked.column(name).to_pylist() for name in ("state", "part")), strict=True))):
        same = pc.and_(pc.equal(picked.column("state"), state), pc.equal(picked.column("part"), part))
        chosen = picked.filter(same)
        rows = table if chosen.num_rows == table.num_rows else table.take(pc.subtract(chosen.column("pos"), at))
        writers[state, part].add(_said(rows, chosen))


def _said(rows: pa.Table, chosen: pa.Table) -> pa.Table:
    """Rows with what the marks say of them. When a row left the filter stays known after it was deleted, too."""
    left = chosen.column("left_at").cast(MOMENT)
    known = rows.column(LEFT_AT)
    if chosen.column("state")[0].as_py() != LIVE:
        left = pc.coalesce(left, known)
    said = {
        DELETED_AT: chosen.column("deleted_at").cast(MOMENT),
        DELETED_BY: chosen.column("deleted_by"),
        LEFT_AT: left,
    }
    for name, column in said.items():
        rows = rows.set_column(rows.column_names.index(name), pa.field(name, ADDED[name]), column)
    return rows


def _new_files(landing: Landing, dataset: Dataset, after: str) -> list[str]:
    """Files of the dataset that may hold versions of plans after ``after``, by plan; those of no plan come first.

    Compaction writes files of no plan: the statistics of their footers tell whether something in them is new.
    """
    prefix = landing.location.rstrip("/") + "/"
    paths = sorted(uri.removeprefix(prefix) for uri in dataset.files)
    compacted = [path for path in paths if not plan_in(path) and _newest_in(landing, path) > after]
    return compacted + [path for path in paths if plan_in(path) > after]


def _newest_in(landing: Landing, path: str) -> str:
    """The newest plan in a file, by its statistics; without any, one that is after all."""
    unknown = "~"
    with _opened(landing, path) as file:
        groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
    columns = [group.column(index) for group in groups for index in range(group.num_columns)]
    known = [column.statistics for column in columns if column.path_in_schema == PLAN_COLUMN]
    if len(known) < len(groups) or any(stats is None or not stats.has_min_max for stats in known):
        return unknown
    return max((str(stats.max) for stats in known), default="")


def _opened(landing: Landing, path: str) -> AbstractContextManager[pq.ParquetFile]:
    return landing.reading(path, "bring it back from a backup, or start anew: snow-assets pull NAME --base")

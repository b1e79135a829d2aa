"""The landing of a pull: its plans, their slices' files, and the receipts. Also the root of its Delta table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.errors import FingerprintError, LandingError
from snow_assets.pulls.ledger import FOOTER_KEY, Ledger
from snow_assets.pulls.plan import OFFSET_DIGITS, Plan, Slice, plan_in
from snow_assets.pulls.seal import is_intact
from snow_assets.pulls.stores import DAMAGED, LocalStore, Store, open_store

PLAN_FILE = "plan.json"
_AGAIN = "the next pull fetches its rows again"
_SLICE_FILE = re.compile(rf"(\d{{{OFFSET_DIGITS}}})-(\d+)\.parquet(\.damaged|/)?")  # the ending: not to be read


@dataclass(frozen=True, slots=True)
class LandedFile:
    """A slice's file: ``path`` is relative to the landing, ``size`` in bytes, ``ledger`` from its footer."""

    path: str
    size: int
    ledger: Ledger


@dataclass(frozen=True)
class Landing:
    """The files of one pull below ``data``. Opening one touches nothing."""

    pull: str
    store: Store

    @classmethod
    def open(cls, data: str, pull: str) -> Self:
        """The landing of ``pull`` below ``data``: a local folder or an object-store URL."""
        return cls(pull, open_store(data, pull))

    @property
    def location(self) -> str:
        """The root: an absolute path or a URL. The Delta table lies here too."""
        return self.store.location

    @property
    def delta_location(self) -> str:
        """The root as Delta readers take it: a URL, quoted."""
        return self.store.delta_location

    @property
    def is_local(self) -> bool:
        """Whether the files lie in a local folder."""
        return isinstance(self.store, LocalStore)

    def beside(self, what: str) -> Store:
        """The store of what belongs to the pull and lies beside its landing: ``<pull>.<what>``.

        No pull can bear that name, and no reader of the dataset looks there. ``current`` is the table of current rows,
        ``marks`` holds which rows went away, ``sweeps`` the keys that were swept.
        """
        return open_store(self.location.removesuffix(f"/{self.pull}"), f"{self.pull}.{what}")

    def check_writable(self) -> None:
        """Raise ``LandingError`` where a write would fail. Writes nothing."""
        self.store.check_writable()

    def plan_ids(self) -> list[str]:
        """Ids of the plans that lie here, oldest first."""
        return [name for name in self.taken_ids() if PLAN_FILE in self.store.list(name)]

    def taken_ids(self) -> list[str]:
        """Ids under which files of plans lie here, also where ``plan.json`` is gone, oldest first."""
        folders = [name.rstrip("/") for name in self.store.list("")]
        return [name for name in folders if plan_in(name) == name]

    def read_plan(self, plan_id: str) -> Plan:
        """The plan of that id. Raises ``LandingError`` where there is none or it is damaged."""
        path = f"{plan_id}/{PLAN_FILE}"
        try:
            content = self.store.read(path)
        except FileNotFoundError as error:
            raise LandingError(
                f"pull {self.pull} has no such plan", key="plan", value=plan_id, hint="see snow-assets status"
            ) from error
        plan = Plan.from_json(content, self.store.uri(path), self.pull)
        if (plan.pull, plan.plan_id) != (self.pull, plan_id):
            raise FingerprintError(
                f"is plan {plan.plan_id} of pull {plan.pull}", key="plan", value=self.store.uri(path)
            )
        return plan

    def latest_plan(self) -> Plan | None:
        """The newest plan, or ``None``."""
        plan_ids = self.plan_ids()
        return self.read_plan(plan_ids[-1]) if plan_ids else None

    def write_plan(self, plan: Plan) -> None:
        """Write a new plan. Raises ``FileExistsError`` where its id is taken."""
        self.store.create(f"{plan.plan_id}/{PLAN_FILE}", plan.to_json())

    def remove_plan(self, plan_id: str) -> None:
        """Remove a plan with its files. Its table must not name them."""
        self.store.remove_folder(plan_id)

    def slice_files(self, plan: Plan) -> dict[int, list[str]]:
        """Names of the slice files of a plan by offset, by attempt; unread, those set aside as damaged included."""
        found: dict[int, list[str]] = {}
        for name in self.store.list(plan.plan_id):
            match = _SLICE_FILE.fullmatch(name)
            if match:
                found.setdefault(int(match[1]), []).append(name)
        return {offset: sorted(names, key=_attempt) for offset, names in found.items()}

    def landed(self, plan: Plan, piece: Slice, names: list[str] | None = None) -> LandedFile | None:
        """The file of a slice, proven by its footer; ``None`` where there is none that is whole.

        Raises ``FingerprintError`` where a whole file of another plan lies under the slice's name, and
        ``LandingError`` where the system does not let a file be read.
        """
        for name in self.slice_files(plan).get(piece.offset, []) if names is None else names:
            path = f"{plan.plan_id}/{name}"
            ledger = self._read_ledger(path) if name.endswith(".parquet") else None
            if ledger is None:
                continue
            _must_belong(ledger, plan, piece, self.store.uri(path))
            return LandedFile(path, self.store.size(path), ledger)
        return None

    def all_landed(self, plan: Plan) -> dict[Slice, LandedFile]:
        """Every slice of the plan that has landed, in the plan's order."""
        files = self.slice_files(plan)
        found = {piece: self.landed(plan, piece, files.get(piece.offset, [])) for piece in plan.slices}
        return {piece: landed for piece, landed in found.items() if landed is not None}

    def is_intact(self, file: LandedFile) -> bool:
        """Whether every byte of a file is as it landed: one read of it. An object store answers for its objects itself.

        Raises ``LandingError`` where the system does not let it be read.
        """
        if not self.is_local:
            return True
        try:
            return is_intact(Path(self.store.uri(file.path)))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unreadable(file.path, error) from error

    def size_of(self, path: str) -> int | None:
        """Bytes of a file by its relative path; ``None`` where there is none."""
        try:
            return self.store.size(path)
        except FileNotFoundError:
            return None

    def sweep(self) -> None:
        """Remove what dead runs left half done. Only for the holder of the lease: nobody else may be writing."""
        self.store.remove_scratch()
        for plan_id in self.taken_ids():
            self.store.remove_scratch(plan_id)

    def parquet(self, path: str, hint: str = _AGAIN) -> pq.ParquetFile:
        """Open a file of the landing by its relative path. Raises ``LandingError`` where it is gone or damaged."""
        try:
            return self.store.parquet(path)
        except FileNotFoundError as error:
            raise LandingError("is gone", key="file", value=self.store.uri(path), hint=hint) from error
        except DAMAGED as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise self._unreadable(path, error) from error
            raise LandingError("is damaged", key="file", value=self.store.uri(path), hint=hint) from error

    @contextmanager
    def reading(self, path: str, hint: str = _AGAIN) -> Iterator[pq.ParquetFile]:
        """Open a file as ``parquet`` does; damage that shows while the block reads it is told by name, too."""
        with self.parquet(path, hint) as file:
            try:
                yield file
            except (pa.ArrowException, OSError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                raise LandingError("is damaged", key="file", value=self.store.uri(path), hint=hint) from error

    def _read_ledger(self, path: str) -> Ledger | None:
        try:
            with self.store.parquet(path) as file:
                content = (file.metadata.metadata or {}).get(FOOTER_KEY)
                ledger = None if content is None else Ledger.from_json(content)
                whole = ledger is not None and ledger.landed == file.metadata.num_rows
        except FileNotFoundError:
            return None
        except DAMAGED as error:
            if isinstance(error, OSError) and error.errno is not None:  # of the system: says nothing about the file
                raise self._unreadable(path, error) from error
            return None
        return ledger if whole else None

    def _unreadable(self, path: str, error: OSError) -> LandingError:
        return LandingError(
            f"cannot be read: {error.strerror or type(error).__name__}",
            key="file",
            value=self.store.uri(path),
            hint="nothing is wrong with what landed; see to the cause and run it again",
        )


def next_attempt(names: list[str]) -> int:
    """The number of the next file of a slice, after those that lie there: a name is never used again."""
    return 1 + max(map(_attempt, names), default=0)


def _attempt(name: str) -> int:
    match = _SLICE_FILE.fullmatch(name)
    return int(match[2]) if match else 0


def _must_belong(ledger: Ledger, plan: Plan, piece: Slice, uri: str) -> None:
    expected = (plan.plan_id, plan.fingerprint, piece.offset, piece.lo, piece.hi)
    if (ledger.plan_id, ledger.fingerprint, ledger.offset, ledger.lo, ledger.hi) != expected:
        raise FingerprintError(
            f"is not of {piece} of plan {plan.plan_id}", key="file", value=uri, hint="move it out of the landing"
        )

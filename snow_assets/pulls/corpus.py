"""A corpus: the live rows of a pull as one Parquet file and one file of raw records, with a manifest.

Below ``<data>/<pull>.corpus``: ``<plan_id>.parquet``, ``<plan_id>.jsonl``, and ``corpus.json``, which is replaced last
and names only what is whole. Rows lie in the order of their sys_ids, so equal rows make equal files of records.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from snow_assets.errors import LandingError, PlanIncomplete
from snow_assets.pulls.columns import RowDigest
from snow_assets.pulls.current_files import INTERNAL
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.ledger import Difference
from snow_assets.pulls.live import ID, Live, live_rows
from snow_assets.pulls.ordered import write_ordered
from snow_assets.pulls.plan import Plan
from snow_assets.pulls.records import json_lines, raw_records, without_nulls
from snow_assets.pulls.stores import Store, sha256_of
from snow_assets.pulls.totals import Totals, read_totals

MANIFEST: Final = "corpus.json"
KEPT: Final = 2  # newest exports
_PARTS: Final = ".parts.json"
_EXPORT: Final = re.compile(r"(\d{8}T\d{6}Z)\.(?:parquet|jsonl|parts\.json)")


@dataclass(frozen=True, slots=True)
class CorpusFile:
    """A file of an export: its name beside the manifest, where it is, bytes, SHA-256 in hex, rows."""

    name: str
    location: str
    size: int
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Corpus:
    """An export, as its manifest tells. ``counted + sum(difference.rows) == rows`` where the instance counted.

    ``counted`` is ``None`` where it did not, and for delta pulls, of which the instance counts windows only; then the
    rows are held against those of the current table. ``digest`` is the order-independent digest of the rows.
    ``changed`` tells whether this call wrote it.
    """

    pull: str
    plan: str
    as_of: str
    table: str
    query: str
    mode: str
    display_value: str
    fields: tuple[str, ...]
    rows: int
    counted: int | None
    hidden: int | None
    differences: tuple[Difference, ...]
    digest: str
    made: str
    files: tuple[CorpusFile, ...]
    changed: bool = False


def home_of(landing: Landing) -> Landing:
    """Where the corpora of a pull lie; a lease of it is the exports' own."""
    return Landing(landing.pull, landing.beside("corpus"))


def read_corpus(landing: Landing) -> Corpus | None:
    """The newest export, or ``None``. Raises ``LandingError`` where the manifest is damaged."""
    store = home_of(landing).store
    try:
        content = store.read(MANIFEST)
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(content, type=Corpus)
    except msgspec.DecodeError as error:
        hint = "move it away, and export again"
        raise LandingError("is damaged", key="file", value=store.uri(MANIFEST), hint=hint) from error


def export_corpus(landing: Landing, *, again: bool = False) -> Corpus:
    """Export what is published now; what was exported before, and is there, is returned as it is.

    A part that a dead run finished is adopted by its hash; ``again`` writes every part anew. Nothing in memory grows
    with the table. Whoever calls this holds the lease of ``home_of(landing)``, or the pull's.

    Raises ``ConfigError`` where nothing is published, ``PlanIncomplete`` where the rows of a part are not those that
    were published, and ``LandingError`` for the disk.
    """
    live = live_rows(landing)
    store = home_of(landing).store
    known = read_corpus(landing)
    if known is not None and not again and known.plan == live.plan and _are_there(store, known.files):
        return known
    plan = landing.read_plan(live.plan)
    store.check_writable()
    store.remove_scratch()
    export = _Export(live, plan, store, again=again)
    parquet = export.parquet()
    jsonl, digest = export.jsonl(parquet)
    totals = read_totals(landing, live.plan) if live.mode == "full" else None
    _must_be_valid(live, parquet, jsonl, digest, totals, store)
    corpus = Corpus(
        pull=live.pull,
        plan=live.plan,
        as_of=plan.as_of.isoformat(),
        table=plan.table,
        query=plan.base_query,
        mode=live.mode,
        display_value=plan.display_value,
        fields=_fields(live),
        rows=live.rows,
        counted=totals.counted if totals else None,
        hidden=totals.hidden if totals else None,
        differences=totals.differences if totals else (),
        digest=digest,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        files=(parquet, jsonl),
    )
    content = {name: value for name, value in asdict(corpus).items() if name != "changed"}
    store.write(MANIFEST, msgspec.json.format(msgspec.json.encode(content), indent=1))
    _prune(store, live.plan)
    return replace(corpus, changed=True)


class _Export:
    """One export: parts that are finished are noted beside them, with their hashes."""

    def __init__(self, live: Live, plan: Plan, store: Store, *, again: bool) -> None:
        self._live, self._plan, self._store = live, plan, store
        self._notes = f"{live.plan}{_PARTS}"
        self._finished: dict[str, dict[str, Any]] = {} if again else self._read_notes()

    def parquet(self) -> CorpusFile:
        """The rows in one file, in order."""
        name = f"{self._live.plan}.parquet"
        found = self._adopted(name)
        if found is not None:
            return found
        scratch = self._store.scratch(name)
        try:
            live = self._live
            rows = write_ordered(live.files, _fields(live), self._plan.key or (ID,), live.rows, scratch)
            return self._commit(scratch, name, rows)
        finally:
            scratch.unlink(missing_ok=True)

    def jsonl(self, parquet: CorpusFile) -> tuple[CorpusFile, str]:
        """The raw records, key for key, and the digest of the rows. Read back from the rows that were written."""
        name = f"{self._live.plan}.jsonl"
        found = self._adopted(name)
        if found is not None:
            return found, str(self._finished[name]["digest"])
        scratch = self._store.scratch(name)
        digest, lines = RowDigest(), 0
        try:
            with self._store.parquet(parquet.name) as source, scratch.open("wb") as target:
                for record in raw_records(source, self._plan.display_value):
                    target.writelines(json_lines((record,)))
                    digest.add_records((without_nulls(record),))
                    lines += 1
            return self._commit(scratch, name, lines, digest=digest.hex()), digest.hex()
        finally:
            scratch.unlink(missing_ok=True)

    def _commit(self, scratch: Path, name: str, rows: int, **more: str) -> CorpusFile:
        self._store.replace(scratch, name)
        noted = {"size": self._store.size(name), "sha256": sha256_of(self._store, name), "rows": rows, **more}
        self._finished[name] = noted
        self._store.write(self._notes, msgspec.json.encode(self._finished))
        return self._file(name)

    def _adopted(self, name: str) -> CorpusFile | None:
        """A part that a dead run finished, if every byte of it is as it was."""
        noted = self._finished.get(name)
        with suppress(FileNotFoundError):
            if noted and self._store.size(name) == noted["size"] and sha256_of(self._store, name) == noted["sha256"]:
                return self._file(name)
        self._finished.pop(name, None)
        return None

    def _file(self, name: str) -> CorpusFile:
        noted = self._finished[name]
        return CorpusFile(name, self._store.uri(name), noted["size"], noted["sha256"], noted["rows"])

    def _read_notes(self) -> dict[str, dict[str, Any]]:
        try:
            return msgspec.json.decode(self._store.read(self._notes), type=dict[str, dict[str, Any]])
        except (FileNotFoundError, msgspec.DecodeError):
            return {}


def _fields(live: Live) -> tuple[str, ...]:
    """Without the columns that are ours."""
    return tuple(name for name in live.fields if name not in INTERNAL)


def _must_be_valid(
    live: Live, parquet: CorpusFile, jsonl: CorpusFile, digest: str, totals: Totals | None, store: Store
) -> None:
    """Every part holds the rows that were published, and those are what was counted but for what is explained."""
    found = [
        f"{file.name} has {file.rows:,} rows, {live.rows:,} are published"
        for file in (parquet, jsonl)
        if file.rows != live.rows
    ]
    if totals is not None:
        explained = sum(difference.rows for difference in totals.differences)
        if totals.counted is not None and totals.counted + explained != live.rows:
            found.append(f"{totals.counted:,} were counted and {explained:+,} explained, {live.rows:,} are published")
        if totals.digest != digest:
            found.append("the rows are not those that landed: their digests differ")
    if found:
        raise PlanIncomplete(
            f"the corpus is not written: {'; '.join(found)}",
            key="corpus",
            value=store.location,
            hint=f"export it again: snow-assets corpus {live.pull} --again",
        )


def _are_there(store: Store, files: Sequence[CorpusFile]) -> bool:
    try:
        return all(store.size(file.name) == file.size for file in files)
    except FileNotFoundError:
        return False


def _prune(store: Store, plan: str) -> None:
    """Remove all but the newest exports, and the notes of finished parts."""
    found = {name: match[1] for name in store.list("") if (match := _EXPORT.fullmatch(name))}
    kept = {plan, *sorted({each for each in found.values() if each < plan})[-(KEPT - 1) :]}
    for name, each in found.items():
        if each not in kept or name.endswith(_PARTS):
            store.remove(name)
